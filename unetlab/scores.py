"""Scores of predictions, in NumPy, per image and pooled; never from a training metric.

A pixel is foreground if its probability is greater than the threshold. Ratios whose denominator is empty are 1 if
nothing was there and nothing was found, and 0 otherwise.
"""

import re
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy import ndimage, stats
from sklearn import metrics

from unetlab import significance
from unetlab.objects import components, object_scores
from unetlab.pixels import resize_map

BOUNDARY_TOLERANCE = 2
"""Pixels by which a boundary may be off at the scored size."""

AUC_PIXELS = 2_000_000
"""Above this many pixels the AUC is taken from a random draw of so many: its error is then below 0.001."""

SMOOTH = 1e-5
SOFT_BATCH = 4
"""Of the soft Dice: its source pools the pixels of 4 images, adds SMOOTH to either sum, and averages those batches."""

CALIBRATION_BINS = 15
THRESHOLDS = np.arange(1, 20) / 20

Threshold = float | Literal["mean"]


class Interval(NamedTuple):
    """A mean with its 95 % interval; low and high are NaN for fewer than two values."""

    mean: float
    low: float
    high: float


class PairedInterval(NamedTuple):
    """The mean of a - b over pairs with its 95 % interval and two-sided p-value."""

    mean: float
    low: float
    high: float
    p_value: float


def score_images(
    probabilities: np.ndarray,
    masks: np.ndarray,
    ids: Sequence[str],
    threshold: Threshold = 0.5,
    native_labels: Callable[[int], np.ndarray] | None = None,
) -> pd.DataFrame:
    """One row of scores an image.

    Args:
        probabilities: float32 (n, h, w) in [0, 1].
        masks: uint8 (n, h, w), 0 or 1.
        ids: n names.
        threshold: a number, or "mean" for each image's own mean probability.
        native_labels: gives the i-th image's objects at their original size, uint16 (height, width), 0 background.

    Returns columns id, tp, fp, fn, tn, soft_overlap, soft_total (sums of p t and p + t over pixels), dice, iou,
    accuracy, precision, recall, boundary_f1, and with `native_labels` those of `score_native`: native_dice, native_iou,
    native_accuracy, native_boundary_f1, ap50, ap_dsb, count_true, count_predicted, count_error. For these the
    probability map is resized to the original size and cut there; its connected components are the predicted objects.

    Raises ValueError if shapes disagree or values are out of range.
    """
    _require_valid(probabilities, masks, ids)
    cut = thresholds(probabilities, threshold)
    predicted = probabilities > cut[:, None, None]
    truth = masks.astype(bool)
    table = pd.DataFrame({"id": list(ids), **_count(predicted, truth), **_soft_sums(probabilities, truth)})
    table = table.assign(**_ratios(table), boundary_f1=boundary_f1(predicted, truth))
    if native_labels is None:
        return table

    def native_mask(i: int, height: int, width: int) -> np.ndarray:
        return np.asarray(resize_map(probabilities[i], height, width) > cut[i])

    return table.join(score_native(native_mask, native_labels, len(ids)))


def score_native(
    native_mask: Callable[[int, int, int], np.ndarray], native_labels: Callable[[int], np.ndarray], n: int
) -> pd.DataFrame:
    """Scores n masks at their original size, one row an image.

    Columns native_dice, native_iou, native_accuracy, native_boundary_f1 and the object scores: whatever size a model
    works at, these are of the same pixels and so can be compared between models.

    `native_mask(i, height, width)` gives the i-th prediction as bool (height, width); `native_labels` as above.
    """
    rows = []
    for i in range(n):
        labels = native_labels(i)
        predicted = native_mask(i, *labels.shape)
        truth = labels > 0
        counts = _ratios(pd.DataFrame(_count(predicted[None], truth[None])))
        found = {f"native_{name}": counts[name][0] for name in ("dice", "iou", "accuracy")}
        found["native_boundary_f1"] = boundary_f1(predicted[None], truth[None])[0]
        rows.append(found | object_scores(labels, components(predicted)))
    return pd.DataFrame(rows)


