"""What a network says of many images: in memory while it is little, then in a file, so that memory does not grow with
the number of images."""

import tempfile
import weakref
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

HELD = 2**27
"""Bytes of answers that stay in memory."""


class Spool(Sequence[np.ndarray]):
    """n arrays float32 of any shapes in a file without a name, each read anew when it is asked for.

    The file takes as much room as the arrays and is gone with this object or its process, however that ends.

    Args:
        folder: where the file lies, None for the system's folder of temporary files.

    Raises OSError where there is no room.
    """

    def __init__(self, folder: Path | None = None) -> None:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(prefix="unetlab-", dir=folder)  # noqa: SIM115  # it stays open
        weakref.finalize(self, self._file.close)
        self._shapes: list[tuple[int, ...]] = []
        self._starts: list[int] = [0]

    def append(self, array: np.ndarray) -> None:
        """Writes an array behind the others."""
        self._file.seek(self._starts[-1])
        self._file.write(np.ascontiguousarray(array, np.float32).data)
        self._file.flush()
        self._shapes.append(array.shape)
        self._starts.append(self._file.tell())

    def __len__(self) -> int:
        return len(self._shapes)

    def __getitem__(self, i: int) -> np.ndarray:  # type: ignore[override]  # slices are not asked for
        shape = self._shapes[i]
        self._file.seek(self._starts[:-1][i])
        return np.fromfile(self._file, np.float32, int(np.prod(shape))).reshape(shape)


class Made(Sequence[np.ndarray]):
    """n arrays, the i-th made of i when it is asked for, so that one is in memory at a time."""

    def __init__(self, of: Callable[[int], np.ndarray], count: int) -> None:
        self._of, self._count = of, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, i: int) -> np.ndarray:  # type: ignore[override]  # slices are not asked for
        if not -self._count <= i < self._count:
            raise IndexError(i)
        return self._of(int(i) % self._count)


def gathered(arrays: Iterable[np.ndarray], folder: Path | None = None) -> list[np.ndarray] | Spool:
    """Arrays float32 as they come: a list, or a Spool in `folder` where they take more than HELD bytes."""
    held: list[np.ndarray] = []
    spool, size = None, 0
    for array in arrays:
        size += array.nbytes
        if spool is None and size > HELD:
            spool = Spool(folder)
            for each in held:
                spool.append(each)
            held.clear()
        if spool is None:
            held.append(array)
        else:
            spool.append(array)
    return held if spool is None else spool
