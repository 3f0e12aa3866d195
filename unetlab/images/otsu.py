"""Otsu's threshold of one image: what needs no training."""

import numpy as np
from skimage.filters import threshold_otsu

from .geometry import fit_channels

POLARITIES = ("smaller", "bright", "dark")
"""Which side of the threshold is foreground: each image's smaller one, or in all images the brighter or darker one."""


def otsu_mask(image: np.ndarray, polarity: str = "smaller") -> np.ndarray:
    """Foreground of one image of any size, uint8 (h, w, 1 or 3) to bool (h, w).

    Grey by luma, cut at Otsu's threshold (IEEE Trans. SMC 9, 1979). Without masks to learn the polarity from,
    foreground is the smaller side, since stained nuclei may be darker or brighter than their ground, and the brighter
    one of two equal sides. An image of one grey value is all background.

    Raises ValueError for a polarity that is none of POLARITIES.
    """
    if polarity not in POLARITIES:
        raise ValueError(f"polarity must be one of {', '.join(POLARITIES)}. Received: {polarity!r}")
    grey = fit_channels(image, 1)[:, :, 0]
    if grey.min() == grey.max():
        return np.zeros(grey.shape, dtype=bool)
    bright = grey > threshold_otsu(grey)
    dark = polarity == "dark" or (polarity == "smaller" and 2 * np.count_nonzero(bright) > bright.size)
    return np.asarray(~bright if dark else bright)
