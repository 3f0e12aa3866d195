"""From encoded images to arrays and back, the same in training and in service: the table of formats.

This package travels inside every logged model, so it imports nothing of unetlab; optional packages are imported only
where a file wants them.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from . import microscopy, raster, tiff, zarrs
from .contract import MAX_PIXELS, ManyChannels, Pages, PixelError
from .depth import to_uint8

__all__ = [
    "ENDINGS",
    "MAX_PIXELS",
    "STACKS",
    "ManyChannels",
    "Pages",
    "PixelError",
    "decode",
    "open_pages",
    "to_uint8",
]


@dataclass(frozen=True)
class Format:
    """A row of the table.

    Args:
        name: what users call it.
        endings: of its files, in small letters.
        stack: whether a file can hold several pages.
        magic: what its bytes begin with; content decides, whatever the ending. Empty for folders.
        open: from bytes or a path, channels and pages to `Pages`.
    """

    name: str
    endings: tuple[str, ...]
    stack: bool
    magic: tuple[bytes, ...]
    open: Callable[[bytes | Path, str, str], Pages]


FORMATS = (
    Format("PNG, JPEG, BMP", (".png", ".jpg", ".jpeg", ".bmp"), False, raster.MAGIC, raster.Raster),
    Format("TIFF", (".tif", ".tiff"), True, tiff.MAGIC, tiff.Tiff),
    Format("CZI", (".czi",), True, (b"ZISRAWFILE",), microscopy.opener("CZI", "bioio_czi")),
    Format("ND2", (".nd2",), True, (b"\xda\xce\xbe\n",), microscopy.opener("ND2", "bioio_nd2")),
    Format("LIF", (".lif",), True, (b"\x70\0\0\0",), microscopy.opener("LIF", "bioio_lif")),
    Format("Zarr", (zarrs.ENDING,), True, (), zarrs.open_zarr),
)

ENDINGS = frozenset(ending for row in FORMATS for ending in row.endings)
"""Endings of all files that can be read."""

STACKS = frozenset(ending for row in FORMATS if row.stack for ending in row.endings)
"""Those of files that can hold several pages."""

CONTAINERS = frozenset({zarrs.ENDING})
"""Endings of folders that are one image or stack each; the files inside are none."""

KNOWN = "PNG, JPEG, TIFF or BMP"


def open_pages(source: bytes | Path, channels: str = "", pages: str = "all") -> Pages:
    """Opens an image or a stack of the FORMATS; pages are read and decoded one by one, never the whole file at once.

    Args:
        source: a file's bytes, or its path.
        channels: "" for a grey or colour image as it is; "2" or "1,2,3", counted from 1, where it has others.
        pages: "all", one such as "3", or a range such as "1-10", counted from 1.

    Raises PixelError, one line with the way out, for what is no image, truncated or damaged, ambiguous without a
    choice, or larger than MAX_PIXELS.
    """
    row = _format(source)
    if row is None:
        raise PixelError(f"not a {KNOWN} image")
    try:
        return row.open(source, channels, pages)
    except OSError as error:
        raise PixelError(f"cannot be opened ({error.strerror or error})") from error


def is_container(path: Path) -> bool:
    """Whether a folder is one image, such as a Zarr, and not a folder of files."""
    return path.suffix.lower() in CONTAINERS and path.is_dir()


def may_be_stack(source: Path) -> bool:
    """Whether a file is of a format that has pages, whatever its ending; nothing more of it is read."""
    try:
        row = _format(source)
    except PixelError:
        return False
    return row is not None and row.stack


def _format(source: bytes | Path) -> Format | None:
    if isinstance(source, Path) and is_container(source):
        return next(row for row in FORMATS if source.suffix.lower() in row.endings)
    head = source[:16] if isinstance(source, bytes) else _head(source)
    for row in FORMATS:
        if head.startswith(row.magic):
            return row
    return None


def _head(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(16)
    except OSError as error:
        raise PixelError(f"cannot be opened ({error.strerror or error})") from error


def image_of(opened: Pages, page: int = 0) -> np.ndarray:
    """One page of an opened file, counted from 0, as uint8 (height, width, 1 or 3).

    A palette image gives its colours, alpha is dropped, more than 8 bits are mapped as `to_uint8` says; three equal
    channels become one. Raises PixelError as `Pages.read` does.
    """
    return as_image(values_of(opened, page))


def values_of(opened: Pages, page: int = 0) -> np.ndarray:
    """The same page with the values that the file holds, of their own dtype; colours of a palette are uint8."""
    array = opened.read(page)
    return array if opened.palette is None else opened.palette[array[:, :, 0]]


def as_image(values: np.ndarray) -> np.ndarray:
    """What `image_of` makes of `values_of`. Raises PixelError as `to_uint8` does."""
    return _drop_equal_channels(to_uint8(values))


def decode(data: bytes | Path, page: int = 0, channels: str = "", pages: str = "all") -> tuple[np.ndarray, str]:
    """Decodes one page, counted from 0, as `image_of` does, and says the mode it was stored in.

    Raises PixelError as `open_pages` does.
    """
    with open_pages(data, channels, pages) as opened:
        return image_of(opened, page), opened.mode


def decode_mask(data: bytes | Path) -> np.ndarray:
    """Decodes a mask of one page, such as `encode_mask` made: bool (height, width), what is above 0."""
    with open_pages(data) as opened:
        return np.asarray((opened.read(0) > 0).any(axis=2))


def _drop_equal_channels(rgb: np.ndarray) -> np.ndarray:
    """Many grey micrographs are stored as RGB; keep one channel of those."""
    if rgb.shape[2] == 1:
        return rgb
    equal = np.array_equal(rgb[..., 0], rgb[..., 1]) and np.array_equal(rgb[..., 1], rgb[..., 2])
    return rgb[..., :1] if equal else rgb


def encode_mask(mask: np.ndarray) -> bytes:
    """bool (h, w) to a PNG of 0 and 255."""
    return encode_image(mask[:, :, None].astype(np.uint8) * 255)


def encode_image(image: np.ndarray) -> bytes:
    """uint8 (h, w, 1 or 3) to a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(buffer, format="PNG")
    return buffer.getvalue()


