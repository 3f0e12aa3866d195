"""Objects in masks: finding them, matching them to the true ones, counting hits.

Integer arithmetic throughout, so that an overlap of exactly 0.55 is on the same side of the line everywhere.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

DSB_STEPS = np.arange(10, 20)
"""Overlap thresholds of the Data Science Bowl, 0.50 to 0.95, in twentieths."""


class Overlaps(NamedTuple):
    """Pairs of objects that share a pixel: arrays of one length; and the number of objects on either side.

    `true` and `predicted` are the numbers of the two.
    """

    intersection: np.ndarray
    union: np.ndarray
    n_true: int
    n_predicted: int
    true: np.ndarray
    predicted: np.ndarray


def overlaps(true_labels: np.ndarray, predicted_labels: np.ndarray) -> Overlaps:
    """Sparse contingency of two label images of one shape, any unsigned or non-negative integer dtype, 0 background.

    Labels may have gaps. Raises ValueError if the shapes differ.
    """
    if true_labels.shape != predicted_labels.shape:
        raise ValueError(
            f"label images must have one shape. Received: {true_labels.shape} and {predicted_labels.shape}"
        )
    true, predicted, length = _runs(true_labels.ravel(), predicted_labels.ravel())
    true_area, predicted_area = (np.bincount(side, length, 1).astype(np.int64) for side in (true, predicted))
    both = (true > 0) & (predicted > 0)
    width = len(predicted_area)
    pairs = true[both].astype(np.int64) * width + predicted[both]
    order = np.argsort(pairs)
    pairs, length = pairs[order], length[both][order]
    first = np.flatnonzero(np.diff(pairs, prepend=-1))
    intersection = np.add.reduceat(length, first) if len(first) else first
    true, predicted = np.divmod(pairs[first], width)
    union = true_area[true] + predicted_area[predicted] - intersection
    n_true, n_predicted = (int((area[1:] > 0).sum()) for area in (true_area, predicted_area))
    return Overlaps(intersection, union, n_true, n_predicted, true, predicted)


def on_known(labels: np.ndarray, known: np.ndarray | bool, truth: np.ndarray) -> np.ndarray:
    """Objects found where the truth is known, of the same numbers, as far as they lie there: those with half of their
    pixels there at least, and those that meet a true object there. Another one that juts out of unknown ground is no
    object of its own.

    Args:
        labels: a label image (h, w), non-negative integers, 0 background.
        known: bool (h, w), or True for everywhere.
        truth: the true objects, a label image alike.
    """
    if np.all(known):
        return labels
    inside, every = np.bincount(labels[known], minlength=int(labels.max()) + 1), np.bincount(labels.ravel())
    kept = 2 * inside >= every
    kept[np.unique(labels[known & (truth > 0)])] = True
    return np.where(known & kept[labels], labels, labels.dtype.type(0))


def _runs(true: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flat label images as runs of pixels that have the same label in both: the two labels and the length of each run.

    Runs are few, so that what follows does no arithmetic, and sorts nothing, by pixel.
    """
    changed = true[1:] != true[:-1]
    changed |= predicted[1:] != predicted[:-1]
    first = np.concatenate([[0], np.flatnonzero(changed) + 1])[: true.size]
    return true[first], predicted[first], np.diff(first, append=true.size)


def average_precision(found: Overlaps) -> np.ndarray:
    """TP / (TP + FP + FN) at each overlap threshold of DSB_STEPS, float64 (10,); ones if there is no object at all.

    As in the 2018 Data Science Bowl (Caicedo et al., Nature Methods 16, 2019) a pair is a hit if its intersection
    over union is greater than the threshold. Above one half an object can hit one other at most, so no assignment
    has to be solved.
    """
    if found.n_true + found.n_predicted == 0:
        return np.ones(len(DSB_STEPS))
    hits = (20 * found.intersection[:, None] > DSB_STEPS * found.union[:, None]).sum(axis=0)
    return np.asarray(hits / (found.n_true + found.n_predicted - hits))


def panoptic_quality(found: Overlaps) -> float:
    """Sum of the overlaps of hits over TP + FP / 2 + FN / 2, in [0, 1]; 1 if there is no object at all.

    Source: Kirillov et al. 2019, https://arxiv.org/abs/1801.00868. A pair is a hit if its intersection over union is
    greater than one half. It is the F1 of objects times the mean overlap of those hit, so that unlike
    `average_precision` it grows with every pixel a hit object gains.
    """
    objects = found.n_true + found.n_predicted
    hit = 2 * found.intersection > found.union
    return float(2 * (found.intersection[hit] / found.union[hit]).sum() / objects) if objects else 1.0


def hit_objects(true_labels: np.ndarray, predicted_labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the true objects that are hit, and of the predicted ones that hit them, int (k,) each, in one order.

    A pair is a hit if its intersection over union is greater than one half.
    """
    found = overlaps(true_labels, predicted_labels)
    hit = 2 * found.intersection > found.union
    return found.true[hit], found.predicted[hit]


def f1(found: Overlaps, tenths: int) -> float:
    """TP / (TP + FP / 2 + FN / 2), a hit being a pair whose intersection over union is greater than `tenths` tenths, 5
    at least; 1 if there is no object at all.
    """
    objects = found.n_true + found.n_predicted
    hits = int((10 * found.intersection > tenths * found.union).sum())
    return 2 * hits / objects if objects else 1.0


def count_error(found: Overlaps) -> float:
    """Objects too many or too few, as a share of the true ones: |found - true| / max(true, 1), 0 at best.

    It says nothing of where they are: two missed and two invented leave it at 0.
    """
    return abs(found.n_true - found.n_predicted) / max(found.n_true, 1)


SCORES: dict[str, Callable[[Overlaps], float]] = {
    "ap50": lambda found: float(average_precision(found)[0]),
    "ap_dsb": lambda found: float(average_precision(found).mean()),
    "pq": panoptic_quality,
    "f1_50": lambda found: f1(found, 5),
    "f1_70": lambda found: f1(found, 7),
    "count_true": lambda found: found.n_true,
    "count_predicted": lambda found: found.n_predicted,
    "count_error": count_error,
}
"""What is said of the objects of an image, by the name of its column."""


def score_objects(found: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """SCORES of one label image against the true one, any unsigned or non-negative integer (h, w), 0 background."""
    pairs = overlaps(truth, found)
    return {name: of(pairs) for name, of in SCORES.items()}
