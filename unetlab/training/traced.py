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
from unetlab.training.rates import Cosine

KEPT = 4
"""Networks, at most, that are kept in a process."""

WEIGHTS = 40_000_000
"""Of all networks that are kept, at most: beside each weight there are two of the optimiser and one to begin with."""

Key = tuple[Any, ...]


class Traced(NamedTuple):
    """A network, weights and the state of dropout before its first step, and the learning rate or schedule in its
    trace."""

    model: keras.Model
    state: list[np.ndarray]
    rate: Any


_kept: dict[Key, Traced] = {}


def key_of(
    build: Callable[..., keras.Model],
    recipe: Recipe,
    weights: str | None,
    precision: str,
    seed: int,
    weighted: np.ndarray | None = None,
) -> Key | None:
    """What trainings have in common whose network begins alike and whose step is traced alike; None for those whose
    step changes on the way. Learning rate, epochs, batch size and augmentation are no part of it."""
    if recipe.thaw or recipe.held:
        return None
    names = ("image_size", "channels", "loss", "border_weight", "schedule", "classes")
    step: dict[str, Any] = {name: getattr(recipe, name) for name in names}
    step["weighted"] = None if weighted is None else weighted.tolist()
    step |= {"head": recipe.objects if recipe.objects in HEADS else "", "options": dict(recipe.loss_options)}
    told = json.dumps([step, dict(recipe.model)], sort_keys=True, default=str)
    return build, told, weights, precision, seed


def begun(model: keras.Model, rate: Any, key: Key | None) -> Traced:
    """A network before its first step; nothing of its state where it will not be kept."""
    kept = key is not None and model.count_params() <= WEIGHTS
    return Traced(model, [keras.ops.convert_to_numpy(each) for each in _variables(model)] if kept else [], rate)


def taken(key: Key | None, rate: Any) -> Traced | None:
    """The network kept under a key, as it was before its first step, with another learning rate or schedule of the same
    kind; None if there is none.

    It is kept no longer: a training that fails leaves it in no state to be taken again.
    """
    found = None if key is None else _kept.pop(key, None)
    if found is None:
        return None
    optimizer = found.model.optimizer
    for variable, value in zip(_variables(found.model), found.state, strict=True):
        variable.assign(value)
    for variable in optimizer.variables:
        variable.assign(np.zeros(variable.shape))
    if isinstance(found.rate, Cosine):
        found.rate.become(rate)
        return found
    optimizer.learning_rate.assign(rate)
    return found


def keep(key: Key | None, known: Traced) -> None:
    """Keeps a network whose training has ended; those that were taken longest ago go."""
    if key is None or not known.state or not isinstance(known.rate, float | Cosine):
        return
    _kept[key] = known
    while len(_kept) > KEPT or sum(each.model.count_params() for each in _kept.values()) > WEIGHTS:
        _kept.pop(next(iter(_kept)))


def forget() -> None:
    """Keeps none any longer."""
    _kept.clear()


def _variables(model: keras.Model) -> list[Any]:
    metrics = {id(variable) for variable in model.metrics_variables}
    return [variable for variable in model.variables if id(variable) not in metrics]
