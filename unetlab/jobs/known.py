"""Words of a recipe against the tables that hold them, before anything slow."""

from collections.abc import Collection, Mapping
from typing import Any

import keras_tuner

from unetlab.errors import UserError
from unetlab.images.geometry import NORMALISATIONS
from unetlab.images.view import VIEWS
from unetlab.inference.objects import METHODS
from unetlab.inference.symmetries import SYMMETRIES
from unetlab.models import NETWORKS
from unetlab.setup import LOSS_OPTION, Setup
from unetlab.training.augment import FLIPS
from unetlab.training.losses import LOSSES
from unetlab.training.rates import SCHEDULES

TABLES: dict[str, Collection[Any]] = {
    "loss": LOSSES,
    "schedule": SCHEDULES,
    "normalise": NORMALISATIONS,
    "flips": FLIPS,
    "view": VIEWS,
    "objects": METHODS,
    "tta": SYMMETRIES,
}
"""Field of a recipe to the table that its word is a row of."""


def refuse_unknown(setup: Setup) -> None:
    """Raises UserError if a setup's recipe, its search space or its network has a word that no table holds.

    An option of a loss must be one of the recipe's loss or of another that the space tries.
    """
    _require(setup, "network", setup.network, NETWORKS)
    space = keras_tuner.HyperParameters()
    setup.space(space, setup.recipe)
    tried: Mapping[str, list[Any]] = {hp.name: [hp.default, *getattr(hp, "values", ())] for hp in space.space}
    recipe = setup.recipe.flat()
    if recipe["classes"] or "classes" in tried or "classes" in setup.on_twin:
        raise UserError(
            f"setup {setup.name}: classes is no hyperparameter; the masks of the data say what is told apart"
        )
    for name, table in TABLES.items():
        for word in (recipe[name], setup.on_twin.get(name, recipe[name]), *tried.get(name, ())):
            _require(setup, name, word, table)
    losses = {recipe["loss"], setup.on_twin.get("loss", recipe["loss"]), *tried.get("loss", ())}
    options = [LOSS_OPTION + option for loss in losses for option in LOSSES[loss].options]
    for name in {**recipe, **setup.on_twin, **tried}:
        if name.startswith(LOSS_OPTION):
            _require(setup, f"an option of {' or '.join(sorted(losses))}", name, sorted(options))


def _require(setup: Setup, what: str, word: Any, table: Collection[Any]) -> None:
    if word not in table:
        raise UserError(f"setup {setup.name}: {what} must be {_listed(table)}. Received: {word!r}")


def _listed(table: Collection[Any]) -> str:
    return f"one of {', '.join(map(str, table))}" if table else "left out, there is none"
