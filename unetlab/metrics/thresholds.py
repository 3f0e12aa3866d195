"""Which threshold suits a model best, and which seeds the way it parts objects."""

from collections.abc import Iterable, Sequence

import numpy as np

from unetlab.inference.objects import METHODS, instances
from unetlab.metrics.objects import average_precision, overlaps
from unetlab.metrics.pixelwise import ratio

THRESHOLDS = np.arange(1, 20) / 20


def best_threshold(maps: Iterable[np.ndarray], truths: Iterable[np.ndarray]) -> float:
    """The threshold of THRESHOLDS with the highest mean Dice per image; of equals the one nearest 0.5.

    Args:
        maps: probabilities, float32 (h, w) each, of any size.
        truths: (h, w) each, above 0 on foreground.
    """
    dice = [_dice_at_each(found, truth > 0) for found, truth in zip(maps, truths, strict=True)]
    return nearest_half(THRESHOLDS, np.mean(dice, axis=0))


def best_seeds(
    masks: Sequence[np.ndarray], heads: Sequence[np.ndarray] | None, truths: Sequence[np.ndarray], how: str
) -> tuple[float, float]:
    """The seeds of a way to part objects that have the best mean object score, and that score (`ap_dsb`); of equals the
    first that METHODS lists.

    Args:
        masks: bool (h, w) each.
        heads: float32 (h, w) each, None for a way without.
        truths: label images (h, w) each.
        how: a name of METHODS.
    """
    scores = [
        np.mean(
            [
                average_precision(
                    overlaps(truth, instances(mask, None if heads is None else heads[i], how, seeds))
                ).mean()
                for i, (mask, truth) in enumerate(zip(masks, truths, strict=True))
            ]
        )
        for seeds in METHODS[how].seeds
    ]
    best = int(np.argmax(scores))
    return METHODS[how].seeds[best], float(scores[best])


def nearest_half(cuts: np.ndarray, scores: np.ndarray) -> float:
    """The cut with the highest score; of equals the one nearest 0.5, and of two such the lower."""
    best = np.flatnonzero(scores >= scores.max() - 1e-12)
    return float(cuts[best[np.argmin(np.abs(cuts[best] - 0.5))]])


def _dice_at_each(probability: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Dice of one map at each of THRESHOLDS.

    One pass over the pixels: each falls into a slot between two thresholds, and sums of slots give the counts.
    """
    slot = np.searchsorted(THRESHOLDS.astype(np.float32), probability.ravel(), side="left")
    every, foreground = (np.bincount(values, minlength=len(THRESHOLDS) + 1) for values in (slot, slot[truth.ravel()]))
    # above the k-th threshold lie the slots k + 1 and up
    predicted, tp = (counts[::-1].cumsum()[-2::-1] for counts in (every, foreground))
    total = predicted + foreground.sum()
    return ratio(2 * tp, total, total == 0)
