"""The directories of a TIFF, one a page, by a walk that ends: what must be known before a library trusts the file."""

import struct
from typing import BinaryIO, NamedTuple

from .contract import PixelError, refuse_size

SUBFILE, WIDTH, HEIGHT, SAMPLES = 254, 256, 257, 277
"""Numbers of the tags read here (TIFF 6.0 specification, section 8)."""

SMALLER_OR_MASK = 0b101
"""Bits of the tag SUBFILE: a smaller copy of another image, and a mask of transparency; neither is a page."""

CODES = {1: "B", 3: "H", 4: "I", 16: "Q"}
"""Integer types of TIFF in the letters of struct."""


MOST_PAGES = 2**16
"""More pages are refused; the library that reads them takes tenths of a millisecond for each before the first."""


class Directory(NamedTuple):
    """What is needed of a page before it is read; `number` counts all directories from 0."""

    number: int
    height: int
    width: int
    samples: int


def walk(file: BinaryIO, size: int, most: int | None = None) -> list[Directory]:
    """All pages of a TIFF of `size` bytes, in their order; smaller copies and masks of transparency are left out.

    Raises PixelError for a chain that leads out of the file, in a circle or over more than MOST_PAGES, for a page of
    another size than the first, naming both, and for one of more than `most` pixels, by default MAX_PIXELS.
    """
    file.seek(0)
    head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    big = head[2:4] in (b"+\0", b"\0+")
    pointer, count, entry = ("Q", "Q", 20) if big else ("I", "H", 12)
    try:
        offset = struct.unpack_from(order + pointer, head, 8 if big else 4)[0]
        seen: set[int] = set()
        found: list[Directory] = []
        while offset:
            if offset in seen:
                raise PixelError(f"damaged TIFF: after page {len(seen)} its chain of pages leads in a circle")
            if len(seen) == MOST_PAGES:
                raise PixelError(f"a TIFF of more than {MOST_PAGES:,} pages; save it in parts")
            seen.add(offset)
            file.seek(offset)
            length = struct.calcsize(count)
            tags = struct.unpack(order + count, file.read(length))[0]
            if offset + length + tags * entry > size:
                raise PixelError(f"truncated or damaged TIFF: page {len(seen)} is not whole")
            block = file.read(tags * entry)
            values = _values(block, order, entry)
            if not values.get(SUBFILE, 0) & SMALLER_OR_MASK:
                page = Directory(len(seen) - 1, values[HEIGHT], values[WIDTH], values.get(SAMPLES, 1))
                _refuse_other(page, found[0] if found else page, most)
                found.append(page)
            offset = struct.unpack(order + pointer, file.read(struct.calcsize(pointer)))[0]
    except (struct.error, KeyError) as error:
        raise PixelError("truncated or damaged TIFF: its chain of pages breaks off") from error
    if not found:
        raise PixelError("the TIFF holds no page")
    return found


def _values(block: bytes, order: str, entry: int) -> dict[int, int]:
    """The single integers among a directory's tags, by the tag's number."""
    found = {}
    for at in range(0, len(block), entry):
        tag, kind = struct.unpack_from(order + "HH", block, at)
        if tag in (SUBFILE, WIDTH, HEIGHT, SAMPLES) and kind in CODES:
            found[tag] = struct.unpack_from(order + CODES[kind], block, at + (12 if entry == 20 else 8))[0]
    return found


def _refuse_other(page: Directory, first: Directory, most: int | None) -> None:
    refuse_size(page.height, page.width, most)
    if (page.height, page.width) != (first.height, first.width):
        sizes = f"{page.width} x {page.height} pixels, page 1 {first.width} x {first.height}"
        raise PixelError(f"page {page.number + 1} is {sizes}; pages of a stack must be of one size")
    if page.samples != first.samples:
        sizes = f"{page.samples} samples a pixel, page 1 {first.samples}"
        raise PixelError(f"page {page.number + 1} has {sizes}; pages of a stack must be of one kind")
