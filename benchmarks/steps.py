"""A training step beside what the sources do, plain Keras, and beside PyTorch.

    python -m benchmarks.steps --repeats 5

For five networks: ours (the model and batches of `training.fit`, in the format that `precision=auto` takes), plain
Keras (the same network in float32, NumPy arrays into `model.fit`, default settings) and, where PyTorch is installed
(the extra `torch`), the same U-Net there, channels last and in the format that is faster there. All train where their
library finds a GPU, if there is one. Each repeat trains an epoch of a few steps
of each, in turn, so that what else the machine does slows all alike. Milliseconds an image, median with least and most,
and how many times faster ours is, by the pairs of each repeat; and the seconds that the first epoch, which traces and
is not among these, took longer than the others.
"""

import contextlib
import functools
import importlib.util
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import click
import keras
import mlflow
import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmarks.log import logged
from benchmarks.scoring import spread
from benchmarks.stand_in import weights_for
from experiments import load_setup
from unetlab.cli.base import OneLineErrors
from unetlab.errors import UserError
from unetlab.models import NETWORKS
from unetlab.setup import Recipe
from unetlab.training import fit, pace
from unetlab.training.ahead import Ahead, Untuned
from unetlab.training.batches import batches_of
from unetlab.training.precision import POLICIES

WIDE = Recipe(image_size=128, channels=1, epochs=1, batch_size=32, model={"filters": 64, "depth": 4})

NO_TORCH = "PyTorch is not installed (the extra torch), so it is left out"

Epoch = Callable[[], None]
"""Trains so many steps; returns when they are done."""


CPUINFO = Path("/proc/cpuinfo")

AMX = CPUINFO.exists() and "amx_bf16" in CPUINFO.read_text()
"""Whether the processor multiplies matrices of bfloat16, so that another ratio is asked of the widest network."""


class Case(NamedTuple):
    """A network and its recipe, and what is asked of it: times as fast as plain Keras, and time beside PyTorch's."""

    network: str
    recipe: Recipe
    plain: float
    torch: float | None


CASES = {
    "64 filters, 128x128x1, batch 32": Case("scratch", WIDE, *((3.5, 1.2) if AMX else (2.0, 1.1))),
    "16 filters, 512x512x1, batch 2": Case(
        "scratch", WIDE.changed({"image_size": 512, "batch_size": 2, "filters": 16}), 2.4, 1.1
    ),
    "16 filters, 128x128x3, batch 16, ELU and dropout": Case("scratch", load_setup("nuclei-scratch").recipe, 2.6, 1.1),
    "MobileNetV2 frozen, 128x128x3, batch 8": Case("mobilenet", load_setup("nuclei").recipe, 2.0, None),
    "MobileNetV2 fine-tuned, 256x256x3, batch 8": Case("pretrained", load_setup("auto").recipe, 2.0, None),
}


