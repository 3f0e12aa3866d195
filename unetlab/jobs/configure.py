"""A recipe for data nobody has tuned one for: read off the data card, the images, the weights at hand, the clock."""

import functools
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table

from unetlab.data import Dataset
from unetlab.data.check import DataCard
from unetlab.data.scale import Objects, joined, scale_for
from unetlab.data.split import Split
from unetlab.images.view import ALIGN, size_of
from unetlab.inference.objects import METHODS
from unetlab.jobs import cluster, epochs
from unetlab.jobs.early import refuse_numbers, scale_of
from unetlab.jobs.recipe import objects_seen
from unetlab.metrics.baselines import few
from unetlab.models import NETWORKS
from unetlab.models.weights import encoders_at_hand, resolve_weights
from unetlab.options import Options
from unetlab.setup import Recipe, Setup
from unetlab.training.memory import largest_batch

log = logging.getLogger(__name__)

ENCODERS: tuple[str, ...] = ("mobilenetv2", "efficientnet-lite0")
"""In the order of preference: the smaller one learns more in the same minutes."""

PATCH = 256
"""Side of a patch at most: wider than any network here looks, and eight of them fit into the memory of a laptop."""

FOREGROUND, CELLS = 0.6, 5
"""Membranes, not objects: more of an average image is inside than this, in more than so many parts."""

FEW, LARGE = 5, 0.1
"""Photographs of one or few things: fewer objects an image than FEW, wider than this share of the image."""

TOUCHING = 0.05
"""Share of images with touching objects from which a network is to tell them apart."""

ENDED = 0.9
"""Share of a training's minutes after which it ends where steps take longer than they did alone: scores at native size,
how objects are parted, pictures and the test come after it."""

SPECK = 0.01
"""Share of the typical object's area below which what a label maker found is none."""

KNOWN = 20
"""Scenes from which on more images of the same help about as much as more scenes."""


ASKED = "as you asked"

IN_CLASSES = "a watershed within each class; validation chooses between it and components"

MICROSCOPE = "patches are taken for parts of a microscope's field, where no direction is special"


@dataclass(frozen=True)
class Choice:
    """One thing that was chosen, what, and why: words for the person whose data it is."""

    what: str
    chosen: str
    why: str


@dataclass(frozen=True)
class Configured:
    """What `configure` leaves: setup, options and weights to go on with, its recipe in the setup; the minutes of each
    training; and the reasons."""

    setup: Setup
    options: Options
    minutes: float
    weights: str | None
    choices: tuple[Choice, ...]

    def frame(self) -> pd.DataFrame:
        """For an artifact."""
        return pd.DataFrame([vars(choice) for choice in self.choices])

    def table(self) -> Table:
        """For the terminal."""
        table = Table("what", "chosen", "why", title=f"{self.setup.name}: the configuration", title_justify="left")
        for choice in self.choices:
            table.add_row(choice.what, choice.chosen, choice.why)
        return table


