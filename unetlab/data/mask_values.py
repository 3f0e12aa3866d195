"""The values that a mask file holds, as whole numbers or colours, before anyone says what they mean."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from unetlab.errors import UserError

JPEG_NOISE = 63
"""Grey values up to this one are background in a binary JPEG mask, since compression strews values about edges."""


@dataclass(frozen=True)
class Values:
    """The values that a mask file holds, before anyone says what they mean.

    Args:
        plane: integer (h, w): grey values, indices of a palette, or 0xRRGGBB where `colours`.
        lossy: whether JPEG blurred them.
        colours: whether they are colours.
        palette: uint8 (k, 3), the colours behind the indices, or None.
        display: whether the palette is only how ImageJ shows the values; what they mean does not depend on it.
    """

    plane: np.ndarray
    lossy: bool = False
    colours: bool = False
    palette: np.ndarray | None = None
    display: bool = False

    def used(self) -> "Values":
        """The same with each value once, in a plane of one row: what a mask of any size says of values alone."""
        return replace(self, plane=np.unique(self.plane)[None])


def values_of(
    stored: np.ndarray, lossy: bool = False, palette: np.ndarray | None = None, imagej: bool = False
) -> Values:
    """A decoded mask, (h, w, c) of any dtype, as one plane of whole values; alpha does not count.

    Raises UserError for floats, but for masks of two values (which stay what they are where they are whole numbers) and
    for whole numbers in a file of ImageJ's, which has no other type of 32 bits; for negative values; for NaN;
    and for complex numbers.
    """
    array = stored[..., : {2: 1, 4: 3}.get(stored.shape[2], stored.shape[2])]
    if array.dtype.kind == "f":
        array = _whole(array, imagej)
    if array.dtype.kind not in "biuf":
        raise UserError(f"the mask holds {array.dtype} values; labels are whole numbers")
    if array.dtype.kind == "i" and array.size and array.min() < 0:
        raise UserError(f"the mask holds negative values, down to {array.min()}; 0 is background, objects are above it")
    if array.shape[2] == 1:
        return Values(array[..., 0], lossy, palette=palette, display=imagej)
    if all(np.array_equal(array[..., 0], array[..., k]) for k in range(1, array.shape[2])):
        return Values(array[..., 0], lossy)
    if array.dtype != np.uint8 or array.shape[2] != 3:
        raise UserError(
            f"the mask has {array.shape[2]} channels of {array.dtype}; a mask has one, or 8-bit RGB colours"
        )
    red, green, blue = (array[..., k].astype(np.uint32) for k in range(3))
    return Values((red << 16) | (green << 8) | blue, lossy, colours=True)


def _whole(array: np.ndarray, imagej: bool) -> np.ndarray:
    if not np.isfinite(array).all():
        raise UserError(f"the {array.dtype} mask holds NaN or infinite values; replace them first")
    found = np.unique(array)
    whole = bool(np.array_equal(found, np.rint(found)) and np.abs(found).max(initial=0) < 2**24)
    few = len(found) <= 2
    if whole and (found.min(initial=0) >= 0 if few else imagej):
        return array.astype(np.int32)
    if few:
        return (array > 0).astype(np.uint8)
    raise UserError(
        f"the mask holds many {array.dtype} values; labels are whole numbers: save it as 8 or 16 bit integers"
    )


def foreground(values: Values) -> np.ndarray:
    """What is above 0, in a JPEG above JPEG_NOISE: bool (h, w). Of a colour any channel counts, and of a palette black
    is background, as `black_first` has it."""
    values = black_first(values)
    if values.lossy and values.colours:
        brightest = np.maximum(values.plane >> 16, np.maximum((values.plane >> 8) & 255, values.plane & 255))
        return np.asarray(brightest > JPEG_NOISE)
    return np.asarray(values.plane > (JPEG_NOISE if values.lossy else 0))


def black_first(values: Values) -> Values:
    """The same with black as 0, if that is one of a palette's colours but not its first: programs that make palettes
    order them by how common or how bright a colour is, and black is the background of colours too. A palette that turns
    white to black and so on is ImageJ's inverting table, with which it shows a mask whose values mean what they do."""
    if values.palette is None or values.display or not values.plane.size:
        return values
    if np.array_equal(values.palette, np.repeat(np.arange(255, -1, -1)[:, None], 3, axis=1)):
        return values
    used = np.unique(values.plane)
    black = used[(values.palette[used] == 0).all(axis=1)]
    if len(black) != 1 or black[0] == 0:
        return values
    plane = np.where(values.plane == 0, black[0], values.plane)
    return replace(values, plane=np.where(values.plane == black[0], 0, plane), palette=None)


def not_first(values: Values) -> bool:
    """Whether black is one of a palette's colours in use but not its first, as `black_first` has it."""
    return black_first(values) is not values


def coloured(values: Values) -> np.ndarray:
    """The plane of a mask as colours 0xRRGGBB: a file of colours that are all grey, or black, is as good as others."""
    if values.colours:
        return values.plane
    if values.palette is not None:
        red, green, blue = values.palette.astype(np.int64).T
        return np.asarray(((red << 16) | (green << 8) | blue)[values.plane])
    if values.plane.max(initial=0) > 255:
        raise UserError("the mask holds grey values of more than 8 bits, the classes are colours")
    return values.plane.astype(np.int64) * 0x010101


def palettes_differ(masks: Iterable[Values]) -> bool:
    """Whether an index that masks use has a colour in one and another colour in another, so that indices mean nothing:
    programs that make a palette for each picture number its colours anew."""
    known: dict[int, list[int]] = {}
    for values in masks:
        if values.palette is None or values.display:
            continue
        indices = np.unique(values.plane)
        for index, colour in zip(indices.tolist(), values.palette[indices].tolist(), strict=True):
            if known.setdefault(index, colour) != colour:
                return True
    return False
