"""Otsu's threshold of one image: what needs no training."""

import numpy as np
from skimage.filters import threshold_otsu

from .geometry import fit_channels


def otsu_mask(image: np.ndarray) -> np.ndarray:
    """Foreground of one image of any size, uint8 (h, w, 1 or 3) to bool (h, w).

    Grey by luma, cut at Otsu's threshold (IEEE Trans. SMC 9, 1979); foreground is the smaller side, since stained
    nuclei may be darker or brighter than their ground, and the brighter one of two equal sides. An image of one
    grey value is all background.
    """
    grey = fit_channels(image, 1)[:, :, 0]
    if grey.min() == grey.max():
        return np.zeros(grey.shape, dtype=bool)
    bright = grey > threshold_otsu(grey)
    return np.asarray(~bright if 2 * np.count_nonzero(bright) > bright.size else bright)
