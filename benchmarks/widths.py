"""Would the filters of the original U-Net do better on membranes? The source of `drosophila` wished to know.

    python -m benchmarks.widths --data isbi2012 --image-size 256 --epochs 6 --seeds 3

Trains the recipe of `drosophila` with every filter count divided by 8, 4, 2 and 1, each with the same seeds, and a
cosine schedule for all, since a constant rate leaves the last epoch to chance. Prints a row a width, the mean of the
seeds with their least and most, and logs a row a training to MLflow; each is a run of its own there, which `compare`
reads. The full width multiplies some 64 times as often as the narrowest.
"""

import time
from dataclasses import replace

import click
import mlflow
import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmarks.log import logged
from experiments.drosophila import DIVISORS, FULL_WIDTH, SETUP
from unetlab.cli.base import OneLineErrors
from unetlab.jobs.run import run_setup
from unetlab.models import NETWORKS
from unetlab.options import Options

SCORES = (
    "val/accuracy",
    "test/accuracy",
    "test/native_dice",
    "test/native_v_rand",
    "test/native_v_info",
    "test/images",
)


def train_width(divisor: int, data: str, image_size: int, epochs: int, seed: int) -> dict[str, float]:
    """Trains and tests the recipe with every filter count of the original divided by `divisor`; a row of the table."""
    filters = FULL_WIDTH // divisor
    recipe = SETUP.recipe.changed({"filters": filters, "image_size": image_size, "schedule": "cosine"})
    setup = replace(
        SETUP, name=f"drosophila-{filters}-filters", recipe=recipe, space=lambda hp, recipe: None, on_twin={}
    )
    started = time.perf_counter()
    summary = run_setup(setup, Options(data=data, trials=1, epochs=epochs, seed=seed, models="best", split="blocks"))
    minutes = (time.perf_counter() - started) / 60
    return {"seed": seed, "divisor": divisor, "filters": filters, "minutes": minutes} | {
        name: summary.figures[name] for name in SCORES
    }


def shown(rows: pd.DataFrame, title: str) -> Table:
    """A row a width: mean, and least to most where there are several seeds."""
    *figures, _ = SCORES
    table = Table("filters", "min", title=title)
    for name in figures:
        table.add_column(name.replace("/", " ").replace("_", " "), min_width=8)  # breaks at a space
    for filters, own in rows.groupby("filters"):
        cells = [f"{own[name].mean():.4f}" for name in figures]
        if len(own) > 1:
            cells = [
                f"{cell} ({own[name].min():.3f} to {own[name].max():.3f})"
                for cell, name in zip(cells, figures, strict=True)
            ]
        table.add_row(f"{filters} to {16 * filters}", f"{own['minutes'].mean():.1f}", *cells)
    return table


@click.command(cls=OneLineErrors)
@click.option("--data", default="synthetic", show_default=True, help="Stacks of sections with their labels.")
@click.option("--image-size", type=int, default=SETUP.recipe.image_size, show_default=True, help="Divisible by 16.")
@click.option("--epochs", type=click.IntRange(1), default=SETUP.recipe.epochs, show_default=True, help="Of each one.")
@click.option(
    "--seeds", type=click.IntRange(1), default=1, show_default=True, help="Of split, weights and augmentation."
)
def main(data: str, image_size: int, epochs: int, seeds: int) -> None:
    """Prints a table and logs it to MLflow."""
    stride = NETWORKS[SETUP.network].stride(SETUP.recipe.model)
    if image_size < stride or image_size % stride:
        message = f"{image_size} is not a positive multiple of {stride}"
        raise click.BadParameter(message, param_hint="--image-size")
    cheapest_first = sorted(DIVISORS, reverse=True)
    rows = pd.DataFrame(
        train_width(divisor, data, image_size, epochs, seed) for divisor in cheapest_first for seed in range(seeds)
    )
    images = f"{rows['test/images'].iloc[0]:.0f} test images"
    title = f"drosophila at {image_size}x{image_size}, {epochs} epochs, {images}, {seeds} seeds"
    Console(width=max(120, Console().width)).print(shown(rows, title))
    with logged("widths"):
        mlflow.log_params({"data": data, "image_size": image_size, "epochs": epochs, "seeds": seeds})
        mlflow.log_text(rows.to_csv(index=False), "widths.csv")


if __name__ == "__main__":
    main()
