"""A search on workers of Dask and a server on PostgreSQL, all of them processes, of which some are killed."""

import json
import shutil

import pytest
from conftest import write_pairs
from mlflow.tracking import MlflowClient

from benchmarks.processes import ROOT, Processes, kill, trainings, wait_until
from unetlab.errors import UserError
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


def test_a_worker_and_the_driver_killed_a_search_ends_as_undisturbed(processes, server, tmp_path):
    cells, undisturbed = write_pairs(tmp_path / "cells", n=24), processes.environment["MLFLOW_TRACKING_URI"]
    words = [SEARCH, cells, "random", "4", "12"]
    scheduler = processes.scheduler()
    workers = [processes.worker(scheduler, f"worker{k}") for k in range(2)]
    own = {"UNETLAB_CACHE": str(processes.folder / "own"), "UNETLAB_ONE_PROCESS": "1"}
    whole = processes.begin("whole", words, **own)

    def drive():
        told = json.dumps({"scheduler": scheduler})
        return processes.begin("driver", words, MLFLOW_TRACKING_URI=server, UNETLAB_TEST_OPTIONS=told)

    def saved():
        return list(processes.folder.glob("cache/unfinished/*/trial-*.state.npz"))

    wait_until(lambda: "export MLFLOW_TRACKING_URI" in processes.log("server"), what="a server")
    driver = drive()
    wait_until(lambda: saved() or driver.poll() is not None, what="a saved epoch")
    kill(workers.pop())
    wait_until(lambda: "trial 0" in processes.log("driver") or driver.poll() is not None, what="a trial done")
    workers.append(processes.worker(scheduler, "worker2"))
    assert driver.poll() is None, processes.log("driver")
    kill(driver)
    running = MlflowClient(server).search_runs(["1"], "attributes.status = 'RUNNING'")
    assert len(running) >= 2  # the search, and what the workers did
    assert drive().wait() == whole.wait() == 0, processes.log("driver")
    assert "done before" in processes.log("driver")
    same(server, undisturbed)
    assert not list(processes.folder.glob("cache/unfinished/*"))
