"""Points of an image that can be found again in another one: for frames that turned, came closer or moved far."""

from typing import NamedTuple

import numpy as np
from skimage.feature import SIFT

from unetlab.images import geometry

SIDE = 320
"""Pixels of the longer side that points are looked for at."""

POINTS = 400
"""Points an image at most, those of the largest blobs: they outlast a blur."""

MATCHES = 100
"""Pairs of points that movements are tried on at most, the surest."""

RATIO = 0.8
"""The nearest point of the other image is so much nearer than the second nearest at most (Lowe's ratio test)."""

WITHIN = 6.0
"""Pixels by which a point may lie off where the others say that it moved."""

STILL = 1.5
"""Pixels that a point moves at least, to say anything: a date or a scale bar written into images lies still."""

ZOOM = 4.0
"""One image shows things larger or smaller than the other by this factor at most."""

LEAST = 3
"""Points found again before a movement is looked for: any two make one."""


class Points(NamedTuple):
    """Places, float32 (n, 2), row and column, and SIFT descriptors, uint8 (n, 128)."""

    places: np.ndarray
    descriptors: np.ndarray


def points(image: np.ndarray) -> Points:
    """SIFT points (Lowe, 2004) of an image, uint8 (h, w, c); none where nothing stands out."""
    grey = geometry.fit_channels(image, 1)[:, :, 0].astype(np.float32)
    scale = min(1.0, SIDE / max(grey.shape))
    small = geometry.resize_map(grey, max(1, round(grey.shape[0] * scale)), max(1, round(grey.shape[1] * scale)))
    finder = SIFT(c_dog=0.008)
    try:
        finder.detect_and_extract(small / 255)
    except (RuntimeError, ValueError, IndexError):  # its ways to say that there is none
        return Points(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8))
    kept = np.argsort(-finder.sigmas, kind="stable")[:POINTS]
    return Points(finder.positions[kept].astype(np.float32), finder.descriptors[kept])


def same_place(one: Points, other: Points) -> int:
    """How many points of two images moved together, by one shift, turn and zoom; 0 for too few to tell.

    Two points make a movement, and every two are tried, so nothing is drawn by chance. Points on one spot count once.
    Points that lie still do not count: what a camera sees that stands still is told by its blocks.
    """
    if min(len(one.places), len(other.places)) < LEAST:
        return 0
    roots = [_root(side.descriptors) for side in (one, other)]
    likeness = roots[0] @ roots[1].T
    rows, nearest = np.arange(len(likeness)), likeness.argmax(axis=1)
    apart = np.sqrt(np.maximum(2 - 2 * np.partition(likeness, -2, axis=1)[:, -2:], 0))
    ratio = apart[:, 1] / np.maximum(apart[:, 0], 1e-6)
    sure = np.argsort(ratio, kind="stable")
    sure = sure[(likeness.argmax(axis=0)[nearest] == rows)[sure] & (ratio[sure] <= RATIO)][:MATCHES]
    here, there = one.places[sure] @ (1, 1j), other.places[nearest[sure]] @ (1, 1j)
    moved = np.abs(there - here) >= STILL
    return _together(here[moved], there[moved])


def _root(descriptors: np.ndarray) -> np.ndarray:
    """Descriptors whose product is Bhattacharyya's coefficient (RootSIFT: Arandjelovic and Zisserman, 2012)."""
    counts = descriptors.astype(np.float32)
    return np.asarray(np.sqrt(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)))


def _together(here: np.ndarray, there: np.ndarray) -> int:
    """The most places that one movement z -> turn z + shift takes from `here` to `there`, complex (n,) each."""
    first, second = np.triu_indices(len(here), 1)
    wide = np.abs(here[first] - here[second]) > 2 * WITHIN
    first, second = first[wide], second[wide]
    turn = (there[second] - there[first]) / (here[second] - here[first])
    likely = (np.abs(turn) < ZOOM) & (np.abs(turn) > 1 / ZOOM)
    turn, first = turn[likely, None], first[likely]
    if not len(turn):
        return 0
    shift = there[first, None] - turn * here[first, None]
    agreed = np.abs(turn * here + shift - there) < WITHIN
    best = agreed[agreed.sum(axis=1).argmax()]
    return min(len(np.unique(np.round(side[best] / WITHIN))) for side in (here, there))
