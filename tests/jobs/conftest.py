"""One finished search, for all tests that look at what it left."""

import shutil
from pathlib import Path

import mlflow
import pytest
from conftest import write_pairs
from tiny_setup import QUIET, TINY

from unetlab.jobs.run import Summary, run_setup
from unetlab.options import Options
from unetlab.training import callbacks, fit


def _at(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Turns MLflow to the store of a folder, and away from experiments and runs that earlier tests have set."""
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"):
        patch.delenv(name, raising=False)
    patch.setattr("mlflow.tracking.fluent._active_experiment_id", None)
    patch.chdir(folder)
    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")


@pytest.fixture(scope="session")
def search(tmp_path_factory, migrated) -> tuple[Summary, Path]:
    """A finished search of three trials of which one fails, and the folder of its store; trained once."""
    folder = tmp_path_factory.mktemp("searched")
    shutil.copy(migrated, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        before = mlflow.get_tracking_uri()
        _at(folder, patch)
        real, calls = fit.fit, []

        def fails_once(*args, **kwargs):
            calls.append(args[1])
            if len(calls) == 2:
                raise callbacks.TrainingFailed("the loss became nan in epoch 1, step 2")
            return real(*args, **kwargs)

        patch.setattr(fit, "fit", fails_once)
        data = write_pairs(folder / "cells", n=24)
        summary = run_setup(TINY, Options(data=str(data), trials=3, seed=1, precision="float32"), QUIET)
        mlflow.set_tracking_uri(before)
    return summary, folder


@pytest.fixture
def searched(search, monkeypatch) -> Summary:
    """The finished search, in its own store."""
    summary, folder = search
    _at(folder, monkeypatch)
    yield summary
    mlflow.set_tracking_uri(None)
