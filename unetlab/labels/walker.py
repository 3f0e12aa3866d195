"""A random walker seeded by saliency."""

import warnings

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_multiotsu
from skimage.segmentation import random_walker

from unetlab.labels.foreground import MOST, foreground, lab

BETA = 300.0
"""How much a walker shuns an edge."""


def walker(image: np.ndarray) -> np.ndarray:
    """Random walker segmentation (Grady 2006), uint8 (h, w, 1 or 3) to bool (h, w).

    Seeds come from frequency-tuned saliency (Achanta et al. 2009): the distance of each blurred pixel's colour from the
    image's mean colour. What stands out most is one kind, what stands out least the other; walkers settle the rest, and
    the rule of `foreground` says which kind is which.
    """
    colours = lab(image)
    blurred = np.stack([ndimage.gaussian_filter(colours[..., k], 1.0) for k in range(3)], axis=2)
    saliency = np.linalg.norm(blurred - colours.mean(axis=(0, 1)), axis=2)
    try:
        low, high = threshold_multiotsu(saliency, classes=3)
    except ValueError:  # too few different values to cut twice
        return np.zeros(saliency.shape, dtype=bool)
    seeds = np.where(saliency < low, 1, np.where(saliency > high, 2, 0))
    if not ((seeds == 1).any() and (seeds == 2).any()):
        return np.zeros(saliency.shape, dtype=bool)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # skimage warns of optional solvers
        settled = random_walker(saliency / saliency.max(), seeds, beta=BETA, mode="cg_j", tol=1e-3)
    found = foreground(settled, colours)
    return found if found.mean() <= MOST else ~found
