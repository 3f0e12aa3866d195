"""From a run to a registered model with an alias."""

from collections.abc import Mapping

from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from unetlab.errors import UserError

CHAMPION = "champion"
TAGS = ("setup", "dataset", "dataset_digest", "split_digest", "git_commit")
SCORES = ("test/native_dice", "test/dice", "test/accuracy")


def register_run(run_id: str) -> str:
    """Registers the final model of a finished setup run, as `register` does.

    Raises UserError if there is no such run, it has not finished, or has no final model.
    """
    run = _run(run_id)
    if run.info.status != "FINISHED":
        raise UserError(f"run {run_id} is {run.info.status.lower()}, not finished; give the id of a run that is")
    return register(run_id)


def register(run_id: str) -> str:
    """Registers a setup run's final model as `unetlab-<setup>`, alias champion; returns "name version N".

    The version carries the run, the digests of data and split, and the test scores. The run may still be going on, so
    that it can register its own model.

    Raises UserError if there is no such run or it has no final model.
    """
    run = _run(run_id)
    model_id = run.data.tags.get("final_model")
    if model_id is None:
        raise UserError(f"run {run_id} ({_role(run)}) has no final model; give the id of a setup's top-level run")
    client = MlflowClient()
    name = f"unetlab-{run.data.tags['setup']}"
    _ensure(client, name)
    version = client.create_model_version(
        name,
        source=f"models:/{model_id}",
        run_id=run_id,
        model_id=model_id,
        tags=_tags(run),
        description=_describe(run.data.metrics),
    ).version
    client.set_registered_model_alias(name, CHAMPION, version)
    return f"{name} version {version}"


def _run(run_id: str) -> Run:
    try:
        return MlflowClient().get_run(run_id)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise UserError(f"no run {run_id} in this tracking store; `make ui` lists the runs") from error
        reason = str(error).splitlines()[0][:200]
        raise UserError(
            f"the tracking store does not answer: {reason}; start it, or set MLFLOW_TRACKING_URI"
        ) from error


def _role(run: Run) -> str:
    role = f"role {run.data.tags.get('role', 'unknown')}"
    parent = run.data.tags.get("mlflow.parentRunId")
    return role if parent is None else f"{role}, child of run {parent}"


def _ensure(client: MlflowClient, name: str) -> None:
    try:
        client.create_registered_model(name, description="Segmentation models of unetlab; `champion` is in service.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _tags(run: Run) -> dict[str, str]:
    """What a version says of itself without a look at its run: run, data, split, commit, test scores."""
    kept = {tag: run.data.tags[tag] for tag in TAGS if tag in run.data.tags}
    scores = {key: f"{run.data.metrics[key]:.4f}" for key in SCORES if key in run.data.metrics}
    return {"run_id": run.info.run_id, **kept, **scores}


def _describe(metrics: Mapping[str, float]) -> str:
    return (
        f"Test Dice {metrics.get('test/native_dice', float('nan')):.4f} at native size "
        f"(95 % {metrics.get('test/native_dice_low', float('nan')):.4f} to "
        f"{metrics.get('test/native_dice_high', float('nan')):.4f}, {metrics.get('test/images', 0):.0f} images)."
    )
