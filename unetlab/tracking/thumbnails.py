"""Test images with true and predicted masks in one small file, so that a report can show where models disagree."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from unetlab.images import geometry

SIZE = 160
"""Pixels a side at most: enough to see by, and 75 images take a third of a megabyte."""

MOST = 2000
"""Images, at most, of an album."""

PATH = "predictions/test.npz"
"""Where a run keeps its album among its artifacts."""


@dataclass(frozen=True)
class Album:
    """n pictures of one size.

    Args:
        ids: names.
        images: uint8 (n, h, w, 3), as JPEG left them.
        truth: bool (n, h, w), or index maps of classes, uint8.
        masks: alike, predicted.
    """

    ids: tuple[str, ...]
    images: np.ndarray
    truth: np.ndarray
    masks: np.ndarray


Picture = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Image uint8 (h, w, 1 or 3), truth and mask (h, w): bool or {0, 1}, or index maps of classes, which hold more."""


def pack(ids: Sequence[str], images: np.ndarray, truth: np.ndarray, masks: np.ndarray) -> bytes:
    """An album of stacks (n, h, w, ...), as `pack_each` makes it."""
    return pack_each(ids, zip(images, truth, masks, strict=True))


def pack_each(ids: Sequence[str], pictures: Iterable[Picture]) -> bytes:
    """An album as the bytes of an .npz without pickles: JPEG images, masks of one bit a pixel, index maps of eight.

    Args:
        ids: n names.
        pictures: n of one size, shrunk if larger than SIZE; one is in memory at a time.
    """
    jpegs: list[np.ndarray] = []
    sides: tuple[list[np.ndarray], ...] = ([], [])
    shape: tuple[int, ...] = (0, 0)
    for image, *masks in pictures:
        step = -(-max(image.shape[:2]) // SIZE)
        buffer = io.BytesIO()
        shown = Image.fromarray(np.repeat(image, 3 // image.shape[2], axis=2))
        shown.reduce(step).save(buffer, format="JPEG", quality=85)
        jpegs.append(np.frombuffer(buffer.getvalue(), np.uint8))
        for side, mask in zip(sides, masks, strict=True):
            small = np.asarray(mask)[::step, ::step]  # as many pixels as `Image.reduce` leaves
            shape = small.shape
            side.append(small.astype(np.uint8) if small.max(initial=0) > 1 else np.packbits(small.astype(bool)))
    if any(each.ndim == 2 for side in sides for each in side):
        sides = tuple([each if each.ndim == 2 else _bits(each, shape) for each in side] for side in sides)
    out = io.BytesIO()
    np.savez_compressed(
        out,
        ids=np.array(list(ids), dtype=np.str_),
        shape=np.array((len(jpegs), *shape)),
        truth=np.stack(sides[0]),
        masks=np.stack(sides[1]),
        jpeg=np.concatenate(jpegs),
        ends=np.cumsum([len(picture) for picture in jpegs]),
    )
    return out.getvalue()


def _bits(packed: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The uint8 {0, 1} of a shape (h, w) whose bits are packed."""
    return np.unpackbits(packed, count=int(np.prod(shape))).reshape(shape)


def squared(image: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image uint8 (h, w, 1 or 3), truth and mask (h, w) squeezed to a square of SIZE, since an album holds pictures of
    one size; the image in colour, the masks bool."""
    picture = geometry.resize_image(geometry.fit_channels(image, 3), SIZE, SIZE)
    flat = [geometry.resize_map(each.astype(np.float32), SIZE, SIZE) >= 0.5 for each in (truth, mask)]
    return picture, flat[0], flat[1]


def squared_classes(
    image: np.ndarray, truth: np.ndarray, found: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same with index maps of classes, of which each pixel takes the nearest."""
    picture = geometry.resize_image(geometry.fit_channels(image, 3), SIZE, SIZE)
    flat = [geometry.resize_labels(each, SIZE, SIZE) for each in (truth, found)]
    return picture, flat[0], flat[1]


def unpack(content: bytes) -> Album:
    """The album in bytes that `pack` made."""
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        truth, masks = (_masks(stored[name], tuple(stored["shape"])) for name in ("truth", "masks"))
        parts = np.split(stored["jpeg"], stored["ends"][:-1])
        images = np.stack([np.asarray(Image.open(io.BytesIO(part.tobytes())).convert("RGB")) for part in parts])
        return Album(tuple(str(name) for name in stored["ids"]), images, truth, masks)


def _masks(kept: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Masks or index maps (n, h, w); older albums have the bits of all masks in one row."""
    if kept.ndim == 3:
        return kept
    if kept.ndim == 2:
        return np.stack([_bits(each, shape[1:]) for each in kept]).astype(bool)
    return _bits(kept, shape).astype(bool)
