"""Otsu's threshold: the floor, which every other label maker has to beat."""

import numpy as np

from unetlab.images.otsu import otsu_mask


def otsu(image: np.ndarray) -> np.ndarray:
    """The baseline at the image's own size, uint8 (h, w, 1 or 3) to uint8 (h, w) of 0 and 1."""
    return otsu_mask(image).astype(np.uint8)
