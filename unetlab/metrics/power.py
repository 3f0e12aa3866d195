"""What so many scenes can show: the power of `significance.paired_test`."""

import functools
import math

import numpy as np
from scipy import optimize, stats

from unetlab.metrics.significance import (
    Scenes,
    by_scene,
    count_scenes,
    effective_scenes,
    paired_test_of_sums,
    spread,
)

POWER = 0.8
"""Of a difference that is said to be seen "four times in five"."""

FEW = 13
"""Scenes up to which flips come in steps so large that they ask for more than Student's t."""

MOST = 10**9
"""Scenes that nobody has: no more are asked for."""

TRIES = 400
"""Simulated comparisons by which that is measured."""


def detectable_difference(differences: np.ndarray, scenes: Scenes = None, level: float = 0.05) -> float:
    """The smallest mean difference that `paired_test` sees at a level with POWER, from differences (images,).

    It is the noncentrality at which Student's t has that power times the standard error, more where few scenes flip
    (`_lift`). NaN for one scene, infinite where so few scenes can show nothing at that level.

    Example:

        >>> differences = np.random.default_rng(0).normal(0, 0.05, 30)
        >>> round(detectable_difference(differences), 3)
        0.022
    """
    sizes = by_scene(differences[None], scenes)[1]
    if len(sizes) < 2:
        return float("nan")
    if len(sizes) < least_scenes(level):
        return float("inf")
    error = float(spread(differences[None], scenes)[0]) / np.sqrt(len(sizes))
    freedom = max(1.0, float(effective_scenes(sizes)) - 1)
    return float(_away(freedom, level) * _lift(len(sizes), level) * error)


def scenes_needed(differences: np.ndarray, scenes: Scenes = None, level: float = 0.05) -> int:
    """Scenes of one size at which `paired_test` sees the mean of differences (images,) at a level with POWER: as many
    as can show anything, and more than these, which did not show it. 0 where nothing is known of their spread, or their
    mean is 0.

    Example:

        >>> scenes_needed(np.random.default_rng(0).normal(0.02, 0.05, 30))
        71
    """
    between, mean = float(spread(differences[None], scenes)[0]), abs(float(differences.mean()))
    if not np.isfinite(between) or mean == 0:
        return 0
    quantiles = stats.norm.ppf(1 - level / 2) + stats.norm.ppf(POWER)
    most = min((quantiles * between / mean) ** 2, float(MOST))
    n = max(count_scenes(scenes, len(differences)) + 1, int(most), least_scenes(level))
    while n < MOST and _away(n - 1.0, level) * _lift(n, level) * between > mean * math.sqrt(n):
        n += 1
    return n


def least_scenes(level: float) -> int:
    """The fewest scenes whose sign flips can have a p-value below `level`: with n of them the smallest is 2 / 2**n."""
    return int(np.floor(1 - np.log2(level))) + 1


@functools.cache
def _away(freedom: float, level: float) -> float:
    """Standard errors that a mean has to lie away from 0 for Student's t to see it with POWER."""
    quantile = stats.t.ppf(1 - level / 2, freedom)
    return float(optimize.brentq(lambda away: stats.nct.sf(quantile, freedom, away) - POWER, 0, 3 * quantile))


@functools.cache
def _lift(scenes: int, level: float) -> float:
    """How many times as large a difference has to be for flips to see it as well, by simulation of normal scenes, which
    are as many as can show anything."""
    if scenes > FEW:
        return 1.0
    noise = np.random.default_rng(0).normal(size=(TRIES, scenes))
    away = _away(scenes - 1.0, level) / np.sqrt(scenes)

    def power(lift: float) -> float:
        return float((paired_test_of_sums(noise + away * lift, np.ones(scenes)) < level).mean())

    low, high = 1.0, 4.0
    if power(low) >= POWER:
        return low
    for _ in range(8):
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return high
