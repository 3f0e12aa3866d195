"""How much memory reading takes, each in a fresh process.

    python -m benchmarks.memory stack --gb 2
    python -m benchmarks.memory check --images 20000
    python -m benchmarks.memory check --images 8000 --alike

`stack` writes an 8-bit TIFF stack of so many gigabytes with a stack of labels into a temporary folder, opens them as a
data set and reads every image back. `check` decodes and checks many images; --alike makes frames of one take, the
hardest case for whatever compares images with each other.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import cast

import click
import numpy as np
import tifffile
from PIL import Image
from rich.console import Console
from rich.table import Table
from scipy.ndimage import gaussian_filter

from unetlab.cli.base import OneLineGroup

SIDE = 1024
"""Height and width of a page in pixels: a megabyte of 8 bits."""

SMALL = 128
"""Height and width of one of many images."""

PEAK = """
import json, re, resource, time
from pathlib import Path
started = time.perf_counter()
found = work()
seconds = time.perf_counter() - started
status = Path("/proc/self/status")  # on Linux ru_maxrss begins at the size of the process that started this one
peak = (
    int(re.search(r"VmHWM:\\s+(\\d+) kB", status.read_text())[1]) / 2**20
    if status.exists()
    else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**30
)
print(json.dumps({"seconds": seconds, "peak_gb": peak, "found": found}))
"""

OPEN = """
import sys
from unetlab.data import open_dataset
def work():
    data = open_dataset(sys.argv[1])
    first = [int(data.image(i)[0, 0, 0]) for i in range(len(data))]
    return [len(data), sum(first), int(data.labels(0).dtype.itemsize)]
"""

CHECK = """
import sys
import numpy as np
from unetlab.data import open_dataset
from unetlab.data.check import check
def work():
    card = check(open_dataset(sys.argv[1]))
    return [card.images, len(np.unique(card.groups)), int(card.scenes.compared)]
"""


def measure(work: str, *arguments: str) -> dict[str, object]:
    """Runs code that defines `work()` in a process of its own: its seconds, peak memory in GB, and what it found."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "UNETLAB_CACHE": cache}
        told = [sys.executable, "-c", work + PEAK, *arguments]
        ran = subprocess.run(told, env=environment, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise click.ClickException((ran.stderr.strip().splitlines() or ["the process ended without a word"])[-1])
    found: dict[str, object] = json.loads(ran.stdout.strip().splitlines()[-1])
    return found


def write_stack(path: Path, pages: int, labels: bool = False) -> None:
    """Writes a TIFF of so many pages of SIDE x SIDE pixels, uint8, page by page; labels are 0 and 255."""
    page = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
    if labels:
        page = np.where(np.indices((SIDE, SIDE))[0] // 64 % 2, np.uint8(255), np.uint8(0))
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for number in range(pages):
            if not labels:
                page[0, 0] = number % 256
            writer.write(page, metadata=None, contiguous=False)


def show(title: str, found: dict[str, object], **more: object) -> None:
    """Prints a figure a row."""
    table = Table(title=title)
    table.add_column("what")
    table.add_column("figure", justify="right")
    for name, figure in {**more, "seconds": found["seconds"], "peak memory, GB": found["peak_gb"]}.items():
        table.add_row(name, f"{figure:.2f}" if isinstance(figure, float) else str(figure))
    Console().print(table)


@click.group(cls=OneLineGroup)
def main() -> None:
    """Peak memory of what has to deal with large data."""


@main.command()
@click.option("--gb", type=click.FloatRange(min=0.01), default=2.0, show_default=True, help="Size of the stack.")
def stack(gb: float) -> None:
    """A TIFF stack and its labels as a data set: pages are read one by one from the file."""
    pages = round(gb * 1000**3 / SIDE**2)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train-volume.tif"
        write_stack(path, pages)
        write_stack(Path(folder) / "train-labels.tif", pages, labels=True)
        found = measure(OPEN, folder)
        if found["found"] != [pages, sum(number % 256 for number in range(pages)), 1]:
            raise click.ClickException(f"the pages read are not those written: {found['found']}")
        show("a stack, page by page", found, pages=pages, **{"file, GB": path.stat().st_size / 1000**3})


def _field(rng: np.random.Generator, side: int) -> np.ndarray:
    """Blurred noise with some bright spots, float (side, side), mean 60."""
    spots = gaussian_filter((rng.random((side, side)) < 0.004).astype(float), 3)
    return np.asarray(60 + 4000 * spots + gaussian_filter(rng.normal(0, 60, (side, side)), 3))


def write_images(folder: Path, images: int, alike: bool) -> None:
    """PNG images of SMALL x SMALL pixels: different fields, or one field with other noise and shift each time."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    take = _field(rng, SMALL + 8)
    for i in range(images):
        y, x = rng.integers(0, 9, 2)
        field = take[y : y + SMALL, x : x + SMALL] if alike else _field(rng, SMALL)
        noisy = np.clip(field + rng.normal(0, 5, field.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / "images" / f"{i:05d}.png", compress_level=1)


@main.command()
@click.option("--images", type=click.IntRange(min=3), default=20_000, show_default=True)
@click.option("--alike", is_flag=True, help="Frames of one take in place of different fields.")
def check(images: int, alike: bool) -> None:
    """Decoding and checking many images, scenes included."""
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder), images, alike)
        found = measure(CHECK, folder)
        counts = cast(list[int], found["found"])
        title = f"check of {images:,} {'frames of one take' if alike else 'different images'}"
        show(title, found, scenes=counts[1], **{"pairs compared": counts[2]})


if __name__ == "__main__":
    main()
