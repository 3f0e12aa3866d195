"""A search killed in real life ends in the trials and scores that an undisturbed one has."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import write_pairs
from mlflow.tracking import MlflowClient

TESTS = Path(__file__).parent.parent
WALL = ("seconds", "ms_per_image", "tracking_share")
"""Figures that are times."""


@pytest.fixture
def begin(tmp_path, migrated):
    """Begins the same search in a folder of its own: begin(name, tuner, ...) -> process."""
    images, processes = write_pairs(tmp_path / "cells", n=24), []

    def started(name, *told, **changes):
        folder = tmp_path / name
        if not folder.exists():
            folder.mkdir()
            shutil.copy(migrated, folder / "mlflow.db")
        own = {"UNETLAB_CACHE": str(folder / "cache"), "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
        own |= {"UNETLAB_ONE_PROCESS": "0", "PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}", **changes}
        command = [sys.executable, str(TESTS / "tiny_search.py"), str(images), *told]
        log = open(folder / "log", "a")  # noqa: SIM115  # the process writes it
        processes.append(subprocess.Popen(command, cwd=folder, env={**os.environ, **own}, stdout=log, stderr=log))
        log.close()
        return processes[-1]

    yield started
    for process in processes:
        process.kill()
        process.wait()


def found(folder: Path):
    """Status and metrics of each training, times left out, "run" for the search; no more than one run of each."""
    client, trainings = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}"), {}
    for run in client.search_runs([each.experiment_id for each in client.search_experiments()]):
        name = run.data.tags.get("training", "run")
        assert name not in trainings, (folder / "log").read_text()
        metrics = {key: value for key, value in run.data.metrics.items() if not key.endswith(WALL)}
        for key in [key for key in metrics if key.startswith("epoch/")]:
            points = client.get_metric_history(run.info.run_id, key)
            assert [point.step for point in points] == list(range(1, len(points) + 1)), (name, key)
        trainings[name] = run.info.status, metrics
    return trainings


def same(folder: Path, undisturbed: Path):
    one, two = found(folder), found(undisturbed)
    assert {name: status for name, (status, _) in one.items()} == {name: status for name, (status, _) in two.items()}
    for name, (_, metrics) in one.items():
        assert metrics == pytest.approx(two[name][1], rel=1e-5, abs=1e-7, nan_ok=True), name


def wait_for(process, folder: Path, text: str):
    while process.poll() is None and text not in (folder / "log").read_text():
        time.sleep(0.05)
    assert process.poll() is None, (folder / "log").read_text()


def test_killed_after_its_first_trial_it_goes_on_with_the_second(begin, tmp_path):
    first = begin("killed", "random", "2", "2")
    whole = begin("whole", "random", "2", "2")
    wait_for(first, tmp_path / "killed", "trial 00 reference")
    first.kill()
    first.wait()
    assert begin("killed", "random", "2", "2").wait() == whole.wait() == 0, (tmp_path / "killed" / "log").read_text()
    assert "trial 00 reference: done before" in (tmp_path / "killed" / "log").read_text()
    same(tmp_path / "killed", tmp_path / "whole")
    assert not list((tmp_path / "killed" / "cache" / "unfinished").iterdir())


@pytest.mark.slow  # minutes: eight kills a tuner
@pytest.mark.parametrize("tuner", ["random", "bayesian", "grid"])
def test_killed_at_random_moments_it_ends_as_undisturbed(begin, tmp_path, tuner):
    assert begin("whole", tuner, "4", "6").wait() == 0
    moments = random.Random(7)
    for _ in range(8):
        process = begin("killed", tuner, "4", "6")
        time.sleep(moments.uniform(8, 30))
        process.kill()
        process.wait()
    assert begin("killed", tuner, "4", "6").wait() == 0, (tmp_path / "killed" / "log").read_text()
    same(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_ends_within_seconds_and_leaves_no_run_running(begin, tmp_path, signal_):
    process = begin("it", "random", "3", "300")
    wait_for(process, tmp_path / "it", "scenes")
    time.sleep(12)
    started = time.monotonic()
    process.send_signal(signal_)
    assert process.wait(10) == 128 + signal_ and time.monotonic() - started < 5
    assert "this goes on with it:\nthe same command" in (tmp_path / "it" / "log").read_text()
    assert {status for status, _ in found(tmp_path / "it").values()} == {"KILLED"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("killed", "was killed by SIGKILL"),
        ("raises", "no room for 64 pixels"),
        ("hangs", "no step of training for 0.4 minutes"),
    ],
)
def test_a_trial_that_ends_badly_is_failed_and_the_search_goes_on(begin, tmp_path, what, reason):
    assert begin("it", "random", "3", "2", UNETLAB_TEST=what, UNETLAB_TEST_STALL="0.4").wait() == 0
    statuses = {name: status for name, (status, _) in found(tmp_path / "it").items()}
    assert statuses.pop("trial 1") == "FAILED" and set(statuses.values()) == {"FINISHED"} and len(statuses) == 4
    assert reason in (tmp_path / "it" / "log").read_text().replace("\n", " ")
