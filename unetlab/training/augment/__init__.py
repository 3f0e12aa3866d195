"""Changes of training images: geometric ones of image and mask alike, those of light of the image."""

import dataclasses

import numpy as np

from unetlab.setup import Recipe
from unetlab.training.augment import geometric, light
from unetlab.training.augment.change import Change, Pair
from unetlab.training.augment.geometric import FLIPS, turned

__all__ = ["CHANGES", "FLIPS", "Change", "augment", "turned"]

CHANGES: tuple[Change, ...] = (
    Change(("flips",), geometric.flip),
    Change(("quarter_turns",), geometric.quarter_turn),
    Change(("rotation", "shift", "shear", "zoom", "scale_jitter", "elastic"), geometric.warp),
    Change(("invert",), light.invert),
    Change(("brightness",), light.relight),
    Change(("stain",), light.stain),
    Change(("colour",), light.colour),
    Change(("grey",), light.grey),
    Change(("gamma",), light.gamma),
    Change(("blur",), light.blur),
    Change(("noise",), light.noise),
)
"""In the order they are made; `symmetries` is no chance and so is made by the batches."""

_OFF = {field.name: field.default for field in dataclasses.fields(Recipe)}


def augment(images: np.ndarray, masks: np.ndarray, recipe: Recipe, rng: np.random.Generator) -> Pair:
    """Augments a batch: each geometric change is applied to image and mask alike, each change of light to the image.

    Args:
        images: uint8 (b, s, s, c).
        masks: (b, s, s, k) of any whole numbers: masks and what is learnt beside them, or label images.

    Returns:
        New arrays of the same shapes and dtypes; the masks hold no value they did not hold before.
    """
    found, marked = np.empty_like(images), np.empty_like(masks)
    changes = [change.of for change in CHANGES if any(getattr(recipe, name) != _OFF[name] for name in change.switches)]
    for i in range(len(images)):
        image, mask = images[i], masks[i]
        for change in changes:
            image, mask = change(image, mask, recipe, rng)
        found[i], marked[i] = image, mask
    return found, marked