def thresholds(probabilities: np.ndarray, threshold: Threshold) -> np.ndarray:
    """Each image's threshold, float32 (n,)."""
    if threshold == "mean":
        means: np.ndarray = probabilities.mean(axis=(1, 2), dtype=np.float64).astype(np.float32)
        return means
    return np.full(len(probabilities), threshold, dtype=np.float32)


def boundary_f1(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """F1 of the boundary pixels of bool (n, h, w) masks, float64 (n,).

    A boundary pixel is a hit if one of the other mask lies within BOUNDARY_TOLERANCE pixels (Perazzi et al., CVPR
    2016). Pixels outside the image count as background.
    """
    predicted_edge, true_edge = _edges(predicted), _edges(truth)
    found = _sum(predicted_edge & _dilate(true_edge))
    covered = _sum(true_edge & _dilate(predicted_edge))
    n_predicted, n_true = _sum(predicted_edge), _sum(true_edge)
    neither = (n_predicted == 0) & (n_true == 0)
    precision, recall = _ratio(found, n_predicted, neither), _ratio(covered, n_true, neither)
    return _ratio(2 * precision * recall, precision + recall, neither)


def summarise(table: pd.DataFrame, probabilities: np.ndarray, masks: np.ndarray) -> dict[str, float]:
    """The scores of a whole split by the names every run uses, without the prefix.

    dice, iou, boundary_f1 and the native and object scores are means over images; accuracy, precision, recall, f1,
    auc and ece are over all pixels; soft_dice is a mean over batches, as the source of `pseudo-label` has it. `auc` is
    left out where the masks hold one class only.
    """
    means = ["dice", "iou", "boundary_f1", "native_dice", "native_iou", "ap50", "ap_dsb", "count_error"]
    scores = {name: float(table[name].mean()) for name in means if name in table}
    pooled = _ratios(table[["tp", "fp", "fn", "tn"]].sum().to_frame().T)
    scores |= {name: float(pooled[name][0]) for name in ("accuracy", "precision", "recall")}
    scores["f1"] = float(pooled["dice"][0])
    if masks.any() and not masks.all():
        scores["auc"] = area_under_curve(probabilities, masks)
    scores["ece"] = calibration_error(probabilities, masks)
    scores["soft_dice"] = float(_soft_dice(table["soft_overlap"].to_numpy(), table["soft_total"].to_numpy()))
    return scores


def pooled_interval(table: pd.DataFrame, name: str, seed: int = 0, draws: int = 10_000) -> Interval:
    """A score over pixels and its 95 % interval over images, by the percentile bootstrap.

    Args:
        table: of `score_images`.
        name: "accuracy", "precision", "recall", "f1" or "soft_dice".

    Raises ValueError for another name.
    """
    ratio = {
        "accuracy": (["tp", "tn"], ["tp", "fp", "fn", "tn"]),
        "precision": (["tp"], ["tp", "fp"]),
        "recall": (["tp"], ["tp", "fn"]),
        "f1": (["tp", "tp"], ["tp", "tp", "fp", "fn"]),
        "soft_dice": (["soft_overlap"], ["soft_total"]),
    }
    if name not in ratio:
        raise ValueError(f"name must be one of {', '.join(ratio)}. Received: {name!r}")
    above, below = (table[columns].sum(axis=1).to_numpy(np.float64) for columns in ratio[name])

    def pooled(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.asarray((a.sum(axis=axis) + SMOOTH) / (b.sum(axis=axis) + SMOOTH))

    quotient = _soft_dice if name == "soft_dice" else pooled
    value = float(quotient(above, below))
    if len(table) < 2 or np.ptp(above / np.maximum(below, SMOOTH)) < 1e-12:
        return Interval(value, float("nan"), float("nan")) if len(table) < 2 else Interval(value, value, value)
    found = stats.bootstrap(
        (above, below), quotient, paired=True, n_resamples=draws, method="percentile", rng=np.random.default_rng(seed)
    )
    return Interval(value, float(found.confidence_interval.low), float(found.confidence_interval.high))


def confusion_matrix(table: pd.DataFrame) -> np.ndarray:
    """Pixels of all images, int64 (2, 2), rows the truth and columns the prediction, background first."""
    tp, fp, fn, tn = (int(table[name].sum()) for name in ("tp", "fp", "fn", "tn"))
    return np.array([[tn, fp], [fn, tp]])


def classification_report(table: pd.DataFrame) -> str:
    """scikit-learn's report over all pixels of all images, from the four counts instead of a list of pixels."""
    report = metrics.classification_report(
        [0, 0, 1, 1],
        [0, 1, 0, 1],
        labels=[0, 1],
        target_names=["background", "foreground"],
        sample_weight=confusion_matrix(table).ravel(),
        digits=4,
        zero_division=0,
    )
    return re.sub(r"\.0$", "", report, flags=re.MULTILINE)  # weights make floats of the support


def area_under_curve(probabilities: np.ndarray, masks: np.ndarray) -> float:
    """ROC AUC over pixels; above AUC_PIXELS from a draw that is the same each time."""
    scores, truth = probabilities.ravel(), masks.ravel()
    if scores.size > AUC_PIXELS:
        drawn = np.random.default_rng(0).choice(scores.size, AUC_PIXELS, replace=False, shuffle=False)
        if truth[drawn].min() != truth[drawn].max():
            scores, truth = scores[drawn], truth[drawn]
    return float(metrics.roc_auc_score(truth, scores))


def calibration_bins(probabilities: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels in equal-width bins of probability: how many, their mean probability, their share of foreground.

    Three float64 arrays (CALIBRATION_BINS,); the last two are 0 where a bin is empty.
    """
    flat = probabilities.ravel()
    which = np.minimum((flat * np.float32(CALIBRATION_BINS)).astype(np.intp), CALIBRATION_BINS - 1)
    count = np.bincount(which, minlength=CALIBRATION_BINS).astype(np.float64)
    predicted = np.bincount(which, weights=flat, minlength=CALIBRATION_BINS)
    observed = np.bincount(which, weights=masks.ravel(), minlength=CALIBRATION_BINS)
    filled = np.maximum(count, 1)
    return count, predicted / filled, observed / filled


def calibration_error(probabilities: np.ndarray, masks: np.ndarray) -> float:
    """Expected calibration error of the foreground probability (Guo et al., ICML 2017, for two classes)."""
    count, predicted, observed = calibration_bins(probabilities, masks)
    return float(np.sum(count * np.abs(predicted - observed)) / count.sum())


def best_threshold(probabilities: np.ndarray, masks: np.ndarray) -> float:
    """The threshold of THRESHOLDS with the highest mean Dice per image; of equals the one nearest 0.5.

    One pass over the pixels: each falls into a slot between two thresholds, and sums of slots give the counts.
    """
    n, slots = len(probabilities), len(THRESHOLDS) + 1
    slot = np.searchsorted(THRESHOLDS.astype(np.float32), probabilities.reshape(n, -1), side="left")
    slot += np.arange(n)[:, None] * slots
    truth = masks.reshape(n, -1).astype(bool)
    every = np.bincount(slot.ravel(), minlength=n * slots).reshape(n, slots)
    foreground = np.bincount(slot[truth], minlength=n * slots).reshape(n, slots)
    # Above the k-th threshold lie the slots k + 1 and up.
    predicted, tp = (counts[:, ::-1].cumsum(axis=1)[:, -2::-1] for counts in (every, foreground))
    total = predicted + foreground.sum(axis=1, keepdims=True)
    dice = _ratio(2 * tp, total, total == 0).mean(axis=0)
    best = np.flatnonzero(dice >= dice.max() - 1e-12)
    return float(THRESHOLDS[best[np.argmin(np.abs(THRESHOLDS[best] - 0.5))]])


def interval(values: np.ndarray | pd.Series, seed: int = 0, draws: int = 10_000) -> Interval:
    """Mean and its 95 % interval over images, by `significance.bootstrap_interval`."""
    sample = np.asarray(values, dtype=np.float64)
    mean = float(sample.mean()) if len(sample) else float("nan")
    if len(sample) < 2:
        return Interval(mean, float("nan"), float("nan"))
    if np.ptp(sample) <= 1e-12 * np.abs(sample).max():
        return Interval(mean, mean, mean)
    low, high = significance.bootstrap_interval(sample[None], draws, seed)
    return Interval(mean, float(low[0]), float(high[0]))


def paired_interval(
    a: np.ndarray | pd.Series, b: np.ndarray | pd.Series, seed: int = 0, draws: int = 10_000
) -> PairedInterval:
    """Mean of a - b over the same images, its 95 % interval, and the p-value of `significance.sign_flip_test`.

    Raises ValueError if a and b differ in length.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(f"pairs need as many values on either side. Received: {first.shape} and {second.shape}")
    difference = first - second
    found = interval(difference, seed, draws)
    if len(difference) < 2 or not difference.any():
        return PairedInterval(*found, 1.0 if len(difference) else float("nan"))
    return PairedInterval(*found, float(significance.sign_flip_test(difference[None], draws, seed)[0]))


def _require_valid(probabilities: np.ndarray, masks: np.ndarray, ids: Sequence[str]) -> None:
    if probabilities.ndim != 3 or probabilities.shape != masks.shape or len(ids) != len(masks) or not len(ids):
        raise ValueError(
            "probabilities and masks must both be (n, h, w), with n ids. "
            f"Received: {probabilities.shape}, {masks.shape}, {len(ids)} ids"
        )
    low, high = float(probabilities.min()), float(probabilities.max())
    if not (low >= 0 and high <= 1):
        raise ValueError(f"probabilities must lie in [0, 1]. Received: {low} to {high}")
    if masks.max() > 1:
        raise ValueError(f"masks must hold 0 and 1. Received a largest value of {masks.max()}")


def _sum(stack: np.ndarray) -> np.ndarray:
    return np.asarray(np.count_nonzero(stack, axis=(1, 2)))


def _count(predicted: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Pixels of bool (n, h, w) stacks by what became of them, int64 (n,) each."""
    tp, n_predicted, n_true = _sum(predicted & truth), _sum(predicted), _sum(truth)
    pixels = predicted.shape[1] * predicted.shape[2]
    return {"tp": tp, "fp": n_predicted - tp, "fn": n_true - tp, "tn": pixels - n_predicted - n_true + tp}


def _soft_sums(probabilities: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    overlap = np.sum(probabilities, axis=(1, 2), where=truth, dtype=np.float64)
    return {
        "soft_overlap": overlap,
        "soft_total": probabilities.sum(axis=(1, 2), dtype=np.float64) + truth.sum(axis=(1, 2)),
    }


def _soft_dice(overlap: np.ndarray, total: np.ndarray, axis: int = -1) -> np.ndarray:
    """Mean over batches of SOFT_BATCH images, in their order, of 2 sum(p t) / sum(p + t)."""
    starts = np.arange(0, overlap.shape[axis], SOFT_BATCH)
    above, below = (np.add.reduceat(values, starts, axis=axis) for values in (overlap, total))
    return np.asarray(((2 * above + SMOOTH) / (below + SMOOTH)).mean(axis=axis))


def _ratios(counts: pd.DataFrame) -> dict[str, np.ndarray]:
    tp, fp, fn, tn = (counts[name].to_numpy() for name in ("tp", "fp", "fn", "tn"))
    neither = tp + fp + fn == 0
    return {
        "dice": _ratio(2 * tp, 2 * tp + fp + fn, neither),
        "iou": _ratio(tp, tp + fp + fn, neither),
        "accuracy": (tp + tn) / (tp + fp + fn + tn),
        "precision": _ratio(tp, tp + fp, neither),
        "recall": _ratio(tp, tp + fn, neither),
    }


def _ratio(numerator: np.ndarray, denominator: np.ndarray, neither: np.ndarray) -> np.ndarray:
    """Quotient; where the denominator is 0, 1 if `neither` and 0 otherwise."""
    return np.where(neither, 1.0, numerator / np.where(denominator == 0, 1, denominator))


_CROSS = ndimage.generate_binary_structure(2, 1)[None]
_REACH = np.arange(-BOUNDARY_TOLERANCE, BOUNDARY_TOLERANCE + 1)
_DISK = (_REACH**2 + _REACH[:, None] ** 2 <= BOUNDARY_TOLERANCE**2)[None]


def _edges(stack: np.ndarray) -> np.ndarray:
    """Foreground pixels with a background pixel beside them, of bool (n, h, w)."""
    return np.asarray(stack & ~ndimage.binary_erosion(stack, _CROSS))


def _dilate(stack: np.ndarray) -> np.ndarray:
    return np.asarray(ndimage.binary_dilation(stack, _DISK))
