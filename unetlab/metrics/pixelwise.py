"""Counts and ratios of pixels; where a denominator is empty, 1 if nothing was there and nothing was found, else 0."""

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd
from sklearn import metrics

SMOOTH = 1e-5

SOFT_BATCH = 4
"""Of the soft Dice: its source pools the pixels of 4 images, adds SMOOTH to either sum, and averages those batches."""


def confusion_matrix(table: pd.DataFrame) -> np.ndarray:
    """Pixels of all images, int64 (2, 2), rows the truth and columns the prediction, background first."""
    tp, fp, fn, tn = (int(table[name].sum()) for name in ("tp", "fp", "fn", "tn"))
    return np.array([[tn, fp], [fn, tp]])


def classification_report(table: pd.DataFrame) -> str:
    """scikit-learn's report over all pixels of all images, from the four counts instead of a list of pixels."""
    report = metrics.classification_report(
        [0, 0, 1, 1],
        [0, 1, 0, 1],
        labels=[0, 1],
        target_names=["background", "foreground"],
        sample_weight=confusion_matrix(table).ravel(),
        digits=4,
        zero_division=0,
    )
    return re.sub(r"\.0$", "", report, flags=re.MULTILINE)  # weights make floats of the support


def area(stack: np.ndarray) -> np.ndarray:
    """Pixels that are set in each mask of a bool (n, h, w), int64 (n,)."""
    return np.array([np.count_nonzero(mask) for mask in stack], np.int64)  # with `axis` it is ten times as slow


def count(predicted: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Pixels of bool (n, h, w) stacks by what became of them, int64 (n,) each."""
    tp, n_predicted, n_true = area(predicted & truth), area(predicted), area(truth)
    pixels = predicted.shape[1] * predicted.shape[2]
    return {"tp": tp, "fp": n_predicted - tp, "fn": n_true - tp, "tn": pixels - n_predicted - n_true + tp}


def soft_sums(probabilities: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    overlap = np.sum(probabilities, axis=(1, 2), where=truth, dtype=np.float64)
    return {
        "soft_overlap": overlap,
        "soft_total": probabilities.sum(axis=(1, 2), dtype=np.float64) + truth.sum(axis=(1, 2)),
    }


def pooled_soft_dice(overlap: np.ndarray, total: np.ndarray, axis: int = -1) -> np.ndarray:
    """Mean over batches of SOFT_BATCH images, in their order, of 2 sum(p t) / sum(p + t)."""
    starts = np.arange(0, overlap.shape[axis], SOFT_BATCH)
    above, below = (np.add.reduceat(values, starts, axis=axis) for values in (overlap, total))
    return np.asarray(((2 * above + SMOOTH) / (below + SMOOTH)).mean(axis=axis))


def ratios(counts: pd.DataFrame | Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Dice, IoU, accuracy, precision and recall of what `count` gives, float64 (n,) each."""
    tp, fp, fn, tn = (np.asarray(counts[name]) for name in ("tp", "fp", "fn", "tn"))
    neither = tp + fp + fn == 0
    return {
        "dice": ratio(2 * tp, 2 * tp + fp + fn, neither),
        "iou": ratio(tp, tp + fp + fn, neither),
        "accuracy": ratio(tp + tn, tp + fp + fn + tn, neither & (tn == 0)),
        "precision": ratio(tp, tp + fp, neither),
        "recall": ratio(tp, tp + fn, neither),
    }


def ratio(numerator: np.ndarray, denominator: np.ndarray, neither: np.ndarray) -> np.ndarray:
    """Quotient; where the denominator is 0, 1 if `neither` and 0 otherwise."""
    return np.where(neither, 1.0, numerator / np.where(denominator == 0, 1, denominator))
