"""What every format offers: an opened file of n images of one kind, and the one error it may raise."""

import re
from collections.abc import Callable
from types import TracebackType
from typing import Self

import numpy as np

MAX_PIXELS = 10_000 * 10_000
"""Larger images are refused before they are decoded; cut them into tiles."""


MAX_BYTES = 24 * MAX_PIXELS
"""Of one page once it is decoded; those of many samples, or of many bits, hold fewer pixels."""

MOST_SCANS = 100
"""Of a JPEG, which is decoded once a scan; progressive ones have about ten."""

START_OF_IMAGE, END_OF_IMAGE, START_OF_SCAN = b"\xff\xd8", b"\xff\xd9", b"\xff\xda"

MARKER = re.compile(rb"\xff[^\x00\x01\xff\xd0-\xd7]")
"""Of a JPEG's segments: not FF within coded data, and none of the markers within it or without a length."""


class PixelError(ValueError):
    """The bytes are no image that can be used; the message says why and the way out, in one line.

    It may quote what a file says of itself, so characters that are not printed are spelt out.
    """

    def __str__(self) -> str:
        return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in super().__str__())


class ManyChannels(PixelError):
    """It has `channels` channels, and neither file nor user says which of them make the image."""

    def __init__(self, message: str, channels: int) -> None:
        super().__init__(message)
        self.channels = channels


class Pages:
    """An opened file: n images of one size and kind. A format is a subclass with `_read`, and `close` if it needs one.

    Args:
        numbers: which pages of the file these are, counted from 0; every image, series, z or t plane counts as one.
            `count` is how many.
        size: height and width of every page.
        mode: how they are stored, such as "uint16 grey", "uint8 RGB", "uint8 palette".
        palette: uint8 (256 or more, 3), the colours of a palette image.
        lossy: whether values are blurred by JPEG.
        weight: bytes of a page while it is decoded, all its samples.

    Attributes:
        imagej: whether ImageJ wrote the file, which has floats for integers of 32 bits, and colours only to show
            values with.
    """

    imagej = False

    def __init__(
        self,
        numbers: range,
        size: tuple[int, int],
        mode: str,
        palette: np.ndarray | None = None,
        lossy: bool = False,
        weight: int = 0,
    ) -> None:
        self.numbers, self.count = numbers, len(numbers)
        self.size, self.mode, self.palette, self.lossy, self.weight = size, mode, palette, lossy, weight
        if weight > MAX_BYTES:
            raise PixelError(f"a page takes {weight:,} bytes, more than {MAX_BYTES:,}; save fewer channels or tiles")

    def read(self, page: int) -> np.ndarray:
        """One page as stored, (h, w, c) of any dtype; of a palette image the indices, c = 1. Threads may share it.

        Raises PixelError for pixels that cannot be had: truncated, damaged, or of another size than the file says.
        """
        return self._whole_page(self._read, page)

    def read_mask(self, page: int) -> np.ndarray:
        """One page of a mask, as `read` has it, but with the file's values where `read` has shades: in ImageJ's files,
        which show a mask either way round, in tifffile's of bool, and of samples of 2 or 4 bits."""
        return self._whole_page(self._read_mask, page)

    def _whole_page(self, read: Callable[[int], np.ndarray], page: int) -> np.ndarray:
        if not 0 <= page < self.count:
            raise PixelError(f"there is no page {page + 1}; the file has {self.count}")
        try:
            array = read(page)
        except PixelError:
            raise
        except Exception as error:  # the libraries raise many types for broken files
            raise PixelError("truncated or damaged") from error
        if array.shape[:2] != self.size:
            raise PixelError(f"truncated or damaged: {array.shape[:2]} in place of {self.size} rows and columns")
        return array

    def field(self, page: int) -> tuple[int, ...]:
        """What pages share that are channels of one plane, with channels=pages; all others have one of their own."""
        return (self.numbers[page],)

    def close(self) -> None:
        """Closes the file; reading is over then."""

    def _read(self, page: int) -> np.ndarray:
        raise NotImplementedError

    def _read_mask(self, page: int) -> np.ndarray:
        return self._read(page)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def refuse_size(height: int, width: int, most: int | None = None) -> None:
    """Raises PixelError for an image without pixels, and for one of more than `most`, by default MAX_PIXELS."""
    most = MAX_PIXELS if most is None else most
    if height * width > most:
        raise PixelError(f"{width} x {height} pixels is more than {most:,} pixels; cut it into tiles")
    if height * width <= 0:
        raise PixelError("the image has no pixels")


def refuse_scans(jpeg: bytes) -> None:
    """Raises PixelError for a JPEG of more than MOST_SCANS scans; films and other data that phones append behind the
    picture do not count."""
    if jpeg.count(START_OF_SCAN) > MOST_SCANS and _scans(jpeg) > MOST_SCANS:
        raise PixelError(f"a JPEG of more than {MOST_SCANS} scans; save it anew")


def _scans(jpeg: bytes) -> int:
    """Scans of the first picture of a file, MOST_SCANS + 1 if there are more."""
    place = count = 0
    while (found := MARKER.search(jpeg, place)) is not None and count <= MOST_SCANS:
        marker, place = found.group(), found.end()
        if marker == END_OF_IMAGE:
            break
        count += marker == START_OF_SCAN
        if marker != START_OF_IMAGE:
            place += int.from_bytes(jpeg[place : place + 2], "big")
    return count
