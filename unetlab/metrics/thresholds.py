"""Which threshold suits a model best, and which seeds the way it parts objects."""

import itertools
from collections.abc import Iterable, Sequence

import numpy as np

from unetlab.inference.objects import METHODS, instances_for_each
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
    known: Iterable[np.ndarray] | None = None,
) -> tuple[float, float]:
    """Which of a method's numbers has the highest mean of AP over 0.5 to 0.95 on validation images.

    Args:
        maps: what the network says, float32 (h, w, 1 or 2) or (h, w) each, of any size: the mask's probability, then
            the method's head where it uses one.
        truths: label images (h, w), 0 background, as `Dataset.objects` has them.
        how: a key of `inference.objects.METHODS`.
        cut: the mask's threshold, one for all images or one each.
        least: pixels; what is smaller is no object.
        known: where each truth is known, bool (h, w); what is found elsewhere is left out. None for everywhere.

    Returns the number, of equals the one nearest the method's own, and that mean. Each map and truth is taken once,
    so that generators need not hold all of them.
    """
    method = METHODS[how]
    rows = []
    everywhere = itertools.repeat(True) if known is None else known
    for k, ((found, truth), seen) in enumerate(zip(zip(maps, truths, strict=True), everywhere, strict=False)):
        planes = np.atleast_3d(found)
        mask = planes[..., 0] > np.float32(cut if isinstance(cut, float | int) else cut[k])
        head = planes[..., 1] if method.uses_head else None
        parted = instances_for_each(mask, head, how, method.seeds, least)
        rows.append([score_objects(labels * seen, truth)["ap_dsb"] for labels in parted])
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
