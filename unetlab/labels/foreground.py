"""Which segments of an image are foreground, by one rule for all label makers and never by the truth.

1. The ground is the image's commonest colour: objects are many things, the ground is one.
2. The segments' distances from the ground are cut in two by Otsu's threshold, each segment weighing as much as it has
   pixels; the far side is foreground. Where that is most of the image the two change places.
3. Connected foreground along much of the image's border is surroundings, not an object: the edge of a table, the floor.
   Nuclei that the border cuts touch little of it each. Where nothing else is found, it stays.
4. The edge of an object lies halfway between its colour and the ground's, since a lens or a small copy blurs a step
   alike to both sides. Bright objects lose their halo so, and dim ones beside them do not.
"""

from collections.abc import Callable

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu

from unetlab.images.geometry import resize_map
from unetlab.images.regions import flat
from unetlab.labels.view import View, blurred, ground_colour, look

MOST = 0.6
"""A foreground of more than this share of the image is the ground instead."""

ALONG = 0.2
"""Foreground along more than this share of the border is surroundings."""

HALFWAY = 0.5

REACH = 6.0
"""How far, in pixels of the copy, an object's colour counts for its edge (standard deviation of a Gaussian)."""


def labelled(image: np.ndarray, segment: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Labels of one image by the segments of a small copy of it.

    Args:
        image: uint8 (h, w, 1 or 3).
        segment: CIELAB float32 (h', w', 3), at most 256 pixels a side, to int (h', w'), one number a segment.

    Returns:
        uint8 (h, w): 1 foreground, 0 background, which is all of an image of one flat colour.
    """
    height, width = image.shape[:2]
    if flat(image):
        return np.zeros((height, width), np.uint8)
    view = look(image)
    found = foreground(segment(view.even), view)
    return np.asarray(resize_map(found.astype(np.float32), height, width) > 0.5).astype(np.uint8)


def foreground(segments: np.ndarray, view: View) -> np.ndarray:
    """The rule above: int (h, w), one number a segment, to bool (h, w)."""
    return at_half_height(without_surroundings(far_from_ground(segments, view.even)), view.plain)


def far_from_ground(segments: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Steps 1 and 2, on int (h, w) and CIELAB (h, w, 3); all False where all segments are of one colour."""
    _, number = np.unique(segments, return_inverse=True)
    number = number.ravel()
    area = np.bincount(number).astype(np.float64)
    means = np.stack([np.bincount(number, colours[..., k].ravel()) / area for k in range(3)], axis=1)
    # noise strews a dark ground over more colours than bright objects, which would then be the commonest colour
    distance = np.linalg.norm(means - ground_colour(blurred(colours)), axis=1)
    if np.ptp(distance) < 1e-3:
        return np.zeros(segments.shape, dtype=bool)
    order = np.argsort(distance, kind="stable")
    far = distance > threshold_otsu(hist=(area[order], distance[order]))
    found = far[number].reshape(segments.shape)
    return np.asarray(~found if found.mean() > MOST else found)


def without_surroundings(found: np.ndarray) -> np.ndarray:
    """Step 3, on bool (h, w)."""
    pieces, count = ndimage.label(found, np.ones((3, 3)))
    border = np.concatenate([pieces[0], pieces[-1], pieces[1:-1, 0], pieces[1:-1, -1]])
    dropped = np.bincount(border, minlength=count + 1) > ALONG * len(border)
    dropped[0] = True
    return found if dropped.all() else np.asarray(~dropped[pieces])


def at_half_height(found: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Step 4, on bool (h, w) and CIELAB (h, w, 3): edges move to half height, outwards by two pixels at most."""
    if not found.any() or found.all():
        return found
    height = np.linalg.norm(colours - np.median(colours[~found], axis=0), axis=2)
    near = ndimage.gaussian_filter(found.astype(np.float32), REACH)
    typical = ndimage.gaussian_filter(height * found, REACH) / np.maximum(near, 1e-6)
    return np.asarray(ndimage.binary_dilation(found, iterations=2) & (height > HALFWAY * typical))
