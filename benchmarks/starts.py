"""How much faster a second start is than the first, which decodes, compares and squeezes the images.

    python -m benchmarks.starts --data dsb2018

Each repeat starts twice on one fresh cache, each time in a process of its own: opens the data, checks them, scenes
included, and has them at the size of `nuclei`. The seconds are those of that work, without the imports, which both
starts pay; the time of the processor counts all threads. `unetlab --help`, which imports no TensorFlow, is timed too.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import cast

import click
import mlflow
import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmarks.log import logged
from benchmarks.memory import measure
from benchmarks.scoring import spread
from unetlab.cli.base import OneLineErrors
from unetlab.data import cache as kept
from unetlab.data import public
from unetlab.data.dataset import refuse_missing

START = """
import os, sys, time
os.environ["UNETLAB_CACHE"] = sys.argv[2]
from experiments import load_setup
from unetlab.data import open_dataset
from unetlab.data.check import check
def work():
    wall, processor = time.perf_counter(), time.process_time()
    data = open_dataset(sys.argv[1])
    card = check(data)
    data.fitted(load_setup("nuclei").recipe)
    return [time.perf_counter() - wall, time.process_time() - processor, len(data), int(card.groups.max()) + 1]
"""


def seconds_of_help() -> float:
    """Wall time of `unetlab --help`, in a process of its own."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "unetlab", "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def compared(data: str, repeats: int) -> list[list[list[float]]]:
    """Pairs of a first and a second start: of each seconds on the clock and of the processor, images and scenes."""
    refuse_missing(data)
    if data in public.SOURCES:
        public.fetch(data)  # a download is no part of a start
    starts: list[list[list[float]]] = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as cache:
            if (there := kept.root() / "downloads").exists():
                (Path(cache) / "downloads").symlink_to(there.resolve())
            starts.append([cast(list[float], measure(START, data, cache)["found"]) for _ in range(2)])
    return starts


@click.command(cls=OneLineErrors)
@click.option("--data", default="synthetic", show_default=True, help="Images, with masks or without.")
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True)
def main(data: str, repeats: int) -> None:
    """Seconds of a first and a second start, and their ratio; seconds of --help."""
    starts = compared(data, repeats)
    helped = [seconds_of_help() for _ in range(repeats)]
    images, scenes = (int(each) for each in starts[0][0][2:])
    table = Table("time", "first, s", "second, s", "times faster")
    table.title = f"starts on {images:,} images of {scenes:,} scenes, {repeats} repeats"
    for k, name in enumerate(("on the clock", "of the processor")):
        first, second = ([pair[which][k] for pair in starts] for which in (0, 1))
        ratio = [one / other for one, other in zip(first, second, strict=True)]
        table.add_row(name, spread(first), spread(second, 2), spread(ratio))
    Console().print(table)
    Console().print(f"`unetlab --help`: {spread(helped, 2)} s; may be 1.5")
    named = ("seconds", "processor_seconds", "images", "scenes")
    rows = [
        {"start": start, **dict(zip(named, each, strict=True))}
        for pair in starts
        for start, each in zip(("first", "second"), pair, strict=True)
    ]
    with logged("starts"):
        mlflow.log_params({"data": data, "repeats": repeats})
        mlflow.log_text(pd.DataFrame(rows).to_csv(index=False), "starts.csv")
        mlflow.log_metric("help/seconds", statistics.median(helped))


if __name__ == "__main__":
    main()
