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
    """n arrays of any shapes and types in a file without a name, each read anew when it is asked for.

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
        self._kinds: list[tuple[np.dtype, tuple[int, ...]]] = []
        self._starts: list[int] = [0]

    def append(self, array: np.ndarray) -> None:
        """Writes an array behind the others."""
        self._file.seek(self._starts[-1])
        self._file.write(np.ascontiguousarray(array).data)
        self._file.flush()
        self._kinds.append((array.dtype, array.shape))
        self._starts.append(self._file.tell())

    def __len__(self) -> int:
        return len(self._kinds)

    def __getitem__(self, i: int) -> np.ndarray:  # type: ignore[override]  # slices are not asked for
        kind, shape = self._kinds[i]
        self._file.seek(self._starts[range(len(self))[i]])
        return np.fromfile(self._file, kind, int(np.prod(shape))).reshape(shape)


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


class Spill(Sequence[np.ndarray]):
    """Arrays that are added one by one: in memory, or in a Spool in `folder` once they take more than HELD bytes."""

    def __init__(self, folder: Path | None = None) -> None:
        self.arrays: list[np.ndarray] | Spool = []
        self._folder, self._size = folder, 0

    def append(self, array: np.ndarray) -> None:
        """Adds an array behind the others."""
        self._size += array.nbytes
        if isinstance(self.arrays, list) and self._size > HELD:
            spool = Spool(self._folder)
            for each in self.arrays:
                spool.append(each)
            self.arrays = spool
        self.arrays.append(array)

    def __len__(self) -> int:
        return len(self.arrays)

    def __getitem__(self, i: int) -> np.ndarray:  # type: ignore[override]  # slices are not asked for
        return self.arrays[i]


def gathered(arrays: Iterable[np.ndarray], folder: Path | None = None) -> list[np.ndarray] | Spool:
    """Arrays as they come: a list, or a Spool in `folder` where they take more than HELD bytes."""
    spill = Spill(folder)
    for array in arrays:
        spill.append(array)
    return spill.arrays


def each_of(
    arrays: Sequence[np.ndarray] | np.ndarray, of: Callable[[np.ndarray], np.ndarray]
) -> Sequence[np.ndarray] | np.ndarray:
    """What `of` makes of each of n arrays, where it takes all of them in one array as well: at once of those in memory,
    and of those in a file when they are asked for."""
    if isinstance(arrays, np.ndarray):
        return of(arrays)
    if isinstance(arrays, list):
        return [of(array) for array in arrays]
    return Made(lambda i: of(arrays[i]), len(arrays))
