"""Models of a moment's making, with a run that says what they have seen."""

import mlflow
import pandas as pd
from conftest import log_tiny

from unetlab.data import open_dataset


def tiny(**changes) -> str:
    return f"models:/{log_tiny(**changes).model_id}"


def taught(data, side: str = "train", **changes) -> str:
    """A model whose setup run says that it saw all images of a folder on one side; its own run is a child of that."""
    dataset = open_dataset(str(data))
    sides = pd.DataFrame({"id": dataset.ids, "side": side, "group": range(len(dataset)), "sha": dataset.sha})
    with mlflow.start_run(tags={"setup": "nuclei", "role": "search", "dataset_digest": dataset.digest}):
        mlflow.log_text(sides.to_csv(index=False), "split.csv")
        return tiny(nested=True, **changes)
