"""What label makers agree on."""

from collections.abc import Sequence

import numpy as np

from unetlab.data.classes import LEANING, UNKNOWN
from unetlab.labels.felzenszwalb import felzenszwalb
from unetlab.labels.kmeans import kmeans
from unetlab.labels.otsu import otsu
from unetlab.labels.slic import slic
from unetlab.labels.walker import walker

VOTERS = (otsu, kmeans, felzenszwalb, slic, walker)


def consensus(image: np.ndarray) -> np.ndarray:
    """uint8 (h, w, 1 or 3) to uint8 (h, w): what at least four of the five makers say, 0 or 1; elsewhere
    LEANING where three say foreground, and UNKNOWN where two do."""
    return agreed([voter(image) for voter in VOTERS])


def agreed(votes: Sequence[np.ndarray]) -> np.ndarray:
    """(h, w) of 0 and 1 by each maker to uint8 (h, w): what all but one at most say, 0 or 1; else
    LEANING where most say 1, and UNKNOWN where not."""
    count = np.sum(votes, axis=0)
    out = np.where(2 * count > len(votes), LEANING, UNKNOWN).astype(np.uint8)
    out[count <= 1] = 0
    out[count >= len(votes) - 1] = 1
    return out
