"""What label makers agree on."""

from collections.abc import Sequence

import numpy as np

from unetlab.labels.felzenszwalb import felzenszwalb
from unetlab.labels.kmeans import kmeans
from unetlab.labels.otsu import otsu
from unetlab.labels.slic import slic
from unetlab.labels.walker import walker

UNSURE = 2
UNSURE_MOST = 3

VOTERS = (otsu, kmeans, felzenszwalb, slic, walker)


def consensus(image: np.ndarray) -> np.ndarray:
    """uint8 (h, w, 1 or 3) to uint8 (h, w): what at least four of the five makers say, 0 or 1; elsewhere
    UNSURE_MOST where three say foreground, and UNSURE where two do."""
    return agreed([voter(image) for voter in VOTERS])


def agreed(votes: Sequence[np.ndarray]) -> np.ndarray:
    """(h, w) of 0 and 1 by each maker to uint8 (h, w): what all but one at most say, 0 or 1; else
    UNSURE_MOST where most say 1, and UNSURE where not."""
    count = np.sum(votes, axis=0)
    out = np.where(2 * count > len(votes), UNSURE_MOST, UNSURE).astype(np.uint8)
    out[count <= 1] = 0
    out[count >= len(votes) - 1] = 1
    return out
