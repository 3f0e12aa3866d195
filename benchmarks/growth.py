"""How cost grows: seconds an epoch and peak memory against the number of images and against their side.

    python -m benchmarks.growth curves --out growth.png
    python -m benchmarks.growth larger --images 100000

Each point is a training of the network of `nuclei-scratch` at half its filters, on twins of nuclei, in a process of its
own: its seconds are those of an epoch after the first, its memory the most that the process had, the writing of the
data set and every page of mapped files included. Twins beyond the first 60 are those again, rolled and mirrored.
`larger` trains on data larger than the memory it may take, and ends with status 1 where it takes more. Linux only,
where a process says its peak.
"""

import functools
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import click
import mlflow
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from benchmarks.log import logged
from benchmarks.memory import measure
from benchmarks.scoring import spread
from unetlab.cli.base import OneLineGroup
from unetlab.data import Dataset, cache
from unetlab.data.cache import Decoded
from unetlab.data.dataset import stored
from unetlab.data.twins import nuclei
from unetlab.images import geometry

COUNTS = (100, 300, 1000, 3000, 10_000, 20_000)
SIDES = (64, 128, 256, 512, 1024)
"""Images at SIDE, and sides of IMAGES images, that are trained on where nothing else is asked for."""

IMAGES, SIDE = 48, 128

FIRST = 60
"""Twins that are simulated; the others are made of them."""

FILTERS = 8

TRAIN = """
import sys
from benchmarks.growth import train
def work():
    return train(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
"""


class Cost(NamedTuple):
    """Of an epoch: seconds, and the peak memory of its training in GB."""

    seconds: float
    peak_gb: float


