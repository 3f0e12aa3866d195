"""What a network of one mask says of images, and its scores: the counterpart of `class_scores` for classes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from unetlab.data import Dataset, cache
from unetlab.data.classes import UNKNOWN
from unetlab.data.dataset import FittedDataset
from unetlab.data.unmapped import Unmapped
from unetlab.images import geometry
from unetlab.inference import predict
from unetlab.inference.objects import METHODS
from unetlab.inference.predict import Maps, Predictor, objects_at
from unetlab.inference.spool import Made
from unetlab.jobs.bench import Bench
from unetlab.metrics import membranes, thresholds
from unetlab.metrics.table import score_images, summarise
from unetlab.setup import Recipe
from unetlab.tracking import thumbnails

MOST_COMPARED = 2**25
"""Pixels of validation images, about, in which ways of parting objects are compared."""


@dataclass(frozen=True)
class Scored:
    """What a network says of one side, the masks (h, w) at its size, and the scores by image and name.

    `maps` is all that it says; `masks` are 0 where labels are unknown. `known` are the mask's probabilities, and the
    masks, of an image with unknown pixels in one line without these. Masks, and where they are many the others too, are
    read when asked for.
    """

    maps: Maps
    masks: Sequence[np.ndarray]
    known: tuple[Sequence[np.ndarray] | np.ndarray, Sequence[np.ndarray]]
    table: pd.DataFrame
    figures: Mapping[str, float]


def score(
    bench: Bench, model: Any, recipe: Recipe, rows: np.ndarray, against: Dataset, best_threshold: float
) -> Scored:
    """Scores a model on some images at its own size and at theirs."""
    found = Predictor(model, recipe).maps(Unmapped(against.fitted(recipe).images), rows, cache.root())
    return score_predicted(bench, found, recipe, rows, against, best_threshold)


def score_predicted(
    bench: Bench,
    maps: Maps,
    recipe: Recipe,
    rows: np.ndarray,
    against: Dataset,
    best_threshold: float,
) -> Scored:
    """Scores what a network says of the images `rows`, by the recipe that is served.

    Pixels that `against` does not know count nowhere. `best_threshold`, which validation has chosen, is where V_rand
    and V_info cut: they ask for closed lines, not for the width of a membrane.
    """
    truth = masks_of(against.fitted(recipe), rows)
    ids = [against.ids[i] for i in rows]

    def native_objects(i: int, mask: np.ndarray) -> np.ndarray:
        return objects_at(mask, maps.head_of(i), maps.mask[i], recipe)

    table = score_images(
        maps.mask,
        truth,
        ids,
        recipe.threshold,
        lambda i: against.objects(int(rows[i])),
        native_objects,
        lambda i: against.known(int(rows[i])),
    )
    known: tuple[Sequence[np.ndarray] | np.ndarray, Sequence[np.ndarray]] = maps.mask, truth
    if any((each == UNKNOWN).any() for each in truth):
        known, truth = (_known(maps.mask, truth), _known(truth, truth)), _zeroed(truth)
    figures = summarise(table, *known)
    if bench.setup.membranes:
        cells = (found > np.float32(best_threshold) for found in native_maps(maps.mask, rows, against))
        sections = membranes.score_sections(cells, native_truths(rows, against))
        table = table.join(sections)
        figures |= {name: float(sections[name].mean()) for name in sections}
    return Scored(maps, truth, known, table, figures)


def masks_of(fitted: FittedDataset, rows: np.ndarray) -> Sequence[np.ndarray]:
    """The masks of some images at the network's size, uint8 (s, s) or in patches (h, w), each read when asked for."""
    masks = Unmapped(fitted.masks)
    return Made(lambda i: masks[rows[i]][..., 0], len(rows))


