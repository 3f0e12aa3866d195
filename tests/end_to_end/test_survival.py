"""A search killed in real life ends in the trials and scores that an undisturbed one has."""

import io
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest
import tiny_search
from conftest import can_mount, write_pairs
from mlflow.tracking import MlflowClient
from rich.console import Console

from unetlab.jobs.run import run_setup

TESTS = Path(__file__).parent.parent
WALL = ("seconds", "ms_per_image", "tracking_share", "waiting_share")
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


def ended(folder: Path) -> bool:
    """Whether the search has ended, whatever became of its process."""
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    runs = client.search_runs([each.experiment_id for each in client.search_experiments()])
    return any(run.info.status == "FINISHED" and "training" not in run.data.tags for run in runs)


def same(folder: Path, undisturbed: Path):
    one, two = found(folder), found(undisturbed)
    assert {name: status for name, (status, _) in one.items()} == {name: status for name, (status, _) in two.items()}
    for name, (_, metrics) in one.items():
        assert metrics == pytest.approx(two[name][1], rel=1e-5, abs=1e-7, nan_ok=True), name


def wait_for(process, folder: Path, text: str):
    while process.poll() is None and text not in (folder / "log").read_text():
        time.sleep(0.05)
    assert process.poll() is None, (folder / "log").read_text()


def test_killed_after_its_first_trial_it_goes_on_with_the_second(begin, tmp_path, migrated, light, monkeypatch):
    folder = tmp_path / "killed"
    process = begin("killed", "random", "2", "2", UNETLAB_ONE_PROCESS="1", UNETLAB_TEST_LIGHT="1")
    wait_for(process, folder, "trial 00 reference")
    process.kill()
    process.wait()
    monkeypatch.setattr("mlflow.tracking.fluent._active_experiment_id", None)
    said = {}
    for name in ("killed", "whole"):  # in this process, which has imported TensorFlow
        where = tmp_path / name
        where.mkdir(exist_ok=True)
        if name == "whole":
            shutil.copy(migrated, where / "mlflow.db")
        monkeypatch.chdir(where)
        monkeypatch.setenv("UNETLAB_CACHE", str(where / "cache"))
        mlflow.set_tracking_uri(f"sqlite:///{where / 'mlflow.db'}")
        console = Console(file=io.StringIO(), width=200)
        run_setup(tiny_search.setup(2), tiny_search.options(tmp_path / "cells", "random", 2), console)
        said[name] = console.file.getvalue()
    mlflow.set_tracking_uri(None)
    assert "trial 00 reference: done before" in said["killed"] and "done before" not in said["whole"]
    same(folder, tmp_path / "whole")
    assert not list((folder / "cache" / "unfinished").iterdir())


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
        if ended(tmp_path / "killed"):  # a fast machine is done before; once more would be another search
            break
    else:
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
        ("out of time", "was killed by SIGKILL, as the system does where memory runs out"),
        ("too large", "OOM|MemoryError|bad_alloc|SIGABRT"),
        ("raises", "no room for 64 pixels"),
        ("not finite", "loss became nan"),
        ("hangs", "no step of training for 0.4 minutes"),
    ],
)
def test_a_trial_that_ends_badly_is_failed_and_the_search_goes_on(begin, tmp_path, what, reason):
    stall = "0.4" if what == "hangs" else "15"  # a slow machine does not hang
    assert begin("it", "random", "3", "2", UNETLAB_TEST=what, UNETLAB_TEST_STALL=stall).wait() == 0
    statuses = {name: status for name, (status, _) in found(tmp_path / "it").items()}
    assert statuses.pop("trial 1") == "FAILED" and set(statuses.values()) == {"FINISHED"} and len(statuses) == 3
    runs = MlflowClient(f"sqlite:///{tmp_path / 'it' / 'mlflow.db'}").search_runs(["1"], "tags.training = 'trial 1'")
    assert [bool(re.search(reason, run.data.tags["failed"])) for run in runs] == [True], runs[0].data.tags["failed"]


@pytest.mark.slow
def test_a_search_whose_trials_all_fail_ends_with_the_first_reason(begin, tmp_path):
    process = begin("it", "random", "3", "2", UNETLAB_TEST="killed", UNETLAB_TEST_ALL="1")
    assert process.wait() not in (0, None)
    said = (tmp_path / "it" / "log").read_text().replace("\n", " ")
    assert "error: every trial failed, trial 0: its process was killed by SIGKILL" in said and "Traceback" not in said
    statuses = {name: status for name, (status, _) in found(tmp_path / "it").items()}
    assert statuses == {"run": "FAILED", "trial 0": "FAILED", "trial 1": "FAILED", "trial 2": "FAILED"}


@pytest.mark.slow
@pytest.mark.skipif(not can_mount(), reason="no disk of one's own on this machine")
def test_a_disk_that_fills_up_ends_it_in_one_line_and_with_room_it_goes_on(begin, tmp_path, migrated):
    assert begin("whole", "random", "2", "8").wait() == 0
    (tmp_path / "disk").mkdir()
    words = [tmp_path / "disk", tmp_path / "cells", migrated, tmp_path / "filled"]
    command = ["unshare", "-rm", sys.executable, str(TESTS / "full_disk.py"), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    first, second = ((tmp_path / f"filled.{number}").read_text() for number in (0, 1))
    assert done.stdout.split() == ["1", "0"], (done.stderr, first, second)
    assert "error: cannot write" in first or "error: the tracking store cannot be written" in first
    assert "make room" in first and "Traceback" not in first
    assert "trial 00 reference: done before" in second
    same(tmp_path / "filled", tmp_path / "whole")
