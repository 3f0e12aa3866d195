"""A setup whose training takes a second, and what its runs hold."""

import io

from mlflow.tracking import MlflowClient
from rich.console import Console

from unetlab.setup import Recipe, Setup

RECIPE = Recipe(image_size=32, channels=1, epochs=2, batch_size=4, learning_rate=1e-2, model={"filters": 2, "depth": 2})


def space_of_three(hp, recipe):
    hp.Choice("image_size", [32, 64], default=recipe.image_size)
    hp.Float("learning_rate", 1e-3, 3e-2, sampling="log", default=recipe.learning_rate)
    hp.Choice("loss", ["bce", "dice"], default=recipe.loss)


TINY = Setup(name="tiny", network="scratch", recipe=RECIPE, space=space_of_three, published={"val_accuracy": 0.9})
QUIET = Console(file=io.StringIO())
ALL = {"dice", "iou", "accuracy", "precision", "recall", "f1", "boundary_f1", "auc", "ece"} | {
    "native_dice",
    "native_iou",
    "ap50",
    "ap_dsb",
    "count_error",
}


def children_of(run_id: str) -> list:
    client = MlflowClient()
    experiment = client.get_run(run_id).info.experiment_id
    return client.search_runs([experiment], f"tags.mlflow.parentRunId = '{run_id}'", order_by=["start_time ASC"])


def final_of(run_id: str):
    """The one child of a run that is its final model."""
    (final,) = (child for child in children_of(run_id) if child.data.tags["role"] == "final")
    return final
