"""Felzenszwalb and Huttenlocher's graph method (IJCV 59, 2004)."""

import numpy as np
from skimage import segmentation

from unetlab.labels.foreground import labelled

SCALE = 30.0

SMALLEST = 20
"""Pixels of the smallest segment, in the small copy."""


def felzenszwalb(image: np.ndarray) -> np.ndarray:
    """uint8 (h, w, 1 or 3) to uint8 (h, w) of 0 and 1."""
    return labelled(image, _segments)


def _segments(colours: np.ndarray) -> np.ndarray:
    return np.asarray(
        segmentation.felzenszwalb(colours / 100, scale=SCALE, sigma=0.8, min_size=SMALLEST, channel_axis=2)
    )
