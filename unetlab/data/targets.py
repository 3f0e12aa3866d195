"""What a network may learn of a label image besides its mask: borders, depths, how much a gap between objects counts.

Each takes a label image, an unsigned or non-negative integer (h, w), 0 background, object numbers with or without gaps,
unknown as `data.classes` has it, and gives uint8 (h, w); what is unknown is 0 and parts nothing.
"""

from collections.abc import Callable, Iterator

import numpy as np
from scipy import ndimage

from unetlab.data.classes import objects
from unetlab.setup import Recipe

REACH = 2
"""Pixels from either of two objects within which a pixel is border."""

CORE = 0.5
"""Relative depth from which on a pixel is never border, or small objects would be nothing but border."""

SIGMA = 5.0
"""Pixels, of the weight of gaps in the U-Net paper."""

FAR = 18
"""Pixels beyond which that weight rounds to 0: 255 exp(-18^2 / (2 SIGMA^2)) < 0.5."""

FOUR = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)


def touching(labels: np.ndarray) -> bool:
    """Whether two objects share an edge of a pixel."""
    found = objects(labels)
    return any(
        bool(((one != other) & (one > 0) & (other > 0)).any())
        for one, other in ((found[:-1], found[1:]), (found[:, :-1], found[:, 1:]))
    )


def border(labels: np.ndarray) -> np.ndarray:
    """255 on what parts objects that touch or nearly do: within REACH pixels of two objects, be it in one of them or in
    the background between, and no deeper in an object than CORE of its largest depth; 0 elsewhere.
    """
    found = _small(labels)
    near = _disc(REACH)
    highest = ndimage.maximum_filter(found, footprint=near)
    lowest = ndimage.minimum_filter(np.where(found > 0, found, np.iinfo(found.dtype).max), footprint=near)
    parts = (highest > 0) & (lowest < highest)
    core = np.zeros(found.shape, bool)
    for place, own, depth in _depths(found):
        core[place] |= own & (depth > CORE * depth.max())
    return np.where(parts & ~core, np.uint8(255), np.uint8(0))


def distance(labels: np.ndarray) -> np.ndarray:
    """Each object's depth, the distance to its edge, over its own largest, times 255. The frame is no edge."""
    found = _small(labels)
    out = np.zeros(found.shape, np.uint8)
    for place, own, depth in _depths(found):
        out[place][own] = np.rint(255 * depth[own] / depth.max())
    return out


def gap_weight(labels: np.ndarray) -> np.ndarray:
    """255 exp(-(d1 + d2)^2 / (2 SIGMA^2)) on background, d1 and d2 the distances to the two nearest objects in pixels.

    Source: Ronneberger, Fischer and Brox 2015, https://arxiv.org/abs/1505.04597, equation 2 without its class weights.
    """
    found = _small(labels)
    nearest, second = (np.full(found.shape, 2.0 * FAR, np.float32) for _ in range(2))
    for number, box in enumerate(ndimage.find_objects(found), start=1):
        place = _widened(box, found.shape, FAR)
        away = ndimage.distance_transform_edt(found[place] != number).astype(np.float32)
        second[place] = np.minimum(second[place], np.maximum(nearest[place], away))
        nearest[place] = np.minimum(nearest[place], away)
    weight = 255 * np.exp(-((nearest + second) ** 2) / (2 * SIGMA**2))
    return np.where(objects(labels) == labels, np.where(found > 0, 0, np.rint(weight)), 0).astype(np.uint8)


def _small(labels: np.ndarray) -> np.ndarray:
    """Known objects with the numbers 1..n, int32."""
    values, where = np.unique(objects(labels), return_inverse=True)
    numbers = np.arange(len(values)) + (values[0] != 0 if len(values) else 0)
    return np.asarray(numbers[where].reshape(labels.shape), np.int32)


def _depths(found: np.ndarray) -> Iterator[tuple[tuple[slice, ...], np.ndarray, np.ndarray]]:
    """Of each object a box around it, where in the box it is, and its pixels' distances to its edge."""
    for number, box in enumerate(ndimage.find_objects(found), start=1):
        place = _widened(box, found.shape, 1)
        own = found[place] == number
        # an image that is one object has no edge
        yield place, own, np.ones(own.shape) if own.all() else ndimage.distance_transform_edt(own)


def _widened(box: tuple[slice, ...], shape: tuple[int, ...], by: int) -> tuple[slice, ...]:
    return tuple(
        slice(max(side.start - by, 0), min(side.stop + by, size)) for side, size in zip(box, shape, strict=True)
    )


def _disc(radius: int) -> np.ndarray:
    rows, columns = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return np.asarray(rows**2 + columns**2 <= radius**2)


HEADS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"border": border, "distance": distance}
"""What a network's second channel may learn, by the recipe's `objects`."""

TARGETS = {**HEADS, "gaps": gap_weight}
"""All that masks may hold besides, by name."""


def names(recipe: Recipe) -> tuple[str, ...]:
    """What a recipe learns besides the mask, as names of TARGETS in the order of the channels."""
    head = (recipe.objects,) if recipe.objects in HEADS else ()
    return (*head, "gaps") if recipe.border_weight else head
