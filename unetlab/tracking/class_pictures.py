"""What a run of classes shows of itself, in its artifacts: the same of a training and of an evaluation."""

from collections.abc import Mapping, Sequence
from typing import Any

import mlflow
import numpy as np
import pandas as pd

from unetlab.metrics import classes
from unetlab.tracking import class_figures, write
from unetlab.tracking.objects import OBJECTS, object_panel


def log_pictures(
    rows: Sequence[Mapping[str, Any]], table: pd.DataFrame, confusion: np.ndarray, names: Sequence[str]
) -> None:
    """Pictures of some images and reports of all of them, into the active run.

    Args:
        rows: as `class_figures.class_panel` takes them, each with its objects besides: `parted`, the label images
            (h, w) of truth and answer.
        table: scores by image, as `metrics.classes` has them.
        confusion: of all pixels, int64 (1 + k, 1 + k), rows the truth.
        names: of the classes, background first.
    """
    objects = [{**row, "truth": row["parted"][0], "found": row["parted"][1]} for row in rows]
    write.log_figure(class_figures.class_panel(rows, names), "predictions.png")
    write.log_figure(object_panel(objects), OBJECTS)
    write.log_figure(class_figures.confusion(confusion, names), "confusion.png")
    dice = {name: table[column].to_numpy(np.float64) for column, name in classes.words_of(table).items()}
    write.log_figure(class_figures.class_strips(dice, names[1:]), "classes.png")
    mlflow.log_text(classes.classification_report(confusion, names), "classification_report.txt")
