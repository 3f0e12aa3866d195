"""Channels, size and normalisation: arrays in, arrays out."""

from collections.abc import Callable, Iterable

import numpy as np
from PIL import Image

PERCENTILES = (1.0, 99.8)
"""Where the per-image normalisation puts 0 and 1."""

COUNTED = 2**20
"""Values that are counted at once, in eight bytes each."""


def fit_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """uint8 (h, w, 1 or 3) to uint8 (h, w, channels): grey is repeated, colour becomes luma (ITU-R BT.601)."""
    if image.shape[2] == channels:
        return image
    if channels == 3:
        return np.repeat(image, 3, axis=2)
    return np.asarray(Image.fromarray(image).convert("L"))[:, :, None]


def resize_image(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 (h, w, c) to uint8 (height, width, c), bilinear, antialiased when it shrinks."""
    if image.shape[:2] == (height, width):
        return image
    planes = image[:, :, 0] if image.shape[2] == 1 else image
    resized = np.asarray(Image.fromarray(planes).resize((width, height), Image.Resampling.BILINEAR))
    return resized.reshape(height, width, image.shape[2])


def resize_map(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """float32 (h, w) to float32 (height, width), bilinear: for probabilities, and for masks before a cut at 0.5."""
    if values.shape == (height, width):
        return values
    return np.asarray(Image.fromarray(values.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR))


def reach(step: float) -> int:
    """Rows beyond either end of a part of an image that `resize_part` looks at, where it steps by so many a row."""
    return int(max(1.0, step)) + 2


def resize_part(rows: np.ndarray, height: int, width: int, top: float, bottom: float) -> np.ndarray:
    """uint8 or float32 (h, w) to (height, width) of the same dtype: what lies between `top` and `bottom`, as if the
    whole were resized. Beyond them it needs `reach` of its rows, where the whole has some."""
    box = (0, max(0.0, top), rows.shape[1], min(float(len(rows)), bottom))
    return np.asarray(Image.fromarray(rows).resize((width, height), Image.Resampling.BILINEAR, box=box))


def resize_labels(labels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Integers (h, w, ...) to (height, width, ...) of the same dtype, each pixel the nearest one's value: for label
    images."""
    rows, columns = (
        np.minimum(((np.arange(new) + 0.5) * old / new).astype(np.intp), old - 1)
        for old, new in zip(labels.shape[:2], (height, width), strict=True)
    )
    return np.asarray(labels.take(rows, axis=0).take(columns, axis=1))  # twice as fast as both at once


def cut(image: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The pixels of rows int (n,) and columns int (m,), (n, m, c): a view where both follow each other, which is twenty
    times as fast as to gather them."""
    if all(len(each) and each[-1] - each[0] == len(each) - 1 for each in (rows, columns)):
        return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return image[rows[:, None], columns]


def scale(image: np.ndarray) -> tuple[float, float]:
    """0 and 255 for every image, as the published recipes do."""
    return 0.0, 255.0


def percentile(image: np.ndarray) -> tuple[float, float]:
    """An image's own PERCENTILES over all channels, at least one grey level apart.

    It is what dim images need. The upper one leaves out few pixels: where objects are rare, the 99th lies in the noise
    of the ground, which would then look like objects. Counted level by level, so that memory does not grow with the
    image.
    """
    return percentile_in_parts(np.array_split(image, max(1, image.size // COUNTED), axis=0))


def percentile_in_parts(parts: Iterable[np.ndarray]) -> tuple[float, float]:
    """The same of an image that comes in parts, uint8 of any shape."""
    counts = np.zeros(256, np.int64)
    for part in parts:
        counts += np.bincount(part.ravel(), minlength=256)
    below = counts.cumsum()
    low, high = (_percentile(below, share / 100) for share in PERCENTILES)
    return low, max(high, low + 1.0)


def _percentile(below: np.ndarray, share: float) -> float:
    """Linear between the two values around it, as NumPy's default has it, of int64 (256,) cumulative counts."""
    place = share * (below[-1] - 1)
    first = int(np.floor(place))
    low, high = (int(np.searchsorted(below, k, side="right")) for k in (first, min(first + 1, below[-1] - 1)))
    return float(np.float32(low + (high - low) * (place - first)))


NORMALISATIONS: dict[str, Callable[[np.ndarray], tuple[float, float]]] = {"scale": scale, "percentile": percentile}
"""A recipe names one of these: from an image, uint8 (h, w, c), to its levels, which become 0 and 1."""


def levels(image: np.ndarray, how: str) -> tuple[float, float]:
    """The grey levels of an image, uint8 (h, w, c), that become 0 and 1, as a name of NORMALISATIONS says.

    Raises ValueError for another name.
    """
    if how not in NORMALISATIONS:
        raise ValueError(f"normalise must be one of {', '.join(NORMALISATIONS)}. Received: {how!r}")
    return NORMALISATIONS[how](image)


def stretch(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """uint8 of any shape to float32 in [0, 1]: `low` becomes 0 and `high` 1, what lies beyond is clipped."""
    values = image.astype(np.float32)
    if (low, high) == (0.0, 255.0):
        return values / np.float32(255)  # nothing lies beyond
    return np.clip((values - np.float32(low)) / np.float32(high - low), 0.0, 1.0)


def normalise(images: Iterable[np.ndarray], how: str) -> np.ndarray:
    """n images uint8 (h, w, c) of one shape to float32 (n, h, w, c) in [0, 1], each by its own `levels`."""
    return np.stack([stretch(image, *levels(image, how)) for image in images])
