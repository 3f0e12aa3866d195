"""A whole run of `nuclei` as published beside what its source does, plain Keras: how much longer is the wait?

    python -m benchmarks.whole_run --data dsb2018 --repeats 5

Each is a process of its own, in turn, on the same split, encoder weights and epochs, with decoded images at hand: ours
in its cache, plain Keras as one file of float32 at the network's size. Plain Keras trains with NumPy arrays in
`model.fit` in its default settings, keeps the model and has the Dice of the test images at the network's size. Ours
(`unetlab nuclei --trials 1`) does so too, and besides scores them at native size and beside its rivals, draws, packs
the model to be served, and logs all of it. Prints wall seconds, their ratio by pairs, and the Dice of both.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import mlflow
import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmarks.log import logged
from benchmarks.scoring import spread
from experiments import load_setup
from unetlab.cli.base import OneLineErrors
from unetlab.data import open_dataset
from unetlab.data.check import check
from unetlab.data.split import split
from unetlab.errors import UserError

PLAIN = """
import json, sys
import keras
import numpy as np
from experiments import load_setup
from unetlab.models import NETWORKS

arrays, weights, model_file, epochs = np.load(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3], int(sys.argv[4])
recipe = load_setup("nuclei").recipe
keras.utils.set_random_seed(0)
shape = (recipe.image_size, recipe.image_size, recipe.channels)
# a frozen random encoder is worthless, so without weights it is trained, as in unetlab
told = {**recipe.model, "train_encoder": recipe.model["train_encoder"] or weights is None}
model = NETWORKS["mobilenet"].build(input_shape=shape, weights=weights, **told)
model.compile(keras.optimizers.Adam(recipe.learning_rate), "binary_crossentropy", metrics=["accuracy"])
model.fit(
    arrays["train_x"], arrays["train_y"], batch_size=recipe.batch_size, epochs=epochs, verbose=0,
    validation_data=(arrays["val_x"], arrays["val_y"]),
)
model.save(model_file)
found, true = model.predict(arrays["test_x"], verbose=0) > 0.5, arrays["test_y"] > 0.5
both, either = (found & true).sum((1, 2, 3)), found.sum((1, 2, 3)) + true.sum((1, 2, 3))
print(float(np.mean(np.where(either > 0, 2 * both / np.maximum(either, 1), 1.0))))
"""
"""What a notebook does, as a script."""


def prepared(data: str, folder: Path) -> Path:
    """Images and masks of the split of seed 0 at the network's size, float32 in [0, 1], in a file; fills the cache."""
    recipe, dataset = load_setup("nuclei").recipe, open_dataset(data)
    card = check(dataset)
    sides = split(dataset.ids, card.groups, card.modality, seed=0)
    fitted, arrays = dataset.fitted(recipe), {}
    for name, rows in (("train", sides.train), ("val", sides.validation), ("test", sides.test)):
        arrays[f"{name}_x"] = np.stack([fitted.images[int(row)] for row in rows]).astype(np.float32) / 255
        arrays[f"{name}_y"] = np.stack([fitted.masks[int(row)] for row in rows]).astype(np.float32)
    np.savez(folder / "arrays.npz", **arrays)  # type: ignore[arg-type]  # its stub takes allow_pickle for an array
    return folder / "arrays.npz"


def seconds_of(command: list[str], told: dict[str, str], folder: Path) -> tuple[float, str]:
    """Wall seconds of a process in a folder and what it printed. Raises UserError if it fails."""
    began = time.perf_counter()
    paths = os.pathsep.join([str(Path.cwd()), *filter(None, sys.path)])
    told = {**os.environ, "PYTHONPATH": paths, **told}
    done = subprocess.run([sys.executable, *command], env=told, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"{' '.join(command)[:80]} ended with {done.returncode}: {done.stderr[-500:]}")
    return time.perf_counter() - began, done.stdout


def plain(arrays: Path, weights: str | None, epochs: int, folder: Path) -> dict[str, float]:
    """One run of plain Keras."""
    words = ["-c", PLAIN, str(arrays), json.dumps(weights), str(folder / "plain.keras"), str(epochs)]
    seconds, said = seconds_of(words, {}, folder)
    return {"seconds": seconds, "dice": float(said.split()[-1])}


def ours(data: str, weights: str | None, epochs: int, folder: Path) -> dict[str, float]:
    """One run of ours in a store of its own."""
    store = Path(tempfile.mkdtemp(dir=folder))  # which its models go into as well
    address = f"sqlite:///{store}/mlflow.db"
    words = ["-m", "unetlab", "nuclei", "--data", data, "--trials", "1", "--epochs", str(epochs), "--fresh", "true"]
    words += ["--encoder-weights", weights or "none"]
    seconds, _ = seconds_of(words, {"MLFLOW_TRACKING_URI": address}, store)
    client = mlflow.MlflowClient(address)
    found = client.search_runs([each.experiment_id for each in client.search_experiments()])
    scores = next(run.data.metrics for run in found if "test/dice" in run.data.metrics)
    return {"seconds": seconds, "dice": scores["test/dice"]}


def compared(data: str, encoder_weights: str | None, epochs: int, repeats: int) -> pd.DataFrame:
    """Columns way, repeat, seconds and dice of both ways in turn, each in a folder of its own."""
    data = str(Path(data).absolute()) if Path(data).exists() else data
    weights, rows = encoder_weights and str(Path(encoder_weights).absolute()), []
    with tempfile.TemporaryDirectory(prefix="unetlab-whole-") as name:
        folder = Path(name)
        arrays = prepared(data, folder)
        for repeat in range(repeats):
            rows.append({"way": "plain Keras", "repeat": repeat, **plain(arrays, weights, epochs, folder)})
            rows.append({"way": "ours", "repeat": repeat, **ours(data, weights, epochs, folder)})
    return pd.DataFrame(rows)


def faster(frame: pd.DataFrame) -> list[float]:
    """How many times as fast ours is, a number a repeat."""
    wide = frame.pivot(index="repeat", columns="way", values="seconds")
    return list(wide["plain Keras"] / wide["ours"])


@click.command(cls=OneLineErrors)
@click.option("--data", default="synthetic", show_default=True, help="Images with masks.")
@click.option("--encoder-weights", help="A file of weights of MobileNetV2; without it, random ones.")
@click.option("--epochs", type=click.IntRange(1), default=10, show_default=True, help="10: as published.")
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True)
def main(data: str, encoder_weights: str | None, epochs: int, repeats: int) -> None:
    """Prints a table and logs it to MLflow."""
    frame = compared(data, encoder_weights, epochs, repeats)
    table = Table("way", "s, whole run", "Dice of the test images", title=f"nuclei, {epochs} epochs, {repeats} repeats")
    for way, part in frame.groupby("way", sort=False):
        table.add_row(str(way), spread(list(part["seconds"])), spread(list(part["dice"]), 4))
    ratios = faster(frame)
    Console().print(table)
    Console().print(f"ours is {spread(ratios, 2)} times as fast; 3 is asked", highlight=False)
    with logged("whole run"):
        mlflow.log_params({"data": data, "epochs": epochs, "repeats": repeats})
        mlflow.log_metric("faster", float(np.median(ratios)))
        mlflow.log_text(frame.to_csv(index=False), "whole_run.csv")


if __name__ == "__main__":
    main()
