"""Changes of place: image and mask alike. The image is interpolated linearly, the mask takes its nearest pixel."""

import functools
import math
from collections.abc import Iterator

import numpy as np
from scipy.interpolate import BSpline

from unetlab.setup import Recipe
from unetlab.training.augment.change import Pair, factor

FLIPS: dict[str, tuple[int, ...]] = {"none": (), "horizontal": (1,), "both": (1, 0)}
"""A recipe names one of these: the axes along which half the images are mirrored, each on its own."""

CELLS = 4
"""Cells of the grid of `elastic` along a side: bends are as wide as a few objects, not as a pixel."""

AT_ONCE = 8192
"""Pixels resampled at once: what is computed for each stays in the processor's cache, which doubles the speed."""


def turned(square: np.ndarray, symmetry: int) -> np.ndarray:
    """(s, s, c) in one of its eight flips and quarter turns, 0 is as it was; a copy."""
    whole = np.dtype((np.void, square.itemsize * square.shape[2]))  # pixels move at once, in half the time
    pixels = np.ascontiguousarray(square).view(whole)[..., 0]
    flipped = pixels[:, ::-1] if symmetry >= 4 else pixels
    return np.rot90(flipped, symmetry % 4).copy().view(square.dtype).reshape(square.shape)


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
    """Rotates, shears, zooms and shifts a square about its centre and bends it; what comes in from outside is mirrored.

    All of it is one resampling, so that an image is smoothed once.
    """
    matrix, offset = affine(len(image), recipe, rng)
    knots = bends(len(image), recipe.elastic, rng) if recipe.elastic else None
    return resampled(image, mask, matrix, offset, knots)


def affine(side: int, recipe: Recipe, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """matrix (2, 2) and offset (2,), such that matrix @ (y, x) + offset is the place that pixel (y, x) comes from."""
    turn = math.radians(rng.uniform(-recipe.rotation, recipe.rotation))
    shear = math.radians(rng.uniform(-recipe.shear, recipe.shear))
    scale = 1 + rng.uniform(-recipe.zoom, recipe.zoom, 2)
    shift = rng.uniform(-recipe.shift, recipe.shift, 2) * side
    if recipe.scale_jitter:
        scale = scale * factor(recipe.scale_jitter, rng)
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    matrix = rotation @ np.array([[1.0, math.tan(shear)], [0.0, 1.0]]) @ np.diag(1 / scale)
    middle = np.full(2, (side - 1) / 2)
    return matrix, middle - matrix @ middle + shift


def bends(side: int, elastic: float, rng: np.random.Generator) -> np.ndarray:
    """Random displacements in pixels, float64 (2, CELLS + 3, CELLS + 3), at the knots of a cubic B-spline.

    Elastic deformation (Simard et al. 2003) from a coarse grid, as in the U-Net paper (Ronneberger et al. 2015), whose
    3 by 3 random displacements are interpolated by bicubic splines. Here they are uniform, and since the B-spline never
    exceeds them, no pixel moves further than elastic * side along an axis; 0.05 bends about as much as the paper does.
    Up to 0.12 nothing folds over: such a field is one to one while displacements are under 0.48 cells (Choi and Lee
    2000).
    """
    return elastic * side * rng.uniform(-1, 1, (2, CELLS + 3, CELLS + 3))


@functools.lru_cache(maxsize=8)
def spline(side: int) -> np.ndarray:
    """float64 (side, CELLS + 3): how much each knot of a row of the grid weighs at each pixel; rows sum to 1."""
    knots = np.arange(-3, CELLS + 4, dtype=np.float64)
    return np.asarray(BSpline.design_matrix(np.linspace(0, CELLS, side), knots, 3).toarray())


def resampled(
    image: np.ndarray, mask: np.ndarray, matrix: np.ndarray, offset: np.ndarray, knots: np.ndarray | None
) -> Pair:
    """Each pixel from where matrix and offset say, and the displacements at knots if any; mirrored at the edges.

    It gives the pixels of `scipy.ndimage.map_coordinates(mode="mirror")`, of order 1 for the image and 0 for the mask,
    in half the time, since all channels share the places and their weights.
    """
    side, channels = len(image), image.shape[2]
    planes = np.ascontiguousarray(image.transpose(2, 0, 1)).reshape(channels, -1)
    labels = mask.reshape(side * side, -1)
    moved, after = np.empty_like(image), np.empty_like(mask)
    columns, step = np.arange(side), max(1, AT_ONCE // side)
    for rows in (slice(top, min(top + step, side)) for top in range(0, side, step)):
        y, x = columns[rows, None], columns[None]
        at = np.stack([m[0] * y + m[1] * x + o for m, o in zip(matrix, offset, strict=True)])
        if knots is not None:
            at += spline(side)[rows] @ knots @ spline(side).T
        at = _mirrored(at, side - 1)
        near = (at + 0.5).astype(np.intp)
        after[rows] = labels.take(near[0] * side + near[1], axis=0)
        for k, values in enumerate(_linear(planes, at, side)):
            moved[rows, :, k] = values
    return moved, after


def _mirrored(at: np.ndarray, last: int) -> np.ndarray:
    """Places outside 0..last as the places inside that a mirror on the outermost pixels shows there."""
    if at.min() < -last or at.max() > 2 * last:
        at = at % (2 * last)
    return np.asarray(last - np.abs(last - np.abs(at)))


def _linear(planes: np.ndarray, at: np.ndarray, side: int) -> Iterator[np.ndarray]:
    """Of each plane of side * side pixels its values at places (2, rows, side): bilinear, plus a half for rounding."""
    corner = np.minimum(at.astype(np.intp), side - 2)
    y, x = at - corner
    first = corner[0] * side + corner[1]
    for plane in planes:
        above, below = (_between(plane.take(left), plane.take(left + 1), x) for left in (first, first + side))
        yield _between(above, below, y) + 0.5


def _between(one: np.ndarray, other: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Linear from one (0) to the other (1), in float64; in place, since fresh memory costs more than the sums."""
    step = other - one.astype(np.float64)
    step *= share
    step += one
    return step
