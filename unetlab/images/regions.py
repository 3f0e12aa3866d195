"""Connected regions of masks, and images that show nothing."""

import numpy as np
from scipy import ndimage


def components(mask: np.ndarray) -> np.ndarray:
    """bool (h, w) to int32 (h, w): 0 background, 1..k objects; pixels that touch by an edge belong together."""
    labels: np.ndarray = ndimage.label(mask, output=np.int32)[0]
    return labels


def flat(image: np.ndarray) -> bool:
    """Whether an image, uint8 (h, w, c), is of one colour, which says nothing of what is foreground."""
    return bool((image == image[0, 0]).all())
