"""A search on workers of Dask and a server on PostgreSQL, all of them processes, of which some are killed."""

import json
import random
import shutil
import signal
import time

import pandas as pd
import pytest
import tiny_search
from conftest import log_tiny, write_pairs
from mlflow.tracking import MlflowClient

from benchmarks.processes import ROOT, Processes, kill, local_workers, trainings, wait_until
from unetlab.errors import UserError
from unetlab.jobs import cluster
from unetlab.jobs.evaluate import evaluate
from unetlab.service import predict, scoring
from unetlab.tracking.server import programs

SEARCH = ROOT / "tests" / "tiny_search.py"


@pytest.fixture
def processes(tmp_path, migrated):
    """Processes of a folder, with a cache and a SQLite store there."""
    folder = tmp_path / "it"
    folder.mkdir()
    shutil.copy(migrated, folder / "mlflow.db")
    here = {"UNETLAB_CACHE": str(folder / "cache"), "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
    here |= {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "UNETLAB_ONE_PROCESS": "0", "MLFLOW_WORKERS": "1"}
    with Processes(folder, here) as began:
        yield began


@pytest.fixture
def server(processes):
    """A server on PostgreSQL; tests that want one are skipped where PostgreSQL is not installed."""
    try:
        programs()
    except UserError as error:
        pytest.skip(str(error))
    with processes.server() as address:
        yield address


def same(store: str, other: str) -> None:
    one, two = trainings(store), trainings(other)
    assert {name: status for name, (status, _) in one.items()} == {name: status for name, (status, _) in two.items()}
    for name, (_, metrics) in one.items():
        assert metrics == pytest.approx(two[name][1], rel=1e-5, abs=1e-7, nan_ok=True), name


@pytest.mark.slow  # two searches, one of them thrice
def test_a_worker_and_the_driver_killed_a_search_ends_as_undisturbed(processes, server, store, light, tmp_path):
    processes.environment["UNETLAB_TEST_LIGHT"] = "1"
    scheduler = processes.scheduler()
    workers = [processes.worker(scheduler, f"worker{k}") for k in range(2)]
    told = (str(write_pairs(tmp_path / "cells", n=24)), "random", "3", "8")
    tiny_search.main(*told)  # undisturbed, in this process

    def drive():
        own = {"MLFLOW_TRACKING_URI": server, "UNETLAB_TEST_OPTIONS": json.dumps({"scheduler": scheduler})}
        return processes.begin("driver", [SEARCH, *told], **own)

    def saved():
        return list(processes.folder.glob("cache/unfinished/*/trial-*.state.npz"))

    wait_until(lambda: "export MLFLOW_TRACKING_URI" in processes.log("server"), what="a server")
    driver = drive()
    wait_until(lambda: saved() or driver.poll() is not None, what="a saved epoch")
    kill(workers.pop())
    wait_until(lambda: "trial 0" in processes.log("driver") or driver.poll() is not None, what="a trial done")
    assert driver.poll() is None, processes.log("driver")
    kill(driver)
    assert MlflowClient(server).search_runs(["1"], "attributes.status = 'RUNNING'")
    assert drive().wait() == 0, processes.log("driver")
    assert "done before" in processes.log("driver")
    same(server, store)
    assert not list(processes.folder.glob("cache/unfinished/*"))


@pytest.fixture
def here(processes, tmp_path, migrated):
    """Begins a search on two processes of this machine, or another in a folder of its own: here(tuner, name)."""
    cells = write_pairs(tmp_path / "cells", n=24)

    def begun(tuner, name="it", epochs="12", workers=2):
        folder = processes.folder.parent / name
        if not folder.exists():
            folder.mkdir()
            shutil.copy(migrated, folder / "mlflow.db")
        own = {"UNETLAB_CACHE": str(folder / "cache"), "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
        own["UNETLAB_TEST_OPTIONS"] = json.dumps({"workers": workers})
        return processes.begin(name, [SEARCH, cells, tuner, "5", epochs], **own)

    return begun


@pytest.mark.slow
@pytest.mark.parametrize("tuner", ["random", "bayesian", "hyperband"])
def test_workers_and_command_killed_on_this_machine_it_ends_as_undisturbed(processes, here, tmp_path, tuner):
    moments = random.Random(3)
    for _ in range(3):
        command = here(tuner)
        wait_until(lambda command=command: local_workers(command.pid) or command.poll() is not None)
        time.sleep(moments.uniform(1, 15))
        for each in local_workers(command.pid)[:1]:
            each.kill()
        time.sleep(moments.uniform(1, 15))
        kill(command)
    assert here(tuner).wait() == 0, processes.log("it")
    assert here(tuner, "whole").wait() == 0, processes.log("whole")
    same(f"sqlite:///{tmp_path / 'it' / 'mlflow.db'}", f"sqlite:///{tmp_path / 'whole' / 'mlflow.db'}")


@pytest.mark.slow
def test_interrupted_it_ends_within_seconds_and_its_processes_with_it(processes, here, tmp_path):
    command = here("random", epochs="300")
    wait_until(lambda: len(local_workers(command.pid)) == 2)
    time.sleep(15)
    workers = local_workers(command.pid)
    command.send_signal(signal.SIGINT)
    assert command.wait(6) == 128 + signal.SIGINT, processes.log("it")
    wait_until(lambda: not any(each.is_running() for each in workers), 5)
    assert {status for status, _ in trainings(f"sqlite:///{tmp_path / 'it' / 'mlflow.db'}").values()} == {"KILLED"}


@pytest.mark.slow
def test_shards_answered_by_processes_are_those_of_one(store, pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(predict, "SHARD", 5)
    monkeypatch.setattr(scoring, "SHARD", 5)
    monkeypatch.setattr(cluster, "gpus", lambda: ("0", "1"))  # two workers with one each, and none is there
    model = log_tiny().model_uri
    with cluster.spreading(2, "") as spread:
        several = predict.predict_folder(model, pairs / "images", tmp_path / "several", spread=spread)
        scored = evaluate(model, str(pairs), spread=spread)
    one = predict.predict_folder(model, pairs / "images", tmp_path / "one")
    pd.testing.assert_frame_equal(several, one)
    for name in ("objects.csv", "masks/cell07.png", "labels/cell11.tif"):
        assert (tmp_path / "several" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    assert scored.figures == evaluate(model, str(pairs)).figures
