"""What the options make of a setup's recipe, and what of them is refused."""

from dataclasses import replace
from typing import Any

import numpy as np
from rich.console import Console

from unetlab.data import Dataset
from unetlab.data.classes import UNKNOWN
from unetlab.data.ragged import Ragged
from unetlab.data.scale import Objects, joined, objects_of, scale_for
from unetlab.data.split import Split
from unetlab.data.targets import HEADS, border, touching
from unetlab.errors import UserError
from unetlab.images.geometry import resize_labels
from unetlab.images.view import ALIGN, size_of
from unetlab.inference.objects import METHODS, instances
from unetlab.jobs.class_scores import not_learnt
from unetlab.jobs.early import scale_of
from unetlab.metrics import baselines
from unetlab.models import NETWORKS
from unetlab.options import Options
from unetlab.setup import Recipe, Setup

LEFT = 0.5
"""Share of the marked pixels, as seen by a network, below which it is said that strokes vanish."""


def recipe_of(setup: Setup, options: Options, weights: str | None, learnt: Dataset, sides: Split) -> Recipe:
    """The setup's recipe with what the options change of it; a scale of `auto` is read off the training images.

    Raises UserError for patches of a network that halves them more often than tiles allow.
    """
    changes: dict[str, Any] = dict(setup.on_twin) if options.data == "synthetic" else {}
    if options.epochs:
        changes["epochs"] = options.epochs
    told = {name: getattr(options, name) for name in ("view", "objects", "tta")}
    changes |= {name: int(word) if name == "tta" else word for name, word in told.items() if word != "recipe"}
    if options.scale == "auto":
        if not setup.adapts:  # which has read it off them already
            changes["scale"] = scale_for(objects_seen(learnt, sides, options).diameter)
    elif options.scale != "recipe":
        changes["scale"] = scale_of(options.scale)
    if NETWORKS[setup.network].pretrained and weights is None:
        changes["train_encoder"] = True
    recipe = without_heads(setup.recipe.changed({**changes, "classes": learnt.learnt_classes}))
    stride = NETWORKS[setup.network].stride(recipe.model)
    if recipe.view == "patches" and ALIGN % stride:
        raise UserError(
            f"the network of {setup.name} wants sides that {stride} divides, and sides of patches and tiles are "
            f"multiples of {ALIGN}; take view=whole, or a recipe of less depth"
        )
    return recipe


def objects_seen(learnt: Dataset, sides: Split, options: Options) -> Objects:
    """What training images show, parted as it will be where label images do not part what touches."""

    def parted(mask: np.ndarray) -> np.ndarray:
        return instances(mask, None, "watershed", METHODS["watershed"].default)

    rows = baselines.few(sides.train)
    seen = objects_of(learnt, rows, parted if options.made else None)
    if options.objects == "watershed" and not (options.made or seen.touching):
        return objects_of(learnt, rows, parted)
    return seen


def without_heads(recipe: Recipe) -> Recipe:
    """The recipe itself, but where it tells classes apart and wants a head: its softmax has none, so a watershed of
    each class's mask takes its place."""
    return recipe.changed({"objects": "watershed"}) if recipe.classes and recipe.objects in HEADS else recipe


def of_classes(setup: Setup, options: Options, learnt: Dataset, sides: Split, console: Console) -> Setup:
    """A setup that learns several classes, and says what that means for it; its published figures are of one mask, and
    V_rand asks for one.

    Raises UserError where no training image shows any class.
    """
    names = ", ".join(learnt.classes[1:])
    said = [f"classes {names}: each pixel is of one, the likeliest; masks=binary takes all of them for one foreground"]
    if absent := not_learnt(learnt, sides.train):
        listed = ", ".join(absent)
        if len(absent) == learnt.learnt_classes:
            raise UserError(f"no training image shows any of the classes {listed}; give images that do")
        said.append(
            f"no training image shows {listed}: nothing can be learnt of it; give images that do, or leave it out"
        )
    if options.objects in HEADS or (options.objects == "recipe" and setup.recipe.objects in HEADS):
        how = options.objects if options.objects in HEADS else setup.recipe.objects
        said.append(f"objects={how}: a softmax over classes has no head for it; a watershed within each class instead")
    if options.threshold != "recipe":
        said.append(f"threshold={options.threshold}: none applies to classes, of which the likeliest is taken")
    if setup.membranes:
        said.append("V_rand is of one mask; the mean Dice of the classes ranks")
    for line in said:
        console.print(line, highlight=False, markup=False)
    recipe = without_heads(setup.recipe.changed({"classes": learnt.learnt_classes}))
    return replace(setup, recipe=recipe, published={}, published_report="", membranes=False)


