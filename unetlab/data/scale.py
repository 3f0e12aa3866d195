"""How large objects are, and the scale at which a network sees them well."""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from unetlab.data.dataset import Dataset, covered
from unetlab.data.targets import touching
from unetlab.images.geometry import resize_labels
from unetlab.images.regions import components
from unetlab.images.view import Viewed, size_of

SMALL, LARGE = 12.0, 48.0
"""Pixels. A typical object smaller than SMALL is enlarged to it, one larger than LARGE shrunk to it: below, a network
that halves its input five times has little to see; above, a patch holds few whole objects and each costs more time."""

MOST, LEAST = 2.0, 1 / 16
"""No image is enlarged or shrunk more: it would gain nothing but pixels, or lose what is to be seen."""


class Objects(NamedTuple):
    """What is known of the objects in some label images.

    Args:
        diameter: of a disc as large as the typical object, in pixels, 0 without any: half of all foreground lies in
            objects as large or larger, so that specks say nothing.
        share: the same over the square root of the image's area, the median image's.
        touching: share of the images in which two objects touch.
        mean: objects an image.
        foreground: share of an average image's pixels.
        least: pixels; one in a hundred objects is smaller, of fewer than a hundred none; of several classes the least
            of these.
    """

    diameter: float
    share: float
    touching: float
    mean: float
    foreground: float
    least: int


def objects_of(
    dataset: Dataset, rows: Iterable[int], parted: Callable[[np.ndarray], np.ndarray] | None = None
) -> Objects:
    """Looks at the label images `rows` of a data set; with `parted`, at what it makes of their foreground, bool (h, w)
    to int32 (h, w), where label images do not tell apart what touches."""
    areas: list[np.ndarray] = [np.zeros(0)]
    kinds: list[np.ndarray] = [np.zeros(0, np.uint8)]
    shares, touch, inside = [], [], []
    several = parted is None and bool(dataset.learnt_classes)
    for row in rows:
        labels = dataset.objects(int(row))
        labels = labels if parted is None else parted(labels > 0)
        found = np.bincount(labels.ravel())[1:]
        areas.append(found[found > 0])
        own = dataset.object_classes[int(row)] if several else None
        kinds.append(np.zeros(len(areas[-1]), np.uint8) if own is None else own[1:][found > 0])
        touch.append(touching(labels))
        inside.append(float(areas[-1].sum()) / labels.size)
        shares.append(_typical(areas[-1]) / math.sqrt(labels.size))
    every, kind = np.concatenate(areas), np.concatenate(kinds)
    there = [share for share in shares if share]
    return Objects(
        _typical(every),
        float(np.median(there)) if there else 0.0,
        float(np.mean(touch)) if touch else 0.0,
        len(every) / max(1, len(shares)),
        float(np.mean(inside)) if inside else 0.0,
        min((int(np.percentile(every[kind == each], 1, method="lower")) for each in np.unique(kind)), default=0),
    )


def joined(dataset: Dataset, rows: Iterable[int], recipe: Viewed) -> float:
    """Share of the label images `rows` in which two objects are one in the mask at the size at which a network works,
    because they touch or because what lies between them is narrower than a pixel there; 0 without any."""
    found = []
    for row in rows:
        labels = dataset.objects(int(row))
        size = size_of(labels.shape, recipe)
        regions, small = components(covered(labels > 0, *size)), resize_labels(labels, *size)
        both = np.unique(np.stack([regions, small], axis=-1)[(regions > 0) & (small > 0)], axis=0)
        found.append(len(both) > len(np.unique(both[:, 0])))
    return float(np.mean(found)) if found else 0.0


def _typical(areas: np.ndarray) -> float:
    """Diameter of a disc as large as the object that the middle pixel of all foreground lies in."""
    if not len(areas):
        return 0.0
    ordered = np.sort(areas)
    middle = int(np.searchsorted(ordered.cumsum(), ordered.sum() / 2))
    return 2 * math.sqrt(float(ordered[middle]) / math.pi)


def scale_for(diameter: float) -> float:
    """The scale at which a typical object of `diameter` pixels lies between SMALL and LARGE, to two digits; 1 where it
    does anyway, or where there is none."""
    if not diameter:
        return 1.0
    wanted = min(max(diameter, SMALL), LARGE) / diameter
    return max(LEAST, round(min(wanted, MOST), 2))
