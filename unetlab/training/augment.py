"""Changes of training images: geometric ones of image and mask alike, those of light of the image."""

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from unetlab.setup import Recipe

Pair = tuple[np.ndarray, np.ndarray]
"""An image, uint8 (s, s, c), and its mask, uint8 (s, s, 1)."""

FLIPS: dict[str, tuple[int, ...]] = {"none": (), "horizontal": (1,), "both": (1, 0)}
"""A recipe names one of these: the axes along which half the images are mirrored, each on its own."""


class Change(NamedTuple):
    """A row of CHANGES.

    Args:
        switches: the recipe's fields that turn it on, by any of them being other than its default.
        of: called as of(image, mask, recipe, rng), all its luck from `rng`; it never writes into what it is given.
    """

    switches: tuple[str, ...]
    of: Callable[[np.ndarray, np.ndarray, Recipe, np.random.Generator], Pair]


def augment(images: np.ndarray, masks: np.ndarray, recipe: Recipe, rng: np.random.Generator) -> Pair:
    """Augments a batch: each geometric change is applied to image and mask alike, each change of light to the image.

    Args:
        images: uint8 (b, s, s, c).
        masks: uint8 (b, s, s, 1) in {0, 1}.

    Returns:
        New arrays of the same shapes and dtypes; the masks hold no value they did not hold before.
    """
    images, masks = images.copy(), masks.copy()
    changes = [change.of for change in CHANGES if any(getattr(recipe, name) != _OFF[name] for name in change.switches)]
    for i in range(len(images)):
        image, mask = images[i], masks[i]
        for change in changes:
            image, mask = change(image, mask, recipe, rng)
        # a copy where the change gave a view of the very memory it is put into
        images[i], masks[i] = image.copy(), mask.copy()
    return images, masks


def turned(square: np.ndarray, symmetry: int) -> np.ndarray:
    """(s, s, c) in one of its eight flips and quarter turns, 0 is as it was; a copy."""
    flipped = square[:, ::-1] if symmetry >= 4 else square
    return np.rot90(flipped, symmetry % 4).copy()


def flip(image: np.ndarray, mask: np.ndarray, recipe: Recipe, rng: np.random.Generator) -> Pair:
    """Mirrors along each axis of the recipe's flips or does not, as a coin falls."""
    for axis in FLIPS[recipe.flips]:
        if rng.random() < 0.5:
            image, mask = np.flip(image, axis), np.flip(mask, axis)
    return image, mask


def quarter_turn(image: np.ndarray, mask: np.ndarray, recipe: Recipe, rng: np.random.Generator) -> Pair:
    """Turns by a random multiple of 90 degrees."""
    turns = int(rng.integers(4))
    return turned(image, turns), turned(mask, turns)


def warp(image: np.ndarray, mask: np.ndarray, recipe: Recipe, rng: np.random.Generator) -> Pair:
    """Rotates, shears, zooms and shifts a square about its centre; what comes in from outside is mirrored.

    The image is interpolated linearly, the mask takes its nearest pixel.
    """
    turn = math.radians(rng.uniform(-recipe.rotation, recipe.rotation))
    shear = math.radians(rng.uniform(-recipe.shear, recipe.shear))
    scale = 1 + rng.uniform(-recipe.zoom, recipe.zoom, 2)
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    matrix = rotation @ np.array([[1.0, math.tan(shear)], [0.0, 1.0]]) @ np.diag(1 / scale)
    middle = (np.array(image.shape[:2]) - 1) / 2
    offset = middle - matrix @ middle + rng.uniform(-recipe.shift, recipe.shift, 2) * image.shape[0]

    def moved(plane: np.ndarray, order: int) -> np.ndarray:
        return np.asarray(ndimage.affine_transform(plane, matrix, offset, order=order, mode="mirror"))

    planes = [moved(image[..., k], 1) for k in range(image.shape[2])]
    return np.stack(planes, axis=-1), moved(mask[..., 0], 0)[..., None]


def invert(image: np.ndarray, mask: np.ndarray, recipe: Recipe, rng: np.random.Generator) -> Pair:
    """Inverts the brightness of the recipe's share of images."""
    return (255 - image if rng.random() < recipe.invert else image), mask


def relight(image: np.ndarray, mask: np.ndarray, recipe: Recipe, rng: np.random.Generator) -> Pair:
    """Multiplies contrast around the image's mean and shifts brightness, each by up to the recipe's brightness."""
    mean, strength = image.mean(), recipe.brightness
    contrast, shift = 1 + rng.uniform(-strength, strength), rng.uniform(-strength, strength) * 255 * 0.5
    return np.clip((image - mean) * contrast + mean + shift, 0, 255).astype(np.uint8), mask


CHANGES: tuple[Change, ...] = (
    Change(("flips",), flip),
    Change(("quarter_turns",), quarter_turn),
    Change(("rotation", "shift", "shear", "zoom"), warp),
    Change(("invert",), invert),
    Change(("brightness",), relight),
)
"""In the order they are made; `symmetries` is no chance and so is made by the batches."""

_OFF = {field.name: field.default for field in dataclasses.fields(Recipe)}
