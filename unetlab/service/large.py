"""An image too large for memory, from disk to disk: its mask and objects, band by band.

An object is finished as soon as no more of it can come: bands wait for those that go on below. Only an object for which
more than MOST_WAITING pixels would have to wait is cut, at a straight line.

Objects that touch are parted together, unless together they are too tall to wait for. Then those that end are finished,
and those that go on are parted again with the rows to come, without those above: lines between touching objects may lie
elsewhere than in the image as one, and a watershed, that of `border` too, or what counts as a speck beside a large
seed, may now and then make one object of two or two of one. So may a watershed of objects within three pixels of one
that is not done yet, whose share in the blurred distances is missing.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from skimage.segmentation import relabel_sequential

from unetlab.images.palette import colours
from unetlab.images.regions import components
from unetlab.images.rows import Rows
from unetlab.inference.predict import Band, Predictor
from unetlab.service import objects
from unetlab.service.loading import code_of

TILE = 256
"""Side of the tiles of the TIFFs that are written."""

MOST_WAITING = 2**24

ABOVE = 5
"""Rows that stay above what waits: an object is parted by its distance to what is around it, which is blurred."""

Part = Callable[[np.ndarray, np.ndarray | None], np.ndarray]
"""Mask, bool (h, w), and what belongs to it, to objects, int32 (h, w)."""


class Objects:
    """Objects of bands of rows as they come, numbered from 1 in the order in which they end.

    `count` of them are finished; `cut` says how often one was cut, which for one of three pieces is twice.

    Args:
        part: parts the objects of a mask, given what belongs to it: a head, classes or None.
        said: called with the labels of objects just finished, int32 (h, w), 0 elsewhere, numbers from 1, what belongs
            to them, the row at which they begin, and how many objects were finished before.
    """

    def __init__(self, part: Part, said: Callable[[np.ndarray, np.ndarray | None, int, int], None]) -> None:
        self.part, self.said = part, said
        self.count = self.cut = self.top = self.given = 0
        self.mask, self.labels = np.zeros((0, 0), bool), np.zeros((0, 0), np.int32)
        # parted, be it into objects or into what is none: the end of a dropped one must not be looked at by itself
        self.parted = np.zeros((0, 0), bool)
        self.beside: np.ndarray | None = None

    def add(self, band: Band, last: bool) -> np.ndarray:
        """Takes the next rows; returns those from above that are done, int32 (rows, w)."""
        beside = _beside(band)
        if self.mask.size:
            self.mask = np.concatenate([self.mask, band.mask])
            self.labels = np.concatenate([self.labels, np.zeros(band.mask.shape, np.int32)])
            self.parted = np.concatenate([self.parted, np.zeros(band.mask.shape, bool)])
            self.beside = None if self.beside is None or beside is None else np.concatenate([self.beside, beside])
        else:
            self.mask, self.beside = band.mask, beside
            self.labels, self.parted = np.zeros(band.mask.shape, np.int32), np.zeros(band.mask.shape, bool)
        regions = _regions(self.mask & ~self.parted, self.beside)
        going_on, too_tall = _going_on(regions, last)
        waits = (going_on & ~too_tall)[regions]
        waits |= self._finish((regions > 0) & ~waits, too_tall[regions])
        done = int(np.argmax(waits.any(axis=1))) if waits.any() else len(waits)
        out = self.labels[self.given : done]
        first = max(0, done - ABOVE)
        self.given, self.top = done - first, self.top + first
        self.mask, self.labels, self.parted = self.mask[first:], self.labels[first:], self.parted[first:]
        self.beside = None if self.beside is None else self.beside[first:]
        return out

    def _finish(self, mask: np.ndarray, crowded: np.ndarray) -> np.ndarray:
        """Parts what is in the mask into objects that are done; returns what of it waits after all, bool (h, w): in
        regions too tall to wait for, `crowded`, the objects that go on and are not too tall themselves."""
        if not mask.any():
            return mask
        found = self.part(mask, self.beside)
        waits = np.zeros(mask.shape, bool)
        if crowded.any():
            # what is no object may become one with the rows to come, and is known only as all of it that touches
            none = _regions(crowded & (found == 0), self.beside)
            pieces = np.where(none > 0, none + found.max(), found * crowded)
            going_on, too_tall = _going_on(pieces, False)
            self.cut += int(too_tall.sum())
            waits = (going_on & ~too_tall)[pieces]
            found = relabel_sequential(np.where(waits, np.int32(0), found))[0]
        self.parted = self.parted | (mask & ~waits)
        self.said(found, self.beside, self.top, self.count)
        self.labels = np.where(found > 0, found + np.int32(self.count), self.labels)
        self.count += int(found.max())
        return waits


def _regions(mask: np.ndarray, beside: np.ndarray | None) -> np.ndarray:
    """Regions of a mask, int32 (h, w), those of each class apart: its objects are parted within it."""
    if beside is None or beside.dtype != np.uint8:
        return components(mask)
    regions = np.zeros(mask.shape, np.int32)
    for kind in np.unique(beside[mask]):
        own = components(mask & (beside == kind))
        np.add(own, regions.max(), out=regions, where=own > 0)
    return regions


def _going_on(labels: np.ndarray, last: bool) -> tuple[np.ndarray, np.ndarray]:
    """Which of the numbers of an int32 (h, w) go on below, and which of these begin so far up that too much would wait
    for them, bool (most + 1,) each; in the `last` rows none does."""
    going_on, above = np.zeros((2, int(labels.max(initial=0)) + 1), bool)
    if not last:
        going_on[labels[-1]] = True
        going_on[0] = False
        above[labels[: max(0, len(labels) - MOST_WAITING // labels.shape[1])]] = True
    return going_on, going_on & above


def _beside(band: Band) -> np.ndarray | None:
    """What belongs to the mask of a band; those of models logged before there were classes know nothing of them."""
    classes, sure = getattr(band, "classes", None), getattr(band, "probability", None)
    if sure is not None:
        return np.stack([sure] if band.head is None else [sure, band.head], axis=-1)
    return band.head if classes is None else classes


class TiledTiff:
    """A TIFF written as its rows come, in tiles compressed by zlib; BigTIFF, since its size is not known before.

    Args:
        path: of the file.
        size: height and width.
        dtype: of its values.
        palette: uint8 (k, 3), the colours in which uint8 values show; None for grey.
    """

    def __init__(self, path: Path, size: tuple[int, int], dtype: type, palette: np.ndarray | None = None) -> None:
        self.path, self.size, self.dtype = path, size, dtype
        self.shown: dict[str, Any] = {"photometric": "minisblack"}
        if palette is not None:
            stored: np.ndarray = np.zeros((3, 256), np.uint16)
            stored[:, : len(palette)] = palette.T * np.uint16(257)  # which makes 255 65,535
            self.shown = {"photometric": "palette", "colormap": stored}

    def write(self, bands: Iterator[np.ndarray]) -> None:
        """Writes all of it, from bands of rows (rows, w)."""
        with tifffile.TiffWriter(self.path, bigtiff=True) as writer:
            writer.write(
                self._tiles(bands),
                shape=self.size,
                dtype=self.dtype,
                tile=(TILE, TILE),
                compression="zlib",
                maxworkers=1,
                **self.shown,
                metadata={"axes": "YX"},
            )

    def _tiles(self, bands: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        held: np.ndarray | None = None
        for band in bands:
            held = band if held is None else np.concatenate([held, band])
            while len(held) >= TILE:
                yield from self._row(held[:TILE])
                held = held[TILE:]
        if held is not None and len(held):
            yield from self._row(held)

    def _row(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        for left in range(0, self.size[1], TILE):
            tile: np.ndarray = np.zeros((TILE, TILE), self.dtype)
            part = rows[:, left : left + TILE]
            tile[: part.shape[0], : part.shape[1]] = part
            yield tile


def segment(
    predictor: Predictor,
    path: Path,
    out: Path,
    tables: Path,
    name: str,
    threshold: float | None,
    channels: str = "",
    pages: str = "all",
) -> dict[str, Any]:
    """Segments a TIFF too large for memory, of `channels` and `pages` as `Rows` takes them.

    Writes below `out` masks/<name>.tif (0 and 255) and labels/<name>.tif (32 bits), both in tiles, and adds its objects
    to the objects.csv in `tables`; with classes classes/<name>.tif too, indices with a palette, and their counts to the
    class_counts.csv. There is no overlay.

    Returns height, width, mode, foreground_fraction and object_count; `cut`, how often objects too tall to wait for
    were cut.

    Raises PixelError as `Rows` does.
    """
    with Rows(path, out, channels, pages) as image:
        (height, width), found = image.shape[:2], _Found(predictor, image, tables, name)
        with tempfile.TemporaryFile(dir=out) as waiting:
            # not made of the labels: specks are in the mask and belong to no object

            def labels() -> Iterator[np.ndarray]:
                for band in predictor.native_bands(image, threshold):
                    waiting.write(found.values(band).tobytes())
                    yield found.add(band)

            def waited() -> Iterator[np.ndarray]:
                waiting.seek(0)
                for part in iter(lambda: waiting.read(TILE * width), b""):
                    yield np.frombuffer(part, np.uint8).reshape(-1, width)

            TiledTiff(out / "labels" / f"{name}.tif", (height, width), np.uint32).write(labels())
            masks = ((part > 0) * np.uint8(255) for part in waited())
            TiledTiff(out / "masks" / f"{name}.tif", (height, width), np.uint8).write(masks)
            if found.names:
                shown = colours(len(found.names))
                TiledTiff(out / "classes" / f"{name}.tif", (height, width), np.uint8, shown).write(waited())
                found.write_counts()
        share = int(found.area[1:].sum()) / (height * width)
        size = {"height": height, "width": width, "mode": image.mode}
        return {**size, "foreground_fraction": share, "object_count": found.objects.count, "cut": found.objects.cut}


class _Found:
    """What is found in a large image, band by band: its objects go to a table, its pixels are counted."""

    def __init__(self, predictor: Predictor, image: Rows, tables: Path, name: str) -> None:
        self.recipe, self.image, self.tables, self.name = predictor.recipe, image, tables, name
        self.own = code_of(type(predictor))
        # names, and not their number, in a logged model; one of before there were classes has none
        self.names: list[str] = list(getattr(predictor.recipe, "classes", ()))
        self.objects, self.rows = Objects(self._part, self._say), 0
        self.area, self.kinds = np.zeros(max(2, 1 + len(self.names)), np.int64), [np.zeros(1, np.uint8)]

    def add(self, band: Band) -> np.ndarray:
        """Takes the next rows; returns labels that are done, as `Objects.add` does."""
        self.rows += len(band.mask)
        self.area += np.bincount(self.values(band).ravel(), minlength=len(self.area))
        return self.objects.add(band, self.rows == self.image.shape[0])

    def values(self, band: Band) -> np.ndarray:
        """Indices of classes, uint8 (h, w), of one mask 0 and 1."""
        if not self.names:
            return band.mask.view(np.uint8)
        assert band.classes is not None
        return band.classes

    def write_counts(self) -> None:
        """Adds what there is of each class to class_counts.csv."""
        counts = objects.counts_table(self.names, np.concatenate(self.kinds), self.area)
        objects.append_table(self.tables, self.name, counts, objects.COUNTS)

    def _part(self, mask: np.ndarray, beside: np.ndarray | None) -> np.ndarray:
        if not self.names:
            if beside is None or beside.ndim == 2:
                return self.own["objects_at"](mask, beside, None, self.recipe)
            head = beside[..., 1] if beside.shape[-1] > 1 else None
            return self.own["objects_at"](mask, head, beside[..., 0], self.recipe)
        assert beside is not None
        return self.own["class_objects_at"](beside * mask, self.recipe)[0]

    def _say(self, labels: np.ndarray, beside: np.ndarray | None, top: int, before: int) -> None:
        kinds = None
        if self.names:
            assert beside is not None
            kinds = np.zeros(int(labels.max()) + 1, np.uint8)
            kinds[labels] = beside
            self.kinds.append(kinds[1:])
        table = objects.objects_table(labels, self.image.stored(top, top + len(labels)), kinds, self.names)
        table["label"] += before
        for column in ("centroid_row", "top", "bottom"):
            table[column] += top
        objects.append_table(self.tables, self.name, table)
