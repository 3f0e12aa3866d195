"""What the MLflow UI opens with: the experiment, its description, its views."""

import json
import os
from typing import Any

from unetlab.errors import UserError
from unetlab.tracking.names import EXPERIMENT, NESTED, RANKED
from unetlab.tracking.sqlite import experiment_with, newest_with, store_file

DESCRIPTION = """U-Nets compared by unetlab. Each top-level run is a setup: it carries the scores of its final model on
the test split, and beside them the figures its source published. Unfold a run to see the trials of its search; the
Models page compares every trained model. Sort and choose by val/native_dice, validation Dice at the images' own size,
and read test/native_dice beside it for what the choice is worth: who chooses by test scores chooses luck too, and
accuracy flatters a model that finds little."""

RANKED_BY = "val/native_dice"
"""What the run table and the experiment's primary metric rank by: a choice must not look at the test split."""

COLUMNS = [
    "metrics.`published/val_accuracy`",
    "metrics.`test/native_dice`",
    "metrics.`val/accuracy`",
    "metrics.`val/native_dice`",
    "tags.`health`",
]
"""The UI sorts them by name, whatever order is given here, and at 1,600 pixels shows four before one has to scroll."""


def shown_experiment() -> str:
    """The id of the experiment to be shown: the one that MLFLOW_EXPERIMENT_NAME says; where that is not set, the one in
    which a run began last; else the one that runs will go to."""
    newest = None if "MLFLOW_EXPERIMENT_NAME" in os.environ or store_file() else newest_experiment()
    return known_experiment() or newest or open_experiment()


def known_experiment() -> str | None:
    """The id of the experiment to be shown if it lies in an SQLite file and `open_experiment` has described it, without
    MLflow, which takes seconds to import; else None. Nothing is opened for logging.

    It is the one that MLFLOW_EXPERIMENT_NAME says; where that is not set, the one in which a run began last, since
    `mlflow run` then logs to MLflow's "Default" and other commands to "unetlab".
    """
    path = None if "MLFLOW_RUN_ID" in os.environ else store_file()
    if path is None:
        return None
    newest = None if "MLFLOW_EXPERIMENT_NAME" in os.environ else newest_with(path, _tags())
    return newest or experiment_with(path, experiment_name(), _tags())


def newest_experiment() -> str | None:
    """The id of the described experiment in which a run began last, in any store; None where there is none."""
    from unetlab.tracking import store

    client = store.client()
    mark = "mlflow.experiment.primaryMetric.name"
    described = client.search_experiments(filter_string=f"tags.`{mark}` = '{RANKED_BY}'")
    newest: dict[str, int] = {}
    for each in described:
        for run in client.search_runs([each.experiment_id], max_results=1, order_by=["attributes.start_time DESC"]):
            newest[each.experiment_id] = run.info.start_time
    return max(newest, key=lambda name: newest[name]) if newest else None


def open_experiment() -> str:
    """Creates or finds the experiment, describes it and stores the run table's view; returns its id.

    It is that of the active run, if there is one; under `mlflow run` the one MLflow chose; otherwise
    MLFLOW_EXPERIMENT_NAME or "unetlab".

    Raises UserError if the tracking store cannot be opened or reached, or the experiment was deleted.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    from unetlab.tracking import store

    store.make_whole()
    client, experiment_id = store.client(), ""
    try:
        active = mlflow.active_run()
        if active is not None:
            experiment_id = active.info.experiment_id
        elif "MLFLOW_RUN_ID" in os.environ:
            experiment_id = client.get_run(os.environ["MLFLOW_RUN_ID"]).info.experiment_id
        else:
            experiment_id = mlflow.set_experiment(experiment_name()).experiment_id
        for key, value in _tags().items():
            client.set_experiment_tag(experiment_id, key, value)
    except MlflowException as error:
        if error.error_code == "INVALID_PARAMETER_VALUE":  # which a store that is away does not say
            _refuse_deleted(client, experiment_id)
        raise UserError(
            f"the tracking store {mlflow.get_tracking_uri()} does not answer: {str(error).splitlines()[0][:200]}; "
            "start it, or set MLFLOW_TRACKING_URI"
        ) from error
    return experiment_id


def _refuse_deleted(client: Any, experiment_id: str) -> None:
    """Raises UserError if the experiment of this id, or where it is "" the one that runs would go to, was deleted."""
    named = client.get_experiment(experiment_id) if experiment_id else client.get_experiment_by_name(experiment_name())
    if named is not None and named.lifecycle_stage == "deleted":
        raise UserError(
            f"the experiment {named.name} was deleted; restore it by `mlflow experiments restore -x "
            f"{named.experiment_id}`, or set MLFLOW_EXPERIMENT_NAME to another"
        )


def experiment_name() -> str:
    """Of the runs of commands that MLflow did not start: MLFLOW_EXPERIMENT_NAME, or "unetlab"."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)


def _tags() -> dict[str, str]:
    """What the UI shows of the experiment and opens it with."""
    return {
        "mlflow.note.content": DESCRIPTION,
        "mlflow.experiment.primaryMetric.name": RANKED_BY,
        "mlflow.experiment.primaryMetric.greaterIsBetter": "True",
        **{f"mlflow.sharedViewState.{view}": json.dumps(state) for view, state in _views().items()},
    }


def _views() -> dict[str, dict[str, Any]]:
    common = {"selectedColumns": COLUMNS, "orderByAsc": False, "runsExpanded": {}}
    return {
        RANKED: {**common, "orderByKey": f"metrics.`{RANKED_BY}`", "searchFilter": "tags.role = 'search'"},
        NESTED: {**common, "orderByKey": "attributes.start_time"},
    }


def server() -> str:
    """The tracking server that the environment names, which is its own UI; "" where it names none."""
    store = os.environ.get("MLFLOW_TRACKING_URI", "")
    return store.rstrip("/") if store.startswith("http") else ""


def address(port: int = 5000) -> str:
    """Where the UI is: the tracking server itself, or what `unetlab ui` starts on this machine."""
    return server() or f"http://127.0.0.1:{port}"


def table_address(experiment_id: str, base: str, view: str = RANKED) -> str:
    """The page of the MLflow UI at `base` that opens the run table: Dice of validation and test, published figures."""
    return f"{base}/#/experiments/{experiment_id}/runs?viewStateShareKey={view}&workflowType=machine_learning"
