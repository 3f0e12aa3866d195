"""Which crops of the images an epoch of patches has, and cutting them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from unetlab.data.classes import LEANING
from unetlab.images import geometry, view

FOREGROUND = 1 / 3
"""Share of patches that are laid around a foreground pixel, of any class of the image as likely as of any other; the
others may lie anywhere."""

POWER = 0.5
"""An image is drawn as its number of pixels to this power: at 1 every pixel would be as likely as any other, at 0 every
image. Scores are means over images, but large images show more that can be learnt."""

REMEMBERED = 256
"""Foreground pixels of an image, at most, that patches are laid around; of classes so many of each."""


class Patch(NamedTuple):
    """A crop: the image's index, the middle in pixels, and how much it is enlarged."""

    row: int
    y: int
    x: int
    zoom: float


def covering(sizes: np.ndarray, side: int) -> int:
    """Patches of side `side` that have as many pixels as images of int (n, 2) sizes; one an image at least."""
    area = sizes.astype(np.float64).prod(axis=1)
    return int(np.maximum(1, np.ceil(area / side**2)).sum())


class Sampler:
    """Draws patches.

    Args:
        masks: uint8 (h, w, k) each, of which the first channel is 1 on foreground, or the index of a class.
        rows: the images to draw from.
        seed: of the foreground pixels that are remembered.
    """

    def __init__(self, masks: Sequence[np.ndarray], rows: np.ndarray, seed: int) -> None:
        self.rows = np.asarray(rows)
        self.foreground, sizes = list[list[np.ndarray]](), list[tuple[int, ...]]()
        rng = np.random.default_rng([seed, len(self.rows)])
        for row in self.rows:
            mask = masks[row][..., 0]
            self.foreground.append([_some(mask == kind, rng) for kind in _kinds(mask)])
            sizes.append(mask.shape)
        self.sizes = np.array(sizes)
        weights = self.sizes.astype(np.float64).prod(axis=1) ** POWER
        self.weights = weights / weights.sum()

    def draw(self, count: int, jitter: float, rng: np.random.Generator) -> list[Patch]:
        """`count` patches, a third of them around foreground where there is any, enlarged by up to 1 + `jitter`."""
        places = rng.choice(len(self.rows), count, p=self.weights)
        return [self._one(int(place), jitter, rng) for place in places]

    def _one(self, place: int, jitter: float, rng: np.random.Generator) -> Patch:
        height, width = self.sizes[place]
        kinds = self.foreground[place]
        if kinds and rng.random() < FOREGROUND:
            pixels = kinds[int(rng.integers(len(kinds))) if len(kinds) > 1 else 0]
            y, x = divmod(int(rng.choice(pixels)), int(width))
        else:
            y, x = int(rng.integers(height)), int(rng.integers(width))
        zoom = float(np.exp(rng.uniform(-1, 1) * np.log1p(jitter)))
        return Patch(int(self.rows[place]), y, x, zoom)


def cut(stack: np.ndarray, patch: Patch, side: int, nearest: bool) -> np.ndarray:
    """The crop of an image or mask uint8 (h, w, c), (side, side, c); where it is smaller, mirrored to size.

    The crop lies within the image where that is large enough, so that it begins at the nearest such place.
    `nearest` is for masks: values stay values that were there.
    """
    wanted = max(1, round(side / patch.zoom))
    rows, columns = (
        _span(length, middle, wanted) for length, middle in zip(stack.shape[:2], (patch.y, patch.x), strict=True)
    )
    found = geometry.cut(stack, rows, columns)
    return geometry.resize_labels(found, side, side) if nearest else geometry.resize_image(found, side, side)


def _span(length: int, middle: int, wanted: int) -> np.ndarray:
    """Indices int (wanted,) along an axis: within it where it is long enough, else mirrored."""
    if length < wanted:
        return view.mirrored(length, wanted)
    first = min(max(0, middle - wanted // 2), length - wanted)
    return np.arange(first, first + wanted)


def _kinds(mask: np.ndarray) -> list[int]:
    """The values of a mask that are foreground."""
    return [int(kind) for kind in np.flatnonzero(np.bincount(mask.ravel())) if 0 < kind < LEANING]


def _some(foreground: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Flat indices of REMEMBERED foreground pixels at most, of a bool (h, w)."""
    pixels = np.flatnonzero(foreground)
    return pixels if len(pixels) <= REMEMBERED else rng.choice(pixels, REMEMBERED, replace=False)
