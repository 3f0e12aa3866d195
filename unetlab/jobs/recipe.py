"""What the options make of a setup's recipe, and what of them is refused."""

from typing import Any

from rich.console import Console

from unetlab.data import Dataset
from unetlab.data.scale import objects_of, scale_for
from unetlab.data.split import Split
from unetlab.data.targets import HEADS
from unetlab.jobs.early import scale_of
from unetlab.metrics import baselines
from unetlab.models import NETWORKS
from unetlab.options import Options
from unetlab.setup import Recipe, Setup


def recipe_of(setup: Setup, options: Options, weights: str | None, learnt: Dataset, sides: Split) -> Recipe:
    """The setup's recipe with what the options change of it; a scale of `auto` is read off the training images."""
    changes: dict[str, Any] = dict(setup.on_twin) if options.data == "synthetic" else {}
    if options.epochs:
        changes["epochs"] = options.epochs
    told = {name: getattr(options, name) for name in ("view", "objects", "tta")}
    changes |= {name: int(word) if name == "tta" else word for name, word in told.items() if word != "recipe"}
    if options.scale == "auto":
        changes["scale"] = scale_for(objects_of(learnt, baselines.few(sides.train)).diameter)
    elif options.scale != "recipe":
        changes["scale"] = scale_of(options.scale)
    if NETWORKS[setup.network].pretrained and weights is None:
        changes["train_encoder"] = True
    return setup.recipe.changed(changes)


def say_pointless(recipe: Recipe, learnt: Dataset, sides: Split, console: Console) -> None:
    """Tells where the network is to learn borders or distances and no two objects touch."""
    if recipe.objects in HEADS and not objects_of(learnt, baselines.few(sides.train)).touching:
        said = f"objects={recipe.objects} is pointless here: no two objects touch; objects=components does as well"
        console.print(said, highlight=False)
