"""From images of any bit depth to 256 grey levels, the same in training and in service."""

import numpy as np

from .contract import PixelError

TAIL = 0.001
"""Share of an image's values that may lie beyond either end of its range: percentiles 0.1 and 99.9."""

LEAST_TAIL = 40
"""Values beyond either end at least, since a percentile of a small image would follow its single brightest pixel."""

LARGEST = float(np.finfo(np.float32).max)
"""Larger values have differences and ratios that float64 does not hold."""

RANGE = (8, 215)
"""Grey levels of the two percentiles; what lies beyond them is squeezed into the levels that are left."""


def to_uint8(array: np.ndarray) -> np.ndarray:
    """Maps an image (h, w, c) of any real dtype to uint8: uint8 as it is, bool to 0 and 255, all others by percentiles.

    The range of the image, over all its channels, goes from its 0.1 to its 99.9 percentile (each the mean of the values
    in a narrow band around it, at least LEAST_TAIL values from the end) and becomes RANGE linearly. What lies beyond,
    by u times the range, comes nearer to 0 or 255 as u / (1 + u) does: objects too small to count in a percentile stay
    brighter than all the ground, and a hot pixel, whose own value counts nowhere, moves no other pixel by more than a
    level. An image of one value becomes the lower end of RANGE everywhere.

    Raises PixelError if a float image holds NaN, infinity or values beyond LARGEST, and for complex numbers.
    """
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype == bool:
        return array.astype(np.uint8) * 255
    if array.dtype.kind not in "uif":
        raise PixelError(f"the image holds {array.dtype} values; save real numbers")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise PixelError(f"the {array.dtype} image holds NaN or infinite values; replace them first")
    if array.dtype == np.float64 and np.abs(array).max(initial=0) > LARGEST:
        raise PixelError(f"the {array.dtype} image holds values beyond {LARGEST:.1g}, up or down; rescale it")
    low, high = value_range(array)
    span = high - low or _typical_distance(array, low)
    if array.dtype.itemsize <= 2 and array.dtype.kind != "f":  # a table of all values there can be is quicker
        kind = np.iinfo(array.dtype)
        table = _levels(np.arange(kind.min, kind.max + 1, dtype=np.float64), low, high, span)
        return table[array.astype(np.int32) - kind.min]
    out = np.empty(array.shape, np.uint8)
    for levels, row in zip(out, array, strict=True):  # row by row, since float64 takes much memory
        levels[...] = _levels(row.astype(np.float64), low, high, span)
    return out


def levels_by_value(counts: np.ndarray) -> np.ndarray:
    """What `to_uint8` makes of each value of an image, uint8 (n,), of how often each value occurs in it, int64 (n,)."""
    values, below, size = np.arange(len(counts)), counts.cumsum(), int(counts.sum())
    tail = min(max(LEAST_TAIL, round(TAIL * size)), size // 4)
    first, last = (tail // 2, tail + tail // 2) if tail > 1 else (0, 0)

    def mean(start: int, end: int) -> float:
        """Of the values in their order, `start` to `end` among them."""
        there = np.diff(np.minimum(below, end + 1), prepend=0) - np.diff(np.minimum(below, start), prepend=0)
        return float((there * values).sum() / there.sum())

    low, high = mean(first, last), mean(size - 1 - last, size - 1 - first)
    span = high - low
    if not span:
        others = values[(counts > 0) & (values != low)]
        order = np.argsort(np.abs(others - low), kind="stable")
        distances, reached = np.abs(others - low)[order], counts[others][order].cumsum()
        middle = [(reached[-1] - 1) // 2, reached[-1] // 2] if len(others) else []
        span = float(np.mean(distances[np.searchsorted(reached, middle, side="right")])) if middle else 1.0
    return _levels(values.astype(np.float64), low, high, span)


def value_range(array: np.ndarray) -> tuple[float, float]:
    """The lower and upper end of the range of an image's values, as `to_uint8` says."""
    flat = array.ravel()
    tail = min(max(LEAST_TAIL, round(TAIL * flat.size)), flat.size // 4)
    first, last = tail // 2, tail + tail // 2  # the band around the percentile
    if first == 0:  # fewer than 8 values
        return float(flat.min()), float(flat.max())
    ends = (first, last, flat.size - 1 - last, flat.size - 1 - first)
    ordered = np.partition(flat, ends)
    return _mean(ordered[ends[0] : ends[1] + 1]), _mean(ordered[ends[2] : ends[3] + 1])


def _mean(band: np.ndarray) -> float:
    """The mean, which of equal values is that value to the last digit."""
    return float(band[0]) if (band == band[0]).all() else float(band.mean(dtype=np.float64))


def _typical_distance(array: np.ndarray, ground: float) -> float:
    """How far those values that differ from an otherwise even ground lie from it: their median."""
    distances = np.abs(array[array != ground].astype(np.float64) - ground)
    return float(np.median(distances)) if distances.size else 1.0


def _levels(values: np.ndarray, low: float, high: float, span: float) -> np.ndarray:
    """Grey levels, uint8, of values, float64; where low is high, all that is above lies beyond the range."""
    bottom, top = RANGE
    inside = (values > low).astype(np.float64) if low == high else np.clip((values - low) / span, 0, 1)
    above, below = np.maximum(values - high, 0) / span, np.maximum(low - values, 0) / span
    levels = bottom + (top - bottom) * inside + (255 - top) * above / (1 + above) - bottom * below / (1 + below)
    return np.rint(levels).astype(np.uint8)
