"""Whether probabilities mean what they say, and how well they rank pixels."""

import numpy as np
from sklearn import metrics

AUC_PIXELS = 2_000_000
"""Above this many pixels the AUC is taken from a random draw of so many: its error is then below 0.001."""

CALIBRATION_BINS = 15


def area_under_curve(probabilities: np.ndarray, masks: np.ndarray) -> float:
    """ROC AUC over pixels; above AUC_PIXELS from a draw that is the same each time."""
    scores, truth = probabilities.ravel(), masks.ravel()
    if scores.size > AUC_PIXELS:
        drawn = np.random.default_rng(0).choice(scores.size, AUC_PIXELS, replace=False, shuffle=False)
        if truth[drawn].min() != truth[drawn].max():
            scores, truth = scores[drawn], truth[drawn]
    return float(metrics.roc_auc_score(truth, scores))


def calibration_bins(probabilities: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels in equal-width bins of probability: how many, their mean probability, their share of foreground.

    Three float64 arrays (CALIBRATION_BINS,); the last two are 0 where a bin is empty.
    """
    flat = probabilities.ravel()
    which = np.minimum((flat * np.float32(CALIBRATION_BINS)).astype(np.intp), CALIBRATION_BINS - 1)
    count = np.bincount(which, minlength=CALIBRATION_BINS).astype(np.float64)
    predicted = np.bincount(which, weights=flat, minlength=CALIBRATION_BINS)
    observed = np.bincount(which, weights=masks.ravel(), minlength=CALIBRATION_BINS)
    filled = np.maximum(count, 1)
    return count, predicted / filled, observed / filled


def calibration_error(probabilities: np.ndarray, masks: np.ndarray) -> float:
    """Expected calibration error of the foreground probability (Guo et al., ICML 2017, for two classes)."""
    count, predicted, observed = calibration_bins(probabilities, masks)
    return float(np.sum(count * np.abs(predicted - observed)) / count.sum())
