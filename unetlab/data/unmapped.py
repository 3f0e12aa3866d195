"""Images of a memory map without the map's memory."""

import mmap
from collections.abc import Sequence

import numpy as np

from unetlab.data.ragged import Ragged


class Unmapped(Sequence[np.ndarray]):
    """Images of a memory map, or of a Ragged over one, each read from the file when it is asked for: pages of a map
    count as the process's memory until the system wants them back. Images of anything else are given as they are.

    Args:
        images: n arrays (h, w, c), such as those of a `FittedDataset`.
    """

    def __init__(self, images: Sequence[np.ndarray] | np.ndarray) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> np.ndarray:  # type: ignore[override]  # slices are not asked for
        images, i = self.images, int(i)
        if isinstance(images, Ragged) and _whole_map(images.flat):
            shape: tuple[int, ...] = (*(int(side) for side in images.sizes[i]), images.channels)
            return _read(images.flat, shape, int(images.ends[i]) - int(np.prod(shape)))
        if isinstance(images, np.ndarray) and _whole_map(images):
            return _read(images, images.shape[1:], i * int(np.prod(images.shape[1:])))
        return images[i]


def _whole_map(array: np.ndarray) -> bool:
    """Whether an array is a memory map, and no part of one, which does not say where it begins."""
    return isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap)


def _read(mapped: np.ndarray, shape: tuple[int, ...], first: int) -> np.ndarray:
    """So many values of a map's file from the `first` on."""
    assert isinstance(mapped, np.memmap) and mapped.filename is not None
    offset = mapped.offset + first * mapped.itemsize
    return np.fromfile(mapped.filename, mapped.dtype, int(np.prod(shape)), offset=offset).reshape(shape)


def release(images: np.ndarray) -> None:
    """Gives the pages of the memory map that an array is part of back to the system, where it is one: they are read
    anew when they are wanted. Linux and macOS count them as the process's memory as long as nobody else wants them."""
    base: object = images
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)
