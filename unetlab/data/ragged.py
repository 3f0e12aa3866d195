"""Images of different sizes one after the other in one file."""

from collections.abc import Sequence

import numpy as np


class Ragged(Sequence[np.ndarray]):
    """n arrays uint8 (h, w, c) that differ in size, each a view of one flat array, which may be a memory map.

    Args:
        flat: uint8 (sum of h * w * c,).
        sizes: int (n, 2), height and width of each.
        channels: c.
    """

    def __init__(self, flat: np.ndarray, sizes: np.ndarray, channels: int) -> None:
        self.flat, self.sizes, self.channels = flat, sizes, channels
        self.ends = np.cumsum(sizes.astype(np.int64).prod(axis=1) * channels)

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, i: int) -> np.ndarray:  # type: ignore[override]  # slices are not asked for
        height, width = (int(side) for side in self.sizes[i])
        end = int(self.ends[i])
        return self.flat[end - height * width * self.channels : end].reshape(height, width, self.channels)
