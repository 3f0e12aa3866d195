"""What a model that has seen nothing but a built-in twin is worth on real images, beside Otsu's threshold.

    python -m benchmarks.twin_to_real --pair models:/MODEL DATA

MODEL is the address that a plain run of a setup ends with, DATA a folder, zip or name with masks. Every image is
scored by `evaluate`, which refuses those that were trained on. Prints mean Dice at native size with 95 % intervals
over scenes and the paired difference to Otsu's threshold, and logs the table to MLflow.
"""

from collections.abc import Mapping

import click
import mlflow
import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmarks.log import logged
from unetlab.cli.base import OneLineErrors
from unetlab.jobs.evaluate import evaluate

GAIN = ("gain/over_otsu", "+")

KEYS = (
    *(("images", "test/images"), ("dice", "test/native_dice"), ("low", "test/native_dice_low")),
    *(("high", "test/native_dice_high"), ("otsu", "baseline/otsu_native_dice"), ("gain", "gain/over_otsu")),
)
"""Columns of the table logged, and the figure of the evaluation that each holds."""


def _with_interval(figures: Mapping[str, float], key: str, sign: str) -> str:
    low, high = (figures.get(f"{key}_{end}", float("nan")) for end in ("low", "high"))
    return f"{figures[key]:{sign}.4f} ({low:{sign}.4f} to {high:{sign}.4f})"


@click.command(cls=OneLineErrors)
@click.option("--pair", "pairs", type=(str, str), multiple=True, required=True, help="A model and real data.")
def main(pairs: tuple[tuple[str, str], ...]) -> None:
    """Prints a table and logs it to MLflow."""
    title = "Trained on a twin, scored on real images"
    shown = Table("model", "data", "images", "Dice", "Otsu", "difference", title=title)
    results = []
    for address, source in pairs:
        found = evaluate(address, source)
        dice, gain = (_with_interval(found.figures, key, sign) for key, sign in (("test/native_dice", ""), GAIN))
        images, otsu = int(found.figures["test/images"]), found.figures["baseline/otsu_native_dice"]
        shown.add_row(address, found.data, str(images), dice, f"{otsu:.4f}", gain)
        results.append({"model": address, "data": found.data, **{name: found.figures.get(key) for name, key in KEYS}})
    Console().print(shown)
    with logged("twin to real"):
        mlflow.log_text(pd.DataFrame(results).to_csv(index=False), "twin_to_real.csv")


if __name__ == "__main__":
    main()
