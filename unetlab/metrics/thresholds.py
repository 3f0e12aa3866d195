"""Which threshold suits a model best, which seeds the way it parts objects, and how sure of an object it has to be."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from unetlab.inference.objects import METHODS, confident, instances, instances_for_each
from unetlab.metrics.objects import on_known, score_objects
from unetlab.metrics.pixelwise import ratio

THRESHOLDS = np.arange(1, 20) / 20

CONFIDENCES = (0.0, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9)
"""Mean probabilities of an object that are tried as the least; above its threshold of about a half all are anyhow."""


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
    for look in _looks(maps, truths, how, cut, known):
        parted = instances_for_each(look.mask, look.head, how, method.seeds, least)
        rows.append(
            [score_objects(on_known(labels, look.known, look.truth), look.truth)["ap_dsb"] for labels in parted]
        )
    if not rows:
        return method.default, float("nan")
    ap_dsb = np.mean(rows, axis=0)
    best = np.flatnonzero(ap_dsb >= ap_dsb.max() - 1e-12)
    k = best[np.argmin(np.abs(np.array(method.seeds)[best] - method.default))]
    return method.seeds[k], float(ap_dsb[k])


def best_confidence(
    maps: Iterable[np.ndarray],
    truths: Iterable[np.ndarray],
    how: str,
    seeds: float,
    cut: float | Sequence[float],
    least: int = 0,
    known: Iterable[np.ndarray] | None = None,
) -> float:
    """The one of CONFIDENCES with the highest mean of AP over 0.5 to 0.95 on validation images, of equals the least;
    0 without images.

    Args:
        seeds: the method's number.
        others: as `best_seeds` takes them.
    """
    rows = []
    for look in _looks(maps, truths, how, cut, known):
        labels = instances(look.mask, look.head, how, seeds, least)
        kept = (confident(labels, look.probability, least_sure) for least_sure in CONFIDENCES)
        rows.append([score_objects(on_known(each, look.known, look.truth), look.truth)["ap_dsb"] for each in kept])
    return CONFIDENCES[int(np.argmax(np.mean(rows, axis=0)))] if rows else 0.0


class _Look(NamedTuple):
    """What a network says of an image, and its truth."""

    probability: np.ndarray
    mask: np.ndarray
    head: np.ndarray | None
    truth: np.ndarray
    known: np.ndarray | bool


def _looks(
    maps: Iterable[np.ndarray],
    truths: Iterable[np.ndarray],
    how: str,
    cut: float | Sequence[float],
    known: Iterable[np.ndarray] | None,
) -> Iterator[_Look]:
    everywhere: Iterable[np.ndarray | bool] = itertools.repeat(True) if known is None else known
    for k, ((found, truth), seen) in enumerate(zip(zip(maps, truths, strict=True), everywhere, strict=False)):
        planes = np.atleast_3d(found)
        mask = planes[..., 0] > np.float32(cut if isinstance(cut, float | int) else cut[k])
        yield _Look(planes[..., 0], mask, planes[..., 1] if METHODS[how].uses_head else None, truth, seen)


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
