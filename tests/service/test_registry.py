"""Registering a run's final model."""

import mlflow
import pytest
from conftest import log_tiny
from mlflow.tracking import MlflowClient

from unetlab.errors import UserError
from unetlab.service.registry import register_run


def finished_run(**tags: str) -> str:
    """A setup's run as the training leaves it, with a final model."""
    info = log_tiny()
    with mlflow.start_run() as run:
        mlflow.set_tags({"setup": "tiny", "role": "search", "dataset_digest": "d1", "split_digest": "s1", **tags})
        mlflow.log_metrics({"test/native_dice": 0.875, "test/accuracy": 0.96, "test/images": 4})
        mlflow.set_tag("final_model", info.model_id)
    return run.info.run_id


def test_a_version_carries_run_scores_and_digests_and_is_champion(store):
    run_id = finished_run()
    assert register_run(run_id) == "unetlab-tiny version 1"
    version = MlflowClient().get_model_version_by_alias("unetlab-tiny", "champion")
    assert version.run_id == run_id
    assert version.tags == {
        "run_id": run_id,
        "setup": "tiny",
        "dataset_digest": "d1",
        "split_digest": "s1",
        "test/native_dice": "0.8750",
        "test/accuracy": "0.9600",
    }
    assert "Test Dice 0.8750" in version.description
    assert mlflow.pyfunc.load_model("models:/unetlab-tiny@champion").metadata.model_id


def test_the_alias_moves_to_the_run_registered_last(store):
    register_run(finished_run())
    second = finished_run()
    assert register_run(second) == "unetlab-tiny version 2"
    assert MlflowClient().get_model_version_by_alias("unetlab-tiny", "champion").run_id == second


@pytest.mark.parametrize("run_id", ["0" * 32, "../etc", "nuclei"])
def test_no_such_run(run_id, store):
    with pytest.raises(UserError, match=f"^no run {run_id} in this tracking store"):
        register_run(run_id)


def test_a_run_that_goes_on_is_refused(store):
    run_id = finished_run()
    MlflowClient().update_run(run_id, status="RUNNING")
    with pytest.raises(UserError, match="is running, not finished"):
        register_run(run_id)


def test_a_run_without_a_final_model_names_its_parent(store):
    with mlflow.start_run() as parent, mlflow.start_run(nested=True) as child:
        mlflow.set_tags({"setup": "tiny", "role": "trial"})
    expected = rf"\(role trial, child of run {parent.info.run_id}\) has no final model"
    with pytest.raises(UserError, match=expected):
        register_run(child.info.run_id)
