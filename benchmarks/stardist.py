"""StarDist beside a run of unetlab: the same training, validation and test images, the same minutes, the same scores.

    python -m benchmarks.stardist --data dsb2018 --minutes 30 --run RUN --python /path/with/stardist/bin/python

StarDist trains as its own example configures it (`benchmarks.stardist_peer`), in an interpreter that has it
(`pip install stardist tensorflow tf-keras` in an environment of its own, since it wants other versions). Prints Dice,
AP50 and AP_dsb of its objects on the test images at native size, beside those of the run, with the paired differences,
their 95 % intervals and p-values over scenes; logs the table to MLflow.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import click
import mlflow
import numpy as np
import pandas as pd
import tifffile
from rich.console import Console
from rich.table import Table

from benchmarks.log import logged
from unetlab.cli.base import OneLineErrors
from unetlab.data import Dataset, open_dataset
from unetlab.data.check import check
from unetlab.data.split import split
from unetlab.errors import UserError
from unetlab.images.geometry import fit_channels
from unetlab.metrics.baselines import dice_of
from unetlab.metrics.intervals import paired_interval
from unetlab.metrics.objects import score_objects
from unetlab.tracking import read

COMPARED = ("native_dice", "ap50", "ap_dsb")

ROOT = Path(__file__).parents[1]


def has_it(python: str) -> bool:
    """Whether an interpreter has StarDist."""
    return subprocess.run([python, "-c", "import stardist"], capture_output=True).returncode == 0


def write_side(dataset: Dataset, rows: np.ndarray, folder: Path) -> None:
    """Images in colour and label images, as TIFFs numbered by row."""
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for row in map(int, rows):
        image = fit_channels(dataset.image(row), 3)
        tifffile.imwrite(folder / "images" / f"{row:06d}.tif", image, photometric="rgb")
        labels = dataset.objects(row).astype(np.int32)
        tifffile.imwrite(folder / "labels" / f"{row:06d}.tif", labels, photometric="minisblack")


def found_by_stardist(python: str, folder: Path, minutes: float, seed: int) -> str:
    """Has it train and answer; returns what it says of its epochs. Raises UserError if it fails."""
    command = [python, "-m", "benchmarks.stardist_peer", str(folder), str(minutes), str(seed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout).splitlines()[-1:]
        raise UserError(f"StarDist ended with {done.returncode} ({''.join(said)[:200]}); --python names another")
    return done.stdout.strip().splitlines()[-1]


def scored(dataset: Dataset, rows: np.ndarray, folder: Path) -> pd.DataFrame:
    """The scores of its label images by image."""
    table = []
    for row in map(int, rows):
        truth, known = dataset.objects(row), dataset.known(row)
        labels = tifffile.imread(folder / "found" / f"{row:06d}.tif") * known
        of_objects = score_objects(labels, truth)
        scores = {name: of_objects[name] for name in COMPARED[1:]}
        table.append({"id": dataset.ids[row], "native_dice": dice_of(labels > 0, truth > 0), **scores})
    return pd.DataFrame(table).set_index("id")


@click.command(cls=OneLineErrors)
@click.option("--data", required=True, help="Images with their objects.")
@click.option("--run", "run_id", required=True, help="Of unetlab, on the same images and split.")
@click.option("--python", default=sys.executable, help="An interpreter that has StarDist.")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), default=30.0, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the split, as the run's.")
def main(data: str, run_id: str, python: str, minutes: float, seed: int) -> None:
    """Prints a table and logs it to MLflow."""
    console, record = Console(width=120), read.find_one(run_id)
    if not has_it(python):
        console.print(f"{python} has no StarDist, so it is left out; --python names one that has")
        return
    dataset = open_dataset(data)
    card = check(dataset)
    sides = split(dataset.ids, card.groups, card.modality, seed=seed)
    table = read.table(record)
    ids = [dataset.ids[row] for row in sides.test]
    if table is None or set(table["id"]) != set(ids):
        raise UserError(f"{record.name} has other test images; give its data and seed")
    with tempfile.TemporaryDirectory(prefix="unetlab-") as name:
        folder = Path(name)
        for side in ("train", "validation", "test"):
            write_side(dataset, getattr(sides, side), folder / side)
        said = found_by_stardist(python, folder, minutes, seed)
        theirs = scored(dataset, sides.test, folder)
    ours, rows = table.set_index("id").reindex(theirs.index), []
    for score in COMPARED:
        gain = paired_interval(ours[score], theirs[score], card.groups[sides.test])
        means = {"ours": float(ours[score].mean()), "stardist": float(theirs[score].mean())}
        rows.append({"score": score, **means, "gain": gain.mean, "low": gain.low, "high": gain.high, "p": gain.p_value})
    shown = Table("score", record.name, "StarDist", "difference [95 %]", "p", title=f"{len(ids)} test images; {said}")
    for row in rows:
        difference = f"{row['gain']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]"
        shown.add_row(str(row["score"]), f"{row['ours']:.4f}", f"{row['stardist']:.4f}", difference, f"{row['p']:.2g}")
    console.print(shown)
    with logged("stardist"):
        mlflow.log_params({"data": data, "run": run_id, "minutes": minutes, "seed": seed})
        mlflow.log_text(pd.DataFrame(rows).to_csv(index=False), "comparison.csv")
        mlflow.log_text(theirs.to_csv(), "stardist.csv")


if __name__ == "__main__":
    main()
