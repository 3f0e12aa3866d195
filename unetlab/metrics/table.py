"""Scores of predictions, in NumPy, per image and pooled; never from a training metric.

A pixel is foreground if its probability is greater than the threshold. Ratios whose denominator is empty are 1 if
nothing was there and nothing was found, and 0 otherwise.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from unetlab.images.regions import components
from unetlab.inference.predict import Threshold, mask_at, thresholds
from unetlab.metrics.boundary import boundary_f1
from unetlab.metrics.calibration import area_under_curve, calibration_error
from unetlab.metrics.objects import object_scores
from unetlab.metrics.pixelwise import count, pooled_soft_dice, ratios, soft_sums


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
    table = pd.DataFrame({"id": list(ids), **count(predicted, truth), **soft_sums(probabilities, truth)})
    table = table.assign(**ratios(table), boundary_f1=boundary_f1(predicted, truth))
    if native_labels is None:
        return table

    def native_mask(i: int, height: int, width: int) -> np.ndarray:
        return mask_at(probabilities[i], cut[i], (height, width))

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
        counts = ratios(pd.DataFrame(count(predicted[None], truth[None])))
        found = {f"native_{name}": counts[name][0] for name in ("dice", "iou", "accuracy")}
        found["native_boundary_f1"] = boundary_f1(predicted[None], truth[None])[0]
        rows.append(found | object_scores(labels, components(predicted)))
    return pd.DataFrame(rows)


def summarise(table: pd.DataFrame, probabilities: np.ndarray, masks: np.ndarray) -> dict[str, float]:
    """The scores of a whole split by the names every run uses, without the prefix.

    dice, iou, boundary_f1 and the native and object scores are means over images; accuracy, precision, recall, f1,
    auc and ece are over all pixels; soft_dice is a mean over batches, as the source of `pseudo-label` has it. `auc` is
    left out where the masks hold one class only.
    """
    means = ["dice", "iou", "boundary_f1", "native_dice", "native_iou", "ap50", "ap_dsb", "count_error"]
    scores = {name: float(table[name].mean()) for name in means if name in table}
    pooled = ratios(table[["tp", "fp", "fn", "tn"]].sum().to_frame().T)
    scores |= {name: float(pooled[name][0]) for name in ("accuracy", "precision", "recall")}
    scores["f1"] = float(pooled["dice"][0])
    if masks.any() and not masks.all():
        scores["auc"] = area_under_curve(probabilities, masks)
    scores["ece"] = calibration_error(probabilities, masks)
    scores["soft_dice"] = float(pooled_soft_dice(table["soft_overlap"].to_numpy(), table["soft_total"].to_numpy()))
    return scores


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
