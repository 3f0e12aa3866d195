"""Scores of several classes: per image and class, and their means over the classes that are there.

A class is there in an image if the truth shows it or the answer does. Where it is in neither, its scores are NaN, an
empty cell of the tables: nothing was asked and nothing said. The mean of an image is over the classes there, so that a
class invented costs as much as one missed; an image in which no class is there scores 1, as two empty masks do. With
one class alone these are the scores of its mask.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from sklearn import metrics

from unetlab.metrics import intervals
from unetlab.metrics.boundary import boundary_f1
from unetlab.metrics.calibration import CALIBRATION_BINS
from unetlab.metrics.objects import score_objects
from unetlab.metrics.pixelwise import ratio

LONGEST = 60
"""Letters of a class's name in the names of metrics."""

OF_A_CLASS = ("dice", "native_dice", "native_iou", "native_boundary_f1", "ap_dsb")
"""Scores that are figures of each class too, `<score>/<class>`: a mean over the images in which the class is there."""

OF_OBJECTS = ("ap50", "ap_dsb", "pq", "f1_50", "f1_70", "count_error")

FIGURES = (
    *("dice", "iou", "boundary_f1", "native_dice", "native_iou", "native_boundary_f1", "union_native_dice"),
    *OF_OBJECTS,
)
"""Columns whose mean over images is a figure of every run."""


def keys(names: Sequence[str]) -> tuple[str, ...]:
    """Names of classes, without background, as metrics and columns have them: letters, digits, `_ . -` and spaces.

    What else a name holds becomes `_`; names that come out alike have their number behind.
    """
    found: list[str] = []
    for number, name in enumerate(names, start=1):
        key = re.sub(r"[^\w .-]", "_", name).strip(" .")[:LONGEST].strip(" .") or f"class {number}"
        found.append(key if key not in found else f"{key} {number}")
    return tuple(found)


def confusion_of(predicted: np.ndarray, truth: np.ndarray, classes: int, known: np.ndarray | None = None) -> np.ndarray:
    """Pixels by truth (rows) and prediction (columns), int64 (1 + classes, 1 + classes), background first, of two index
    maps of one shape; of those that are `known`, bool alike, None for all."""
    pairs = truth.astype(np.int64) * (1 + classes) + predicted
    pairs = pairs.ravel() if known is None else pairs[known]
    return np.bincount(pairs, minlength=(1 + classes) ** 2).reshape(1 + classes, 1 + classes)


def _accuracy(confusion: np.ndarray) -> float:
    every = int(confusion.sum())
    return float(np.trace(confusion)) / every if every else 1.0


