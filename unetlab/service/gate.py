"""Whether a challenger is better than the champion: figures, and the level that repeated challengers share.

The rule: the k-th challenger of one champion is tested at LEVEL * 6 / (pi k)^2. Those levels add up to LEVEL however
many come (alpha spending; the sum of 1 / k^2 is pi^2 / 6), whatever they have in common with each other: same test
images, same champion. So a champion is not worn down by trying often enough. A challenger counts once it has been
tested, on whatever split, and keeps its k where it is tested again; a new champion starts with k = 1.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from unetlab.metrics import membranes, power, significance

LEVEL = 0.05
"""Of all challengers of one champion together, two-sided: half of it is for those that come out better."""

MARGIN = 0.01
"""What a challenger has to be better by, unless told otherwise: room for the luck of seeds, of which test images know
nothing. Within as much health check H008 takes seeds to agree. It holds where that luck is no larger than what images
leave open; of larger luck no single run can tell."""

WORDS = {"native_dice": "Dice", membranes.SCORES[0]: "V_rand"}


@dataclass(frozen=True)
class Verdict:
    """What the paired scores of a challenger and a champion say.

    Args:
        mean, low, high: of the difference, challenger less champion, with its 95 % interval over scenes.
        p: two-sided, of a difference of just the margin.
        level: that p must be below.
        attempt: which challenger of this champion it is, from 1.
        images, scenes: that were compared.
        needed: scenes that any verdict at this level takes.
        sample: scenes at which a difference of this size would be seen four times in five; 0 where it is none.
        better: whether it is shown to be better by more than the margin.
    """

    mean: float
    low: float
    high: float
    p: float
    level: float
    attempt: int
    images: int
    scenes: int
    needed: int
    sample: int
    better: bool

    @property
    def possible(self) -> bool:
        """Whether so many scenes can show anything at all."""
        return self.scenes >= self.needed


def ranking_metric(tags: Mapping[str, str]) -> str:
    """The column of the per-image tables that the gate ranks by, from the tags of a run or model: V_rand for membranes,
    since all inside has a high Dice; else Dice. Both at native size."""
    return tags.get("ranked_by", "native_dice")


def level(attempt: int) -> float:
    """Of the attempt-th challenger of one champion, from 1."""
    return LEVEL * 6 / (math.pi * attempt) ** 2


def judge(differences: np.ndarray, scenes: np.ndarray | None, margin: float, attempt: int) -> Verdict:
    """Judges the paired differences, float64 (images,), of one image or more; one scene has no interval, and p 1.

    Better means both: the 95 % interval lies above the margin, and the paired test over scenes says that a
    difference of just the margin is not enough, at the level of this attempt. The interval knows one level, 5 %; the
    attempts share theirs.

    Args:
        differences: challenger less champion.
        scenes: the scene of each image; None where each is one of its own.
        margin: what the challenger must be better by.
        attempt: which challenger of this champion it is, from 1.
    """
    at, count = level(attempt), significance.count_scenes(scenes, len(differences))
    mean = float(differences.mean())
    low = high = float("nan")
    p = 1.0
    if count > 1:
        low, high = (float(ends[0]) for ends in significance.bootstrap_interval(differences[None], scenes))
        p = float(significance.paired_test(differences[None] - margin, scenes)[0])
    return Verdict(
        mean=mean,
        low=low,
        high=high,
        p=p,
        level=at,
        attempt=attempt,
        images=len(differences),
        scenes=count,
        needed=power.least_scenes(at),
        sample=power.scenes_needed(differences - margin, scenes, at) if mean > margin else 0,
        better=bool(mean > margin and low > margin and p < at),
    )
