"""Scores of predictions, in NumPy, per image and pooled; never from a training metric.

A pixel is foreground if its probability is greater than the threshold. Ratios whose denominator is empty are 1 if
nothing was there and nothing was found, and 0 otherwise. TABLE holds every metric, one a row.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from unetlab.data.classes import UNKNOWN
from unetlab.images.regions import components
from unetlab.inference.predict import Threshold, mask_at, thresholds
from unetlab.metrics.boundary import boundary_f1
from unetlab.metrics.calibration import Stack, area_under_curve, calibration_error
from unetlab.metrics.objects import SCORES, on_known, score_objects
from unetlab.metrics.pixelwise import area, count, pooled_soft_dice, ratios, soft_sums


@dataclass(frozen=True)
class Metric:
    """A row of TABLE.

    Args:
        name: the column of the per-image tables, and the figure's name in MLflow without its prefix.
        words: its name in words.
        at: what `of` takes. "model": a Squares, images at the model's size, to float64 (n,); "native": a Native, one
            image at its own size, to a number; "objects": the Overlaps of such an image, to a number; "pixels": a
            Pixels, to one number for all, or None where it has no meaning; "sections": no `of`, it is scored at a
            threshold of its own by `metrics.membranes`.
        of: from that to the score.
        perfect: the score of a perfect answer, which says what is better: 1 for the scores in [0, 1], 0 for errors;
            None for counts, which are no scores.
        figure: whether its mean over images is a figure of every run.
        compared: whether runs are compared by it. Each metric is one more look at the same differences.

    Raises ValueError for one that is compared and has another `perfect` than 1: comparisons take more for better.
    """

    name: str
    words: str
    at: Literal["model", "native", "objects", "pixels", "sections"]
    of: Callable[[Any], Any] | None = None
    perfect: float | None = 1.0
    figure: bool = True
    compared: bool = False

    def __post_init__(self) -> None:
        if self.compared and self.perfect != 1:
            raise ValueError(f"{self.name} is compared, so more has to be better: perfect=1, not {self.perfect}")


class Squares:
    """Predictions beside their masks at the model's size; what several metrics need is computed once.

    Args:
        probabilities: float32 (n, h, w) in [0, 1].
        truth: bool (n, h, w).
        cut: float (n,), each image's threshold.
        known: where labels are known, bool (n, h, w), None for everywhere; elsewhere both are 0.
    """

    def __init__(
        self, probabilities: np.ndarray, truth: np.ndarray, cut: np.ndarray, known: np.ndarray | None = None
    ) -> None:
        self.probabilities, self.truth, self.known = probabilities, truth, known
        self.predicted = probabilities > cut[:, None, None]
        self.counts = count(self.predicted, truth)
        if known is not None:
            self.counts["tn"] -= area(~known)
        self.ratios = ratios(self.counts)


class Pixels:
    """All pixels of a per-image table, and the images behind it; what several metrics need is computed once."""

    def __init__(self, table: pd.DataFrame, probabilities: Stack, masks: Stack) -> None:
        self.table, self.probabilities, self.masks = table, probabilities, masks
        self.counts = table[["tp", "fp", "fn", "tn"]].sum()
        self.ratios = {name: float(values[0]) for name, values in ratios(self.counts.to_frame().T).items()}


class Native:
    """One predicted mask beside the true one, and where labels are known, bool (height, width) each, at the image's own
    size; None for everywhere; elsewhere both masks are empty."""

    def __init__(self, predicted: np.ndarray, truth: np.ndarray, known: np.ndarray | None = None) -> None:
        self.predicted, self.truth = predicted[None], truth[None]
        self.known = None if known is None else known[None]
        counts = count(self.predicted, self.truth)
        if self.known is not None:
            counts["tn"] -= area(~self.known)
        self.ratios = {name: values[0] for name, values in ratios(counts).items()}


def _auc(pixels: Pixels) -> float | None:
    of = pixels.counts
    both = of["tp"] + of["fn"] > 0 and of["fp"] + of["tn"] > 0
    return area_under_curve(pixels.probabilities, pixels.masks) if both else None


def _soft_dice(pixels: Pixels) -> float:
    overlap, total = (pixels.table[name].to_numpy() for name in ("soft_overlap", "soft_total"))
    return float(pooled_soft_dice(overlap, total))


TABLE = (
    Metric("dice", "Dice at the model's size", "model", lambda squares: squares.ratios["dice"]),
    Metric("iou", "IoU at the model's size", "model", lambda squares: squares.ratios["iou"]),
    Metric("accuracy", "accuracy of an image", "model", lambda squares: squares.ratios["accuracy"], figure=False),
    Metric("precision", "precision of an image", "model", lambda squares: squares.ratios["precision"], figure=False),
    Metric("recall", "recall of an image", "model", lambda squares: squares.ratios["recall"], figure=False),
    Metric(
        *("boundary_f1", "boundary F1 at the model's size", "model"),
        lambda squares: boundary_f1(squares.predicted, squares.truth, squares.known),
    ),
    Metric("native_v_rand", "V_rand", "sections", compared=True),
    Metric("native_dice", "Dice", "native", lambda native: native.ratios["dice"], compared=True),
    Metric("native_iou", "IoU", "native", lambda native: native.ratios["iou"], compared=True),
    Metric(
        *("native_accuracy", "accuracy", "native"),
        lambda native: native.ratios["accuracy"],
        figure=False,
        compared=True,
    ),
    Metric(
        *("native_boundary_f1", "boundary F1", "native"),
        lambda native: boundary_f1(native.predicted, native.truth, native.known)[0],
        figure=False,
        compared=True,
    ),
    Metric("ap50", "objects hit at IoU 0.5", "objects", SCORES["ap50"]),
    Metric("ap_dsb", "object score", "objects", SCORES["ap_dsb"], compared=True),
    Metric("pq", "panoptic quality", "objects", SCORES["pq"]),
    Metric("f1_50", "F1 of objects at IoU 0.5", "objects", SCORES["f1_50"]),
    Metric("f1_70", "F1 of objects at IoU 0.7", "objects", SCORES["f1_70"]),
    Metric("count_true", "objects", "objects", SCORES["count_true"], perfect=None, figure=False),
    Metric("count_predicted", "found", "objects", SCORES["count_predicted"], perfect=None, figure=False),
    Metric(
        *("count_error", "objects too many or too few, as a share of the true ones", "objects"),
        SCORES["count_error"],
        perfect=0.0,
    ),
    Metric("native_v_info", "V_info", "sections", compared=True),
    Metric("accuracy", "accuracy of all pixels", "pixels", lambda pixels: pixels.ratios["accuracy"]),
    Metric("precision", "precision of all pixels", "pixels", lambda pixels: pixels.ratios["precision"]),
    Metric("recall", "recall of all pixels", "pixels", lambda pixels: pixels.ratios["recall"]),
    Metric("f1", "Dice of all pixels", "pixels", lambda pixels: pixels.ratios["dice"]),
    Metric("auc", "area under the ROC curve", "pixels", _auc),
    Metric(
        *("ece", "calibration error", "pixels"),
        lambda pixels: calibration_error(pixels.probabilities, pixels.masks),
        perfect=0.0,
    ),
    Metric("soft_dice", "soft Dice, in batches as the source of pseudo-label has it", "pixels", _soft_dice),
)
"""Every score of an image or of a split, in the order of the columns; of those compared the first that runs have ranks
them. A new metric is a function beside its kin and a row here."""

METRICS = {row.name: row.words for row in TABLE if row.compared}
"""Column of the per-image tables to its name in words. The first that all runs have ranks: V_rand of setups for
membranes, where all inside has a high Dice, else Dice. All are at the images' own size."""


