"""How well outlines are drawn."""

import numpy as np
from scipy import ndimage

from unetlab.metrics.pixelwise import area, ratio

BOUNDARY_TOLERANCE = 2
"""Pixels by which a boundary may be off at the scored size."""


def boundary_f1(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """F1 of the boundary pixels of bool (n, h, w) masks, float64 (n,).

    A boundary pixel is a hit if one of the other mask lies within BOUNDARY_TOLERANCE pixels (Perazzi et al., CVPR
    2016). A boundary pixel is a foreground pixel with a background pixel beside it *in the image*: where foreground
    runs into the image's frame nobody knows whether it ends, and counting the frame would pay a mask for touching it.
    Two masks without any boundary score 1 if they are the same and 0 if not.
    """
    predicted_edge, true_edge = _edges(predicted), _edges(truth)
    found = area(predicted_edge & _dilate(true_edge))
    covered = area(true_edge & _dilate(predicted_edge))
    n_predicted, n_true = area(predicted_edge), area(true_edge)
    neither = (n_predicted == 0) & (n_true == 0) & (predicted == truth).all(axis=(1, 2))
    precision, recall = ratio(found, n_predicted, neither), ratio(covered, n_true, neither)
    return ratio(2 * precision * recall, precision + recall, neither)


_CROSS = ndimage.generate_binary_structure(2, 1)[None]

_REACH = np.arange(-BOUNDARY_TOLERANCE, BOUNDARY_TOLERANCE + 1)

_DISK = (_REACH**2 + _REACH[:, None] ** 2 <= BOUNDARY_TOLERANCE**2)[None]


def _edges(stack: np.ndarray) -> np.ndarray:
    """Foreground pixels with a background pixel of the image beside them, of bool (n, h, w)."""
    return np.asarray(stack & ~ndimage.binary_erosion(stack, _CROSS, border_value=1))


def _dilate(stack: np.ndarray) -> np.ndarray:
    return np.asarray(ndimage.binary_dilation(stack, _DISK))
