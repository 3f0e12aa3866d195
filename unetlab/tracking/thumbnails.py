"""Test images with true and predicted masks in one small file, so that a report can show where models disagree."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from unetlab.images import geometry

SIZE = 160
"""Pixels a side at most: enough to see by, and 75 images take a third of a megabyte."""

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


def pack(ids: Sequence[str], images: np.ndarray, truth: np.ndarray, masks: np.ndarray) -> bytes:
    """An album as the bytes of an .npz without pickles: JPEG images, masks of one bit a pixel, index maps of eight.

    Args:
        ids: n names.
        images: uint8 (n, h, w, 1 or 3); shrunk if larger than SIZE.
        truth: bool or {0, 1} (n, h, w), or index maps of classes, which hold more.
        masks: alike.
    """
    step = -(-max(images.shape[1:3]) // SIZE)
    pictures = []
    for image in images:
        shown = Image.fromarray(np.repeat(image, 3 // image.shape[2], axis=2))
        buffer = io.BytesIO()
        shown.reduce(step).save(buffer, format="JPEG", quality=85)
        pictures.append(np.frombuffer(buffer.getvalue(), np.uint8))
    several = max(int(np.max(stack)) for stack in (truth, masks)) > 1
    kind = np.dtype(np.uint8 if several else bool)
    small = [_reduce(np.asarray(stack).astype(kind), step) for stack in (truth, masks)]
    out = io.BytesIO()
    np.savez_compressed(
        out,
        ids=np.array(list(ids), dtype=np.str_),
        shape=np.array(small[0].shape),
        truth=small[0] if several else np.packbits(small[0]),
        masks=small[1] if several else np.packbits(small[1]),
        jpeg=np.concatenate(pictures),
        ends=np.cumsum([len(picture) for picture in pictures]),
    )
    return out.getvalue()


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
        shape = tuple(stored["shape"])
        bits = int(np.prod(shape))
        truth, masks = (
            stored[name] if stored[name].ndim == 3 else np.unpackbits(stored[name])[:bits].reshape(shape).astype(bool)
            for name in ("truth", "masks")
        )
        parts = np.split(stored["jpeg"], stored["ends"][:-1])
        images = np.stack([np.asarray(Image.open(io.BytesIO(part.tobytes())).convert("RGB")) for part in parts])
        return Album(tuple(str(name) for name in stored["ids"]), images, truth, masks)


def _reduce(stack: np.ndarray, step: int) -> np.ndarray:
    """Every step-th pixel, of as many as `Image.reduce` leaves."""
    return stack[:, ::step, ::step]
