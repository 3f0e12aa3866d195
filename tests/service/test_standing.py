"""Which model is shown where nobody named one."""

import mlflow
import pytest
from conftest import log_tiny

from unetlab.errors import UserError
from unetlab.service.registry import rollback
from unetlab.service.standing import standing
from unetlab.tracking import store as stores


def finished(model_id, **tags):
    with mlflow.start_run(tags={"role": "search", "final_model": model_id, **tags}):
        pass


def test_without_any_the_line_says_how_to_get_one_and_makes_no_store(store, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="there is no model in .* yet; `make nuclei` trains one"):
        standing()
    missing = tmp_path / "missing.db"
    mlflow.set_tracking_uri(f"sqlite:///{missing}")
    with pytest.raises(UserError, match="there is no model in"):
        standing()
    assert not missing.exists() and stores.sqlite_file(mlflow.get_tracking_uri()) == missing


def test_a_champion_is_found_among_many_models_of_others(store):
    client, model = mlflow.MlflowClient(), log_tiny()
    for name in (*(f"a{k:03d}" for k in range(120)), *(f"unetlab-{k:03d}" for k in range(110))):
        client.create_registered_model(name)
    client.create_model_version("unetlab-109", model.model_uri, model_id=model.model_id)
    client.set_registered_model_alias("unetlab-109", "champion", "1")
    assert standing() == "models:/unetlab-109@champion"
    with pytest.raises(UserError, match="no registered model 'unetlab-x'; there are: unetlab-000, .*unetlab-109$"):
        rollback("unetlab-x")


def test_a_champion_goes_before_the_newest_run_and_that_before_nothing(store):
    finished("m-first")
    finished("m-second")
    finished("m-trial", role="trial")
    with pytest.raises(RuntimeError), mlflow.start_run(tags={"role": "search", "final_model": "m-failed"}):
        raise RuntimeError
    assert standing() == "models:/m-second"

    client, model = mlflow.MlflowClient(), log_tiny()
    for name in ("unetlab-b", "unetlab-a", "others"):
        client.create_registered_model(name)
        client.create_model_version(name, model.model_uri, model_id=model.model_id)
    assert standing() == "models:/m-second"  # nobody is champion
    for name in ("unetlab-b", "others"):
        client.set_registered_model_alias(name, "champion", "1")
    assert standing() == "models:/unetlab-b@champion"
    client.set_registered_model_alias("unetlab-a", "champion", "1")
    assert standing() == "models:/unetlab-a@champion"  # registered later
