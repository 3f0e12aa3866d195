"""A large TIFF read some rows at a time: from the file or, where it is compressed or tiled, a copy of its pixels."""

import errno
import io
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import tifffile
from tifffile import PHOTOMETRIC, PLANARCONFIG

from . import depth, geometry, tiff, view
from .axes import choose_channels, choose_pages, words
from .contract import MAX_PIXELS, PixelError
from .directories import walk

LARGE = 2**25
"""Pixels above which a TIFF is read by rows."""

MOST = 2**34
"""Pixels of an image at most that is read by rows: 131,072 x 131,072."""

SPACE = 2**21
"""Pixels that are looked at together, where a network does not ask for more."""

DAMAGED = "truncated or damaged TIFF"


class Rows:
    """The one image of a TIFF of 8 or 16 bits, (h, w, 1 or 3), a range of rows at a time.

    Args:
        path: of the file.
        scratch: a folder for the pixels of a file that is not stored row after row; what is put there has no name.
        channels: which of its samples make the image, as `axes.choose_channels` takes them.
        pages: which pages, as `axes.choose_pages` takes them: of one, all or the first.

    Attributes:
        shape: (h, w, 1 or 3).
        mode: as `Pages` has it.

    Raises PixelError for what is no such image, truncated or damaged, and for channels and pages that it has not.
    """

    def __init__(self, path: Path, scratch: Path, channels: str = "", pages: str = "all") -> None:
        self.file: BinaryIO = path.open("rb")
        try:
            self._open(scratch, channels, pages)
        except PixelError:
            self.close()
            raise
        except Exception as error:  # tifffile raises many types for broken files
            self.close()
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise PixelError(f"it is to be unpacked beside the results first: {error.strerror}") from error
            raise PixelError(DAMAGED) from error

    def _open(self, scratch: Path, channels: str, pages: str) -> None:
        page = _page(self.file)
        self.samples = int(page.samplesperpixel)
        choose_pages(pages, 1)
        self.chosen = choose_channels(channels, self.samples, planes=False)
        self.shape = (int(page.imagelength), int(page.imagewidth), len(self.chosen))
        self.mode = f"{page.dtype} {words(self.chosen)}"
        self.dtype, self.table = page.dtype.newbyteorder(page.parent.byteorder), None
        ends = [start + count for start, count in zip(page.dataoffsets, page.databytecounts, strict=False)]
        length = self.file.seek(0, io.SEEK_END)
        if not ends or max(ends) > length:
            raise PixelError(DAMAGED)
        if page.is_contiguous:
            self.start = int(page.dataoffsets[0])
            # a strip may say that it is shorter than the rows that it is said to hold
            if self.start + math.prod(self.shape[:2]) * self.samples * self.dtype.itemsize > length:
                raise PixelError(DAMAGED)
        else:
            self._copy(page, scratch)
        if page.dtype != np.uint8:
            self.table = depth.levels_by_value(self._counts())

    def _counts(self) -> np.ndarray:
        """How often each value of 16 bits occurs, int64 (65536,)."""
        height, width, _ = self.shape
        several, counts = max(1, SPACE // width), np.zeros(2**16, np.int64)
        for first in range(0, height, several):
            counts += np.bincount(self.stored(first, min(height, first + several)).ravel(), minlength=2**16)
        return counts

    def _copy(self, page: Any, scratch: Path) -> None:
        """Decodes strip by strip, or tile by tile, into a file without a name."""
        (height, width), samples = self.shape[:2], self.samples
        copy = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115, `close` does
        pixel = samples * page.dtype.itemsize
        copy.truncate(height * width * pixel)
        for segment, place, shape in page.segments(maxworkers=1):
            if segment is None:
                continue  # a hole, which is 0
            _, _, top, left, _ = place
            _, high, wide, _ = shape
            block = np.ascontiguousarray(segment[0, : min(high, height - top), : min(wide, width - left)])
            for k, line in enumerate([block] if block.shape[1] == width else block):
                copy.seek(((top + k) * width + left) * pixel)
                copy.write(line.tobytes())
        self.file.close()
        self.file, self.start, self.dtype = copy, 0, page.dtype

    def read(self, first: int, last: int) -> np.ndarray:
        """Rows `first` to `last`, without that: uint8 (last - first, w, c), 16 bits as `depth.to_uint8` has them."""
        found = self.stored(first, last)
        return found if self.table is None else self.table[found]

    def stored(self, first: int, last: int) -> np.ndarray:
        """The same rows with the file's own values, uint8 or uint16. Raises PixelError for a file that was cut."""
        width = self.shape[1]
        line = width * self.samples * self.dtype.itemsize
        self.file.seek(self.start + first * line)
        data = self.file.read((last - first) * line)
        if len(data) < (last - first) * line:  # cut since it was opened
            raise PixelError(DAMAGED)
        found = np.frombuffer(data, self.dtype).reshape(last - first, width, self.samples)
        return found if self.chosen == tuple(range(self.samples)) else found[:, :, list(self.chosen)]

    def close(self) -> None:
        """Closes the file; reading is over then."""
        self.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class HeldRows(Rows):
    """An image in memory, uint8 (h, w, 1 or 3), as one that is read by rows."""

    def __init__(self, image: np.ndarray) -> None:
        self.image, self.mode = image, "uint8"
        self.shape = (image.shape[0], image.shape[1], image.shape[2])

    def read(self, first: int, last: int) -> np.ndarray:
        """Rows `first` to `last`, without that."""
        return self.image[first:last]

    def stored(self, first: int, last: int) -> np.ndarray:
        """The same."""
        return self.image[first:last]

    def close(self) -> None:
        """There is nothing to close."""


def _page(file: BinaryIO) -> Any:
    """The one page of a TIFF, as tifffile has it. Raises PixelError where it cannot be read by rows."""
    found = walk(file, file.seek(0, io.SEEK_END), MOST)
    file.seek(0)
    opened = tifffile.TiffFile(file)
    page: Any = opened.pages[found[0].number]
    plain = page.photometric in (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.RGB)
    plain |= page.photometric == PHOTOMETRIC.YCBCR and tiff.decoded_to_rgb(page)
    apart = page.samplesperpixel > 1 and page.planarconfig == PLANARCONFIG.SEPARATE
    deep = page.dtype not in (np.uint8, np.uint16) or page.bitspersample < 8 or page.imagedepth > 1
    # ImageJ and others have all planes of a stack behind one directory; an OME file speaks of others' planes too
    behind = math.prod(opened.series[0].shape) // math.prod(page.shape) if not opened.is_ome else 1
    count = max(len(found), behind)
    if count > 1 or not plain or apart or deep or page.samplesperpixel not in (1, 3):
        bits = f"{page.bitspersample} bits" if page.bitspersample < 8 else page.dtype
        kind = f"{bits} {page.photometric.name}, {page.samplesperpixel} samples a pixel, {count} pages"
        size = f"{found[0].width} x {found[0].height} pixels are read by rows"
        raise PixelError(
            f"{size} from one page of 8 or 16 bits, grey or RGB; it has {kind}; save it so, or cut it into tiles"
        )
    return page


def by_rows(path: Path) -> bool:
    """Whether a file is to be read by rows: a TIFF of more than LARGE pixels that can be, or that is too large for
    anything else. False for what cannot be read at all."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            if not file.read(16).startswith(tiff.MAGIC):
                return False
            first = walk(file, file.seek(0, io.SEEK_END), MOST)[0]
            pixels = first.height * first.width
            return pixels > MAX_PIXELS or pixels > LARGE and _page(file) is not None
    except Exception:  # what is wrong with it is said where it is read
        return False


class FittedRows:
    """What `view.fitted` makes of an image, from one that is read by rows."""

    def __init__(self, image: Rows, recipe: view.Viewed) -> None:
        self.image, self.recipe = image, recipe
        self.shape = (*view.size_of(image.shape[:2], recipe), recipe.channels)
        self.held: tuple[int, int, np.ndarray] | None = None

    def read(self, first: int, last: int) -> np.ndarray:
        """Rows `first` to `last`, without that: uint8 (last - first, w, channels).

        No more than some SPACE pixels of the image are looked at together, which of a shrunk one are few rows.
        """
        several = self._several()
        if last - first <= several:
            return self._read(first, last)
        out = np.empty((last - first, *self.shape[1:]), np.uint8)
        for top in range(first, last, several):
            bottom = min(last, top + several)
            out[top - first : bottom - first] = self._read(top, bottom)
        return out

    def _several(self) -> int:
        """Rows that are read together."""
        step = max(1.0, self.image.shape[0] / self.shape[0])
        return max(1, int(SPACE / (step * max(self.shape[1], self.image.shape[1]))))

    def _read(self, first: int, last: int) -> np.ndarray:
        height, step = self.image.shape[0], self.image.shape[0] / self.shape[0]
        edge = 0 if self.shape[:2] == self.image.shape[:2] else geometry.reach(step)
        top = max(0, int(first * step) - edge)
        bottom = min(height, int(last * step) + 1 + edge) if edge else last
        rows = geometry.fit_channels(self.image.read(top, bottom), self.recipe.channels)
        if not edge:
            return rows
        size = (last - first, self.shape[1])
        planes = [
            geometry.resize_part(rows[..., c], *size, first * step - top, last * step - top)
            for c in range(rows.shape[2])
        ]
        return np.stack(planes, axis=-1)

    def parts(self) -> Iterator[np.ndarray]:
        """All rows, some at a time."""
        several = self._several()
        for first in range(0, self.shape[0], several):
            yield self.read(first, min(self.shape[0], first + several))

    def cut(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Pixels of rows (n,) and columns (m,), both integers, uint8 (n, m, c), as `geometry.cut` has them."""
        first, last = int(rows.min()), int(rows.max()) + 1
        if self.held is None or self.held[:2] != (first, last):
            self.held = first, last, self.read(first, last)
        return geometry.cut(self.held[2], rows - first, columns)
