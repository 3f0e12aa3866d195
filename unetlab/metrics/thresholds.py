"""Which threshold suits a model best."""

import numpy as np

from unetlab.metrics.pixelwise import ratio

THRESHOLDS = np.arange(1, 20) / 20


def best_threshold(probabilities: np.ndarray, masks: np.ndarray) -> float:
    """The threshold of THRESHOLDS with the highest mean Dice per image; of equals the one nearest 0.5.

    One pass over the pixels: each falls into a slot between two thresholds, and sums of slots give the counts.
    """
    n, slots = len(probabilities), len(THRESHOLDS) + 1
    slot = np.searchsorted(THRESHOLDS.astype(np.float32), probabilities.reshape(n, -1), side="left")
    slot += np.arange(n)[:, None] * slots
    truth = masks.reshape(n, -1).astype(bool)
    every = np.bincount(slot.ravel(), minlength=n * slots).reshape(n, slots)
    foreground = np.bincount(slot[truth], minlength=n * slots).reshape(n, slots)
    # Above the k-th threshold lie the slots k + 1 and up.
    predicted, tp = (counts[:, ::-1].cumsum(axis=1)[:, -2::-1] for counts in (every, foreground))
    total = predicted + foreground.sum(axis=1, keepdims=True)
    dice = ratio(2 * tp, total, total == 0).mean(axis=0)
    best = np.flatnonzero(dice >= dice.max() - 1e-12)
    return float(THRESHOLDS[best[np.argmin(np.abs(THRESHOLDS[best] - 0.5))]])