def word_of(metric: str) -> str:
    """A metric in words, of a class too: "native_dice/pans" is the Dice of pans."""
    name, _, kind = metric.partition("/")
    word = METRICS.get(name, name)
    return f"{word} of {kind}" if kind else word


def names(at: str, figures: bool = False) -> list[str]:
    """The metrics of TABLE that are computed at a place; with `figures` only those
    that are figures of every run."""
    return [row.name for row in TABLE if row.at == at and (row.figure or not figures)]


def _computed(at: str, sample: Any) -> dict[str, Any]:
    return {row.name: row.of(sample) for row in TABLE if row.at == at and row.of is not None}


def score_images(
    probabilities: Stack,
    masks: Stack,
    ids: Sequence[str],
    threshold: Threshold = 0.5,
    native_labels: Callable[[int], np.ndarray] | None = None,
    native_objects: Callable[[int, np.ndarray], np.ndarray] | None = None,
    native_known: Callable[[int], np.ndarray] | None = None,
) -> pd.DataFrame:
    """One row of scores an image.

    Args:
        probabilities: float32 in [0, 1], (n, h, w) or n of (h, w).
        masks: uint8 alike, 0 or 1, or UNKNOWN.
        ids: n names.
        threshold: a number, or "mean" for each image's own mean probability.
        native_labels: gives the i-th image's objects at their original size, uint16 (height, width), 0 background.
        native_known: gives where these are known, bool (height, width); None where they are everywhere.

    What is unknown counts nowhere: an image is cut and parted into objects as it would be in service, and what is found
    there is left out then.

    Images are taken one after the other, so that neither need be in memory together.

    Returns columns id, tp, fp, fn, tn, soft_overlap, soft_total (sums of p t and p + t over pixels), the metrics of
    TABLE at the model's size, and with `native_labels` those of `score_native`. For these the probability map is
    resized to the original size and cut there; `native_objects` gives the objects of the i-th mask that this leaves, or
    they are its connected components.

    Raises ValueError if shapes disagree or values are out of range.
    """
    if not len(ids) == len(masks) == len(probabilities) or not len(ids):
        found = f"{len(probabilities)} probabilities, {len(masks)} masks, {len(ids)} ids"
        raise ValueError(f"there must be as many probabilities, masks and ids, and one at least. Received: {found}")
    rows = []
    for i, (found, mask) in enumerate(zip(probabilities, masks, strict=True)):
        cut = thresholds([found], threshold)
        seen, truth, known = found, mask, mask != UNKNOWN
        if not known.all():
            seen, truth = np.where(known, found, np.float32(0)), np.where(known, mask, np.uint8(0))
        _require_valid(seen, truth)
        row = _at_model_size(seen[None], truth[None], cut, None if known.all() else known[None])
        if native_labels is not None:
            labels, there = native_labels(i), None if native_known is None else native_known(i)
            row |= _native(mask_at(found, cut[0], labels.shape), labels, i, native_objects, there)
        rows.append(row)
    return pd.DataFrame({"id": list(ids)}).join(pd.DataFrame(rows))


