"""How large objects are, and the scale at which a network sees them well."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from unetlab.data.dataset import Dataset
from unetlab.data.targets import touching

SMALL, LARGE = 12.0, 48.0
"""Pixels. A median object smaller than SMALL is enlarged to it, one larger than LARGE shrunk to it: below, a network
that halves its input five times has little to see, above, a patch holds few whole objects and each costs more time."""

MOST = 2.0
"""No image is enlarged more than this: it gains nothing but pixels."""

LEAST = 1 / 16


class Objects(NamedTuple):
    """What is known of the objects in some label images.

    Args:
        diameter: median over all objects of the diameter of a disc of the same area, in pixels; 0 without any.
        touching: share of the images in which two objects touch.
        count: mean number an image.
    """

    diameter: float
    touching: float
    count: float


def objects_of(dataset: Dataset, rows: Iterable[int]) -> Objects:
    """Looks at the label images `rows` of a data set."""
    areas, touch = [], []
    for row in rows:
        labels = dataset.objects(int(row))
        found = np.bincount(labels.ravel())[1:]
        areas.append(found[found > 0])
        touch.append(touching(labels))
    every = np.concatenate(areas) if areas else np.zeros(0)
    diameter = 2 * math.sqrt(float(np.median(every)) / math.pi) if len(every) else 0.0
    return Objects(diameter, float(np.mean(touch)) if touch else 0.0, len(every) / max(1, len(areas)))


def scale_for(diameter: float) -> float:
    """The scale at which a median object of `diameter` pixels lies between SMALL and LARGE, two digits of it; 1 where
    it does anyway, or where there is none."""
    if not diameter:
        return 1.0
    wanted = min(max(diameter, SMALL), LARGE) / diameter
    return round(min(max(wanted, LEAST), MOST), 2) or LEAST
