"""A model of one mask scored on labelled images as it is served: what `class_scoring` does with classes."""

from collections.abc import Iterator, Mapping, Sequence

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc import PyFuncModel

from unetlab.data import Dataset
from unetlab.images import codecs
from unetlab.images.otsu import otsu_mask
from unetlab.metrics import membranes, pixelwise
from unetlab.metrics.baselines import Rivals, constant_mask, dice_of
from unetlab.metrics.objects import on_known
from unetlab.metrics.table import score_native
from unetlab.service.loading import answered, labels_of
from unetlab.service.sheets import Shard, Some
from unetlab.tracking import figures, thumbnails, write
from unetlab.tracking.objects import OBJECTS, object_panel

MEANS = (
    *("dice", "iou", "native_dice", "native_iou", "ap50", "ap_dsb", "pq", "f1_50", "f1_70", "count_error"),
    *membranes.SCORES,
)
"""Columns whose mean over images is logged; ratios of pixels are taken over all of them."""


def score_some(segmenter: PyFuncModel, dataset: Dataset, rows: Sequence[int], shard: Shard) -> Some:
    """Scores some images of a shard, all at their own size, beside those of the rivals."""
    masks, objects = zip(*_answers(segmenter, dataset, rows), strict=True)
    found = _table(dataset, rows, masks, objects, shard.rivals)
    if shard.lines:
        at = {"threshold": shard.cut}
        cells = masks if shard.cut < 0 else [mask for mask, _ in _answers(segmenter, dataset, rows, at)]
        for prefix, made in {"": cells, **_rival_masks(dataset, rows, shard.rivals)}.items():
            sections = membranes.score_sections(made, (dataset.objects(i) for i in rows))
            found = found.join(sections.add_prefix(prefix))
    shown = [(i, mask) for i, mask in zip(rows, masks, strict=True) if i in shard.shown]
    return Some(found, [thumbnails.squared(dataset.image(i), dataset.objects(i) > 0, mask) for i, mask in shown])


def figures_of(table: pd.DataFrame) -> dict[str, float]:
    """What a table says, by name: means over images, and ratios of pixels over all of them."""
    found = {name: float(table[name].mean()) for name in MEANS if name in table}
    pooled = pixelwise.ratios(table[["tp", "fp", "fn", "tn"]].sum().to_frame().T)
    found |= {name: float(pooled[name][0]) for name in ("accuracy", "precision", "recall")}
    return found | {"f1": float(pooled["dice"][0])}


def _answers(
    segmenter: PyFuncModel, dataset: Dataset, rows: Sequence[int], params: Mapping[str, float] | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What the served model answers, masks bool (h, w) and objects int (h, w); nothing is found where labels are
    unknown."""
    for answer, i in zip(answered(segmenter, (dataset.image(i) for i in rows), params), rows, strict=True):
        known = dataset.known(i)
        yield codecs.decode_mask(answer["mask"]) & known, on_known(labels_of(answer), known, dataset.objects(i))


def _table(
    dataset: Dataset,
    rows: Sequence[int],
    masks: Sequence[np.ndarray],
    objects: Sequence[np.ndarray],
    rivals: Rivals,
) -> pd.DataFrame:
    truths = [dataset.objects(i) > 0 for i in rows]
    each = [pixelwise.count(mask[None], truth[None]) for mask, truth in zip(masks, truths, strict=True)]
    counts = pd.DataFrame({name: [int(found[name][0]) for found in each] for name in ("tp", "fp", "fn", "tn")})
    counts["tn"] -= [np.count_nonzero(~dataset.known(i)) for i in rows]
    found = pd.DataFrame({"id": [dataset.ids[i] for i in rows]}).join(counts).assign(**pixelwise.ratios(counts))
    native = score_native(
        lambda k, height, width: masks[k],
        lambda k: dataset.objects(rows[k]),
        len(rows),
        lambda k, mask: objects[k],
        lambda k: dataset.known(rows[k]),
    )
    return found.join(native).assign(
        **{
            f"{prefix}native_dice": [dice_of(each, truth) for each, truth in zip(made, truths, strict=True)]
            for prefix, made in _rival_masks(dataset, rows, rivals).items()
        }
    )


def _rival_masks(dataset: Dataset, rows: Sequence[int], rivals: Rivals) -> dict[str, list[np.ndarray]]:
    """What each rival answers, bool (h, w) each, by the prefix of its columns."""
    known = [dataset.known(i) for i in rows]
    return {
        "otsu_": [otsu_mask(dataset.image(i), rivals.polarity) & each for i, each in zip(rows, known, strict=True)],
        "constant_": [constant_mask(rivals.constant, each.shape) & each for each in known],
    }


def log_pictures(
    segmenter: PyFuncModel,
    dataset: Dataset,
    rows: Sequence[int] | np.ndarray,
    picked: Sequence[tuple[str, int]],
    table: pd.DataFrame,
) -> None:
    """Pictures of some images, a label and their place among `rows` each, and reports of all of them."""
    shown, parted = [], []
    for label, k in picked:
        i = int(rows[k])
        ((mask, objects),) = _answers(segmenter, dataset, [i])
        about = {"label": label, "id": table["id"][k]}
        parted.append({**about, "image": dataset.image(i), "truth": dataset.objects(i), "found": objects})
        drawn = {"image": dataset.image(i), "truth": dataset.objects(i) > 0, "mask": mask}
        known = dataset.known(i)
        drawn |= {} if known.all() else {"known": known}
        shown.append({**about, "dice": table["native_dice"][k], **drawn})
    write.log_figure(figures.prediction_panel(shown), "predictions.png")
    write.log_figure(object_panel(parted), OBJECTS)
    write.log_figure(figures.confusion(pixelwise.confusion_matrix(table)), "confusion.png")
    mlflow.log_text(pixelwise.classification_report(table), "classification_report.txt")
