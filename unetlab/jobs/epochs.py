"""How many epochs fit the minutes of a training, by the time that a step takes."""

import json
from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import tensorflow as tf

from unetlab.data import Dataset, cache
from unetlab.data.split import Split
from unetlab.images.view import size_of
from unetlab.jobs import cluster
from unetlab.models import NETWORKS
from unetlab.options import Options
from unetlab.setup import Recipe, Setup
from unetlab.training import fit, pace, patches
from unetlab.training.memory import refuse_too_large

TRAINED = 0.8
"""Share of a training's minutes that is spent in steps; the rest goes into tracing, scoring and logging."""

VALIDATED = 0.15
"""Share of the steps' time that validation after every epoch may take, as far as EPOCHS allows."""

LOOK = 1 / 3
"""Time of looking at an image or patch, beside that of learning from it."""

EPOCHS = (8, 40)
"""Between so many epochs the training is divided: fewer leave little choice of the best one, more are hard to read."""


def fit_in(
    setup: Setup, weights: str | None, dataset: Dataset, sides: Split, options: Options, minutes: float
) -> tuple[dict[str, Any], str, str]:
    """Epochs, and what each draws, that fit the `minutes` of a training: changes of the recipe, what was chosen in
    words, and why.

    Raises UserError for a step that this machine's memory does not hold.
    """
    recipe = setup.recipe
    if not options.scheduler:
        refuse_too_large(NETWORKS[setup.network].build, recipe, options.precision)
    seconds, when = seconds_a_step(setup, weights, dataset, options)
    if not options.scheduler and not tf.config.list_physical_devices("GPU"):  # they share the processors
        seconds *= min(cluster.at_once(options), options.trials)
    steps = max(1, int(TRAINED * 60 * minutes / seconds))
    checked = samples(recipe, dataset, sides.validation)
    look = LOOK * checked / recipe.batch_size
    epochs = min(steps, int(np.clip(VALIDATED * steps / look, *EPOCHS)))
    left = steps / epochs - look
    if left * recipe.batch_size < checked:
        left = steps / epochs / (1 + LOOK)
    draws = max(1, int(left)) * recipe.batch_size
    whose = ", as this machine takes them" if options.scheduler else ""
    step = f"{1000 * seconds:.0f} ms a step of {recipe.batch_size}{whose}{when}"
    why = f"{minutes:g} minutes at {step}, less what looking at validation takes"
    return {"epochs": epochs, "draws": draws}, f"{epochs} epochs of {draws:,} {_drawn(recipe)}", why


def as_told(recipe: Recipe, epochs: int, dataset: Dataset, sides: Split, minutes: float) -> tuple[str, str]:
    """The same in words, and why, where the epochs were asked for: each draws as much as there is to learn from."""
    draws = samples(recipe, dataset, sides.train)
    drawn = _drawn(recipe)
    each = "as many as cover the training images" if recipe.view == "patches" else "all training images once"
    why = f"as you asked, if {minutes:g} minutes are enough for them; an epoch sees {each}"
    return f"{epochs} epochs of {draws:,} {drawn}", why


def _drawn(recipe: Recipe) -> str:
    return "patches" if recipe.view == "patches" else "images"


def seconds_a_step(setup: Setup, weights: str | None, dataset: Dataset, options: Options) -> tuple[float, str]:
    """How long a step takes, as first measured with this data on this machine: the same command chooses the same again,
    and so can go on where it was interrupted. Besides, in words, when that was, "" where it was now."""
    precision, _ = pace.resolve(options.precision, setup.network, setup.recipe, weights, options.fresh)
    step = f"{dataset.digest} {setup.network} {weights} {setup.recipe.flat()} {precision} {pace.machine()}"
    path = pace.kept_at(step)
    anew, when = options.fresh or not path.exists(), ""
    if anew:
        seconds = fit.seconds_a_step(NETWORKS[setup.network].build, setup.recipe, precision, weights)
        cache.write_text(path, json.dumps(seconds))
    else:
        when = f" (measured on {date.fromtimestamp(path.stat().st_mtime)}; fresh=true measures again)"
    return float(json.loads(path.read_text())), when


def samples(recipe: Recipe, dataset: Dataset, rows: Sequence[int] | np.ndarray) -> int:
    """Images or patches that one look at the images `rows` takes."""
    if recipe.view == "whole":
        return len(rows)
    sizes = np.array([size_of(dataset.sizes[row].tolist(), recipe) for row in rows])
    return patches.covering(sizes, recipe.image_size)
