"""95 % intervals of mean scores over images, drawn scene by scene where `scenes` says which images are of one."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from unetlab.metrics import significance
from unetlab.metrics.pixelwise import SMOOTH, pooled_soft_dice, ratio
from unetlab.metrics.significance import Scenes


class Interval(NamedTuple):
    """A mean with its 95 % interval; low and high are NaN for fewer than two values or scenes."""

    mean: float
    low: float
    high: float


class PairedInterval(NamedTuple):
    """The mean of a - b over pairs with its 95 % interval and two-sided p-value."""

    mean: float
    low: float
    high: float
    p_value: float


def pooled_interval(
    table: pd.DataFrame, name: str, scenes: Scenes = None, seed: int = 0, draws: int = 10_000
) -> Interval:
    """A score over pixels and its 95 % interval over scenes, by the percentile bootstrap.

    Args:
        table: of `score_images`.
        name: "accuracy", "precision", "recall", "f1" or "soft_dice".
        scenes: of each row; None for images that are a scene each.

    Raises ValueError for another name.
    """
    parts = {
        "accuracy": (["tp", "tn"], ["tp", "fp", "fn", "tn"]),
        "precision": (["tp"], ["tp", "fp"]),
        "recall": (["tp"], ["tp", "fn"]),
        "f1": (["tp", "tp"], ["tp", "tp", "fp", "fn"]),
        "soft_dice": (["soft_overlap"], ["soft_total"]),
    }
    if name not in parts:
        raise ValueError(f"name must be one of {', '.join(parts)}. Received: {name!r}")
    above, below = (table[columns].sum(axis=1).to_numpy(np.float64) for columns in parts[name])
    nothing = not table[["tp", "fp", "fn"]].to_numpy().any()

    def pooled(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray:
        above, below = a.sum(axis=axis), b.sum(axis=axis)
        return ratio(above, below, (below == 0) & nothing)

    quotient = pooled_soft_dice if name == "soft_dice" else pooled
    value = float(quotient(above, below))
    if len(table) < 2 or np.ptp(above / np.maximum(below, SMOOTH)) < 1e-12:
        return Interval(value, float("nan"), float("nan")) if len(table) < 2 else Interval(value, value, value)
    if scenes is not None:
        return Interval(value, *_pooled_ends(quotient, above, below, scenes, seed, draws))
    found = stats.bootstrap(
        (above, below), quotient, paired=True, n_resamples=draws, method="percentile", rng=np.random.default_rng(seed)
    )
    return Interval(value, float(found.confidence_interval.low), float(found.confidence_interval.high))


def _pooled_ends(
    quotient: Callable[..., np.ndarray], above: np.ndarray, below: np.ndarray, scenes: Scenes, seed: int, draws: int
) -> tuple[float, float]:
    """Ends of the percentile bootstrap that draws scenes with all their images; NaN for one scene."""
    _, scene = np.unique(np.asarray(scenes), return_inverse=True)
    members = [np.flatnonzero(scene == k) for k in range(scene.max() + 1)]
    if len(members) < 2:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    drawn = (np.concatenate([members[k] for k in rng.integers(len(members), size=len(members))]) for _ in range(draws))
    low, high = np.percentile([float(quotient(above[rows], below[rows])) for rows in drawn], [2.5, 97.5])
    return float(low), float(high)


def interval(values: np.ndarray | pd.Series, scenes: Scenes = None, seed: int = 0, draws: int = 10_000) -> Interval:
    """Mean of scores in [0, 1] and its 95 % interval, by `significance.bootstrap_interval`, cut to [0, 1]."""
    mean, low, high = _interval(values, scenes, seed, draws)
    return Interval(mean, max(low, min(0.0, mean)), min(high, max(1.0, mean)))


def _interval(values: np.ndarray | pd.Series, scenes: Scenes, seed: int, draws: int) -> Interval:
    sample = np.asarray(values, dtype=np.float64)
    mean = float(sample.mean()) if len(sample) else float("nan")
    if len(sample) < 2:
        return Interval(mean, float("nan"), float("nan"))
    if np.ptp(sample) <= 1e-12 * np.abs(sample).max() and significance.count_scenes(scenes, len(sample)) > 1:
        return Interval(mean, mean, mean)
    low, high = significance.bootstrap_interval(sample[None], scenes, draws, seed)
    return Interval(mean, float(low[0]), float(high[0]))


def paired_interval(
    a: np.ndarray | pd.Series, b: np.ndarray | pd.Series, scenes: Scenes = None, seed: int = 0, draws: int = 10_000
) -> PairedInterval:
    """Mean of a - b over the same images, its 95 % interval, and the p-value of `significance.paired_test`.

    Raises ValueError if a and b differ in length.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(f"pairs need as many values on either side. Received: {first.shape} and {second.shape}")
    difference = first - second
    found = _interval(difference, scenes, seed, draws)
    if len(difference) < 2 or not difference.any():
        return PairedInterval(*found, 1.0 if len(difference) else float("nan"))
    return PairedInterval(*found, float(significance.paired_test(difference[None], scenes, draws, seed)[0]))
