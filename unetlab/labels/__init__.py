"""Labels made from images alone: each maker is a function of one image, and none sees a true mask.

A maker takes uint8 (h, w, 1 or 3) and gives uint8 (h, w): 1 foreground, 0 background, 2 unsure (`consensus` only). It
works on a copy of at most WORK pixels a side, and an image of one flat colour is all background.
"""

from collections.abc import Callable

import numpy as np

from unetlab.baselines import otsu_mask
from unetlab.labels import clustering, consensus, graphs, walker
from unetlab.pixels import normalise, resize_image, resize_map

VERSION = 1
"""Counted up when a maker changes: labels are cached by it."""

WORK = 256

MAKERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "otsu": otsu_mask,
    "kmeans": clustering.kmeans,
    "felzenszwalb": graphs.felzenszwalb,
    "slic": graphs.slic,
    "walker": walker.walker,
}
"""Name to function, uint8 (h, w, 1 or 3) to bool (h, w), at working size."""


def flat(image: np.ndarray) -> bool:
    """Whether an image is of one colour, which says nothing of what is foreground."""
    return bool((image == image[0, 0]).all())


def label(image: np.ndarray, maker: str) -> np.ndarray:
    """Labels of one image, uint8 (h, w, 1 or 3) to uint8 (h, w), by a maker of LABELLERS."""
    if flat(image):
        return np.zeros(image.shape[:2], np.uint8)
    if maker != "consensus":
        return _at_native(MAKERS[maker], image).astype(np.uint8)
    return consensus.agreed([_at_native(one, image) for one in MAKERS.values()])


def majority(image: np.ndarray) -> np.ndarray:
    """What most makers say, bool (h, w): the labels of `consensus` with every pixel decided."""
    if flat(image):
        return np.zeros(image.shape[:2], bool)
    return consensus.majority([_at_native(one, image) for one in MAKERS.values()])


def _at_native(maker: Callable[[np.ndarray], np.ndarray], image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    scale = min(1.0, WORK / max(height, width))
    small = resize_image(image, max(1, round(height * scale)), max(1, round(width * scale)))
    # dim images hold their contrast in a few grey values, which no fixed colour distance would see
    small = np.rint(normalise(small[None], "percentile")[0] * 255).astype(np.uint8)
    return resize_map(maker(small).astype(np.float32), height, width) > 0.5
