"""The strips and tiles of a TIFF, before a codec is trusted with them."""

import io
import math
from collections.abc import Sequence
from typing import Any, BinaryIO

from PIL import Image
from tifffile import COMPRESSION

from .contract import PixelError, refuse_scans

BOUNDED = (
    *(COMPRESSION.NONE, COMPRESSION.LZW, COMPRESSION.ADOBE_DEFLATE, COMPRESSION.DEFLATE, COMPRESSION.PACKBITS),
    *(COMPRESSION.LZMA, COMPRESSION.ZSTD, COMPRESSION.CCITTRLE, COMPRESSION.CCITT_T4, COMPRESSION.CCITT_T6),
)
"""Codecs that stop where a strip or tile is full."""

SELF_SIZED = {
    **dict.fromkeys((COMPRESSION.OJPEG, COMPRESSION.JPEG, COMPRESSION.JPEG_LOSSY), "JPEG"),
    **dict.fromkeys((COMPRESSION.JPEG2000, COMPRESSION.APERIO_JP2000_YCBC, COMPRESSION.APERIO_JP2000_RGB), "JPEG2000"),
    COMPRESSION.WEBP: "WEBP",
    COMPRESSION.PNG: "PNG",
}
"""Codecs that make as many pixels as the strip or tile says itself, whatever the page says; in Pillow's words."""

ROOM = 2**22
"""Pixels that a strip or tile may have however small its image is, as tiles at an edge have."""


def refuse_bombs(page: Any, offsets: Sequence[int], lengths: Sequence[int], file: BinaryIO) -> None:
    """Raises PixelError for a page of tifffile's whose strips or tiles would take far more room than the page.

    Args:
        page: whose strips or tiles these are.
        offsets, lengths: where they lie in the file.
        file: where its position after is as before.
    """
    tile = page.tilelength, page.tilewidth
    height, width = tile if page.is_tiled else (min(page.rowsperstrip, page.imagelength), page.imagewidth)
    most = max(ROOM, 4 * page.imagelength * page.imagewidth)
    if height * width > most:
        raise PixelError(f"damaged TIFF: its tiles of {width} x {height} pixels are larger than the image")
    if page.compression in BOUNDED:
        return
    form = SELF_SIZED.get(page.compression)
    if form is None:
        name = getattr(page.compression, "name", page.compression)
        raise PixelError(f"its pixels are compressed by {name}, which is not read; save it with LZW or deflate")
    place = file.tell()
    try:
        for offset, length in zip(offsets, lengths, strict=False):
            if length:
                file.seek(offset)
                _refuse_size(file.read(length), form, max(ROOM, 2 * height * width))
    finally:
        file.seek(place)


def _refuse_size(segment: bytes, form: str, most: int) -> None:
    if form == "JPEG":
        refuse_scans(segment)
    Image.MAX_IMAGE_PIXELS = None  # our own bound reads better than Pillow's warning
    try:
        with Image.open(io.BytesIO(segment), formats=(form,)) as image:
            size = image.size
    except Exception as error:  # Pillow raises many types for broken files
        raise PixelError("truncated or damaged TIFF") from error
    if math.prod(size) > most:
        raise PixelError(f"damaged TIFF: a part of it speaks of {size[0]} x {size[1]} pixels, the page of fewer")
