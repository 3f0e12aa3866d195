"""Changes of training images: geometric ones of image and mask alike, those of light of the image."""

import math

import numpy as np
from scipy import ndimage

from unetlab.setup import Recipe


def turned(square: np.ndarray, symmetry: int) -> np.ndarray:
    """(s, s, c) in one of its eight flips and quarter turns, 0 is as it was; a copy."""
    flipped = square[:, ::-1] if symmetry >= 4 else square
    return np.rot90(flipped, symmetry % 4).copy()


def augment(
    images: np.ndarray, masks: np.ndarray, recipe: Recipe, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Augments a batch: each geometric change is applied to image and mask alike, each change of light to the image.

    Args:
        images: uint8 (b, s, s, c).
        masks: uint8 (b, s, s, 1) in {0, 1}.

    Returns:
        New arrays of the same shapes and dtypes; the masks hold no value they did not hold before.
    """
    images, masks = images.copy(), masks.copy()
    for i in range(len(images)):
        if recipe.flips != "none" and rng.random() < 0.5:
            images[i], masks[i] = images[i, :, ::-1].copy(), masks[i, :, ::-1].copy()
        if recipe.flips == "both" and rng.random() < 0.5:
            images[i], masks[i] = images[i, ::-1].copy(), masks[i, ::-1].copy()
        if recipe.quarter_turns:
            turns = int(rng.integers(4))
            images[i], masks[i] = turned(images[i], turns), turned(masks[i], turns)
        if recipe.rotation or recipe.shift or recipe.shear or recipe.zoom:
            images[i], masks[i] = _warped(images[i], masks[i], recipe, rng)
        if recipe.invert and rng.random() < recipe.invert:
            images[i] = 255 - images[i]
        if recipe.brightness:
            images[i] = _relight(images[i], recipe.brightness, rng)
    return images, masks


def _warped(
    image: np.ndarray, mask: np.ndarray, recipe: Recipe, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
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

    def warp(plane: np.ndarray, order: int) -> np.ndarray:
        return np.asarray(ndimage.affine_transform(plane, matrix, offset, order=order, mode="mirror"))

    planes = [warp(image[..., k], 1) for k in range(image.shape[2])]
    return np.stack(planes, axis=-1), warp(mask[..., 0], 0)[..., None]


def _relight(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Multiplies contrast around the image's mean and shifts brightness, each by up to `strength`; uint8 in and out."""
    mean = image.mean()
    contrast, shift = 1 + rng.uniform(-strength, strength), rng.uniform(-strength, strength) * 255 * 0.5
    return np.clip((image - mean) * contrast + mean + shift, 0, 255).astype(np.uint8)
