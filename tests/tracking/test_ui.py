"""Which experiment is shown, and where."""

import mlflow
import pytest

from unetlab.errors import UserError
from unetlab.tracking import read, ui


@pytest.fixture
def default(store):
    """A run in MLflow's own experiment, as `mlflow run` begins it where no experiment is named."""
    with mlflow.start_run(experiment_id="0") as run:
        assert ui.open_experiment() == "0"
    return run.info.run_id


def test_the_experiment_in_which_a_run_began_last_is_shown(default, monkeypatch):
    assert ui.known_experiment() == ui.newest_experiment() == "0"
    own = ui.open_experiment()
    assert own != "0" and ui.known_experiment() == "0"  # that one is empty
    with mlflow.start_run(experiment_id=own):
        pass
    assert ui.known_experiment() == ui.newest_experiment() == own
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "Default")
    assert ui.known_experiment() == "0"


def test_comparisons_look_where_the_ui_does_and_under_mlflow_run_where_mlflow_logs(default, monkeypatch):
    client = mlflow.MlflowClient()
    own = ui.open_experiment()
    assert read._experiment_id(client, None) == ui.shown_experiment() == "0"  # that one is empty
    with mlflow.start_run(experiment_id=own):
        pass
    assert read._experiment_id(client, None) == ui.shown_experiment() == own
    monkeypatch.setenv("MLFLOW_RUN_ID", default)
    assert read._experiment_id(client, None) == "0" and read._experiment_id(client, "unetlab") == own
    monkeypatch.delenv("MLFLOW_RUN_ID")
    client.rename_experiment(own, "another")  # whatever it is called
    assert read._experiment_id(client, None) == own


def test_an_experiment_that_was_deleted_is_said_to_be_and_how_to_have_it_back(store, monkeypatch):
    client = mlflow.MlflowClient()
    own = ui.open_experiment()
    with mlflow.start_run(experiment_id=own) as run:
        pass
    client.delete_experiment(own)
    said = f"the experiment unetlab was deleted; .*mlflow experiments restore -x {own}.*MLFLOW_EXPERIMENT_NAME"
    with pytest.raises(UserError, match=said):
        ui.open_experiment()
    with monkeypatch.context() as patch, pytest.raises(UserError, match=said):
        patch.setenv("MLFLOW_RUN_ID", run.info.run_id)  # deleted after `mlflow run` began
        ui.open_experiment()
    client.restore_experiment(own)
    assert ui.open_experiment() == own


@pytest.mark.parametrize(
    ("store_of", "base"),
    [
        ("http://host:5000/", "http://host:5000"),
        ("sqlite:////tmp/it.db", "http://127.0.0.1:5001"),
        ("", "http://127.0.0.1:5001"),
    ],
)
def test_a_tracking_server_is_its_own_ui(monkeypatch, store_of, base):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store_of)
    assert ui.address(5001) == base
