"""`mlflow run` in a subprocess, as a user types it."""

import os
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from click.testing import CliRunner
from conftest import write_pairs

from unetlab.cli.main import main
from unetlab.tracking import ui

ROOT = Path(__file__).parent.parent.parent


def _mlflow_run(
    store: str, entry: str, manager: str = "local", experiment: str | None = "unetlab", **parameters: str
) -> subprocess.CompletedProcess[str]:
    named = {"MLFLOW_EXPERIMENT_NAME": experiment} if experiment else {}
    named["UNETLAB_ONE_PROCESS"] = "0"  # as it is for users
    chosen = [argument for name, value in parameters.items() for argument in ("-P", f"{name}={value}")]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [sys.executable, "-m", "mlflow", "run", ".", "-e", entry, "--env-manager", manager, *chosen],
        cwd=ROOT,
        env={**os.environ, "MLFLOW_TRACKING_URI": store, "PATH": path, **named},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_setup_runs_and_registers(store, tmp_path):
    data = write_pairs(tmp_path / "cells", n=16)
    told = {"data": str(data), "trials": "2", "epochs": "1", "register": "true"}
    done = _mlflow_run(store, "nuclei-scratch", experiment=None, **told)  # as one types it
    assert done.returncode == 0, done.stderr[-2000:]
    assert "test Dice" in done.stdout and "viewStateShareKey" in done.stdout
    assert mlflow.search_runs(experiment_names=["unetlab"]).empty
    runs = mlflow.search_runs(experiment_names=["Default"])  # which MLflow chose
    assert ui.known_experiment() == ui.newest_experiment() == "0" and "/experiments/0/" in done.stdout
    assert sorted(runs["tags.role"]) == ["final", "search", "trial"] and set(runs["status"]) == {"FINISHED"}
    (search,) = runs.loc[runs["tags.role"] == "search", "run_id"]
    assert set(runs.loc[runs["tags.role"] != "search", "tags.mlflow.parentRunId"]) == {search}
    (version,) = mlflow.MlflowClient().search_model_versions("name = 'unetlab-nuclei-scratch'")
    assert version.run_id in set(runs["run_id"])
    # one epoch on 16 images is worth nothing
    assert version.tags["gate"] == "refused" and "H002" in version.description


@pytest.mark.slow
def test_uv_builds_the_environment_of_conda_yaml(store):
    """Wants the package registry; minutes on the first time."""
    done = _mlflow_run(store, "check", manager="uv", data="synthetic-latex")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "120 images" in done.stdout


@pytest.mark.slow  # two commands of mlflow run
def test_a_comparison_of_other_splits_is_refused_in_one_line(store, tmp_path):
    from fake_runs import difficulty, log_setup_run

    log_setup_run("nuclei", difficulty())
    log_setup_run("latex", difficulty() - 0.01, tags={"split_digest": "s2"})
    done = _mlflow_run(store, "compare")
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode != 0 and "split" in said and "Traceback" not in done.stderr
    log_setup_run("nuclei-scratch", difficulty() - 0.02)
    told = ["--experiment", "unetlab", "--filter", "tags.split_digest = 's1'", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(main, ["compare", *told])
    assert done.exit_code == 0, done.output
    assert "Ranking by Dice" in done.stdout and (tmp_path / "out" / "report.html").exists()
    assert "comparison" in set(mlflow.search_runs(experiment_names=["unetlab"])["tags.role"])
