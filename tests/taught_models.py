"""Models of a moment's making, with a run that says what they have seen."""

import shutil
from pathlib import Path

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


def with_split(data, sides: str = "train", **changes) -> str:
    """A model whose setup run says on which side of its split each image of a folder was: `sides` has a word each, over
    and over again, two images a scene. Its own run is a child of that."""
    dataset, words = open_dataset(str(data)), sides.split()
    side = [words[i % len(words)] for i in range(len(dataset))]
    table = pd.DataFrame({"id": dataset.ids, "side": side, "group": [i // 2 for i in range(len(dataset))]})
    with mlflow.start_run(tags={"setup": "nuclei", "role": "search", "dataset_digest": dataset.digest}):
        mlflow.log_params({"data": str(data), "seed": 0, "twin_seed": None})
        mlflow.log_text(table.assign(sha=dataset.sha).to_csv(index=False), "split.csv")
        return tiny(nested=True, **changes)


def of_before(address: str, folder: Path) -> str:
    """A copy of a logged model, as a version of unetlab logged it in which percentiles are 20 and 80, and a mask of
    anything is one object."""
    copy = Path(shutil.copytree(mlflow.artifacts.download_artifacts(address), folder / "before"))
    (own,) = copy.rglob("unetlab_served")
    with (own / "images" / "geometry.py").open("a") as file:
        file.write("\nPERCENTILES = (20.0, 80.0)\n")
    with (own / "inference" / "predict.py").open("a") as file:
        file.write("\ndef objects_at(mask, head, probability, recipe):\n    return mask.astype(np.int32)\n")
    return str(copy)