def refuse_vanished(recipe: Recipe, learnt: Dataset, sides: Split, console: Console) -> None:
    """Tells where masks leave most pixels unknown and half of those that they mark are none at the network's size.

    Raises UserError where that leaves nothing of an image: it could not be learnt from, and any answer would be right.
    """
    if learnt.meaning != "classes" and not learnt.has_table:  # masks that are given know all, but for `unknown`
        return
    way = "view=patches looks at images at their own size; or mark more"
    masks, gone, marked, left = learnt.fitted(recipe).masks, [], 0.0, 0.0
    if recipe.classes:
        _refuse_vanished_classes(masks, learnt, sides, console)
    for row in np.concatenate([sides.train, sides.validation, sides.test]):
        known = learnt.known(int(row))
        if known.all() or not known.any():
            continue
        there = float((masks[int(row)][..., 0] != UNKNOWN).mean())
        marked, left = marked + float(known.mean()), left + there
        gone += [] if there else [learnt.ids[int(row)]]
    if gone:
        shown = ", ".join(gone[:3]) + (f" and {len(gone) - 3} more" if len(gone) > 3 else "")
        raise UserError(f"nothing of what is marked in {shown} is left at the network's size; {way}")
    if left < LEFT * marked:
        said = f"of the pixels that masks mark {left / marked:.0%} are left at the network's size; {way}"
        console.print(said, highlight=False, soft_wrap=True)


def _refuse_vanished_classes(masks: np.ndarray | Ragged, learnt: Dataset, sides: Split, console: Console) -> None:
    there: set[int] = set()
    for row in sides.train:
        there |= set(np.unique(masks[int(row)][..., 0]).tolist())
    absent = not_learnt(learnt, sides.train)
    drawn = {index: name for index, name in enumerate(learnt.classes) if index and name not in absent}
    if not (gone := [name for index, name in drawn.items() if index not in there]):
        return
    said = f"of what is drawn as {', '.join(gone)} nothing is left at the network's size, so that it cannot be learnt"
    said += "; view=patches looks at images at their own size"
    if len(gone) == len(drawn):
        raise UserError(said)
    console.print(said, highlight=False, soft_wrap=True, markup=False)


def _parts(learnt: Dataset, row: int, recipe: Recipe) -> bool:
    """Whether an image has what a head parts: objects that touch, or are one at the network's size, and for borders
    those too that nearly touch there."""
    labels = learnt.objects(row)
    if recipe.objects == "border":
        return bool(border(resize_labels(labels, *size_of(labels.shape, recipe))).any())
    return touching(labels) or joined(learnt, [row], recipe) > 0


def say_pointless(recipe: Recipe, learnt: Dataset, sides: Split, console: Console) -> None:
    """Tells where the network is to learn borders or distances and in no training image two objects touch, be it as the
    network sees them; looks at them one by one until they do."""
    if recipe.objects in HEADS and not any(_parts(learnt, int(row), recipe) for row in sides.train):
        said = f"objects={recipe.objects} is pointless here: no two objects touch in any of the training images"
        plain = "watershed" if recipe.objects == "border" else "components"
        console.print(f"{said}; objects={plain} does as well", highlight=False, soft_wrap=True)
