"""Which model to show where nobody named one."""

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from unetlab.errors import UserError
from unetlab.service.registry import CHAMPION, registered
from unetlab.tracking import store
from unetlab.tracking.store import sqlite_file


def standing() -> str:
    """The address of the champion that was registered last; without any, of the newest run's final model.

    Raises UserError where there is no model yet, and where the store does not answer.
    """
    uri = mlflow.get_tracking_uri()
    file = sqlite_file(uri)
    none = f"there is no model in {uri} yet; `make nuclei` trains one, or model= names one"
    if file is not None and not file.exists():  # a look would make it
        raise UserError(none)
    client = store.client()
    try:
        found = _champion(client) or _newest(client)
    except MlflowException as error:
        reason = str(error).splitlines()[0][:200]
        raise UserError(f"the tracking store {uri} does not answer ({reason}); start it, or name a model=") from error
    if found is None:
        raise UserError(none)
    return found


def _champion(client: MlflowClient) -> str | None:
    ours = [each for each in registered(client) if CHAMPION in each.aliases]
    versions = [client.get_model_version(each.name, each.aliases[CHAMPION]) for each in ours]
    if not versions:
        return None
    return f"models:/{max(versions, key=lambda each: each.creation_timestamp).name}@{CHAMPION}"


def _newest(client: MlflowClient) -> str | None:
    """Of a setup's run that has finished."""
    experiments = [each.experiment_id for each in client.search_experiments()]
    runs = client.search_runs(
        experiments,
        "tags.role = 'search' and attributes.status = 'FINISHED'",
        max_results=100,
        order_by=["attributes.start_time DESC"],
    )
    return next((f"models:/{run.data.tags['final_model']}" for run in runs if "final_model" in run.data.tags), None)