@functools.cache
def _first(index: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """A simulated twin in colour and its objects, squeezed to a square."""
    made = nuclei.jobs(0, FIRST)[index]()
    image = geometry.resize_image(geometry.fit_channels(made.image, 3), side, side)
    return image, geometry.resize_labels(made.labels, side, side)


def _twin(index: int, side: int) -> Decoded:
    image, labels = _first(index % FIRST, side)
    if index >= FIRST:
        rng = np.random.default_rng(index)
        shift = tuple(int(each) for each in rng.integers(0, side, 2))
        image, labels = (np.roll(each, shift, axis=(0, 1))[:: rng.choice([-1, 1])] for each in (image, labels))
    return Decoded(f"{index:06d}", image, labels.astype(np.uint16), "uint8 RGB")


def twins(count: int, side: int) -> Dataset:
    """So many twins of that side, as a data set in the cache."""
    folder = cache.root() / f"growth-{count}-{side}"
    if not folder.exists():
        jobs: list[Callable[[], Decoded]] = [functools.partial(_twin, index, side) for index in range(count)]
        about = {"has_masks": True, "masks": "objects", "why": "simulated objects"}
        cache.build(folder, {"name": "growth", "label": "growth", **about, "content": hashlib.sha256()}, jobs)
    return stored(folder)


def train(count: int, side: int, epochs: int) -> list[float]:
    """Trains on so many twins; returns the seconds of each epoch after the first, of the first where it is the only
    one, and the bytes that are trained on."""
    from experiments import load_setup
    from unetlab.models import NETWORKS
    from unetlab.training import fit

    dataset, setup = twins(count, side), load_setup("nuclei-scratch")
    recipe = setup.recipe.changed({"image_size": side, "filters": FILTERS, "epochs": epochs, "patience": epochs})
    if side > SIDE:  # a batch of the largest takes as much memory as one of SIDE
        recipe = recipe.changed({"batch_size": max(1, recipe.batch_size * SIDE**2 // side**2)})
    data, rows, held = dataset.fitted(recipe), np.arange(count), max(1, count // 10)
    fitted = fit.fit(
        *(NETWORKS[setup.network].build, recipe, data.images, data.masks, rows[held:], rows[:held]),
        seed=0,
        precision="float32",  # which every processor has
    )
    seconds = [float(each) for each in fitted.history["seconds"]]
    return [*(seconds[1:] or seconds), float(sum(np.asarray(each).nbytes for each in data))]


def cost(count: int, side: int, epochs: int) -> tuple[Cost, int]:
    """Of a training in a process of its own, and the bytes that are trained on."""
    found = measure(TRAIN, str(count), str(side), str(epochs))
    *seconds, size = cast(list[float], found["found"])
    return Cost(float(np.median(seconds)), cast(float, found["peak_gb"])), int(size)


def exponent(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """The b of y = a x^b by least squares on logarithms, and its standard error; NaN of fewer than three points."""
    if len(x) < 3:
        return float("nan"), float("nan")
    (slope, _), covariance = np.polyfit(np.log(x), np.log(y), 1, cov=True)
    return float(slope), float(np.sqrt(covariance[0, 0]))


def picture(curves: dict[str, dict[int, list[Cost]]]) -> Figure:
    """Both costs against both sizes: seconds on axes of logarithms, memory from 0, where little growth looks little."""
    figure = Figure(figsize=(9.6, 6.4), layout="constrained")
    axes = figure.subplots(2, 2)
    for column, (name, points) in zip(axes.T, curves.items(), strict=True):
        for axis, field, words in zip(column, Cost._fields, ("seconds an epoch", "peak memory, GB"), strict=True):
            values = {x: [getattr(each, field) for each in costs] for x, costs in points.items()}
            for x, each in values.items():
                axis.plot([x] * len(each), each, ".", color="0.6")
            middle = [float(np.median(each)) for each in values.values()]
            b, error = exponent(list(values), middle)
            axis.plot(list(values), middle, "o-", label=f"exponent {b:.2f} ± {error:.2f}")
            axis.set(xscale="log", xlabel=name, ylabel=words)
            if field == "seconds":
                axis.set_yscale("log")
            else:
                axis.set_ylim(0, 1.2 * max(max(each) for each in values.values()))
            axis.legend()
    return figure


@click.group(cls=OneLineGroup)
def main() -> None:
    """How seconds and memory of training grow."""


@main.command()
@click.option("--count", "counts", type=click.IntRange(20), multiple=True, default=COUNTS, show_default=True)
@click.option("--side", "sides", type=click.IntRange(32), multiple=True, default=SIDES, show_default=True)
@click.option("--images", type=click.IntRange(20), default=IMAGES, show_default=True, help="Of each side.")
@click.option("--epochs", type=click.IntRange(2), default=3, show_default=True)
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("growth.png"), show_default=True)
def curves(counts: tuple[int, ...], sides: tuple[int, ...], images: int, epochs: int, repeats: int, out: Path) -> None:
    """A table and a plot, with the exponents."""
    along = {
        f"images of {SIDE}x{SIDE}": {count: (count, SIDE) for count in counts},
        f"side of {images} images, pixels": {side: (images, side) for side in sides},
    }
    found: dict[str, dict[int, list[Cost]]] = {name: {x: [] for x in points} for name, points in along.items()}
    for _ in range(repeats):  # one after the other, so that a busy minute meets all of them
        for name, points in along.items():
            for x, (count, side) in points.items():
                found[name][x].append(cost(count, side, epochs)[0])
    for name, costs in found.items():
        table = Table(name, "seconds an epoch", "peak memory, GB", title=f"{repeats} repeats of {epochs} epochs")
        for x, each in costs.items():
            seconds, peaks = ([getattr(one, field) for one in each] for field in Cost._fields)
            table.add_row(f"{x:,}", spread(seconds, 2), spread(peaks, 2))
        middle = [[float(np.median([one[k] for one in each])) for each in costs.values()] for k in range(2)]
        fitted = [exponent(list(costs), values) for values in middle]
        table.add_row("exponent", *(f"{b:.2f} ± {error:.2f}" for b, error in fitted))
        Console().print(table)
    figure = picture(found)
    figure.savefig(out, dpi=100)
    click.echo(f"wrote {out}")
    with logged("growth"):
        mlflow.log_params({"images": images, "epochs": epochs, "repeats": repeats})
        rows = [
            {"along": name, "x": x, **c._asdict()} for name, costs in found.items() for x in costs for c in costs[x]
        ]
        mlflow.log_text(pd.DataFrame(rows).to_csv(index=False), "growth.csv")
        mlflow.log_figure(figure, "growth.png")


@main.command()
@click.option("--images", type=click.IntRange(20), default=100_000, show_default=True)
@click.option("--side", type=click.IntRange(32), default=SIDE, show_default=True)
@click.option("--gb", type=click.FloatRange(min=0.1), default=4.0, show_default=True, help="Memory it may take.")
def larger(images: int, side: int, gb: float) -> int:
    """One epoch on data that are larger than the memory it may take."""
    took, size = cost(images, side, 1)
    table = Table("figure", "value", title=f"{images:,} twins of {side}x{side}, one epoch")
    table.add_row("data, GB", f"{size / 2**30:.2f}")
    table.add_row("seconds", f"{took.seconds:.0f}")
    table.add_row("peak memory, GB", f"{took.peak_gb:.2f}")
    Console().print(table)
    with logged("growth larger"):
        mlflow.log_params({"images": images, "side": side})
        mlflow.log_metrics({"data_gb": size / 2**30, **took._asdict()})
    if took.peak_gb > gb:
        click.echo(f"that is more than {gb:g} GB", err=True)
    return int(took.peak_gb > gb)


if __name__ == "__main__":
    main()