def configure(setup: Setup, options: Options, dataset: Dataset, card: DataCard, sides: Split) -> Configured:
    """Chooses view, scale, patch, encoder, batch, loss, augmentation, objects and epochs.

    The rules, which look at training images only, but for the split:

    - Split: whole scenes, drawn at random, so that nothing that was learnt is in validation or test. Sections of one
      stack are alike from neighbour to neighbour, all of them one scene or few, and go in contiguous blocks with a
      section left out between two sides (`jobs.sections` tells a stack; it is made before this is called).
    - Membranes or objects: where more than FOREGROUND of an average image is inside and that falls into more than
      CELLS parts that do not touch, lines part cells; V_rand ranks, pixels of thin lines weigh more, bends are learnt
      (tissue bends). Cells that touch have no line between them to learn, and are objects.
    - View: one or few large things are a photograph, whose whole is looked at, squeezed to PATCH; anything else is
      looked at in patches at its own scale, since squeezing loses what is small.
    - Patch: a square as wide as the median of the images' longer sides at that scale, up to a multiple of ALIGN, which
      every pooling divides: a smaller one would cut what could be seen whole, a larger one be filled by mirroring. At
      most PATCH, for the reason given there.
    - Scale: 1, or such that a typical object lies between 12 and 48 pixels: smaller ones leave little to see to a
      network that halves its input five times, and of larger ones a patch holds few whole, each at more time.
      Membranes stay at 1, lines being thin.
    - Encoder: one with ImageNet weights, fine-tuned, learns from tens of images; its layers up to the second skip stay
      as they are, since edges and spots are everywhere the same and their steps take two fifths of the time. A search
      chooses among those of ENCODERS whose weights are at hand. Without any a plain U-Net of 16 filters, which learns
      more in the same minutes than a large one from scratch.
    - Channels: what the encoder takes; without one as the images are.
    - Loss: cross-entropy and Dice together, which hold where foreground is rare; of membranes cross-entropy alone,
      since all inside has a high Dice.
    - Batch: that of the recipe, halved until a step fits into this machine's memory, of which trainings that run at
      once have a share each. The memory of a cluster's workers, and of a GPU, is not known here.
    - Augmentation: mirror images and quarter turns (of photographs only left and right: they have a ground), size by a
      third, brightness and contrast, since no two instruments magnify or expose alike; noise and, but for membranes,
      blur in patches, since exposure and focus differ; turns, shifts and hues in photographs, since cameras move and
      lights differ; hues in patches of coloured images too, since stains differ between laboratories. Inverted and
      grey images where images on dark and on light ground or grey and coloured ones are mixed. Membranes are never
      inverted: they are dark in all sections or in none, however much of a section they fill. They are bent, since
      tissue bends. Photographs are inverted too, though none is a negative: networks that were not did worse on scenes
      that they had not seen (docs/auto.md).
    - Scenes: of how many it learns is said, and below KNOWN that more of them help more than more minutes do; nothing
      else follows from it, since no rule tried here made up for scenes that are missing.
    - Made labels: of objects, since no label maker knows membranes. They do not part objects that touch, so a watershed
      of the mask does, before sizes are read off them too; its one number validation, which has such labels as well,
      cannot choose. Each round of self-training has its share of the minutes. Masks without two objects that touch
      are parted alike where you ask for a watershed.
    - Objects: where they touch in more than TOUCHING of the images, as drawn or as shrunk to the scale, at which a line
      between two may vanish, the network learns the borders between them too, and validation chooses between that, a
      watershed and plain components, and how sure of an object to be; of several classes, which have no second output,
      between the last two.
    - Smallest object: what is smaller than 99 of 100 objects of the training images is a speck, which stays in the
      mask and is counted as no object; of made labels, which hold specks themselves, also what is smaller than SPECK of
      the typical object. Not of membranes: thin processes are cells as well, and V_rand counts them.
    - Trials: one, from 90 minutes on one for every 45, less those of a last training on all images and of rounds of
      self-training; the first is this configuration. With less than half as much again as the 30 minutes that one
      training has by default a search would choose what learns fastest, not what learns best. From then on so many
      times more as workers train at once, which of one machine's processors have a share each.
    - Epochs: the time of a step is measured, once with this data on this machine (fresh=true measures again), also
      where the workers of a cluster train; so many steps fit epochs.TRAINED of a training's minutes, divided so that
      validation takes no more than epochs.VALIDATED of them. Where epochs.EPOCHS leaves no such division, an epoch
      looks at as much of validation as it learns from. The learning rate decays to 0 by a cosine over just these, and
      sooner where ENDED of the minutes would cut them off.

    View, scale, objects and epochs that the options name are taken as they are, and the rest is chosen to go with them:
    a scale is of patches, and a softmax over classes has no second output, so that a watershed stands for one.

    Raises UserError as `refuse_numbers` does, and for weights as `resolve_weights` does.
    """
    refuse_numbers(setup, options)
    seen = objects_seen(dataset, sides, options)
    choices: list[Choice] = []
    if options.made:
        why = f"{ASKED}: no mask is looked at but to score what came of it"
        choices.append(Choice("labels", f"made from the images: {options.labels}", why))
    setup, weights = _network(setup, options, dataset, sides, choices)
    setup, changes = _what_is_seen(setup, seen, dataset, sides, options, choices)
    changes |= _augmentation(setup, {card.modality[row] for row in sides.train}, changes["view"], choices)
    setup = replace(setup, recipe=setup.recipe.changed(changes))
    at_once = cluster.at_once(options)
    besides = options.refit + options.rounds
    turns = int(options.minutes // 45) - besides
    trials = max(options.trials, at_once * turns if turns > 1 else 1)
    setup = _batch(setup, replace(options, trials=trials), choices)
    _scenes(options.split, len(sides.train), len(np.unique(card.groups[sides.train])), choices)
    each = options.minutes / (math.ceil(trials / at_once) + besides)
    minutes = max(0.01, round(ENDED * each, 2))  # 0 would be no limit
    if options.epochs:
        chosen, why = epochs.as_told(setup.recipe, options.epochs, dataset, sides, minutes)
    else:
        fitted, chosen, why = epochs.fit_in(setup, weights, dataset, sides, replace(options, trials=trials), each)
        setup = replace(setup, recipe=setup.recipe.changed(fitted))
    choices.append(Choice("training", chosen, why))
    return Configured(setup, replace(options, trials=trials), minutes, weights, tuple(choices))


def _network(
    setup: Setup, options: Options, dataset: Dataset, sides: Split, choices: list[Choice]
) -> tuple[Setup, str | None]:
    """Encoder, weights, and what follows from them."""
    choice = options.encoder_weights
    if choice in ("auto", "imagenet"):
        at_hand = encoders_at_hand(ENCODERS)
        encoder, weights = (at_hand[0], "imagenet") if at_hand else (ENCODERS[0], None)
        if not at_hand and choice == "imagenet":
            weights = resolve_weights(choice, setup)  # which says why there are none
    else:
        encoder, weights = ENCODERS[0], resolve_weights(choice, setup)
    if weights is not None:
        whose = "pretrained on ImageNet" if weights == "imagenet" else "with the weights that you gave"
        why = f"{whose} and fine-tuned: it knows edges and textures before it sees the first of your images"
        choices.append(Choice("network", f"U-Net on {encoder}", why))
        if weights == "imagenet" and len(at_hand) > 1:
            setup = replace(setup, space=functools.partial(_with_encoders, setup.space, at_hand))
        return replace(setup, recipe=setup.recipe.changed({"encoder": encoder})), weights
    colour = any(dataset.channels[row] == 3 for row in sides.train)
    none = "no ImageNet weights are at hand (the extra lite brings some)"
    if choice != "none":
        log.warning("%s: a U-Net from scratch is trained, which scores lower where images are few", none)
    why = f"{ASKED if choice == 'none' else none}; a small one learns more in little time"
    choices.append(Choice("network", "U-Net of 16 to 256 filters, from scratch", why))
    plain = replace(setup.recipe, model={"filters": 16, "depth": 4}, channels=3 if colour else 1)
    return replace(setup, network="scratch", recipe=plain), None


def _with_encoders(space: Callable[[Any, Recipe], None], encoders: Sequence[str], hp: Any, recipe: Recipe) -> None:
    """A search space that chooses among encoders too, the configured one first."""
    space(hp, recipe)
    hp.Choice("encoder", list(encoders), default=recipe.model["encoder"])


def _what_is_seen(
    setup: Setup, seen: Objects, dataset: Dataset, sides: Split, options: Options, choices: list[Choice]
) -> tuple[Setup, dict[str, Any]]:
    """View, scale, patch, loss and objects."""
    several = bool(setup.recipe.classes)
    crowded = seen.touching > TOUCHING
    membranes = seen.foreground > FOREGROUND and seen.mean > CELLS and not (several or crowded or options.made)
    changes = _learnt(seen, membranes, choices)
    if options.view == "recipe" and options.scale == "recipe":
        whole = not membranes and seen.mean < FEW and seen.share > LARGE
    else:
        whole = options.view == "whole"
    if whole:
        large = f"few things, each {seen.share:.0%} of the image wide: to find them takes the whole picture"
        why = large if options.view == "recipe" else ASKED
        choices.append(Choice("view", f"whole images, squeezed to {PATCH}x{PATCH}", why))
        changes |= {"view": "whole", "image_size": PATCH}
    else:
        changes |= _patches(setup, seen, membranes, dataset, sides, options, choices)
        if changes["scale"] < 1:
            shrunk = joined(dataset, few(sides.train), setup.recipe.changed(changes))
            seen = seen._replace(touching=max(seen.touching, shrunk))
    changes |= _objects(seen, membranes, several, options, choices)
    changes |= {} if membranes else _smallest(seen, options.made, choices)
    return replace(setup, membranes=membranes), changes


def _smallest(seen: Objects, made: bool, choices: list[Choice]) -> dict[str, Any]:
    """Below which size there is no object."""
    least, there = seen.least, "there" if made else "that you drew"
    why = f"99 of 100 objects {there} are as large: what is smaller is a speck, no object"
    speck = round(SPECK * math.pi / 4 * seen.diameter**2)
    if made and speck > least:
        least = speck
        why = f"{SPECK:.0%} of the typical object: label makers leave specks, which are no objects"
    if least <= 1:
        return {}
    choices.append(Choice("smallest object", f"{least} pixels", why))
    return {"least_object": least}


def _learnt(seen: Objects, membranes: bool, choices: list[Choice]) -> dict[str, Any]:
    """What is there, and its loss."""
    if not membranes:
        what = f"{seen.mean:.1f} objects an image, the typical one {seen.diameter:.0f} pixels wide"
        choices.append(Choice("what is there", "objects", what))
        why = "the one asks each pixel, the other all of them together, which holds where foreground is rare"
        choices.append(Choice("loss", "cross-entropy and Dice", why))
        return {}
    inside = f"{seen.foreground:.0%} of the pixels are inside, in {seen.mean:.0f} parts an image"
    why = f"{inside}; V_rand ranks, which asks whether cells are told apart"
    choices.append(Choice("what is there", "membranes between cells", why))
    why = "a broken line joins two cells, and lines are few pixels"
    choices.append(Choice("loss", "cross-entropy, in which a pixel of a line counts up to 4 times", why))
    return {"loss": "bce", "border_weight": 3.0}


def _patches(
    setup: Setup,
    seen: Objects,
    membranes: bool,
    dataset: Dataset,
    sides: Split,
    options: Options,
    choices: list[Choice],
) -> dict[str, Any]:
    """Their scale and their side."""
    fits = scale_for(seen.diameter)
    then = f"the typical object is then {seen.diameter * fits:.0f} pixels wide"
    then = then if seen.diameter else "there are no objects to go by"
    scale, why = (1.0, "lines are thin") if membranes else (fits, f"{then}, and 12 to 48 are seen well")
    if options.scale == "auto":
        scale, why = fits, f"{ASKED}: {then}"
    elif options.scale != "recipe":
        scale, why = scale_of(options.scale), ASKED
    choices.append(Choice("scale", "the images' own" if scale == 1 else f"{scale:g} times the images' own", why))
    at_scale = replace(setup.recipe, view="patches", scale=scale)
    sizes = np.array([size_of(dataset.sizes[row].tolist(), at_scale) for row in sides.train])
    side = min(PATCH, -(-int(np.median(sizes.max(axis=1))) // ALIGN) * ALIGN)
    small, named = "squeezing images loses what is small", "the scale that you asked for is of patches"
    why = ASKED if options.view != "recipe" else small if options.scale == "recipe" else named
    choices.append(Choice("view", f"patches of {side}x{side}, tiles in prediction", why))
    return {"view": "patches", "scale": scale, "image_size": side}


def _objects(seen: Objects, membranes: bool, several: bool, options: Options, choices: list[Choice]) -> dict[str, Any]:
    """How objects are parted."""
    if options.objects != "recipe":
        if not (several and METHODS[options.objects].uses_head):
            choices.append(Choice("objects", options.objects, ASKED))
            return {"objects": options.objects}
        why = f"{ASKED}, but for {options.objects}: a softmax over classes has no second output to learn it"
        choices.append(Choice("objects", IN_CLASSES, why))
        return {"objects": "watershed"}
    if options.made:
        choices.append(Choice("objects", "a watershed of the mask", "made labels do not part objects that touch"))
        return {"objects": "watershed"}
    touch = f"objects touch, as the network sees them, in {seen.touching:.0%} of the images"
    if membranes or seen.touching <= TOUCHING:
        choices.append(Choice("objects", "connected components", "objects hardly ever touch"))
        return {}
    if several:
        choices.append(Choice("objects", IN_CLASSES, f"{touch}, and a softmax over classes has no second output"))
        return {"objects": "watershed"}
    how = "borders learnt; validation chooses between them, a watershed and components"
    choices.append(Choice("objects", how, f"{touch}: a second output learns the borders between them"))
    return {"objects": "border"}


def _augmentation(setup: Setup, kinds: set[str], view: str, choices: list[Choice]) -> dict[str, Any]:
    """Flips, sizes and light."""
    photographs = view == "whole"
    grounds = {kind.split(" on ")[1] for kind in kinds}
    colours = {kind.split(" on ")[0] for kind in kinds}
    changes: dict[str, Any] = {
        "flips": "horizontal" if photographs else "both",
        "quarter_turns": not photographs,
        "scale_jitter": 0.33,
        "brightness": 0.1,
        "gamma": 0.3,
    }
    why = "whole images are taken for photographs, which have a ground" if photographs else MICROSCOPE
    choices.append(Choice("mirror images and turns", "left and right" if photographs else "all eight", why))
    why = "no two instruments magnify or expose alike"
    choices.append(Choice("sizes and light", "by a third; brightness and contrast by 10 %, middle tones by 30 %", why))
    if not photographs and not setup.membranes:
        changes |= {"noise": 0.05, "blur": 1.0}
        choices.append(Choice("noise and blur", "up to 5 % and 1 pixel", "exposure and focus differ between images"))
    if setup.membranes:
        changes |= {"elastic": 0.05, "noise": 0.03}
        choices.append(
            Choice("bends and noise", "as in the U-Net paper", "tissue bends; few sections must stand for many")
        )
    if photographs:
        changes |= {"rotation": 10.0, "shift": 0.05, "colour": 0.1}
        choices.append(
            Choice(
                "turns, shifts, colours",
                "10 degrees, 5 %, hue by 10 %",
                "no camera stands still, no two lights are alike",
            )
        )
    if len(grounds) > 1 and not setup.membranes:
        changes |= {"invert": 0.15}
        why = "grounds are dark in some and bright in others: brightness is not to tell things from them"
        why = why if photographs else "some images are dark on light, others light on dark"
        choices.append(Choice("inverted images", "15 %", why))
    if "colour" in colours and not photographs:  # of which hues vary already
        changes |= {"colour": 0.1}
        choices.append(Choice("colours", "varied", "stains differ between laboratories"))
    if len(colours) > 1:
        changes |= {"grey": 0.2}
        choices.append(Choice("grey images", "20 % of those in colour", "some images have colours, others have none"))
    return changes


def _batch(setup: Setup, options: Options, choices: list[Choice]) -> Setup:
    """As many images a step as memory holds."""
    batch = asked = setup.recipe.batch_size
    if not options.scheduler:
        at_once = min(cluster.at_once(options), options.trials)
        batch = largest_batch(NETWORKS[setup.network].build, setup.recipe, options.precision, at_once)
    why = "few enough for a laptop, enough for a steady step" if batch == asked else f"memory does not hold {asked}"
    choices.append(Choice("batch", f"{batch} a step", why))
    return replace(setup, recipe=setup.recipe.changed({"batch_size": batch}))


def _scenes(split: str, images: int, scenes: int, choices: list[Choice]) -> None:
    """How the sides are parted, and how much there is to learn from, which nothing here can make up for."""
    if split == "blocks":
        why = "neighbouring sections of one stack are much alike: a section between two sides is on neither"
        choices.append(Choice("split", "blocks of sections", why))
        why = "sections of one stack are much alike: those of another will help more than more minutes"
        choices.append(Choice("sections to learn from", str(images), why))
        return
    why = "nothing that was learnt is in validation or test"
    choices.append(Choice("split", "whole scenes, drawn at random", why))
    few_scenes = "it knows only what it has seen: more scenes will help more than more minutes"
    why = few_scenes if scenes < KNOWN else "validation and test have scenes of their own"
    choices.append(Choice("scenes to learn from", str(scenes), why))
