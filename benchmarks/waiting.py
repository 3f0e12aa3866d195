"""Does augmentation starve training, and what does it cost?

    python -m benchmarks.waiting --repeats 5

Trains the networks of `pseudo-label`, on whole images, and `auto`, on patches of larger ones, on noise with blobs, with
every augmentation that `auto` may choose, and with batches that were made before, in turn. Prints the share of the
steps' time that they waited for a batch, and how much slower an epoch with augmentation is: on a processor whose cores
are all busy with the steps, augmentation has to share them even where nothing waits.
"""

import statistics
from typing import Any

import click
import keras
import mlflow
import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from scipy.ndimage import gaussian_filter

from benchmarks.log import logged
from benchmarks.stand_in import weights_for
from experiments import load_setup
from unetlab.cli.base import OneLineErrors
from unetlab.models import NETWORKS
from unetlab.setup import Recipe
from unetlab.training import fit, pace

STRONG = {"flips": "both", "quarter_turns": True, "scale_jitter": 0.33, "brightness": 0.1, "gamma": 0.3}
STRONG |= {"noise": 0.05, "blur": 1.0, "invert": 0.15, "colour": 0.1, "grey": 0.2, "elastic": 0.05}
STRONG |= {"rotation": 10.0, "shift": 0.05}


class Made(keras.utils.PyDataset):
    """The first epoch's batches of another, made once and given in every epoch."""

    def __init__(self, batches: Any) -> None:
        super().__init__(workers=1)
        self.made = [batches[i] for i in range(len(batches))]

    def __len__(self) -> int:
        return len(self.made)

    def __getitem__(self, index: int) -> Any:
        return self.made[index]


def trained(network: str, recipe: Recipe, count: int, precision: str, made: bool) -> fit.Fitted:
    """A training on `count` images, of which the first batch validates too; patches are cut from a list of them."""
    rng = np.random.default_rng(0)
    side = recipe.image_size * (2 if recipe.view == "patches" else 1)
    shape = (count, side, side, recipe.channels)
    images = gaussian_filter(rng.integers(0, 256, shape, dtype=np.uint8), (0, 2, 2, 0))
    masks = (images[..., :1] > 127).astype(np.uint8)
    if recipe.view == "patches":
        images, masks = list(images), list(masks)
    rows, real = np.arange(count), fit.batches_of
    if made:
        fit.batches_of = lambda *told, **named: Made(real(*told, **named))
    try:
        validation = rows[: recipe.batch_size]
        build = NETWORKS[network].build
        weights = weights_for(network)
        return fit.fit(build, recipe, images, masks, rows, validation, seed=0, precision=precision, weights=weights)
    finally:
        fit.batches_of = real


def prepared(name: str, images: int, epochs: int) -> tuple[str, Recipe, int, str]:
    """What `trained` is told of a setup: its network, its recipe with strong augmentation, images, and the format."""
    setup = load_setup(name)
    recipe = setup.recipe.changed({**STRONG, "epochs": epochs})
    if setup.adapts:
        recipe = recipe.changed({"view": "patches", "draws": images})
    precision, _ = pace.resolve("auto", setup.network, recipe, weights_for(setup.network))
    return setup.network, recipe, images, precision


def compared(name: str, images: int, repeats: int, epochs: int) -> dict[str, Any]:
    """A row of the table, medians over the repeats."""
    told = prepared(name, images, epochs)
    pairs = [(trained(*told, made=False), trained(*told, made=True)) for _ in range(repeats)]
    slower = sorted(own.steps / ready.steps - 1 for own, ready in pairs)
    waits = sorted(own.waiting for own, _ in pairs)
    return {
        "setup": name,
        "ms an image": 1000 * statistics.median(own.steps for own, _ in pairs) / (images * epochs),
        "waiting": statistics.median(waits),
        "waiting at most": waits[-1],
        "slower": statistics.median(slower),
        "slower from": slower[0],
        "slower to": slower[-1],
    }


@click.command(cls=OneLineErrors)
@click.option("--images", type=click.IntRange(8), default=64, show_default=True, help="Of an epoch.")
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True, help="Trainings of each kind.")
@click.option("--epochs", type=click.IntRange(2), default=3, show_default=True)
@click.option("--only", default="", help="Setups whose name holds this.")
def main(images: int, repeats: int, epochs: int, only: str) -> None:
    """Prints a table and logs it to MLflow."""
    rows = [compared(name, images, repeats, epochs) for name in ("pseudo-label", "auto") if only in name]
    table = Table(*rows[0], title="augmentation beside ready batches")
    for row in rows:
        shown = (f"{value:.1f}" if name == "ms an image" else f"{value:.1%}" for name, value in list(row.items())[1:])
        table.add_row(str(row["setup"]), *shown)
    Console().print(table)
    with logged("waiting"):
        mlflow.log_params({"images": images, "repeats": repeats, "epochs": epochs})
        mlflow.log_text(pd.DataFrame(rows).to_csv(index=False), "waiting.csv")


if __name__ == "__main__":
    main()
