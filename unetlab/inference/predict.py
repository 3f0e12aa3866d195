"""From images to masks and objects: the one way for validation, test, self-training, scoring, service and export.

This folder and `images` travel inside every logged model, so they import nothing else of unetlab, and that relatively.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from ..images import geometry, view
from ..images.rows import SPACE, FittedRows, HeldRows, Rows
from . import tiles
from .objects import METHODS, confident, instances, instances_of_classes
from .spool import each_of, gathered
from .symmetries import with_symmetries

BATCH = 8
"""Squares the network sees at once, so that memory does not grow with what is asked."""

WINDOW = 2**24
"""Pixels of images of any sizes that are gathered so that those of one size are seen together, or answered at once."""

IN_BANDS = 2**22
"""Pixels of an image, as `most_pixels` counts them, above which it is answered band by band, as far as objects let
it."""

Threshold = float | Literal["mean"]


class Prepared(view.Viewed, Protocol):
    """What prediction wants of a recipe, or of a logged model's settings."""

    @property
    def normalise(self) -> str: ...
    @property
    def threshold(self) -> Threshold: ...
    @property
    def tta(self) -> int: ...
    @property
    def objects(self) -> str: ...
    @property
    def seeds(self) -> float: ...
    @property
    def least_object(self) -> int: ...
    @property
    def confidence(self) -> float: ...
    @property
    def classes(self) -> int | Sequence[str]: ...


class Maps(NamedTuple):
    """What a network says of n images, at the size at which it works.

    Args:
        mask: foreground probabilities, float32 (n, s, s), or where images differ in size n of (h, w); of a network of
            classes what it does not give to background.
        head: of networks with a head, what it says, alike; else None.
        classes: of networks of classes, the probability of each, background first, float32 (n, s, s, 1 + k) or n of
            (h, w, 1 + k); else None.
    """

    mask: Sequence[np.ndarray] | np.ndarray
    head: Sequence[np.ndarray] | np.ndarray | None = None
    classes: Sequence[np.ndarray] | np.ndarray | None = None

    def head_of(self, i: int) -> np.ndarray | None:
        """What the head says of the i-th image, None without one."""
        return None if self.head is None else self.head[i]


class Answer(NamedTuple):
    """What is served of one image, at its own size.

    Args:
        mask: bool (h, w); of a network of classes, where the likeliest is not background.
        labels: objects, int32 (h, w), 0 background, 1..n.
        classes: of networks of classes, the likeliest of each pixel, uint8 (h, w), 0 background; else None.
        object_classes: of networks of classes, the class of each object by its number, uint8 (n + 1,); else None.
    """

    mask: np.ndarray
    labels: np.ndarray
    classes: np.ndarray | None = None
    object_classes: np.ndarray | None = None


class Band(NamedTuple):
    """Some rows of a large image at its own size: mask, bool (h, w); head, float32 (h, w), None without one; classes,
    uint8 (h, w), None where there is one mask; the mask's probability, float32 (h, w), where objects are asked how sure
    they are, else None."""

    mask: np.ndarray
    head: np.ndarray | None
    classes: np.ndarray | None = None
    probability: np.ndarray | None = None


