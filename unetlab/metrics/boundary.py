"""How well outlines are drawn.

Masks are packed into words of 64 pixels, so that a step to the neighbours of all pixels is a shift of words.
"""

from math import isqrt

import numpy as np

from unetlab.metrics.pixelwise import ratio

BOUNDARY_TOLERANCE = 2
"""Pixels by which a boundary may be off at the scored size."""


def boundary_f1(predicted: np.ndarray, truth: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """F1 of the boundary pixels of bool (n, h, w) masks, float64 (n,); `known` alike, None for everywhere, is where
    labels are known: both masks are empty elsewhere.

    A boundary pixel is a hit if one of the other mask lies within BOUNDARY_TOLERANCE pixels (Perazzi et al., CVPR
    2016). A boundary pixel is a foreground pixel with a known background pixel beside it *in the image*: where
    foreground runs into the image's frame, or into unknown ground, nobody knows whether it ends, and counting that
    would pay a mask for touching it.
    Two masks without any boundary score 1 if they are the same and 0 if not.
    """
    there = [None] * len(truth) if known is None else known
    counts = [_counts(_edge(p, k), _edge(t, k)) for p, t, k in zip(predicted, truth, there, strict=True)]
    hits, covered, n_predicted, n_true = np.array(counts, np.int64).reshape(-1, 4).T
    neither = (n_predicted == 0) & (n_true == 0)
    neither[neither] = [np.array_equal(predicted[i], truth[i]) for i in np.flatnonzero(neither)]
    precision, recall = ratio(hits, n_predicted, neither), ratio(covered, n_true, neither)
    return ratio(2 * precision * recall, precision + recall, neither)


def _counts(predicted: np.ndarray, truth: np.ndarray) -> tuple[int, ...]:
    """Of two packed edges: pixels of the first near the second, of the second near the first, of the first, and of the
    second."""
    each = predicted & _near(truth), truth & _near(predicted), predicted, truth
    return tuple(int(np.bitwise_count(bits).sum(dtype=np.int64)) for bits in each)


def _packed(mask: np.ndarray) -> np.ndarray:
    """bool (h, w) as words (h, k) of 64 pixels, the first in the lowest bit; no pixel is set beyond the w-th."""
    octets = np.packbits(mask, axis=1, bitorder="little")
    words = np.zeros((len(mask), -(-octets.shape[1] // 8)), "<u8")
    words.view(np.uint8)[:, : octets.shape[1]] = octets
    return words


def _edge(mask: np.ndarray, known: np.ndarray | None) -> np.ndarray:
    """Foreground pixels with a known background pixel of the image beside them, of bool (h, w), packed."""
    ground = _packed(~mask if known is None else known & ~mask)
    beside = _sideways(ground)
    beside[1:] |= ground[:-1]
    beside[:-1] |= ground[1:]
    return np.asarray(_packed(mask) & beside)


def _sideways(words: np.ndarray) -> np.ndarray:
    """The pixels left and right of those that are set."""
    out = (words << 1) | (words >> 1)
    out[:, 1:] |= words[:, :-1] >> 63
    out[:, :-1] |= words[:, 1:] << 63
    return np.asarray(out)


def _near(words: np.ndarray) -> np.ndarray:
    """The pixels within BOUNDARY_TOLERANCE of those that are set, and some beyond the image's right edge."""
    wider = [words]  # by 0, 1, ... pixels on either side
    for _ in range(BOUNDARY_TOLERANCE):
        wider.append(wider[-1] | _sideways(wider[-1]))
    out = wider[BOUNDARY_TOLERANCE].copy()
    for down in range(1, BOUNDARY_TOLERANCE + 1):
        row = wider[isqrt(BOUNDARY_TOLERANCE**2 - down**2)]
        out[down:] |= row[:-down]
        out[:-down] |= row[down:]
    return out
