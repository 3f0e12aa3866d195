"""What the label makers look at: a small copy of an image, in colours whose distances mean much the same in all."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage
from skimage.color import rgb2lab

from unetlab.images.geometry import resize_image

WORK = 256
"""Largest side of the copy."""

STRETCH = (0.1, 99.9)
"""Percentiles put at 0 and 255: dim images hold their contrast in a few grey values."""

CELL = 4.0
"""Side of the colour cells the commonest colour is looked for in, in CIELAB units."""

NEAR = 10.0
"""A plain difference to the eye, in CIELAB units: cells nearer than this count for each other."""

CELLS = 1000
"""At most so many cells, the fullest, are compared with each other."""


class View(NamedTuple):
    """Two CIELAB copies of one image, float32 (h, w, 3), lightness in 0..100.

    `plain` is in proportion to the stored values. `even` is the square root of it where the ground is dark, and the
    same elsewhere: what shines on a dark ground differs in brightness by factors, and its noise grows with the root of
    it (Anscombe 1948), so that roots bring dim and bright objects together.
    """

    plain: np.ndarray
    even: np.ndarray


def look(image: np.ndarray) -> View:
    """The copies of an image, uint8 (h, w, 1 or 3), at most WORK pixels a side."""
    height, width = image.shape[:2]
    scale = min(1.0, WORK / max(height, width))
    small = resize_image(image, max(1, round(height * scale)), max(1, round(width * scale)))
    low, high = np.percentile(small, STRETCH)
    if low == high:
        low, high = small.min(), small.max()
    unit = np.clip((small - np.float32(low)) / max(np.float32(high - low), np.float32(1)), 0.0, 1.0)
    plain = np.asarray(rgb2lab(np.broadcast_to(unit, (*unit.shape[:2], 3))), dtype=np.float32)
    light = plain[..., :1]
    median = float(np.median(light))
    on_dark = median < 50 and float(light.mean()) > median
    return View(plain, plain * np.sqrt(100 / np.maximum(light, 1)) if on_dark else plain)


def blurred(colours: np.ndarray) -> np.ndarray:
    """CIELAB float32 (h, w, 3) without the noise of single pixels."""
    return np.asarray(ndimage.gaussian_filter(colours, (1, 1, 0)))


def ground_colour(colours: np.ndarray) -> np.ndarray:
    """The commonest colour of CIELAB float32 (h, w, 3), float64 (3,): the one with most pixels near it."""
    pixels = colours.reshape(-1, 3)
    steps = np.rint(pixels / CELL).astype(np.int64)
    numbers = np.ravel_multi_index((steps - steps.min(axis=0)).T, np.ptp(steps, axis=0) + 1)
    _, cell, count = np.unique(numbers, return_inverse=True, return_counts=True)
    means = np.stack([np.bincount(cell, pixels[:, k]) for k in range(3)], axis=1) / count[:, None]
    fullest = np.argsort(-count, kind="stable")[:CELLS]
    means, count = means[fullest], count[fullest]
    apart = np.linalg.norm(means[:, None] - means[None], axis=2)
    return np.asarray(means[(np.exp(-((apart / NEAR) ** 2)) @ count).argmax()])
