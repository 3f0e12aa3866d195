"""How long augmentation takes, each change by itself and all at once.

    python -m benchmarks.augment_speed --size 256 --images 32

Colour images of blurred noise, each with a mask. It is CPU time of one thread, which means the same on a busy machine,
and the median of several passes. The next batch is augmented while the processor trains on this one, so that "all at
once" is to be small beside a step of training.
"""

import statistics
import time
from typing import Any

import click
import mlflow
import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from scipy.ndimage import gaussian_filter

from benchmarks.log import logged
from unetlab.cli.base import OneLineErrors
from unetlab.setup import Recipe
from unetlab.training.augment import augment

STRENGTHS: dict[str, Any] = {
    "flips": "both",
    "quarter_turns": True,
    "rotation": 15.0,
    "shift": 0.1,
    "shear": 5.0,
    "zoom": 0.1,
    "invert": 0.5,
    "brightness": 0.2,
    "scale_jitter": 0.4,
    "elastic": 0.05,
    "stain": 0.2,
    "colour": 0.1,
    "grey": 0.5,
    "gamma": 0.5,
    "blur": 1.5,
    "noise": 0.05,
}
"""Every change, as strong as one might train with."""


def measure(size: int, count: int, passes: int) -> dict[str, float]:
    """Milliseconds of CPU time an image, by the change's name and for "all at once"."""
    rng = np.random.default_rng(0)
    images = gaussian_filter(rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8), (0, 2, 2, 0))
    masks = (images[..., :1] > 127).astype(np.uint8)
    plain = Recipe(image_size=size, channels=3, epochs=1, batch_size=count)
    found = {}
    for name, values in {
        **{name: {name: value} for name, value in STRENGTHS.items()},
        "all at once": STRENGTHS,
    }.items():
        recipe, took = plain.changed(values), []
        for _ in range(passes + 1):
            started = time.thread_time()
            augment(images, masks, recipe, rng)
            took.append(time.thread_time() - started)
        found[name] = 1000 * statistics.median(took[1:]) / count  # the first pass fills caches
    return found


@click.command(cls=OneLineErrors)
@click.option("--size", type=click.IntRange(16), default=256, show_default=True, help="Height and width in pixels.")
@click.option("--images", type=click.IntRange(1), default=32, show_default=True)
@click.option("--passes", type=click.IntRange(1), default=5, show_default=True)
def main(size: int, images: int, passes: int) -> None:
    """Prints a table and logs it to MLflow."""
    found = measure(size, images, passes)
    table = Table("change", "ms an image", title=f"augmentation at {size}x{size}x3, CPU time of one core")
    for name, milliseconds in found.items():
        table.add_row(name, f"{milliseconds:.2f}")
    Console().print(table)
    with logged("augment speed"):
        mlflow.log_params({"size": size, "images": images})
        mlflow.log_text(pd.DataFrame(found.items(), columns=["change", "ms"]).to_csv(index=False), "augment_speed.csv")
        mlflow.log_metrics({f"ms/{name.replace(' ', '_')}": value for name, value in found.items()})


if __name__ == "__main__":
    main()
