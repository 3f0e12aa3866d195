"""Networks that were built, compiled and traced for an earlier training whose step is the same.

Tracing takes seconds, and most trials of a search around one recipe, promoted trials and rounds of self-training differ
in nothing that is traced. A network that is taken again begins with the very weights, the state of dropout and the
optimiser that a new one of its seed would have.
"""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np

from unetlab.data.targets import HEADS
from unetlab.setup import Recipe

KEPT = 4
"""Networks, at most, that are kept in a process."""

LARGEST = 10_000_000
"""Weights of a network that is kept, at most: beside what it computes in, its optimiser holds two more of each."""

Key = tuple[Any, ...]


class _Traced(NamedTuple):
    model: keras.Model
    state: list[np.ndarray]


_kept: dict[Key, _Traced] = {}


def key_of(
    build: Callable[..., keras.Model],
    recipe: Recipe,
    weights: str | None,
    precision: str,
    seed: int,
    steps: int,
    weighted: np.ndarray | None = None,
) -> Key | None:
    """What trainings have in common whose network begins alike and whose step is traced alike; None for those whose
    step changes on the way. A constant learning rate is no part of it, nor are batch size and augmentation."""
    if recipe.thaw or recipe.held:
        return None
    names = ("image_size", "channels", "loss", "border_weight", "schedule", "classes")
    step: dict[str, Any] = {name: getattr(recipe, name) for name in names}
    step["weighted"] = None if weighted is None else weighted.tolist()
    step |= {"head": recipe.objects if recipe.objects in HEADS else "", "options": dict(recipe.loss_options)}
    if recipe.schedule != "constant":
        step |= {"rate": recipe.learning_rate, "epochs": recipe.epochs, "steps": steps}
    told = json.dumps([step, dict(recipe.model)], sort_keys=True, default=str)
    return build, told, weights, precision, seed


def taken(key: Key | None, recipe: Recipe) -> tuple[keras.Model, list[np.ndarray]] | None:
    """The network kept under a key, as it was before its first step, and that state; None if there is none.

    It is kept no longer: a training that fails leaves it in no state to be taken again.
    """
    found = None if key is None else _kept.pop(key, None)
    if found is None:
        return None
    model, state = found
    for variable, value in zip(_variables(model), state, strict=True):
        variable.assign(value)
    rate = None if recipe.schedule != "constant" else model.optimizer.learning_rate
    for variable in model.optimizer.variables:
        variable.assign(recipe.learning_rate if variable is rate else np.zeros(variable.shape))
    return model, state


def state_of(model: keras.Model) -> list[np.ndarray]:
    """Weights and the state of dropout of a network before its first step; nothing of one that is too large to keep."""
    if model.count_params() > LARGEST:
        return []
    return [keras.ops.convert_to_numpy(variable) for variable in _variables(model)]


def keep(key: Key | None, model: keras.Model, state: list[np.ndarray]) -> None:
    """Keeps a network whose training has ended; the one that was taken longest ago goes."""
    if key is None or not state:
        return
    _kept[key] = _Traced(model, state)
    while len(_kept) > KEPT:
        _kept.pop(next(iter(_kept)))


def forget() -> None:
    """Keeps none any longer."""
    _kept.clear()


def _variables(model: keras.Model) -> list[Any]:
    metrics = {id(variable) for variable in model.metrics_variables}
    return [variable for variable in model.variables if id(variable) not in metrics]
