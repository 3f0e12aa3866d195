"""What a network of classes says of images, and its scores: the counterpart of `mask_scores` for one mask."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from unetlab.data import Dataset, cache
from unetlab.data.classes import UNKNOWN
from unetlab.data.unmapped import Unmapped
from unetlab.inference.objects import METHODS
from unetlab.inference.predict import Predictor, class_objects_at, classes_at
from unetlab.inference.spool import Spill
from unetlab.jobs.mask_scores import MOST_COMPARED
from unetlab.metrics import classes, thresholds
from unetlab.metrics.objects import on_known
from unetlab.setup import Recipe

CHUNK = 8
"""Images whose probabilities are in memory at once: of many classes they are many."""


def _spill() -> Spill:
    return Spill(cache.root())


@dataclass
class Seen:
    """What a network of classes says of some images, as index maps uint8 (h, w).

    Args:
        found: at the size at which the network works, 0 where labels are unknown.
        masks: what is true there, or UNKNOWN.
        native: at the images' own size, all of it.
        calibration: how sure it was.
    """

    found: Spill = field(default_factory=_spill)
    masks: Spill = field(default_factory=_spill)
    native: Spill = field(default_factory=_spill)
    calibration: classes.Calibration = field(default_factory=classes.Calibration)


@dataclass(frozen=True)
class ClassScored:
    """The scores of classes on one side.

    Args:
        seen: what the network says.
        table: a row an image, as `metrics.classes` has it.
        figures: by name.
        confusion: of all pixels at the network's size, int64 (1 + k, 1 + k), rows the truth, background first.
    """

    seen: Seen
    table: pd.DataFrame
    figures: dict[str, float]
    confusion: np.ndarray


def names_of(dataset: Dataset) -> tuple[str, ...]:
    """The classes of a data set as metrics have them, without background."""
    return classes.keys(dataset.classes[1:])


def look(model: Any, recipe: Recipe, rows: np.ndarray, against: Dataset) -> Seen:
    """Asks a network of classes for the images `rows` of a data set of classes."""
    predictor, fitted, seen = Predictor(model, recipe), against.fitted(recipe), Seen()
    images, masks = Unmapped(fitted.images), Unmapped(fitted.masks)
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        maps = predictor.maps(images, part).classes
        assert maps is not None  # the recipe tells classes apart
        for probabilities, row in zip(maps, part, strict=True):
            truth = masks[row][..., 0]
            known = truth != UNKNOWN
            seen.calibration.add(probabilities, truth, known)
            seen.found.append(np.where(known, probabilities.argmax(axis=-1), 0).astype(np.uint8))
            seen.masks.append(truth)
            seen.native.append(classes_at(probabilities, against.sizes[row].tolist()))
    return seen


def true_objects(dataset: Dataset, row: int) -> tuple[np.ndarray, np.ndarray]:
    """The objects of an image at its own size, (h, w), and the class of each by its number."""
    kinds = dataset.object_classes[row]
    assert kinds is not None  # a data set of classes has them
    return dataset.objects(row), kinds


def score(seen: Seen, recipe: Recipe, rows: np.ndarray, against: Dataset) -> ClassScored:
    """Scores what a network of classes says of the images `rows`, by the recipe that is served.

    Pixels that `against` does not know count nowhere.
    """
    names, table = names_of(against), []
    confusion = np.zeros((1 + len(names), 1 + len(names)), np.int64)
    for place, row in enumerate(map(int, rows)):
        found, mask, native = seen.found[place], seen.masks[place], seen.native[place]
        learnt = mask != UNKNOWN
        confusion += classes.confusion_of(found, mask, len(names), learnt)
        small = classes.score_at_model_size(found, mask, names, learnt)
        known, (parted, kinds) = against.known(row), class_objects_at(native, recipe)
        true = true_objects(against, row)
        answer = on_known(parted, known, true[0]), kinds
        large = classes.score_native(native * known, against.class_truth(row), answer, true, names, known)
        table.append({"id": against.ids[row], **small, **large})
    scored = pd.DataFrame(table)
    figures = classes.summarise(scored, confusion, names)
    return ClassScored(seen, scored, {**figures, "ece": seen.calibration.error()}, confusion)


def with_objects(recipe: Recipe, seen: Seen, rows: np.ndarray, against: Dataset) -> Recipe:
    """The recipe with the way of parting objects within their class, its own or a plainer one, that has the best object
    score on these images, each class of an image counting alike; of equals the plainer. Of an object of a class none is
    asked how sure the network is. Of many or large images some are looked at, spread over all."""
    recipe = recipe.changed({"confidence": 0.0})
    ways = list(METHODS)[: list(METHODS).index(recipe.objects) + 1]
    if len(ways) == 1:
        return recipe

    looks = int(against.sizes[rows].prod(axis=1).sum()) * len(names_of(against))
    step = max(1, looks // MOST_COMPARED)

    def pairs() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """The mask of each class of each image, its true objects, and where they are known."""
        for place in range(0, len(rows), step):
            native, row = seen.native[place], int(rows[place])
            known, (labels, kinds) = against.known(row), true_objects(against, row)
            for kind in sorted({*np.unique(native * known).tolist(), *kinds.tolist()} - {0}):
                yield (native == kind).astype(np.float32), classes.objects_of_class(labels, kinds, kind), known

    def part(side: int) -> Iterator[np.ndarray]:
        return (each[side] for each in pairs())

    tried = []
    for how in ways:
        tried.append(thresholds.best_seeds(part(0), part(1), how, 0.5, recipe.least_object, part(2)))
    best = int(np.nanargmax([value for _, value in tried])) if not np.isnan([v for _, v in tried]).all() else 0
    return recipe.changed({"objects": ways[best], "seeds": tried[best][0]})


def not_learnt(dataset: Dataset, rows: Sequence[int] | np.ndarray) -> list[str]:
    """Classes that none of the images `rows` shows, by name."""
    shown: set[int] = set()
    for row in rows:
        shown |= set(true_objects(dataset, int(row))[1].tolist())
    return [name for index, name in enumerate(dataset.classes) if index and index not in shown]
