"""How much memory and time it takes to look at many images.

    python -m benchmarks.memory check --images 20000
    python -m benchmarks.memory check --images 8000 --alike

prints the process's peak and the seconds, decoding included; --alike makes frames of one take, the hardest case for
whatever compares images with each other.
"""

import os
import tempfile
import time
from pathlib import Path

import click
import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from unetlab.data import open_dataset
from unetlab.data.check import check as look_at

SIDE = 128


def peak() -> float:
    """The most memory this process has held so far, in GB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1e6


def _field(rng: np.random.Generator, side: int) -> np.ndarray:
    """Blurred noise with some bright spots, float (side, side), mean 60."""
    spots = gaussian_filter((rng.random((side, side)) < 0.004).astype(float), 3)
    return 60 + 4000 * spots + gaussian_filter(rng.normal(0, 60, (side, side)), 3)


def write_images(folder: Path, images: int, alike: bool) -> None:
    """PNG images of SIDE x SIDE pixels: different fields, or one field with other noise and shift each time."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    take = _field(rng, SIDE + 8)
    for i in range(images):
        y, x = rng.integers(0, 9, 2)
        field = take[y : y + SIDE, x : x + SIDE] if alike else _field(rng, SIDE)
        noisy = np.clip(field + rng.normal(0, 5, field.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / "images" / f"{i:05d}.png", compress_level=1)


@click.group()
def cli() -> None:
    """Peak memory and seconds, each a command of its own, as a peak is one of the whole process."""


@cli.command()
@click.option("--images", default=20_000, show_default=True)
@click.option("--alike", is_flag=True, help="Frames of one take in place of different fields.")
def check(images: int, alike: bool) -> None:
    """Decoding and checking many images, scenes included."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["UNETLAB_CACHE"] = str(Path(folder) / "cache")
        source = Path(folder) / "data"
        source.mkdir()
        write_images(source, images, alike)
        before, start = peak(), time.perf_counter()
        dataset = open_dataset(str(source))
        decoded = time.perf_counter()
        card = look_at(dataset)
        end = time.perf_counter()
        click.echo(
            f"{images} images of {SIDE} x {SIDE}{', one take' if alike else ''}: "
            f"peak {peak():.2f} GB ({before:.2f} before), "
            f"decoding {decoded - start:.0f} s, check {end - decoded:.0f} s, {len(np.unique(card.groups))} scenes, "
            f"{card.scenes.compared} pairs compared"
        )


if __name__ == "__main__":
    cli()
