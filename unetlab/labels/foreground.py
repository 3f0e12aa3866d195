"""Which segments of an image are foreground, by one rule for all label makers and never by the truth.

Background is what lies along the image's border: a picture is taken so that what it shows is not cut off all around it,
and ground fills the gaps between objects. Each segment's mean colour (CIELAB) is compared with the border's: the
segments' distances from the border's most common colour are cut in two by Otsu's threshold, weighing each segment by
its pixels, and the far side is foreground. Where the far side covers most of the image the two change places, as
objects are then what surrounds the ground.
"""

import numpy as np
from skimage.color import rgb2lab
from skimage.filters import threshold_otsu

BORDER = 0.03
"""Width of the border as a share of the image's smaller side, at least 2 pixels."""

MOST = 0.6
"""A foreground of more than this share of the image is the ground instead."""


def lab(image: np.ndarray) -> np.ndarray:
    """uint8 (h, w, 1 or 3) to CIELAB float32 (h, w, 3): lightness in 0..100."""
    colour = np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
    return np.asarray(rgb2lab(colour), dtype=np.float32)


def foreground(segments: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Decides for each segment of an image.

    Args:
        segments: int (h, w), one number a segment.
        colours: CIELAB float32 (h, w, 3).

    Returns:
        bool (h, w); all False where all segments are of one colour.
    """
    _, flat = np.unique(segments, return_inverse=True)
    flat = flat.ravel()
    area = np.bincount(flat).astype(np.float64)
    means = np.stack([np.bincount(flat, colours[..., k].ravel()) / area for k in range(3)], axis=1)
    ground = means[_commonest(flat.reshape(segments.shape), means)]
    distance = np.linalg.norm(means - ground, axis=1)
    if np.ptp(distance) < 1e-3:
        return np.zeros(segments.shape, dtype=bool)
    order = np.argsort(distance)
    far = distance > threshold_otsu(hist=(area[order], distance[order]))
    found = far[flat].reshape(segments.shape)
    return ~found if found.mean() > MOST else found


def _commonest(segments: np.ndarray, means: np.ndarray) -> int:
    """The segment along the border whose colour most of the border's pixels are near to."""
    width = max(2, round(BORDER * min(segments.shape)))
    inner = np.zeros(segments.shape, dtype=bool)
    inner[width:-width, width:-width] = True
    weight = np.bincount(segments[~inner], minlength=len(means)).astype(np.float64)
    touching = np.flatnonzero(weight)
    apart = np.linalg.norm(means[touching, None] - means[None, touching], axis=2)
    near = np.exp(-((apart / 10) ** 2)) @ weight[touching]  # ten units of CIELAB are a plain difference to the eye
    return int(touching[near.argmax()])
