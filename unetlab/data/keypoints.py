"""Points of an image that can be found again in another one: for frames that turned or came closer."""

import warnings
from typing import NamedTuple

import numpy as np
from skimage.feature import ORB
from skimage.measure import ransac
from skimage.transform import SimilarityTransform

from unetlab.images import geometry

SIDE = 320
"""Pixels of the longer side that points are looked for at."""

POINTS = 200
"""Points an image at most."""

RATIO = 0.8
"""The nearest point of the other image is so much nearer than the second nearest at most (Lowe's ratio test)."""

WITHIN = 6.0
"""Pixels by which a point may lie off where the others say that it moved."""

LEAST = 8
"""Points found again before a movement is looked for."""


class Points(NamedTuple):
    """Places, float32 (n, 2), and ORB descriptors, packed bits uint8 (n, 32)."""

    places: np.ndarray
    bits: np.ndarray


def points(image: np.ndarray) -> Points:
    """ORB points (Rublee et al., 2011) of an image, uint8 (h, w, c); none where nothing stands out."""
    grey = geometry.fit_channels(image, 1)[:, :, 0].astype(np.float32)
    scale = min(1.0, SIDE / max(grey.shape))
    small = geometry.resize_map(grey, max(1, round(grey.shape[0] * scale)), max(1, round(grey.shape[1] * scale)))
    finder = ORB(n_keypoints=POINTS, n_scales=6, fast_threshold=0.03)
    try:
        finder.detect_and_extract(small / 255)
    except (RuntimeError, ValueError, IndexError):  # its ways to say that there is none
        return Points(np.zeros((0, 2), np.float32), np.zeros((0, 32), np.uint8))
    return Points(finder.keypoints.astype(np.float32), np.packbits(finder.descriptors, axis=1))


def same_place(one: Points, other: Points) -> int:
    """How many points of two images moved together, by one shift, turn and scale (RANSAC); 0 for too few to tell."""
    if min(len(one.places), len(other.places)) < LEAST:
        return 0
    signs = [np.unpackbits(side.bits, axis=1).astype(np.float32) * 2 - 1 for side in (one, other)]
    apart = (signs[0].shape[1] - signs[0] @ signs[1].T) / 2
    rows, nearest = np.arange(len(apart)), apart.argmin(axis=1)
    first, second = np.partition(apart, 1, axis=1)[:, :2].T
    mutual = (apart.argmin(axis=0)[nearest] == rows) & (first <= RATIO * second)
    if mutual.sum() < LEAST:
        return 0
    places = one.places[mutual], other.places[nearest[mutual]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of draws that give no transform
        _, agreed = ransac(places, SimilarityTransform, min_samples=2, residual_threshold=WITHIN, max_trials=200, rng=0)
    count = 0 if agreed is None else int(agreed.sum())
    return count if count > mutual.sum() / 2 else 0