class Predictor:
    """A network and how images are prepared for it and masks and objects made of what it says.

    Args:
        model: from float32 images (n, h, w, c) in [0, 1] to probabilities (n, h, w, k) in [0, 1]: a Keras model called
            directly, since `predict` would trace a graph for each model of a search, or a traced function. The k
            channels are the mask's and perhaps a head's; with classes, those of a softmax over background and classes.
        recipe: image_size, channels, normalise, threshold, view, scale, tta, objects, seeds, least_object, confidence
            and classes: their names or number, none for one mask. A threshold does not apply to classes, of which the
            likeliest is taken.
        tile: of patches, the largest side that the network sees; what is larger is seen in tiles of it.
    """

    def __init__(self, model: Callable[[np.ndarray], Any], recipe: Prepared, tile: int = tiles.TILE) -> None:
        def network(images: np.ndarray) -> np.ndarray:
            return np.asarray(model(images))

        self.network, self.recipe, self.tile = with_symmetries(network, recipe.tta), recipe, tile

    def maps(
        self,
        fitted: Sequence[np.ndarray] | np.ndarray,
        rows: np.ndarray | None = None,
        folder: Path | None = None,
    ) -> Maps:
        """What the network says of images at its size, uint8 (h, w, c) as `view.fitted` gives them, or of `rows` alone.

        Levels of grey are those of each whole image. Images of one size that are seen in one piece are seen together.
        Where it is more than `spool.HELD` bytes it lies in a file in `folder`, and each image's is read when asked for.
        """
        rows = np.arange(len(fitted)) if rows is None else np.asarray(rows)
        images = (fitted[int(row)] for row in rows)
        whole = self.recipe.view == "whole"
        seen: Sequence[np.ndarray] | np.ndarray
        seen = gathered(self._whole(images) if whole else self._in_patches(images), folder)
        if isinstance(seen, list) and whole:
            seen = np.stack(seen)
        if self.recipe.classes:
            return Maps(each_of(seen, lambda one: 1 - one[..., 0]), None, seen)
        head = each_of(seen, lambda one: one[..., 1]) if seen[0].shape[-1] > 1 else None
        return Maps(each_of(seen, lambda one: one[..., 0]), head)

    def bands(self, image: FittedRows) -> Iterator[np.ndarray]:
        """What the network says of an image at its size, from top to bottom, float32 (rows, w, k): the mask first."""
        if self.recipe.view == "whole":
            yield self._together([np.concatenate(list(image.parts()))])[0]
            return
        if self.recipe.normalise == "percentile":
            levels = geometry.percentile_in_parts(image.parts())
        else:
            levels = self._levels(image.read(0, 1))  # which no pixel changes
        yield from tiles.bands(self.network, image, levels, self.recipe.image_size, self.tile)

    def native_bands(self, image: Rows, threshold: Threshold | None = None) -> Iterator[Band]:
        """Mask and head, or classes, of a large image at its own size, band by band, as `answers` has them of a whole
        one.

        With the threshold "mean" the network is asked twice, since the mean must be known first.
        """
        fitted = FittedRows(image, self.recipe)
        if self.recipe.classes:
            for band in resized_bands(self.bands(fitted), fitted.shape[:2], image.shape[:2]):
                classes = band.argmax(axis=-1).astype(np.uint8)
                yield Band(classes > 0, None, classes)
            return
        cut, own = self._cut(threshold)
        asks = float(getattr(self.recipe, "confidence", 0.0)) > 0
        if cut == "mean":
            cut = sum(float(band[..., 0].sum(dtype=np.float64)) for band in self.bands(fitted))
            cut /= fitted.shape[0] * fitted.shape[1]
        for band in resized_bands(self.bands(fitted), fitted.shape[:2], image.shape[:2]):
            head = band[..., 1] if band.shape[-1] > 1 else None
            sure = band[..., 0] if own and asks else None
            yield Band(band[..., 0] > np.float32(cut), head, None, sure)

    def _whole(self, images: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """float32 (s, s, k) of each of images of one size."""
        for part in _parts(images, BATCH, lambda image: 1):
            yield from self._together(part)

    def _together(self, images: Sequence[np.ndarray]) -> np.ndarray:
        return self.network(geometry.normalise(images, self.recipe.normalise))

    def _in_patches(self, images: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """float32 (h, w, k) of each image."""
        for part in _parts(images, WINDOW, _pixels):
            yield from self._by_size(part)

    def _by_size(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """float32 (h, w, k) of each image, those that are padded to one size together."""
        padded = [tuple(view.padded_side(side, self.recipe.image_size) for side in image.shape[:2]) for image in images]
        out: list[np.ndarray] = [np.empty(0)] * len(images)
        waiting: dict[tuple[int, ...], list[int]] = {}
        for place, size in enumerate(padded):
            if max(size) > self.tile:
                image = np.asarray(images[place])
                out[place] = tiles.tiled(self.network, image, self._levels(image), self.recipe.image_size, self.tile)
            else:
                waiting.setdefault(size, []).append(place)
        for size, places in waiting.items():
            several = max(1, tiles.BATCH_PIXELS // (size[0] * size[1]))
            for k in range(0, len(places), several):
                part = places[k : k + several]
                found = self.network(np.stack([self._mirrored(np.asarray(images[p]), size) for p in part]))
                for place, one in zip(part, found, strict=True):
                    height, width = images[place].shape[:2]
                    out[place] = one[:height, :width]
        return out

    def _mirrored(self, image: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
        rows, columns = (view.mirrored(*each) for each in zip(image.shape[:2], size, strict=True))
        return geometry.stretch(geometry.cut(image, rows, columns), *self._levels(image))

    def _levels(self, image: np.ndarray) -> tuple[float, float]:
        return geometry.levels(image, self.recipe.normalise)

    def answers(self, images: Sequence[np.ndarray], threshold: Threshold | None = None) -> list[Answer]:
        """Masks and objects of images uint8 (h, w, 1 or 3) at their own sizes; `threshold` replaces the recipe's, and
        does not apply to classes. Then all that is above it is an object, however unsure.
        """
        cut, _ = self._cut(threshold)
        # the mean is known only once all has been seen, and then seen again
        once = self.recipe.view == "patches" and (cut != "mean" or bool(self.recipe.classes))
        banded = [once and self._most(image) > IN_BANDS for image in images]
        others = (image for image, large in zip(images, banded, strict=True) if not large)
        parts = _parts(others, WINDOW, self._most)
        found = iter([answer for part in parts for answer in self._answers_at_once(part, threshold)])
        return [
            self._answer_in_bands(image, threshold) if large else next(found)
            for image, large in zip(images, banded, strict=True)
        ]

    def _most(self, image: np.ndarray) -> int:
        return most_pixels(image.shape[:2], self.recipe)

    def _answers_at_once(self, images: Sequence[np.ndarray], threshold: Threshold | None) -> list[Answer]:
        maps = self.maps([view.fitted(image, self.recipe) for image in images])
        if maps.classes is not None:
            return [
                self._in_classes(classes_at(each, image.shape[:2]))
                for each, image in zip(maps.classes, images, strict=True)
            ]
        cut, own = self._cut(threshold)
        cuts = thresholds(maps.mask, cut)
        answers = []
        for i, image in enumerate(images):
            mask = mask_at(maps.mask[i], cuts[i], image.shape[:2])
            sure = maps.mask[i] if own else None
            answers.append(Answer(mask, objects_at(mask, maps.head_of(i), sure, self.recipe)))
        return answers

    def _answer_in_bands(self, image: np.ndarray, threshold: Threshold | None) -> Answer:
        """The same of a large image, of which no more than a row of tiles is there as probabilities of the mask."""
        size, top = image.shape[:2], 0
        mask: np.ndarray = np.zeros(size, bool)
        head: np.ndarray | None = None
        sure: np.ndarray | None = None
        classes: np.ndarray | None = None
        for band in self.native_bands(HeldRows(image), threshold):
            rows = slice(top, top + len(band.mask))
            mask[rows] = band.mask
            if band.head is not None:
                head = np.zeros(size, np.float32) if head is None else head
                head[rows] = band.head
            if band.probability is not None:
                sure = np.zeros(size, np.float32) if sure is None else sure
                sure[rows] = band.probability
            if band.classes is not None:
                classes = np.zeros(size, np.uint8) if classes is None else classes
                classes[rows] = band.classes
            top += len(band.mask)
        if classes is not None:
            return self._in_classes(classes)
        return Answer(mask, objects_at(mask, head, sure, self.recipe))

    def _cut(self, threshold: Threshold | None) -> tuple[Threshold, bool]:
        """The threshold to cut at, and whether it is the recipe's own."""
        own = threshold is None or threshold == self.recipe.threshold
        return (self.recipe.threshold if threshold is None else threshold), own

    def _in_classes(self, classes: np.ndarray) -> Answer:
        labels, object_classes = class_objects_at(classes, self.recipe)
        return Answer(classes > 0, labels, classes, object_classes)


def most_pixels(size: Sequence[int], recipe: Prepared) -> int:
    """Pixels of an image of that height and width as it is stored or, in patches, at the scale at which the network
    works on it, whichever are more: an image that is enlarged takes the memory and the time of the larger one."""
    worked_on = size if recipe.view == "whole" else view.size_of(size, recipe)
    return max(size[0] * size[1], worked_on[0] * worked_on[1])


def _pixels(image: np.ndarray) -> int:
    return image.shape[0] * image.shape[1]


def _parts(images: Iterable[np.ndarray], most: int, of: Callable[[np.ndarray], int]) -> Iterator[list[np.ndarray]]:
    """Images in lists, each closed as soon as what `of` says of its images adds up to `most`."""
    part: list[np.ndarray] = []
    size = 0
    for image in images:
        part.append(image)
        size += of(image)
        if size >= most:
            yield part
            part, size = [], 0
    if part:
        yield part


def thresholds(probabilities: Sequence[np.ndarray] | np.ndarray, threshold: Threshold) -> np.ndarray:
    """Each image's threshold, float32 (n,): a number for all, or "mean" for each image's own mean probability."""
    if threshold == "mean":
        return np.array([each.mean(dtype=np.float64) for each in probabilities], np.float32)
    return np.full(len(probabilities), threshold, dtype=np.float32)


def mask_at(probability: np.ndarray, cut: float, size: Sequence[int]) -> np.ndarray:
    """A probability map, float32 (s, s), resized to (height, width) and cut there: bool (height, width)."""
    height, width = size
    return np.asarray(geometry.resize_map(probability, height, width) > np.float32(cut))


def classes_at(probabilities: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """The likeliest class of each pixel, uint8 (height, width), of equals the first: probabilities, float32
    (s, s, 1 + k), are resized as `mask_at` does it with a mask's."""
    height, width = size
    best: np.ndarray = np.full((height, width), -np.inf, np.float32)
    found = np.zeros((height, width), np.uint8)
    for kind, plane in enumerate(np.moveaxis(probabilities, -1, 0)):  # one by one, since the image may be large
        resized = geometry.resize_map(plane, height, width)
        found[resized > best] = kind
        np.maximum(best, resized, out=best)
    return found


def resized_bands(bands: Iterable[np.ndarray], size: Sequence[int], to: Sequence[int]) -> Iterator[np.ndarray]:
    """Bands of an image of a size (height, width), float32 (rows, w, k), as bands of it resized, as `resize_map` does
    it with the whole; of SPACE pixels at most, fewer where they have more than two channels, or a row."""
    step = size[0] / to[0]
    if tuple(size) == tuple(to):
        for band in bands:
            several = max(1, 2 * SPACE // (to[1] * max(2, band.shape[-1])))
            yield from (band[first : first + several] for first in range(0, len(band), several))
        return
    edge = geometry.reach(step)
    held: np.ndarray | None = None
    top = done = 0
    for band in bands:
        several = max(1, 2 * SPACE // (to[1] * max(2, band.shape[-1])))
        held = band if held is None else np.concatenate([held, band])
        there = top + len(held)
        ready = to[0] if there >= size[0] else max(done, int((there - edge) / step))
        for first in range(done, ready, several):
            last = min(ready, first + several)
            ends = first * step - top, last * step - top
            low, high = max(0, int(ends[0]) - edge), int(ends[1]) + 1 + edge
            part = np.ascontiguousarray(np.moveaxis(held[low:high], -1, 0))
            planes = [geometry.resize_part(p, last - first, to[1], ends[0] - low, ends[1] - low) for p in part]
            yield np.stack(planes, axis=-1)
        done, kept = ready, max(0, int(ready * step) - edge)
        held, top = held[max(0, kept - top) :], max(top, kept)


def objects_at(
    mask: np.ndarray, head: np.ndarray | None, probability: np.ndarray | None, recipe: Prepared
) -> np.ndarray:
    """Objects of a mask, bool (h, w), int32 (h, w), as the recipe parts them; head and the mask's probability, float32,
    at the network's size. Without a probability all are kept, however unsure."""
    if head is not None:
        head = geometry.resize_map(head, *mask.shape)
    seeds = recipe.seeds or METHODS[recipe.objects].default
    # models that were logged before there were these have none
    labels = instances(mask, head, recipe.objects, seeds, getattr(recipe, "least_object", 0))
    confidence = getattr(recipe, "confidence", 0.0)
    if not confidence or probability is None:
        return labels
    return confident(labels, geometry.resize_map(probability, *mask.shape), confidence)


def class_objects_at(classes: np.ndarray, recipe: Prepared) -> tuple[np.ndarray, np.ndarray]:
    """Objects of each class of a map, uint8 (h, w), as the recipe parts them: what `instances_of_classes` returns."""
    seeds = recipe.seeds or METHODS[recipe.objects].default
    return instances_of_classes(classes, recipe.objects, seeds, recipe.least_object)
