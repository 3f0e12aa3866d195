"""TIFF in all its manners: series, appended pages, ImageJ's stacks, OME-TIFF; read page by page from the file."""

import io
import logging
import math
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol
from xml.etree import ElementTree

import numpy as np
import tifffile
from tifffile import COMPRESSION, EXTRASAMPLE, PHOTOMETRIC, PLANARCONFIG

from . import segments
from .axes import Planes, choose_channels, choose_pages, words
from .contract import Pages, PixelError
from .directories import Directory, walk

# what tifffile notices about a broken file would stand around the one line that says what is wrong with it
logging.getLogger("tifffile").addHandler(logging.NullHandler())

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

JPEG = (COMPRESSION.OJPEG, COMPRESSION.JPEG, COMPRESSION.JPEG_LOSSY)

BARE = ("shaped", "uniform", "generic")
"""Kinds of series whose pages stand in the order of the file."""


class Series(Protocol):
    """What is used of tifffile's series: axes, and directories that hold one plane each, or one for all."""

    @property
    def axes(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def keyframe(self) -> Any: ...
    @property
    def dataoffset(self) -> int | None: ...
    def __len__(self) -> int: ...
    def __getitem__(self, number: int) -> Any: ...


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
        self.file = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
        try:
            self.length = self.file.seek(0, io.SEEK_END)
            found = walk(self.file, self.length)
            self.file.seek(0)
            self.tiff = tifffile.TiffFile(self.file)
            self.imagej, first = bool(self.tiff.is_imagej), self.tiff.pages.first
            # tifffile stores bool as bits of which 0 is said to be white, and reads what it was given
            self.as_given = first.dtype == bool and (self.tiff.is_shaped or first.software == "tifffile.py")
            self._arrange(found, channels, pages)
        except PixelError:
            self.close()
            raise
        except Exception as error:  # tifffile raises many types for broken files
            self.close()
            raise PixelError("truncated or damaged TIFF") from error

    def _arrange(self, found: list[Directory], channels: str, pages: str) -> None:
        self.series = _series(self.tiff, found)
        self.planes = [_planes(series, channels) for series in self.series]
        first = self.series[0].keyframe
        _refuse_colours(first)
        if len({planes.channels for planes in self.planes}) > 1:
            raise PixelError("its series have different numbers of channels; save each as a file of its own")
        apart, samples, total = self.planes[0].channels, _samples(first), sum(planes.pages for planes in self.planes)
        if apart > 1 and samples > 1:
            raise PixelError(f"it has {apart} channels of {samples} samples each; save one image a channel")
        # samples of one pixel are its colours and belong together, however many pages there are
        many = total if apart > 1 else 1
        there, said = max(apart, samples), self.planes[0].said()
        self.chosen = choose_channels(channels, there, many, said, planes=samples == 1)
        self.numbers = choose_pages(pages, total)
        self.kind = (first.dtype, _stored(first))
        made = apart > 1 or channels not in ("", "pages") or (samples > 1 and _colours(first) == 1)
        stored = words(self.chosen) if made else self.kind[1]
        size, lossy = (first.imagelength, first.imagewidth), first.compression in JPEG
        super().__init__(self.numbers, size, f"{first.dtype} {stored}", _palette(first), lossy, first.nbytes)

    def close(self) -> None:
        """Closes the file."""
        self.file.close()

    def field(self, page: int) -> tuple[int, ...]:
        """As `Pages.field` says."""
        which, number = self._within(page)
        return which, self.planes[which].field(number)

    def _within(self, page: int) -> tuple[int, int]:
        """The series that holds a page, and its number there."""
        number, which = self.numbers[page], 0
        while number >= self.planes[which].pages:
            number -= self.planes[which].pages
            which += 1
        return which, number

    def _read(self, page: int) -> np.ndarray:
        found, bits = self._page(page, turn=True), self.series[0].keyframe.bitspersample
        shades = found.dtype == np.uint8 and bits < 8 and self.palette is None
        return np.rint(found * (255 / (2**bits - 1))).astype(np.uint8) if shades else found

    def _read_mask(self, page: int) -> np.ndarray:
        return self._page(page, turn=not (self.imagej or self.as_given))

    def _page(self, page: int, turn: bool) -> np.ndarray:
        """The channels of a page, (h, w, c), with white that is stored as zero turned to more or left as it is."""
        which, number = self._within(page)
        series, planes = self.series[which], self.planes[which]
        if planes.channels == 1:
            return self._plane(series, planes.plane(number, 0), number, turn)[:, :, list(self.chosen)]
        several = [self._plane(series, planes.plane(number, c), number, turn) for c in self.chosen]
        return np.concatenate(several, axis=2)

    def _plane(self, series: Series, number: int, page: int, turn: bool) -> np.ndarray:
        """One plane as (h, w, c)."""
        key = series.keyframe
        with self.lock:
            if math.prod(series.shape) > len(series) * math.prod(key.shape):
                # ImageJ writes one header for a whole stack, whose planes follow each other
                self.file.seek((series.dataoffset or 0) + number * key.nbytes)
                stored = np.frombuffer(self.file.read(key.nbytes), key.dtype.newbyteorder(self.tiff.byteorder))
                return _standing(key, stored.reshape(key.shape).astype(key.dtype), turn)
            frame = series[number]
            key = frame.keyframe
            if (key.dtype, _stored(key)) != self.kind or not _same(_palette(key), self.palette):
                kinds = f"{key.dtype} {_stored(key)}, page 1 {self.kind[0]} {self.kind[1]}"
                raise PixelError(f"page {page + 1} is {kinds}; pages of a stack must be of one kind")
            ends = [start + length for start, length in zip(frame.dataoffsets, frame.databytecounts, strict=False)]
            if not ends or max(ends) > self.length:
                raise PixelError("truncated or damaged TIFF")
            segments.refuse_bombs(key, frame.dataoffsets, frame.databytecounts, self.file)
            return _standing(key, np.asarray(frame.asarray(maxworkers=1)), turn)


class _Bare:
    """Pages in the order of the file, each a directory of its own."""

    dataoffset = None

    def __init__(self, tiff: tifffile.TiffFile, found: list[Directory]) -> None:
        self.tiff, self.found = tiff, found
        self.keyframe = self[0]
        self.axes, self.shape = "I" + self.keyframe.axes, (len(found), *self.keyframe.shape)

    def __len__(self) -> int:
        return len(self.found)

    def __getitem__(self, number: int) -> Any:
        return self.tiff.pages.get(self.found[number].number, aspage=True, cache=False)


def _series(tiff: tifffile.TiffFile, found: list[Directory]) -> Sequence[Series]:
    """The series that hold the pages found. Raises PixelError if what the file says of them does not hold."""
    if tiff.is_ome:
        _refuse_lies(tiff.ome_metadata or "", found)
    numbers = {page.number for page in found}
    series = [one for one in tiff.series if one.keyframe.index in numbers]
    if not series:
        raise PixelError("truncated or damaged TIFF")
    planes = [math.prod(one.shape) // max(1, math.prod(one.keyframe.shape)) for one in series]
    if tiff.is_imagej and int((tiff.imagej_metadata or {}).get("images", 1)) > sum(planes):
        raise PixelError("truncated or damaged TIFF: ImageJ's line speaks of more pages than it holds")
    named = any("C" in one.axes[: -len(one.keyframe.shape)] for one in series)
    if not named and sum(planes) <= len(found) and all(one.kind in BARE for one in series):
        return [_Bare(tiff, found)]
    for one, there in zip(series, planes, strict=True):
        if len(one) != there and len(one) == 1:  # one directory for all
            size = there * one.keyframe.nbytes
            if one.dataoffset is None or one.dataoffset + size > tiff.filehandle.size:
                raise PixelError(f"truncated or damaged TIFF: it speaks of {there} pages and does not hold them")
    held = sum(len([page for page in one.pages if page is not None]) for one in series)
    if held != len(found) or any(len(one) not in (1, there) for one, there in zip(series, planes, strict=True)):
        said = ", ".join(f"{one.axes} {' x '.join(map(str, one.shape))}" for one in series)
        raise PixelError(f"what it says of its pages ({said}) does not fit the {len(found)} it holds; save it anew")
    return series


def _planes(series: Series, channels: str) -> Planes:
    inner = len(series.keyframe.shape)
    if tuple(series.shape[-inner:]) != tuple(series.keyframe.shape) or series.keyframe.imagedepth > 1:
        raise PixelError(f"its axes {series.axes} {series.shape} do not end in the rows and columns of a page")
    if series.axes[-inner:].replace("S", "") != "YX":
        raise PixelError(f"its axes are {series.axes}; a page wants rows Y and columns X at their end")
    return Planes(series.axes[:-inner], tuple(series.shape[:-inner]), parted=channels == "pages")


def _refuse_lies(xml: str, found: list[Directory]) -> None:
    """Raises PixelError if the OME-XML does not describe the pages that are there, or they lie in other files too."""
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        raise PixelError(f"its OME-XML cannot be read ({error}); save it anew as OME-TIFF") from error
    own, planes, first = root.get("UUID"), 0, found[0]
    for element in root.iter():
        name = element.tag.rpartition("}")[2]
        # without an id of its own a file is no part of several, and whatever is named would be opened
        if name == "UUID" and element.text != own and (own or element.get("FileName")):
            raise PixelError("its OME-XML spreads one image over several files; save it anew as a single OME-TIFF")
        if name == "Pixels":
            try:
                width, height, *sizes = (int(element.attrib[f"Size{axis}"]) for axis in "XYZCT")
            except (KeyError, ValueError) as error:
                raise PixelError("its OME-XML gives no sizes; save it anew as OME-TIFF") from error
            if (width, height) != (first.width, first.height):
                said = f"{width} x {height} pixels, the file has {first.width} x {first.height}"
                raise PixelError(f"its OME-XML lies: it speaks of {said}; save it anew")
            planes += math.prod(sizes)
    there = len(found) * first.samples
    if planes != there:
        said = f"{planes} planes (z, channels and times), the file has {there}"
        raise PixelError(f"its OME-XML lies: it speaks of {said}; save it anew")


def _refuse_colours(page: Any) -> None:
    if page.photometric in (PHOTOMETRIC.SEPARATED, PHOTOMETRIC.CIELAB):
        raise PixelError(f"its colours are {page.photometric.name}; save it as RGB")
    if page.photometric == PHOTOMETRIC.YCBCR and not decoded_to_rgb(page):
        raise PixelError("its colours are YCBCR, not in JPEG; save it as RGB")


def decoded_to_rgb(page: Any) -> bool:
    """Whether the codec of a page in YCBCR makes RGB of it."""
    return any(word in COMPRESSION(page.compression).name for word in ("JPEG", "JP2000", "WEBP"))


def _colours(page: Any) -> int:
    return 3 if page.photometric in (PHOTOMETRIC.RGB, PHOTOMETRIC.YCBCR) else 1


def _has_alpha(page: Any) -> bool:
    """Whether the last sample is alpha: it says so, or is the fourth of RGB and says nothing."""
    kinds = tuple(page.extrasamples or ())
    if page.samplesperpixel != _colours(page) + 1:
        return False
    return kinds in ((EXTRASAMPLE.ASSOCALPHA,), (EXTRASAMPLE.UNASSALPHA,)) or (not kinds and _colours(page) == 3)


def _samples(page: Any) -> int:
    """Samples of a pixel without alpha."""
    return int(page.samplesperpixel) - _has_alpha(page)


def _stored(page: Any) -> str:
    if page.photometric == PHOTOMETRIC.PALETTE and page.colormap is not None:
        return "palette"
    if _colours(page) == 3:
        return "RGBA" if _has_alpha(page) else "RGB"
    return "grey+alpha" if _has_alpha(page) else "grey"


def _palette(page: Any) -> np.ndarray | None:
    if page.photometric != PHOTOMETRIC.PALETTE or page.colormap is None:
        return None
    wide = page.colormap.max() > 255  # it should be, but some programs write 8 bits into these 16
    # Pillow and ImageJ write 256 times a value of 8 bits, others 257 times: both have it in the upper byte
    stored = (np.moveaxis(page.colormap, 0, -1) >> (8 if wide else 0)).astype(np.uint8)
    colours = np.zeros((max(256, len(stored)), 3), np.uint8)
    colours[: len(stored)] = stored
    return colours


def _same(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    return one is other or (one is not None and other is not None and np.array_equal(one, other))


def _standing(page: Any, array: np.ndarray, turn: bool) -> np.ndarray:
    """A plane as tifffile gives it, (h, w), (h, w, c) or (c, h, w), to (h, w, c), more being brighter if `turn`."""
    if turn and page.photometric == PHOTOMETRIC.MINISWHITE:
        white = array.max() if array.dtype.kind == "f" else 2**page.bitspersample - 1
        array = ~array if array.dtype.kind in "bi" else (white - array).astype(array.dtype)
    if array.ndim == 3 and page.planarconfig == PLANARCONFIG.SEPARATE:
        array = np.moveaxis(array, 0, -1)
    return array[:, :, None] if array.ndim == 2 else array
