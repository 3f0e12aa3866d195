"""Whether probabilities mean what they say, and how well they rank pixels."""

from collections.abc import Sequence

import numpy as np
from sklearn import metrics

AUC_PIXELS = 2_000_000
"""Up to this many pixels the AUC is that of all their values in order; beyond, of values rounded down to AUC_BITS bits,
which moves it by far less than the last digit shown."""

AUC_BITS = 22
"""Of the 32 of a float32: its exponent and 13 bits behind the leading one."""

CALIBRATION_BINS = 15


Stack = Sequence[np.ndarray] | np.ndarray
"""n arrays (h, w) that may differ in size, or one (n, h, w). They are taken one after the other, so that they need not
be in memory together."""


def area_under_curve(probabilities: Stack, masks: Stack) -> float:
    """ROC AUC over the pixels of all images, float32 in [0, 1] and {0, 1}. Raises ValueError if all are of one
    class."""
    parts = ((found.ravel(), mask.ravel() > 0) for found, mask in zip(probabilities, masks, strict=True))
    if sum(mask.size for mask in masks) <= AUC_PIXELS:
        scores, truth = (np.concatenate(each) for each in zip(*parts, strict=True))
        return float(metrics.roc_auc_score(truth, scores))
    counts = np.zeros((2, 2 * _HALF + 1))
    for scores, truth in parts:
        which = _rounded(scores)
        for side, own in zip(counts, (which[~truth], which[truth]), strict=True):
            there, times = np.unique(own, return_counts=True)
            side[there] += times
    ground, found = counts
    if not ground.sum() or not found.sum():
        raise ValueError("an area under the ROC curve wants pixels of both classes")
    return float(found @ (ground.cumsum() - ground / 2) / (ground.sum() * found.sum()))


_HALF = int(np.float32(0.5).view(np.uint32)) >> (32 - AUC_BITS)


def _rounded(scores: np.ndarray) -> np.ndarray:
    """Integers in the order of float32 in [0, 1], from 0 to twice _HALF, as fine next to 1 as next to 0. The bits of
    numbers that are not negative are in the order of the numbers, and 1 - p is exact from one half on."""
    low = scores < np.float32(0.5)
    bits = np.where(low, scores, np.float32(1) - scores) + np.float32(0)  # which makes -0 a 0
    bits = (bits.view(np.uint32) >> np.uint32(32 - AUC_BITS)).astype(np.int64)
    return np.where(low, bits, 2 * _HALF - bits)


def calibration_bins(probabilities: Stack, masks: Stack) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels in equal-width bins of probability: how many, their mean probability, their share of foreground.

    Three float64 arrays (CALIBRATION_BINS,); the last two are 0 where a bin is empty.
    """
    count, predicted, observed = np.zeros((3, CALIBRATION_BINS))
    for found, mask in zip(probabilities, masks, strict=True):
        flat = found.ravel()
        which = np.minimum((flat * np.float32(CALIBRATION_BINS)).astype(np.intp), CALIBRATION_BINS - 1)
        count += np.bincount(which, minlength=CALIBRATION_BINS)
        predicted += np.bincount(which, weights=flat, minlength=CALIBRATION_BINS)
        observed += np.bincount(which, weights=mask.ravel(), minlength=CALIBRATION_BINS)
    filled = np.maximum(count, 1)
    return count, predicted / filled, observed / filled


def calibration_error(probabilities: Stack, masks: Stack) -> float:
    """Expected calibration error of the foreground probability (Guo et al., ICML 2017, for two classes)."""
    return error_of(*calibration_bins(probabilities, masks))


def error_of(count: np.ndarray, predicted: np.ndarray, observed: np.ndarray) -> float:
    """The calibration error that `calibration_bins` tell of."""
    return float(np.sum(count * np.abs(predicted - observed)) / count.sum())
