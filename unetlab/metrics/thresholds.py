"""Which threshold suits a model best, and which seeds the way it parts objects."""

from collections.abc import Iterable, Sequence

import numpy as np

from unetlab.inference.objects import METHODS, instances
from unetlab.metrics.objects import score_objects
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


def nearest_half(cuts: np.ndarray, scores: np.ndarray) -> float:
    """The cut with the highest score; of equals the one nearest 0.5, and of two such the lower."""
    best = np.flatnonzero(scores >= scores.max() - 1e-12)
    return float(cuts[best[np.argmin(np.abs(cuts[best] - 0.5))]])


def best_seeds(
    maps: Iterable[np.ndarray],
    truths: Iterable[np.ndarray],
    how: str,
    cut: float | Sequence[float],
    least: int = 0,
) -> tuple[float, float]:
    """Which of a method's numbers has the highest mean of AP over 0.5 to 0.95 on validation images.

    Args:
        maps: what the network says, float32 (h, w, 1 or 2) or (h, w) each, of any size: the mask's probability, then
            the method's head where it uses one.
        truths: label images (h, w), 0 background, as `Dataset.objects` has them.
        how: a key of `inference.objects.METHODS`.
        cut: the mask's threshold, one for all images or one each.
        least: pixels; what is smaller is no object.

    Returns the number, of equals the one nearest the method's own, and that mean. Each map and truth is taken once,
    so that generators need not hold all of them.
    """
    method = METHODS[how]
    rows = []
    for k, (found, truth) in enumerate(zip(maps, truths, strict=True)):
        planes = np.atleast_3d(found)
        mask = planes[..., 0] > np.float32(cut if isinstance(cut, float | int) else cut[k])
        head = planes[..., 1] if method.uses_head else None
        scores = [score_objects(instances(mask, head, how, seeds, least), truth) for seeds in method.seeds]
        rows.append([each["ap_dsb"] for each in scores])
    if not rows:
        return method.default, float("nan")
    ap_dsb = np.mean(rows, axis=0)
    best = np.flatnonzero(ap_dsb >= ap_dsb.max() - 1e-12)
    k = best[np.argmin(np.abs(np.array(method.seeds)[best] - method.default))]
    return method.seeds[k], float(ap_dsb[k])


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