def noise(recipe: Recipe, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Images and masks of so many batches, uint8: how long a step takes does not hang on what is in them."""
    rng = np.random.default_rng(0)
    shape = (steps * recipe.batch_size, recipe.image_size, recipe.image_size)
    images = rng.integers(0, 256, (*shape, recipe.channels), dtype=np.uint8)
    return images, rng.integers(0, 2, (*shape, 1), dtype=np.uint8)


def ours(case: Case, steps: int) -> Epoch:
    """Epochs as `fit` trains them, without validation: the first batches of each are not made before it begins."""
    build, recipe = NETWORKS[case.network].build, case.recipe
    images, masks = noise(recipe, steps)
    weights = weights_for(case.network)
    precision, _ = pace.resolve("auto", case.network, recipe, weights)
    keras.mixed_precision.set_global_policy(POLICIES[precision])
    try:
        model = fit.compiled(build, recipe, weights, recipe.learning_rate)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    batches = batches_of(images, masks, np.arange(len(images)), recipe, 0, training=True)

    def epoch() -> None:
        ahead = Ahead(batches)
        model.fit(Untuned(ahead), shuffle=False, verbose=0)
        ahead.close()

    return epoch


def plain(case: Case, steps: int) -> Epoch:
    """Epochs as a notebook trains them."""
    images, masks = (each.astype(np.float32) for each in noise(case.recipe, steps))
    images /= 255
    shape = images.shape[1:]
    weights = weights_for(case.network)
    model = NETWORKS[case.network].build(input_shape=shape, weights=weights, **case.recipe.model)
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    return lambda: model.fit(images, masks, batch_size=case.recipe.batch_size, verbose=0)


def torch_epochs(case: Case, steps: int, stack: contextlib.ExitStack) -> Epoch:
    """Epochs of the same U-Net in PyTorch, in a process of its own, which ends with `stack`: its libraries and those of
    TensorFlow do not share one."""
    recipe = case.recipe
    told = {"side": recipe.image_size, "channels": recipe.channels, "batch": recipe.batch_size, "steps": steps}
    words = json.dumps({**told, "rate": recipe.learning_rate, "model": dict(recipe.model)})
    command = [sys.executable, "-m", "benchmarks.torch_unet", words]
    process = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    assert process.stdin and process.stdout
    asked, said = process.stdin, process.stdout

    def epoch() -> None:
        asked.write("\n")
        asked.flush()
        if not said.readline():
            raise UserError(f"PyTorch ended with {process.wait()}; its last lines stand above")

    return epoch


def peers(case: Case, steps: int, stack: contextlib.ExitStack) -> Iterator[tuple[str, Epoch, float]]:
    """Every way of training a case, by name, traced, and the seconds that its first epoch took."""
    made: dict[str, Callable[[Case, int], Epoch]] = {"ours": ours, "plain Keras": plain}
    if case.torch is not None and importlib.util.find_spec("torch"):
        made["PyTorch"] = functools.partial(torch_epochs, stack=stack)
    for name, make in made.items():
        epoch = make(case, steps)
        started = time.perf_counter()
        epoch()
        yield name, epoch, time.perf_counter() - started


def compared(case: Case, steps: int, repeats: int) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Milliseconds an image of every way, one number a repeat, each epoch beside those of the others; and the seconds
    that the first epoch of each took longer."""
    images = steps * case.recipe.batch_size
    with contextlib.ExitStack() as stack:
        ways = list(peers(case, steps, stack))
        found: dict[str, list[float]] = {name: [] for name, *_ in ways}
        for _ in range(repeats):
            for name, epoch, _ in ways:
                started = time.perf_counter()
                epoch()
                found[name].append(1000 * (time.perf_counter() - started) / images)
    return found, {name: first - statistics.median(found[name]) * images / 1000 for name, _, first in ways}


def ratios(found: dict[str, list[float]], peer: str) -> list[float]:
    """How many times faster ours is than a peer, a number a repeat; none where the peer is missing."""
    return [other / own for own, other in zip(found["ours"], found.get(peer, []), strict=False)]


@click.command(cls=OneLineErrors)
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True)
@click.option("--steps", type=click.IntRange(1), default=6, show_default=True, help="Of an epoch.")
@click.option("--only", default="", help="Networks whose name holds this.")
def main(repeats: int, steps: int, only: str) -> None:
    """Prints a table and logs it to MLflow."""
    console, rows = Console(), []
    if not importlib.util.find_spec("torch"):
        console.print(NO_TORCH)
    ways = ("plain Keras", "ours", "PyTorch")
    table = Table("network", *ways, "x plain", "x PyTorch", "s to begin: plain, ours", title="ms an image and step")
    for name, case in CASES.items():
        if only not in name:
            continue
        found, begin = compared(case, steps, repeats)
        beside = [ratios(found, peer) for peer in ("plain Keras", "PyTorch")]
        shown = [spread(found[way]) if way in found else "-" for way in ways]
        begun = ", ".join(f"{begin[way]:.1f}" for way in ways[:2])
        table.add_row(name, *shown, *(spread(each, 2) if each else "-" for each in beside), begun)
        rows += [
            {"network": name, "way": way, "ms": ms, "seconds_to_begin": begin[way]}
            for way, every in found.items()
            for ms in every
        ]
    console.print(table)
    with logged("steps"):
        mlflow.log_params({"steps": steps, "repeats": repeats})
        mlflow.log_text(pd.DataFrame(rows).to_csv(index=False), "steps.csv")


if __name__ == "__main__":
    main()
