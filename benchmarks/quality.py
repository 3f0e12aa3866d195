"""Does what makes training faster cost quality? Each speed-up, with it and without, on the same splits and epochs.

    python -m benchmarks.quality --data dsb2018 --setup nuclei --seeds 3

Trains a setup's recipe as it is, and again without one speed-up at a time: in float32 in place of bfloat16, by Keras'
Adam in place of that of one operation a weight, and, where the recipe has them, with all layers of the encoder learning
(`frozen_skips=0`) and with moments that follow to the end (`held=0`); where it holds none, which the fused layers of
`training.fused` do, by Keras' own layers in place of these, dropout among them.
Prints Dice on the test images of all seeds with the paired difference to the recipe as it is, its 95 % interval
over scenes of all splits, and minutes; logs the table to MLflow. Each training is a run of its own there.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import click
import keras
import mlflow
import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmarks.classes import train
from benchmarks.log import logged
from experiments import SETUPS
from unetlab.cli.base import OneLineErrors
from unetlab.data import open_dataset
from unetlab.data.check import check
from unetlab.metrics.intervals import paired_interval
from unetlab.options import Options
from unetlab.setup import Setup
from unetlab.training import fit, traced

AS_IT_IS = "as it is"

COST = 0.005
"""Dice that a speed-up may cost: the whole interval of the difference has to lie above it."""


LONG = 89.0
"""Minutes that cut no training off, and are too few for a search."""


def by_keras(model: keras.Model) -> keras.Model:
    """The network as it was built, in place of `fused`."""
    return model


def variants(setup: Setup) -> dict[str, Callable[[Setup, Options], Any]]:
    """By name a training of the setup with everything, and without one speed-up each that it has."""

    def with_other(name: str, other: Any) -> Callable[[Setup, Options], Any]:
        def run(one: Setup, told: Options) -> Any:
            known = getattr(fit, name)
            setattr(fit, name, other)
            traced.forget()  # what was trained before has ours
            try:
                return train(one, told)
            finally:
                setattr(fit, name, known)
                traced.forget()

        return run

    def changed(**values: Any) -> Callable[[Setup, Options], Any]:
        return lambda one, told: train(replace(one, recipe=one.recipe.changed(values)), told)

    found: dict[str, Callable[[Setup, Options], Any]] = {
        AS_IT_IS: train,
        "float32": lambda one, told: train(one, replace(told, precision="float32")),
        "Keras' own Adam": with_other("OnePassAdam", keras.optimizers.Adam),
    }
    if not setup.recipe.held:
        found["Keras' own layers"] = with_other("fused", by_keras)
    if setup.recipe.model.get("frozen_skips"):
        found["the whole encoder learns"] = changed(frozen_skips=0)
    if setup.recipe.held:
        found["moments follow to the end"] = changed(held=0.0)
    return found


def compared(found: dict[str, list[tuple[dict[str, float], pd.DataFrame]]]) -> pd.DataFrame:
    """A row a variant: its Dice over the test images of all seeds, minutes a training, and what the recipe as it is has
    more, with its interval over scenes; the images of a scene count together, in whichever splits they are tested."""
    first = pd.concat([table.assign(seed=seed) for seed, (_, table) in enumerate(found[AS_IT_IS])])
    scenes = pd.factorize(first["scene"].astype(str))[0]
    rows: list[dict[str, Any]] = []
    for name, trained in found.items():
        mine = pd.concat([table.reindex(first.index[first["seed"] == k]) for k, (_, table) in enumerate(trained)])
        minutes = float(np.mean([figures["minutes"] for figures, _ in trained]))
        row = {"training": name, "native_dice": float(mine["native_dice"].mean()), "minutes": minutes}
        if name != AS_IT_IS:
            gain = paired_interval(first["native_dice"].to_numpy(), mine["native_dice"].to_numpy(), scenes)
            row |= {"difference": gain.mean, "low": gain.low, "high": gain.high}
        rows.append(row)
    return pd.DataFrame(rows)


def holds(row: Any) -> bool:
    """Whether a speed-up is shown to be free: that it costs more than COST is ruled out."""
    return bool(row["low"] >= -COST)


@click.command(cls=OneLineErrors)
@click.option("--data", default="synthetic", show_default=True, help="Images with masks.")
@click.option("--setup", "name", type=click.Choice(sorted(SETUPS)), default="nuclei", show_default=True)
@click.option("--epochs", type=click.IntRange(1), help="In place of the setup's own.")
@click.option("--encoder-weights", default="auto", show_default=True, help="As the setups take them.")
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="Splits, each with its weights.")
def main(data: str, name: str, epochs: int | None, encoder_weights: str, seeds: int) -> None:
    """Prints a table and logs it to MLflow."""
    os.environ["UNETLAB_ONE_PROCESS"] = "1"  # what is changed for a while here is not in another process
    setup = replace(SETUPS[name], on_twin={}, space=lambda hp, recipe: None)
    told = Options(
        data=data,
        models="best",
        precision="bfloat16",
        encoder_weights=encoder_weights,
        epochs=epochs or setup.recipe.epochs,
        minutes=LONG if setup.adapts else 0.0,
        split=str(setup.defaults.get("split", Options.split)),
    )
    check(open_dataset(data))  # or the first training would pay for decoding and scenes
    ways = variants(setup)
    found: dict[str, list[Any]] = {way: [] for way in ways}
    for seed in range(seeds):
        for way in list(ways)[:: 1 - 2 * (seed % 2)]:
            found[way].append(ways[way](setup, replace(told, seed=seed)))
    table = compared(found)
    images = sum(len(each) for _, each in found[AS_IT_IS])
    shown = Table("training", "Dice", "as it is less this [95 %]", "min, whole run")
    shown.title = f"{name}: {images} test images"
    for row in table.to_dict("records"):
        gain = (
            "" if row["training"] == AS_IT_IS else f"{row['difference']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]"
        )
        shown.add_row(row["training"], f"{row['native_dice']:.4f}", gain, f"{row['minutes']:.1f}")
    Console().print(shown)
    unsure = [row["training"] for row in table.to_dict("records")[1:] if not holds(row)]
    Console().print(f"may cost more than {COST:g} Dice: {', '.join(unsure)}" if unsure else f"none costs {COST:g} Dice")
    with logged("quality"):
        mlflow.log_params({"data": data, "setup": name, "epochs": told.epochs, "seeds": seeds})
        mlflow.log_text(table.to_csv(index=False), "quality.csv")


if __name__ == "__main__":
    main()
