"""A random walker (Grady, PAMI 28, 2006) seeded by saliency."""

import numpy as np
from skimage.filters import threshold_otsu
from skimage.segmentation import random_walker

from unetlab.labels.foreground import labelled
from unetlab.labels.view import blurred, ground_colour

SURE = 0.3
"""Pixels whose saliency is further than this share from its Otsu threshold are seeds."""

BETA = 300.0
"""How much a walker shuns an edge."""


def walker(image: np.ndarray) -> np.ndarray:
    """uint8 (h, w, 1 or 3) to uint8 (h, w) of 0 and 1.

    Saliency is frequency-tuned (Achanta et al., CVPR 2009), the distance of each blurred pixel's colour from the
    image's own, but from its commonest colour where the paper takes the mean, which objects draw towards themselves.
    What is plainly salient is one kind of seed and what is plainly not is the other; walkers settle the rest.
    """
    return labelled(image, _segments)


def _segments(colours: np.ndarray) -> np.ndarray:
    smooth = blurred(colours)
    saliency = np.linalg.norm(smooth - ground_colour(smooth), axis=2)
    cut = threshold_otsu(saliency)
    seeds = np.where(saliency < (1 - SURE) * cut, 1, np.where(saliency > (1 + SURE) * cut, 2, 0))
    if set(np.unique(seeds)) != {0, 1, 2}:  # nothing to settle, or nowhere to start
        return np.asarray(saliency > cut).astype(np.int64)
    return np.asarray(random_walker(colours / 100, seeds, beta=BETA, mode="bf", channel_axis=2))
