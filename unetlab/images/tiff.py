"""TIFF in all its manners: series, appended pages, ImageJ's stacks, OME-TIFF; read page by page from the file."""

import io
import math
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from tifffile import COMPRESSION, EXTRASAMPLE, PHOTOMETRIC, PLANARCONFIG

from .axes import Planes, choose_channels, choose_pages
from .contract import Pages, PixelError, refuse_size

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

JPEG = (COMPRESSION.OJPEG, COMPRESSION.JPEG, COMPRESSION.JPEG_LOSSY)

UNNAMED = "IQ"
"""Letters tifffile gives to axes of which the file says nothing."""


class Tiff(Pages):
    """A TIFF, and which of its planes make which page.

    Args:
        source: bytes, or a path, whose pages are read one by one and never all at once.
        channels: which make the image, as `choose_channels` takes them.
        pages: which are there at all, as `choose_pages` takes them.

    Raises PixelError for what cannot be read, for axes that are ambiguous without a choice, for pages of several sizes
    and kinds, and for an OME-TIFF whose XML does not describe its pages.
    """

    def __init__(self, source: bytes | Path, channels: str = "", pages: str = "all") -> None:
        self.lock = threading.Lock()
        self.tiff: tifffile.TiffFile | None = None
        try:
            self.tiff = tifffile.TiffFile(io.BytesIO(source) if isinstance(source, bytes) else source)
            self.imagej = bool(self.tiff.is_imagej)
            self.series = _series(self.tiff)
            self._arrange(channels, pages)
        except PixelError:
            self.close()
            raise
        except Exception as error:  # tifffile raises many types for broken files
            self.close()
            raise PixelError("truncated or damaged TIFF") from error

    def _arrange(self, channels: str, pages: str) -> None:
        first = self.series[0].keyframe
        self.planes = [_planes(series) for series in self.series]
        self.samples = _Samples(first)
        there = self.planes[0].channels
        if there > 1 and self.samples.count > 1:
            raise PixelError(f"it has {there} channels of {self.samples.count} samples each; save one image a channel")
        total = sum(planes.pages for planes in self.planes)
        many = total if there > 1 else 1  # colours of a pixel belong together, however many pages there are
        said = self.planes[0].said()
        self.chosen = choose_channels(channels, there if there > 1 else self.samples.count, many, said)
        self.numbers = choose_pages(pages, total)
        words = self.samples.words if there == 1 and not channels else _words(self.chosen)
        mode = f"{first.dtype} {words}"
        size = (first.imagelength, first.imagewidth)
        palette = self.samples.palette
        super().__init__(len(self.numbers), size, mode, palette, lossy=first.compression in JPEG)

    def close(self) -> None:
        """Closes the file."""
        if self.tiff is not None:
            self.tiff.close()

    def _read(self, page: int) -> np.ndarray:
        number = self.numbers[page]
        for series, planes in zip(self.series, self.planes, strict=True):
            if number < planes.pages:
                break
            number -= planes.pages
        if planes.channels == 1:
            return self.samples.standing(self._plane(series, planes.plane(number, 0)))[:, :, list(self.chosen)]
        read = [self.samples.standing(self._plane(series, planes.plane(number, c))) for c in self.chosen]
        return np.concatenate(read, axis=2)

    def _plane(self, series: tifffile.TiffPageSeries, number: int) -> np.ndarray:
        """One plane as the file has it: (h, w), (h, w, samples) or (samples, h, w)."""
        key = series.keyframe
        with self.lock:
            assert self.tiff is not None
            handle = self.tiff.filehandle
            if len(series) == 1 and number:  # ImageJ writes one header for a whole stack, whose pages follow each other
                stored = key.dtype.newbyteorder(self.tiff.byteorder)
                handle.seek(series.dataoffset + number * key.nbytes)
                data = handle.read(key.nbytes)
                if len(data) < key.nbytes:
                    raise PixelError("truncated or damaged TIFF")
                return np.frombuffer(data, stored).reshape(key.shape).astype(key.dtype)
            page = series[number]
            if page is None:
                raise PixelError("a page its OME-XML speaks of is not in the file")
            ends = [start + length for start, length in zip(page.dataoffsets, page.databytecounts, strict=False)]
            if ends and max(ends) > handle.size:
                raise PixelError("truncated or damaged TIFF")
            return np.asarray(page.asarray(maxworkers=1))


