"""What a model that has seen nothing but a built-in twin is worth on real images, beside Otsu's threshold.

    python -m benchmarks.twin_to_real --pair models:/MODEL DATA

MODEL is the address that a plain run of a setup ends with, DATA a folder, zip or name with masks. Every image is
scored: none of them was trained on. Prints mean Dice at native size with 95 % intervals over images and the paired
difference to Otsu's threshold, and logs the table to MLflow.
"""

from typing import Any

import click
import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc import PyFuncModel
from rich.console import Console
from rich.progress import track
from rich.table import Table

from unetlab.cli.base import OneLineErrors
from unetlab.data import Dataset, open_dataset
from unetlab.errors import UserError
from unetlab.images import codecs
from unetlab.images.otsu import otsu_mask
from unetlab.metrics import intervals
from unetlab.metrics.table import score_native
from unetlab.service.predict import load

BATCH = 8


def per_image(model: PyFuncModel, dataset: Dataset) -> pd.DataFrame:
    """Columns id, dice and otsu_dice, one row an image, all at native size.

    Raises UserError for a data set without masks.
    """
    if not dataset.has_masks:
        raise UserError(f"{dataset.name} has no masks to score against; name data with masks")
    masks: list[np.ndarray] = []
    console = Console(stderr=True)
    for start in track(range(0, len(dataset), BATCH), dataset.name, console=console, disable=not console.is_terminal):
        rows = range(start, min(start + BATCH, len(dataset)))
        answer: Any = model.predict(pd.DataFrame({"image": [codecs.encode_image(dataset.image(i)) for i in rows]}))
        masks += [codecs.decode_mask(found) for found in answer["mask"]]
    own = score_native(lambda i, height, width: masks[i], dataset.labels, len(dataset))
    otsu = score_native(lambda i, height, width: otsu_mask(dataset.image(i)), dataset.labels, len(dataset))
    return pd.DataFrame({"id": dataset.ids, "dice": own["native_dice"], "otsu_dice": otsu["native_dice"]})


@click.command(cls=OneLineErrors)
@click.option("--pair", "pairs", type=(str, str), multiple=True, required=True, help="A model and real data.")
def main(pairs: tuple[tuple[str, str], ...]) -> None:
    """Prints a table and logs it to MLflow."""
    title = "Trained on a twin, scored on real images"
    shown = Table("model", "data", "images", "Dice", "Otsu", "difference", title=title)
    results = []
    for address, source in pairs:
        dataset = open_dataset(source)
        table = per_image(load(address), dataset)
        dice, otsu = intervals.interval(table["dice"]), intervals.interval(table["otsu_dice"])
        gain = intervals.paired_interval(table["dice"], table["otsu_dice"])
        shown.add_row(
            address,
            dataset.name,
            str(len(table)),
            f"{dice.mean:.4f} ({dice.low:.4f} to {dice.high:.4f})",
            f"{otsu.mean:.4f}",
            f"{gain.mean:+.4f} ({gain.low:+.4f} to {gain.high:+.4f}), p = {gain.p_value:.2g}",
        )
        figures = {"dice": dice.mean, "low": dice.low, "high": dice.high, "otsu": otsu.mean, "gain": gain.mean}
        results.append({"model": address, "data": dataset.name, "images": len(table), **figures})
    Console().print(shown)
    mlflow.set_experiment("unetlab-benchmarks")
    with mlflow.start_run(run_name="twin to real", tags={"role": "benchmark"}):
        mlflow.log_text(pd.DataFrame(results).to_csv(index=False), "twin_to_real.csv")


if __name__ == "__main__":
    main()