def encode_classes(classes: np.ndarray, colours: np.ndarray) -> bytes:
    """A class map, uint8 (h, w), to a PNG of 8 bits that holds the indices and shows them in `colours`, uint8 (k, 3).

    `decode_labels` gives the indices back.
    """
    picture = Image.fromarray(classes)
    picture.putpalette(colours.tobytes())  # makes it one of mode P
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", bits=8)  # ImageJ takes no palette of fewer
    return buffer.getvalue()


MOST_LABELS = int(np.iinfo(np.uint16).max)
"""The largest value that a PNG holds."""


def encode_wide_labels(labels: np.ndarray) -> bytes:
    """A label image, non-negative integer (h, w), to a TIFF of 32 bits compressed by zlib: for more objects than a PNG
    can tell apart. `decode_labels` reads it as well."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, labels.astype(np.uint32), photometric="minisblack", compression="zlib")
    return buffer.getvalue()


def encode_labels(labels: np.ndarray) -> bytes:
    """A label image (h, w) to a grey PNG that holds the values as they are: uint8 in 8 bits, other integers in 16.

    Raises PixelError for values beyond 65,535, which no PNG holds, and below 0.
    """
    if labels.dtype not in (np.uint8, np.uint16):
        low, high = int(labels.min(initial=0)), int(labels.max(initial=0))
        if high > MOST_LABELS:
            raise PixelError(f"{high:,} objects, a PNG can tell {MOST_LABELS:,} apart; send the image in parts")
        if low < 0:
            raise PixelError(f"objects are numbered from 1, 0 is background. Received: {low}")
        labels = labels.astype(np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(labels).save(buffer, format="PNG")
    return buffer.getvalue()


def decode_labels(data: bytes | Path) -> np.ndarray:
    """Decodes what `encode_labels` or `encode_wide_labels` made: int32 (h, w), the values as they are."""
    with open_pages(data) as opened:
        return np.asarray(opened.read(0)[:, :, 0], np.int32)