class _Samples:
    """What the samples of a pixel mean: how many are colours, and how to stand them as (h, w, c).

    Args:
        page: any page of the file.
    """

    def __init__(self, page: Any) -> None:
        if page.photometric in (PHOTOMETRIC.SEPARATED, PHOTOMETRIC.CIELAB):
            raise PixelError(f"its colours are {page.photometric.name}; save it as RGB")
        stored = page.samplesperpixel
        alpha = [EXTRASAMPLE.ASSOCALPHA, EXTRASAMPLE.UNASSALPHA]
        colours = 3 if page.photometric in (PHOTOMETRIC.RGB, PHOTOMETRIC.YCBCR) else 1
        extra = page.extrasamples
        # a fourth sample of RGB that says nothing of itself is alpha, as most programs read it
        dropped = stored - colours == 1 and (extra[0] in alpha if extra and colours == 1 else colours == 3)
        self.count = stored - dropped
        self.words = ("RGBA" if dropped else "RGB") if colours == 3 else "grey+alpha" if dropped else "grey"
        self.page = page
        self.palette = None
        if page.photometric == PHOTOMETRIC.PALETTE and page.colormap is not None:
            colormap = (np.moveaxis(page.colormap, 0, -1) // 257).astype(np.uint8)
            self.palette = np.zeros((max(256, len(colormap)), 3), np.uint8)
            self.palette[: len(colormap)] = colormap
            self.words = "palette"

    def standing(self, array: np.ndarray) -> np.ndarray:
        """A plane as tifffile gives it, as (h, w, c)."""
        if self.page.photometric == PHOTOMETRIC.MINISWHITE:
            white = array.max() if array.dtype.kind == "f" else 2**self.page.bitspersample - 1
            array = ~array if array.dtype == bool else (white - array).astype(array.dtype)
        if array.ndim == 3 and self.page.planarconfig == PLANARCONFIG.SEPARATE:
            array = np.moveaxis(array, 0, -1)
        return array[:, :, None] if array.ndim == 2 else array


def _words(channels: Sequence[int]) -> str:
    return "RGB" if len(channels) == 3 else "grey"


def _series(tiff: tifffile.TiffFile) -> list[tifffile.TiffPageSeries]:
    """The series that hold images, thumbnails and smaller copies left out, all of one size and kind."""
    first = tiff.pages.first
    refuse_size(first.imagelength, first.imagewidth)
    found = [series for series in tiff.series if not series.keyframe.is_reduced or series is tiff.series[0]]
    first = found[0].keyframe
    number = 1
    for series in found:
        page = series.keyframe
        for name, one, other in (
            ("pixels", (first.imagewidth, first.imagelength), (page.imagewidth, page.imagelength)),
            ("samples a pixel", (first.samplesperpixel,), (page.samplesperpixel,)),
        ):
            if one != other:
                sizes = f"{' x '.join(map(str, other))} {name}, page 1 {' x '.join(map(str, one))}"
                raise PixelError(f"page {number} is {sizes}; pages of a stack must be of one size")
        number += max(1, math.prod(series.shape) // max(1, math.prod(page.shape)))
    if tiff.is_ome:
        _refuse_lies(tiff, found)
    return found


def _planes(series: tifffile.TiffPageSeries) -> Planes:
    key = series.keyframe
    inner = len(key.shape)
    axes, shape = series.axes[:-inner], tuple(series.shape[:-inner])
    if tuple(series.shape[-inner:]) != tuple(key.shape) or key.imagedepth > 1:
        raise PixelError(f"its axes {series.axes} {series.shape} do not end in the rows and columns of a page")
    planes = Planes(axes, shape)
    if math.prod(shape) != len(series) and not (len(series) == 1 and series.dataoffset is not None):
        raise PixelError(f"it speaks of {math.prod(shape)} pages ({planes.said()}) and holds {len(series)}")
    return planes


def _refuse_lies(tiff: tifffile.TiffFile, found: list[tifffile.TiffPageSeries]) -> None:
    """Raises PixelError if the OME-XML does not describe the pages that are there."""
    if any(page is None for series in found for page in series.pages):
        raise PixelError("its OME-XML speaks of pages that are not in the file; save it anew as one OME-TIFF")
