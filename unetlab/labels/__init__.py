"""Labels made from images alone: each maker is a function of one image, and none sees a true mask.

A maker takes uint8 (h, w, 1 or 3) and gives a mask, uint8 (h, w): 1 foreground, 0 background, and from `consensus`
UNKNOWN where it is unsure, LEANING where it is unsure but rather foreground. An image of one flat colour is all
background.
"""

from collections.abc import Callable

import numpy as np

from unetlab.images.regions import flat
from unetlab.labels.consensus import consensus
from unetlab.labels.felzenszwalb import felzenszwalb
from unetlab.labels.kmeans import kmeans
from unetlab.labels.otsu import otsu
from unetlab.labels.slic import slic
from unetlab.labels.walker import walker

__all__ = ["ABOUT", "LABELLERS", "VERSION", "flat", "label"]

VERSION = 4
"""Counted up when a maker changes: labels are cached by it."""

LABELLERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "otsu": otsu,
    "kmeans": kmeans,
    "felzenszwalb": felzenszwalb,
    "slic": slic,
    "walker": walker,
    "consensus": consensus,
}

ABOUT = {
    "otsu": "Otsu's threshold of the grey values, the floor",
    "kmeans": "k-means on colour and position",
    "felzenszwalb": "Felzenszwalb and Huttenlocher's graph method",
    "slic": "SLIC superpixels joined by a normalised cut",
    "walker": "a random walker seeded by saliency",
    "consensus": "what four of the five others agree on; the rest is left out of the loss",
}
"""One line for each of LABELLERS."""


def label(image: np.ndarray, maker: str) -> np.ndarray:
    """Labels of one image, uint8 (h, w, 1 or 3) to uint8 (h, w), by a maker of LABELLERS."""
    return LABELLERS[maker](image)