def _zeroed(truth: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
    """The same with 0 wherever it is unknown."""
    return Made(lambda i: np.where(truth[i] == UNKNOWN, np.uint8(0), truth[i]), len(truth))


def _known(stack: Sequence[np.ndarray] | np.ndarray, truth: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
    """The pixels of each whose truth is known, (n,)."""
    return Made(lambda i: stack[i][truth[i] != UNKNOWN], len(stack))


def native_maps(
    probabilities: Sequence[np.ndarray] | np.ndarray, rows: np.ndarray, against: Dataset
) -> Iterator[np.ndarray]:
    """Predicted probabilities, (h, w) each, of some images at each one's own size, 0 where labels are unknown."""
    for found, row in zip(probabilities, rows, strict=True):
        known = against.known(int(row))
        yield np.where(known, geometry.resize_map(found, *known.shape), np.float32(0))


def native_truths(rows: np.ndarray, against: Dataset) -> Iterator[np.ndarray]:
    """The objects of some images at each one's own size."""
    return (against.objects(int(row)) for row in rows)


def native_known(rows: np.ndarray, against: Dataset) -> Iterator[np.ndarray]:
    """Where the labels of some images are known, at each one's own size."""
    return (against.known(int(row)) for row in rows)


def best_threshold(bench: Bench, probabilities: Sequence[np.ndarray] | np.ndarray, rows: np.ndarray) -> float:
    """The threshold that is best on the given validation images: by V_rand for membranes, else by Dice."""
    choose = membranes.best_cut if bench.setup.membranes else thresholds.best_threshold
    return choose(native_maps(probabilities, rows, bench.dataset), native_truths(rows, bench.dataset))


def with_objects(bench: Bench, recipe: Recipe, maps: Maps, rows: np.ndarray) -> Recipe:
    """The recipe with the way of parting objects that has the best object score on validation: its own or a plainer
    one, of equals the plainer; and with how sure of an object the network then has to be. Components are never left.
    Of many or large images some are looked at, spread over all: the ways are many, and each takes its time. Made labels
    do not part what touches, so nothing is chosen by them."""
    plainer = list(METHODS)[: list(METHODS).index(recipe.objects) + 1]
    ways = [how for how in plainer if how == recipe.objects or not METHODS[how].uses_head]
    if len(ways) == 1 or bench.made:
        return recipe
    sizes, heads = bench.dataset.sizes[rows], maps.mask if maps.head is None else maps.head
    step = max(1, int(sizes.prod(axis=1).sum()) // MOST_COMPARED)
    rows, some = rows[::step], range(0, len(rows), step)

    def native() -> Iterator[np.ndarray]:
        """Mask and head, (h, w, 2), of each image at its own size."""
        for i in some:
            planes = (geometry.resize_map(each[i], *sizes[i].tolist()) for each in (maps.mask, heads))
            yield np.stack(list(planes), axis=-1)

    cuts = predict.thresholds(maps.mask, recipe.threshold)[::step].tolist()
    data, least, found = bench.dataset, recipe.least_object, []
    for how in ways:
        truths, known = native_truths(rows, data), native_known(rows, data)
        found.append(thresholds.best_seeds(native(), truths, how, cuts, least, known))
    best = int(np.argmax([score for _, score in found]))
    way, (seeds, _) = ways[best], found[best]
    truths, known = native_truths(rows, data), native_known(rows, data)
    confidence = thresholds.best_confidence(native(), truths, way, seeds, cuts, least, known)
    return recipe.changed({"objects": way, "seeds": seeds, "confidence": confidence})


def found_masks(tested: Scored, recipe: Recipe) -> Sequence[np.ndarray]:
    """What is found in the test images, bool (s, s) or in patches (h, w), to be drawn."""
    cuts = predict.thresholds(tested.maps.mask, recipe.threshold)
    return Made(lambda i: tested.maps.mask[i] > cuts[i], len(tested.maps.mask))


def known_ground(bench: Bench, recipe: Recipe, i: int) -> np.ndarray:
    """Where the label of the i-th test image is known, bool (s, s) or in patches (h, w)."""
    return np.asarray(masks_of(bench.truth.fitted(recipe), bench.split.test)[i] != UNKNOWN)


def album(bench: Bench, tested: Scored, recipe: Recipe) -> bytes:
    """Thumbnails of the test images, of thumbnails.MOST of them where there are more."""
    images, rows = Unmapped(bench.truth.fitted(recipe).images), bench.split.test
    shown = range(0, len(rows), -(-len(rows) // thumbnails.MOST))
    found = found_masks(tested, recipe)
    pictures = ((images[rows[i]], tested.masks[i], found[i]) for i in shown)
    if recipe.view == "patches":  # an album holds pictures of one size
        pictures = (thumbnails.squared(*picture) for picture in pictures)
    return thumbnails.pack_each([str(tested.table["id"][i]) for i in shown], pictures)
