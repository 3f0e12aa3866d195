"""What a health check looks at and what it says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class HealthFinding:
    """Something a reader of a run's scores must know.

    Args:
        code: "H001" and so on.
        title: in a few words.
        explanation: what was found and why it matters, in plain words.
        remedy: what to do.
        figures: the numbers that triggered it.
    """

    code: str
    title: str
    explanation: str
    remedy: str
    figures: Mapping[str, float | str]

    def __str__(self) -> str:
        return f"{self.code} {self.title}: {self.explanation} {self.remedy}"


@dataclass(frozen=True)
class RunData:
    """What the checks look at.

    Args:
        metrics: the run's, by name.
        params: the run's, by name.
        scores: the per-image table of the test split.
        trials: a row a trial: number, status, objective, epochs and a column for each hyperparameter; None without.
        space: hyperparameter to {"low": ..., "high": ...} of those with an order; None where it was not logged.
        validation_ids: images of the validation split.
        sides: columns id, side and group, one row an image, images of one group being of one scene; None where it was
            not logged.
        test_scorings: how often models were scored on this test split, in the whole store.
        peers: Dice of other models on the same test images in the order of `scores`, float64 (models, images); some of
            them where there are many, None where there are none.
        seeds: per-image test scores of the same setup on the same data with other seeds: seed to (split digest, ids,
            Dice, or V_rand where `scores` has it).
        split: digest of this run's split.
        seen: of an evaluation, how many of its images the model was trained or validated on, or others of their scenes,
            in words such as "3 of 12"; "" where there are none.
        against: what the images were scored against: "masks", or "labels by" who made them.
    """

    metrics: Mapping[str, float]
    params: Mapping[str, str]
    scores: pd.DataFrame
    trials: pd.DataFrame | None = None
    space: Mapping[str, Mapping[str, float]] | None = None
    validation_ids: Sequence[str] = ()
    sides: pd.DataFrame | None = None
    test_scorings: int = 1
    peers: np.ndarray | None = None
    seeds: Mapping[str, tuple[str, Sequence[str], np.ndarray]] = field(default_factory=dict)
    split: str = ""
    seen: str = ""
    against: str = "masks"
