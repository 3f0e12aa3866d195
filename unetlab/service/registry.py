"""From a finished run to a registered model with an alias."""

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from unetlab.errors import UserError

CHAMPION = "champion"
TAGS = ("setup", "dataset", "dataset_digest", "split_digest", "git_commit")


def register(run_id: str) -> str:
    """Registers a setup run's final model as `unetlab-<setup>`, alias champion; returns "name version N".

    Raises UserError if there is no such run, it has not finished, or has no final model.
    """
    client = MlflowClient()
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        raise UserError(f"no run {run_id} in this tracking store; `make ui` lists the runs") from error
    model_id = run.data.tags.get("final_model")
    if model_id is None:
        role = run.data.tags.get("role", "unknown")
        raise UserError(
            f"run {run_id} (role {role}, {run.info.status.lower()}) has no final model; give the id of a finished "
            "top-level run of a setup"
        )
    name = f"unetlab-{run.data.tags['setup']}"
    _ensure(client, name)
    version = client.create_model_version(
        name,
        source=f"models:/{model_id}",
        run_id=run_id,
        model_id=model_id,
        tags={tag: run.data.tags[tag] for tag in TAGS if tag in run.data.tags},
        description=_describe(run.data.metrics),
    ).version
    client.set_registered_model_alias(name, CHAMPION, version)
    return f"{name} version {version}"


def _ensure(client: MlflowClient, name: str) -> None:
    try:
        client.create_registered_model(name, description="Segmentation models of unetlab; `champion` is in service.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _describe(metrics: dict[str, float]) -> str:
    return (
        f"Test Dice {metrics.get('test/native_dice', float('nan')):.4f} at native size "
        f"(95 % {metrics.get('test/native_dice_low', float('nan')):.4f} to "
        f"{metrics.get('test/native_dice_high', float('nan')):.4f}, {metrics.get('test/images', 0):.0f} images)."
    )
