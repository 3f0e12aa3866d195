"""A model of classes scored on labelled images as it is served: what `scoring` does with one mask."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from mlflow.pyfunc import PyFuncModel

from unetlab.data import Dataset
from unetlab.images import codecs
from unetlab.images.otsu import otsu_mask
from unetlab.metrics import classes
from unetlab.metrics.baselines import Rivals
from unetlab.metrics.objects import on_known
from unetlab.service.loading import answered, class_names, labels_of
from unetlab.service.sheets import Shard, Some
from unetlab.tracking import class_pictures, thumbnails


class Found(NamedTuple):
    """What a model found in an image, in the order in which the data set has the classes; nothing where labels are
    unknown.

    Args:
        classes: index map, uint8 (h, w), 0 background.
        labels: objects, int32 (h, w), 0 background.
        kinds: the class of each object by its number, integer (n + 1,).
    """

    classes: np.ndarray
    labels: np.ndarray
    kinds: np.ndarray


def answers(segmenter: PyFuncModel, dataset: Dataset, rows: Sequence[int]) -> Iterator[Found]:
    """What the served model answers of images of a data set that has its classes, in whatever order."""
    order = [0, *(dataset.classes.index(name) for name in class_names(segmenter.metadata))]
    index = np.array(order, np.uint8)
    for answer, i in zip(answered(segmenter, (dataset.image(i) for i in rows)), rows, strict=True):
        known = dataset.known(i)
        found = index[codecs.decode_labels(answer["classes"])] * known
        yield Found(
            found, on_known(labels_of(answer), known, dataset.objects(i)), index[np.asarray(answer["object_classes"])]
        )


def score_some(segmenter: PyFuncModel, dataset: Dataset, rows: Sequence[int], shard: Shard) -> Some:
    """Scores some images of a shard, all at their own size, beside those of the rivals."""
    maps = list(answers(segmenter, dataset, rows))
    table, confusion = table_of(dataset, rows, maps, shard.rivals)
    shown = [(i, each.classes) for i, each in zip(rows, maps, strict=True) if i in shard.shown]
    pictures = [thumbnails.squared_classes(dataset.image(i), dataset.class_truth(i), each) for i, each in shown]
    return Some(table, pictures, confusion)


def table_of(
    dataset: Dataset, rows: Sequence[int], found: Sequence[Found], rivals: Rivals
) -> tuple[pd.DataFrame, np.ndarray]:
    """Scores of some images beside those of the rivals, all at the images' own size: a row an image, as
    `metrics.classes` has it, and the confusion of all pixels, int64 (1 + k, 1 + k), rows the truth."""
    names = classes.keys(dataset.classes[1:])
    confusion, lines = np.zeros((1 + len(names), 1 + len(names)), np.int64), []
    for i, each in zip(rows, found, strict=True):
        truth, kinds = dataset.class_truth(i), dataset.object_classes[i]
        assert kinds is not None  # a data set of classes has them
        known = dataset.known(i)
        confusion += classes.confusion_of(each.classes, truth, len(names), known)
        line = {"id": dataset.ids[i], **classes.score_at_model_size(each.classes, truth, names, known)}
        true = dataset.objects(i), kinds
        line |= classes.score_native(each.classes, truth, (each.labels, each.kinds), true, names, known)
        lines.append({**line, **rival_dice(dataset, i, rivals)})
    return pd.DataFrame(lines), confusion


def rival_dice(dataset: Dataset, i: int, rivals: Rivals) -> dict[str, float]:
    """Mean Dice over the classes there, at the image's own size, of what needs no training: Otsu's foreground taken for
    one class, and one class for all."""
    taken, constant = (dataset.classes.index(name) for name in (rivals.otsu_class, rivals.constant))
    known, truth = dataset.known(i), dataset.class_truth(i)
    answered_by = {
        "otsu": otsu_mask(dataset.image(i), rivals.polarity) * np.uint8(taken),
        "constant": np.full(truth.shape, constant, np.uint8),
    }
    count = len(dataset.classes) - 1
    return {f"{rival}_native_dice": classes.dice_of(made * known, truth, count) for rival, made in answered_by.items()}


def log_pictures(
    segmenter: PyFuncModel,
    dataset: Dataset,
    rows: Sequence[int] | np.ndarray,
    picked: Sequence[tuple[str, int]],
    table: pd.DataFrame,
    confusion: np.ndarray,
) -> None:
    """Pictures of some images, a label and their place among `rows` each, and reports of all of them."""
    shown = []
    for label, k in picked:
        i = int(rows[k])
        (found,) = answers(segmenter, dataset, [i])
        about = {"label": label, "id": table["id"][k], "dice": float(table["native_dice"][k])}
        about |= {"image": dataset.image(i), "parted": (dataset.objects(i), found.labels)}
        shown.append({**about, "truth": dataset.class_truth(i), "found": found.classes})
    class_pictures.log_pictures(shown, table, confusion, dataset.classes)
