"""Differences of two contenders each, with their tests: the rows of a comparison."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from unetlab.metrics import significance

LEVEL = 0.05


def pairs_of(
    names: Sequence[str],
    scores: Mapping[str, np.ndarray],
    which: np.ndarray,
    scenes: Sequence[str],
    repeats: int,
    test_share: float,
    seed: int = 0,
) -> pd.DataFrame:
    """The rows of Comparison.pairs for places `which`, int (pairs, 2), of contenders; arguments as Comparison has
    them."""
    a, b = which.T
    family = math.comb(len(names), 2)
    tables = []
    tested = {}
    for metric, values in scores.items():
        found = _tested(values[a], values[b], scenes, test_share if repeats > 1 else None, seed)
        if not np.isnan(found.mean).all():
            tested[metric] = found
    for metric, found in tested.items():
        adjusted = _holm(metric, {name: other.p_value for name, other in tested.items()}, family)
        verdict = np.where(found.mean > 0, "a better", "b better")
        tables.append(
            pd.DataFrame(
                {
                    "metric": metric,
                    "a": np.asarray(names)[a],
                    "b": np.asarray(names)[b],
                    "difference": found.mean,
                    "low": np.clip(found.low, -1, 1),  # as the intervals of means above
                    "high": np.clip(found.high, -1, 1),
                    "p": found.p_value,
                    "p_holm": adjusted,
                    "effect": found.effect,
                    "verdict": np.where(adjusted < LEVEL, verdict, "cannot tell"),
                }
            )
        )
    every = pd.concat(tables, ignore_index=True)
    return every[every["difference"].notna()].reset_index(drop=True)


def _tested(
    a: np.ndarray, b: np.ndarray, scenes: Sequence[str], test_share: float | None, seed: int
) -> significance.Paired:
    """Tests of scores, float64 (pairs, units) each, over repeated splits where there is a `test_share`.

    Scores of a class are NaN where it is in neither truth nor answer. Images in which it is for one of a pair count:
    the other is right there, 1. Of repeats those count in which both have a score. NaN, with a p-value of 1, for pairs
    that have fewer than two.
    """
    if test_share is None:
        there = ~(np.isnan(a) & np.isnan(b))
        a, b = np.nan_to_num(a, nan=1.0), np.nan_to_num(b, nan=1.0)
    else:
        there = ~(np.isnan(a) | np.isnan(b))
    found = np.full((5, len(a)), np.nan)
    found[3] = 1
    alike, which = np.unique(there, axis=0, return_inverse=True)
    for number, kept in enumerate(alike):
        if kept.sum() < 2:
            continue
        rows = which == number
        differences = (a - b)[np.ix_(rows, kept)]
        if test_share is None:
            own = np.asarray(scenes)[kept].tolist() if scenes else None
            found[:, rows] = significance.paired(differences, own, seed=seed)
        else:
            found[:, rows] = significance.corrected_resampled_t(differences, test_share)
    return significance.Paired(*found)


def means_of(values: np.ndarray) -> np.ndarray:
    """Means of rows over what is there, NaN where nothing is."""
    return pd.DataFrame(values).mean(axis=1).to_numpy()


def _holm(metric: str, p_values: Mapping[str, np.ndarray], family: int) -> np.ndarray:
    """The p-values of a metric over all pairs, a family of its own, but those of the classes of a score are one."""
    score, _, kind = metric.partition("/")
    if not kind:
        return significance.holm(p_values[metric], family)
    kin = [name for name in p_values if name.startswith(f"{score}/")]
    every = significance.holm(np.concatenate([p_values[name] for name in kin]), family * len(kin))
    return np.asarray(np.split(every, len(kin))[kin.index(metric)])
