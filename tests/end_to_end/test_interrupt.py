"""Ctrl-C ends every command that trains within seconds; the command that it prints goes on."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import write_pairs
from mlflow.tracking import MlflowClient

ROOT = Path(__file__).parents[2]

COMMANDS = {
    "nuclei-scratch": ["--trials", "2", "--epochs", "400"],
    "auto": ["--minutes", "90", "--epochs", "400", "--encoder-weights", "none"],
    "pseudo-label": ["--labels", "otsu", "--rounds", "1", "--epochs", "400"],
    "showdown": ["--setups", "nuclei-scratch,latex", "--repeats", "1", "--epochs", "400"],
    "reproduce": ["--epochs", "400"],
}
SOURCES = ("nuclei", "kitchen", "sections", "latex")


@pytest.fixture
def begin(tmp_path, migrated):
    """Begins a command, by its words: begin(words) -> process; its output goes to `log`."""
    shutil.copy(migrated, tmp_path / "mlflow.db")
    own = {"UNETLAB_CACHE": str(tmp_path / "cache"), "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}"}
    environment = {**os.environ, **own, "UNETLAB_ONE_PROCESS": "0", "PYTHONPATH": str(ROOT)}
    processes = []

    def begun(words):
        command = [sys.executable, "-m", "unetlab", *words]
        with open(tmp_path / "log", "w") as log:
            # a group of its own, as a shell gives it, so that Ctrl-C reaches all of it
            processes.append(
                subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log, start_new_session=True)
            )
        return processes[-1]

    yield begun
    for process in processes:
        process.kill()
        process.wait()


def runs(folder: Path) -> dict:
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    return {run.info.run_id: run for run in client.search_runs([e.experiment_id for e in client.search_experiments()])}


def wait_for_epochs(process, folder: Path, but: int = 0) -> int:
    """Until a training has logged an epoch later than that; returns the last one."""
    while process.poll() is None:
        going = [run for run in runs(folder).values() if run.info.status == "RUNNING"]
        client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
        found = [m.step for run in going for m in client.get_metric_history(run.info.run_id, "epoch/loss")]
        if max(found, default=0) > but:
            return max(found)
        time.sleep(0.2)
    raise AssertionError((folder / "log").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_ends_a_command_and_what_it_prints_goes_on_with_its_runs(begin, tmp_path, name):
    cells = str(write_pairs(tmp_path / "cells", n=12))
    data = [word for source in SOURCES for word in (f"--{source}", cells)] if name == "reproduce" else ["--data", cells]
    process = begin([name, *data, *COMMANDS[name]])
    reached = wait_for_epochs(process, tmp_path)
    started = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(20) == 130 and time.monotonic() - started < 5
    before = runs(tmp_path)
    assert {run.info.status for run in before.values()} == {"KILLED"}
    said = (tmp_path / "log").read_text()
    assert "Traceback" not in said and "interrupted; this goes on with it:\n" in said
    words = shlex.split(said.strip().splitlines()[-1])
    assert words[:6] == ["mlflow", "run", ".", "-e", name, "--env-manager"]
    assert words[-2:] == ["--experiment-name", "unetlab"]

    told = [word.partition("=")[::2] for word in words if "=" in word]
    process = begin([name, *(part for option, value in told for part in (f"--{option}", value))])
    wait_for_epochs(process, tmp_path, reached)
    assert runs(tmp_path).keys() == before.keys()
