"""An image too large for memory, from disk to disk: its mask and objects, band by band.

An object is finished as soon as no more of it can come: bands wait for those that go on below. Only where the bands
that wait have more than MOST_WAITING pixels is an object cut, at a straight line.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from unetlab.images.regions import components
from unetlab.images.rows import Rows
from unetlab.inference.predict import Band, Predictor, objects_at
from unetlab.service import objects

TILE = 256
"""Side of the tiles of the TIFFs that are written."""

MOST_WAITING = 2**24

Part = Callable[[np.ndarray, np.ndarray | None], np.ndarray]
"""Mask, bool (h, w), and head, float32 (h, w) or None, to objects, int32 (h, w)."""


class Objects:
    """Objects of bands of rows as they come, numbered from 1 in the order in which they end.

    Args:
        part: parts the objects of a mask.
        said: called with the labels of objects just finished, int32 (h, w), 0 elsewhere, numbers from 1, the row at
            which they begin, and how many objects were finished before.
    """

    def __init__(self, part: Part, said: Callable[[np.ndarray, int, int], None]) -> None:
        self.part, self.said = part, said
        self.count = self.cut = self.top = 0
        self.mask, self.labels = np.zeros((0, 0), bool), np.zeros((0, 0), np.int32)
        self.head: np.ndarray | None = None

    def add(self, band: Band, last: bool) -> np.ndarray:
        """Takes the next rows; returns those from above that are done, int32 (rows, w)."""
        if self.mask.size:
            self.mask = np.concatenate([self.mask, band.mask])
            self.labels = np.concatenate([self.labels, np.zeros(band.mask.shape, np.int32)])
            self.head = None if self.head is None or band.head is None else np.concatenate([self.head, band.head])
        else:
            self.mask, self.head = band.mask, band.head
            self.labels = np.zeros(band.mask.shape, np.int32)
        regions = components(self.mask & (self.labels == 0))
        going_on = np.zeros(int(regions.max(initial=0)) + 1, bool)
        if not last:
            going_on[regions[-1]] = True
            going_on[0] = False
            if self.mask.size > MOST_WAITING:
                self.cut += int(going_on.sum())
                going_on[:] = False
        waits = going_on[regions]
        self._finish((regions > 0) & ~waits)
        done = int(np.argmax(waits.any(axis=1))) if waits.any() else len(waits)
        out = self.labels[:done]
        self.mask, self.labels, self.top = self.mask[done:], self.labels[done:], self.top + done
        self.head = None if self.head is None else self.head[done:]
        return out

    def _finish(self, mask: np.ndarray) -> None:
        if not mask.any():
            return
        found = self.part(mask, self.head)
        self.said(found, self.top, self.count)
        self.labels = np.where(found > 0, found + np.int32(self.count), self.labels)
        self.count += int(found.max())


class TiledTiff:
    """A TIFF written as its rows come, in tiles compressed by zlib; BigTIFF, since its size is not known before."""

    def __init__(self, path: Path, size: tuple[int, int], dtype: type) -> None:
        self.path, self.size, self.dtype = path, size, dtype

    def write(self, bands: Iterator[np.ndarray]) -> None:
        """Writes all of it, from bands of rows (rows, w)."""
        with tifffile.TiffWriter(self.path, bigtiff=True) as writer:
            writer.write(
                self._tiles(bands),
                shape=self.size,
                dtype=self.dtype,
                tile=(TILE, TILE),
                photometric="minisblack",
                compression="zlib",
                maxworkers=1,
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
    predictor: Predictor, path: Path, out: Path, tables: Path, name: str, threshold: float | None
) -> dict[str, Any]:
    """Segments a TIFF too large for memory.

    Writes below `out` masks/<name>.tif (0 and 255) and labels/<name>.tif (32 bits), both in tiles, and adds its objects
    to the objects.csv in `tables`. There is no overlay.

    Returns height, width, mode, foreground_fraction and object_count; `cut`, the number of objects that were too tall
    to wait for.

    Raises PixelError as `Rows` does.
    """
    with Rows(path, out) as image:
        height, width, _ = image.shape

        def part(mask: np.ndarray, head: np.ndarray | None) -> np.ndarray:
            return objects_at(mask, head, predictor.recipe)

        def say(labels: np.ndarray, top: int, before: int) -> None:
            table = objects.objects_table(labels, image.read(top, top + len(labels)))
            table["label"] += before
            for column in ("centroid_row", "top", "bottom"):
                table[column] += top
            objects.append_table(tables, name, table)

        found, foreground = Objects(part, say), 0
        with tempfile.TemporaryFile(dir=out) as waiting:
            # not made of the labels: specks are in the mask and belong to no object

            def labels() -> Iterator[np.ndarray]:
                nonlocal foreground
                rows = 0
                for band in predictor.native_bands(image, threshold):
                    rows += len(band.mask)
                    foreground += int(band.mask.sum())
                    waiting.write((band.mask * np.uint8(255)).tobytes())
                    yield found.add(band, rows == height)

            TiledTiff(out / "labels" / f"{name}.tif", (height, width), np.uint32).write(labels())
            waiting.seek(0)
            parts = iter(lambda: waiting.read(TILE * width), b"")
            masks = (np.frombuffer(part, np.uint8).reshape(-1, width) for part in parts)
            TiledTiff(out / "masks" / f"{name}.tif", (height, width), np.uint8).write(masks)
        share = foreground / (height * width)
        size = {"height": height, "width": width, "mode": image.mode}
        return {**size, "foreground_fraction": share, "object_count": found.count, "cut": found.cut}
