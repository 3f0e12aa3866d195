"""What label makers agree on."""

from collections.abc import Sequence

import numpy as np

UNSURE = 2


def agreed(votes: Sequence[np.ndarray]) -> np.ndarray:
    """bool (h, w) of an odd number k of makers to uint8 (h, w): what all but one at most say, 0 or 1; else UNSURE."""
    count = np.sum(votes, axis=0)
    out = np.full(count.shape, UNSURE, dtype=np.uint8)
    out[count <= 1] = 0
    out[count >= len(votes) - 1] = 1
    return out


def majority(votes: Sequence[np.ndarray]) -> np.ndarray:
    """bool (h, w) of an odd number of makers to bool (h, w): what most say."""
    return np.asarray(2 * np.sum(votes, axis=0) > len(votes))