def ratios(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """dice, iou, precision and recall of each foreground class, float64 (classes,), NaN where it is not there."""
    tp, found, true = (each[1:] for each in (np.diag(confusion), confusion.sum(axis=0), confusion.sum(axis=1)))
    neither = np.zeros(len(tp), bool)
    quotients = {
        "dice": ratio(2 * tp, found + true, neither),
        "iou": ratio(tp, found + true - tp, neither),
        "precision": ratio(tp, found, neither),
        "recall": ratio(tp, true, neither),
    }
    return {name: np.where(found + true > 0, values, np.nan) for name, values in quotients.items()}


def mean_there(values: np.ndarray | Sequence[float], nothing: float = 1.0) -> float:
    """Mean over the classes that are there, which are no NaN; `nothing` where none is."""
    found = np.asarray(values, np.float64)
    there = found[~np.isnan(found)]
    return float(there.mean()) if len(there) else nothing


def dice_of(predicted: np.ndarray, truth: np.ndarray, classes: int) -> float:
    """Mean Dice of the classes that are there, of two index maps."""
    return mean_there(ratios(confusion_of(predicted, truth, classes))["dice"])


def score_at_model_size(
    predicted: np.ndarray, truth: np.ndarray, names: Sequence[str], known: np.ndarray | None = None
) -> dict[str, float]:
    """One image at the size at which a network works, two index maps uint8 (h, w), and where labels are known, bool
    (h, w), None for everywhere; elsewhere both are 0.

    Returns tp, fp, fn and tn of foreground of any class; dice, iou, precision, recall and boundary_f1, means over the
    classes there; accuracy, the share of pixels of the right class; and `dice/<class>`. `names` are those of `keys`.
    """
    confusion = confusion_of(predicted, truth, len(names), known)
    found = ratios(confusion)
    tn, fp, fn = int(confusion[0, 0]), int(confusion[0, 1:].sum()), int(confusion[1:, 0].sum())
    row: dict[str, float] = {"tp": int(confusion.sum()) - tn - fp - fn, "fp": fp, "fn": fn, "tn": tn}
    row |= {name: mean_there(found[name]) for name in ("dice", "iou")}
    row["accuracy"] = _accuracy(confusion)
    row |= {name: mean_there(found[name]) for name in ("precision", "recall")}
    row["boundary_f1"] = mean_there(_boundaries(predicted, truth, found["dice"], known))
    return row | _each("dice", found["dice"], names)


def score_native(
    predicted: np.ndarray,
    truth: np.ndarray,
    found: tuple[np.ndarray, np.ndarray],
    true: tuple[np.ndarray, np.ndarray],
    names: Sequence[str],
    known: np.ndarray | None = None,
) -> dict[str, float]:
    """One image at its own size.

    Args:
        predicted, truth: index maps uint8 (h, w), 0 background and where nobody knows.
        found, true: objects, a label image (h, w), 0 background, with the class of each by its number, (n + 1,).
        names: of the classes, as `keys` gives them.
        known: where labels are known, bool (h, w), None for everywhere.

    Returns native_dice, native_iou, native_boundary_f1 and the scores of objects, which are matched within their class,
    as means over the classes there; native_accuracy, the share of pixels of the right class; union_native_dice, the
    Dice of foreground of any class; count_true and count_predicted of all classes; and of each class
    `native_dice/<class>` and its kin, its ap_dsb and its counts.
    """
    confusion = confusion_of(predicted, truth, len(names), known)
    pixels = ratios(confusion)
    edges = _boundaries(predicted, truth, pixels["dice"], known)
    hits, both = int(confusion[1:, 1:].sum()), int(confusion[1:].sum() + confusion[:, 1:].sum())
    row = {"native_dice": mean_there(pixels["dice"]), "native_iou": mean_there(pixels["iou"])}
    row |= {"native_accuracy": _accuracy(confusion), "native_boundary_f1": mean_there(edges)}
    row["union_native_dice"] = 2 * hits / both if both else 1.0
    objects = _objects(found, true, pixels["dice"])
    row |= {name: mean_there(objects[name], 0.0 if name == "count_error" else 1.0) for name in OF_OBJECTS}
    row |= {name: float(np.nansum(objects[name])) for name in ("count_true", "count_predicted")}
    own = {"native_dice": pixels["dice"], "native_iou": pixels["iou"], "native_boundary_f1": edges}
    own |= {name: objects[name] for name in ("ap_dsb", "count_true", "count_predicted")}
    for name, values in own.items():
        row |= _each(name, values, names)
    return row


def _each(name: str, values: np.ndarray | Sequence[float], names: Sequence[str]) -> dict[str, float]:
    return {f"{name}/{key}": float(value) for key, value in zip(names, values, strict=True)}


def _boundaries(predicted: np.ndarray, truth: np.ndarray, there: np.ndarray, known: np.ndarray | None) -> np.ndarray:
    """Boundary F1 of each class, float64 (classes,), NaN where `there` is."""
    found, ground = np.full(len(there), np.nan), None if known is None else known[None]
    for place in np.flatnonzero(~np.isnan(there)):
        found[place] = boundary_f1((predicted == place + 1)[None], (truth == place + 1)[None], ground)[0]
    return found


def _objects(
    found: tuple[np.ndarray, np.ndarray], true: tuple[np.ndarray, np.ndarray], there: np.ndarray
) -> dict[str, np.ndarray]:
    """Scores of the objects of each class, float64 (classes,), NaN where `there` is."""
    scores = {name: np.full(len(there), np.nan) for name in (*OF_OBJECTS, "count_true", "count_predicted")}
    for place in np.flatnonzero(~np.isnan(there)):
        own, others = (objects_of_class(labels, kinds, int(place) + 1) for labels, kinds in (found, true))
        of = score_objects(own, others)
        for name, values in scores.items():
            values[place] = of[name]
    return scores


def objects_of_class(labels: np.ndarray, kinds: np.ndarray, kind: int) -> np.ndarray:
    """A label image with the objects of one class alone; `kinds` is the class of each object by its number."""
    return np.where((kinds == kind)[labels], labels, 0)


class Calibration:
    """How sure a network is of the class it calls likeliest, beside how often it is right (Guo et al., ICML 2017),
    gathered image by image, since the probabilities of many classes are many."""

    def __init__(self) -> None:
        self.count, self.sure, self.right = (np.zeros(CALIBRATION_BINS) for _ in range(3))

    def add(self, probabilities: np.ndarray, truth: np.ndarray, known: np.ndarray) -> None:
        """Takes in an image: float32 (h, w, 1 + classes), its index map and where that is known, bool, both (h, w)."""
        most = probabilities.max(axis=-1)[known]
        right = (probabilities.argmax(axis=-1) == truth)[known]
        bins = np.minimum((most * CALIBRATION_BINS).astype(np.intp), CALIBRATION_BINS - 1)
        for total, weight in ((self.count, None), (self.sure, most), (self.right, right)):
            total += np.bincount(bins, weight, CALIBRATION_BINS)

    def error(self) -> float:
        """Mean distance of the two, each pixel counting as much as any other; NaN without any."""
        return float(np.abs(self.sure - self.right).sum() / self.count.sum()) if self.count.any() else float("nan")


def summarise(table: pd.DataFrame, confusion: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """The figures of a split by the names every run uses, without the prefix.

    Those of FIGURES are means over images. `<score>/<class>` is the mean over the images in which the class is there;
    native_dice_macro the mean over classes of `native_dice/<class>`, in which a rare class weighs as much as one that
    every image shows. accuracy, precision, recall and f1 are over all pixels of `confusion`, the last three as means
    over classes. A figure of a class that no image has is left out.
    """
    found = {name: float(table[name].mean()) for name in FIGURES if name in table}
    for score in OF_A_CLASS:
        columns = {key: f"{score}/{key}" for key in names if f"{score}/{key}" in table}
        found |= {column: float(table[column].mean()) for column in columns.values() if table[column].notna().any()}
    found["native_dice_macro"] = mean_there([found.get(f"native_dice/{key}", np.nan) for key in names], float("nan"))
    pooled = ratios(confusion)
    found["accuracy"] = _accuracy(confusion)
    return found | {
        "precision": mean_there(pooled["precision"]),
        "recall": mean_there(pooled["recall"]),
        "f1": mean_there(pooled["dice"]),
    }


def spoken(figures: Mapping[str, float]) -> str:
    """The Dice of each class at native size among the figures of a test, in words for a headline; "" where there is
    one mask."""
    each = [
        f"{key.removeprefix('test/native_dice/')} {value:.4f}"
        for key, value in figures.items()
        if key.startswith("test/native_dice/")
    ]
    return f"of classes: {', '.join(each)}; " if each else ""


def classification_report(confusion: np.ndarray, names: Sequence[str]) -> str:
    """scikit-learn's report over all pixels behind a confusion; `names` are those of the classes, background first."""
    truth, predicted = np.divmod(np.arange(confusion.size), len(confusion))
    report = metrics.classification_report(
        truth,
        predicted,
        labels=np.arange(len(confusion)),
        target_names=list(names),
        sample_weight=confusion.ravel(),
        digits=4,
        zero_division=0,
    )
    return re.sub(r"\.0$", "", report, flags=re.MULTILINE)  # weights make floats of the support


def words_of(table: pd.DataFrame | Mapping[str, object] | Sequence[str], score: str = "native_dice") -> dict[str, str]:
    """The columns `<score>/<class>` among those of a table, each to the class in words."""
    return {name: name.removeprefix(f"{score}/") for name in table if name.startswith(f"{score}/")}


def intervals_of(table: pd.DataFrame, scenes: np.ndarray | None) -> dict[str, float]:
    """The ends of the 95 % interval of each class's Dice on test, over the scenes of the images in which it is there:
    `test/native_dice_low/<class>` and `test/native_dice_high/<class>`."""
    found: dict[str, float] = {}
    for column, word in words_of(table).items():
        there = table[column].notna().to_numpy()
        within = intervals.interval(table.loc[there, column], None if scenes is None else scenes[there])
        found |= {f"test/native_dice_{end}/{word}": getattr(within, end) for end in ("low", "high")}
    return found
