"""What passes between those who score: the images asked for, what is found of some, and all of it as one sheet."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from unetlab.metrics.baselines import Rivals


@dataclass(frozen=True)
class Sheet:
    """Scores of some images.

    Args:
        table: a row an image, every column at the image's own size, the only one that a served model shows: id, tp, fp,
            fn, tn, dice, iou, accuracy, precision, recall, those of `metrics.table.score_native`, or of classes
            `metrics.classes`, otsu_native_dice, constant_native_dice, and for membranes those of
            `metrics.membranes.SCORES`, the rivals' too.
        album: thumbnails of image, truth and mask.
        confusion: of classes, pixels by truth and answer, int64 (1 + k, 1 + k), background first; else None.
    """

    table: pd.DataFrame
    album: bytes
    confusion: np.ndarray | None = None


@dataclass(frozen=True)
class Shard:
    """Some images of a data set, and all that says how to score a model on them, so that another machine can.

    Args:
        model: address of it.
        identity: of what lay there when the work began, as `loading.identity_of` has it.
        folder: of the data set, below the cache.
        rows: the images.
        shown: those of them that get thumbnails.
        rivals: that it meets.
        lines: whether membranes are scored.
        cut: the threshold of V_rand, chosen on validation; -1 is the model's own.
        first: how many images come before.
        classes: whether the model tells classes apart.
    """

    model: str
    identity: str
    folder: Path
    rows: tuple[int, ...]
    shown: tuple[int, ...]
    rivals: Rivals
    lines: bool
    cut: float
    first: int
    classes: bool = False


class Some(NamedTuple):
    """The scores of some images.

    Args:
        table: a row an image, with its id.
        pictures: of those that get thumbnails image, truth and answer, all of one size.
        confusion: as a sheet's.
    """

    table: pd.DataFrame
    pictures: list[tuple[np.ndarray, np.ndarray, np.ndarray]]
    confusion: np.ndarray | None = None