def _at_model_size(
    probabilities: np.ndarray, masks: np.ndarray, cut: np.ndarray, known: np.ndarray | None
) -> dict[str, Any]:
    """Scores of one image, in arrays of length 1."""
    squares = Squares(probabilities, masks.astype(bool), cut, known)
    every = {**squares.counts, **soft_sums(probabilities, squares.truth), **_computed("model", squares)}
    return {name: value[0] for name, value in every.items()}


def _native(
    predicted: np.ndarray,
    labels: np.ndarray,
    i: int,
    native_objects: Callable[[int, np.ndarray], np.ndarray] | None,
    known: np.ndarray | None = None,
) -> dict[str, Any]:
    objects = components(predicted) if native_objects is None else native_objects(i, predicted)
    if known is not None and known.all():
        known = None
    if known is not None:
        predicted, objects = predicted & known, on_known(objects, known, labels)
    return _computed("native", Native(predicted, labels > 0, known)) | score_objects(objects, labels)


def score_native(
    native_mask: Callable[[int, int, int], np.ndarray],
    native_labels: Callable[[int], np.ndarray],
    n: int,
    native_objects: Callable[[int, np.ndarray], np.ndarray] | None = None,
    native_known: Callable[[int], np.ndarray] | None = None,
) -> pd.DataFrame:
    """Scores n masks at their original size, one row an image.

    Its columns are the metrics of TABLE at native size and on objects: whatever size a model works at, these are of the
    same pixels and so can be compared between models.

    `native_mask(i, height, width)` gives the i-th prediction as bool (height, width); the others are as above.
    """
    rows = []
    for i in range(n):
        labels = native_labels(i)
        known = None if native_known is None else native_known(i)
        rows.append(_native(native_mask(i, *labels.shape), labels, i, native_objects, known))
    return pd.DataFrame(rows)


def summarise(table: pd.DataFrame, probabilities: Stack, masks: Stack) -> dict[str, float]:
    """The figures of a whole split by the names every run uses, without the prefix, as TABLE has them.

    Those at the model's size, at native size and on objects are means over images, the others are over all pixels;
    soft_dice is a mean over batches, as the source of `pseudo-label` has it. `auc` is left out where the masks hold one
    class only. Of an image with unknown pixels probabilities and mask are those of the others, in one line.
    """
    means = [name for at in ("model", "native", "objects") for name in names(at, True) if name in table]
    pooled = _computed("pixels", Pixels(table, probabilities, masks))
    scores = {name: float(table[name].mean()) for name in means}
    return scores | {name: float(value) for name, value in pooled.items() if value is not None}


def _require_valid(probabilities: np.ndarray, mask: np.ndarray) -> None:
    if probabilities.shape != mask.shape or mask.ndim != 2:
        came = f"{probabilities.shape} and {mask.shape}"
        raise ValueError(f"probabilities and masks must be (n, h, w), or n of (h, w), alike. Received: {came}")
    low, high = float(probabilities.min()), float(probabilities.max())
    if not (low >= 0 and high <= 1):
        raise ValueError(f"probabilities must lie in [0, 1]. Received: {low} to {high}")
    if (largest := mask.max()) > 1:
        raise ValueError(f"masks must hold 0 and 1. Received a largest value of {largest}")
