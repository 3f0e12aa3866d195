"""What a network that tells classes apart finds, beside one that takes all of them for one foreground.

    python -m benchmarks.classes --data kitchen --image-size 256 --epochs 20 --seeds 3

Trains a setup's recipe on each split twice, with masks=classes and with masks=binary: the same images, scenes and
epochs. Prints Dice at native size of each class and of their union for either, the paired difference of the union with
its interval over scenes, and minutes; logs the table to MLflow. Each training is a run of its own there.
"""

import time
from dataclasses import replace
from typing import Any

import click
import mlflow
import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmarks.log import logged
from experiments import SETUPS
from unetlab.cli.base import OneLineErrors
from unetlab.jobs.run import run_setup
from unetlab.metrics.intervals import paired_interval
from unetlab.options import Options
from unetlab.setup import Setup
from unetlab.tracking import read

ONE_MASK = "one mask"


def train(setup: Setup, told: Options) -> tuple[dict[str, float], pd.DataFrame]:
    """One training: its figures, with minutes, and its scores by image with the scene of each."""
    started = time.perf_counter()
    done = run_setup(setup, told)
    minutes = (time.perf_counter() - started) / 60
    record = read.record(mlflow.get_run(done.run_id))
    table, scenes = read.table(record), read.scenes(record)
    assert table is not None  # the run has just finished
    table["scene"] = table["id"].map(scenes)
    return {**done.figures, "minutes": minutes}, table.set_index("id")


def beside(setup: Setup, told: Options) -> list[dict[str, Any]]:
    """Both trainings of a seed as rows of the table."""
    several, of_classes = train(setup, replace(told, masks="classes"))
    one, of_mask = train(setup, replace(told, masks="binary"))
    prefix = "test/native_dice/"
    names = [key for key in several if key.startswith(prefix)]
    union = of_classes["union_native_dice"]
    gain = paired_interval(union, of_mask["native_dice"].reindex(union.index), np.asarray(of_classes["scene"]))
    shared = {"seed": told.seed, "images": len(union), "scenes": of_classes["scene"].nunique()}
    first: dict[str, Any] = {"learnt": "classes", "mean over images": several["test/native_dice"]}
    first |= {name.removeprefix(prefix): several[name] for name in names}
    first |= {"union": several["test/union_native_dice"], "minutes": several["minutes"]}
    first |= {"union, difference": gain.mean, "low": gain.low, "high": gain.high}
    return [
        {**shared, **first},
        {**shared, "learnt": ONE_MASK, "union": one["test/native_dice"], "minutes": one["minutes"]},
    ]


@click.command(cls=OneLineErrors)
@click.option("--data", default="synthetic-mitoses", show_default=True, help="Images whose masks have several classes.")
@click.option("--setup", "name", type=click.Choice(sorted(SETUPS)), default="nuclei-scratch", show_default=True)
@click.option("--image-size", type=int, help="In place of the setup's own.")
@click.option("--epochs", type=click.IntRange(1), help="In place of the setup's own.")
@click.option("--encoder-weights", default="auto", show_default=True, help="As the setups take them.")
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="Splits, each with its weights.")
def main(data: str, name: str, image_size: int | None, epochs: int | None, encoder_weights: str, seeds: int) -> None:
    """Prints a table and logs it to MLflow."""
    recipe = SETUPS[name].recipe.changed({"image_size": image_size} if image_size else {})
    # one training has no space to search, and a size of its own need be none of its choices
    setup, rows = replace(SETUPS[name], recipe=recipe, on_twin={}, space=lambda hp, recipe: None), []
    told = Options(data=data, epochs=epochs or 0, models="best", encoder_weights=encoder_weights)
    for seed in range(seeds):
        rows += beside(setup, replace(told, seed=seed))
    table = pd.DataFrame(rows)
    shown = Table(
        *table.columns, title=f"{name} on {data}, {epochs or recipe.epochs} epochs at {recipe.image_size} pixels: Dice"
    )
    for row in table.itertuples(index=False):
        texts = (f"{value:.4g}" if isinstance(value, float) else str(value) for value in row)
        shown.add_row(*("" if text == "nan" else text for text in texts))
    Console(width=200).print(shown)
    means = table.groupby("learnt").mean(numeric_only=True).drop(columns=["seed", "low", "high"], errors="ignore")
    Console(width=200).print(means.round(4).to_string())
    with logged("classes"):
        mlflow.log_params({"data": data, "setup": name, "image_size": recipe.image_size})
        mlflow.log_param("epochs", epochs or recipe.epochs)
        mlflow.log_text(table.to_csv(index=False), "classes.csv")


if __name__ == "__main__":
    main()
