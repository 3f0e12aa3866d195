"""What a model has to beat: Otsu's threshold, and calling everything background."""

import numpy as np
from skimage.filters import threshold_otsu

from unetlab.pixels import fit_channels


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


def otsu_masks(images: np.ndarray) -> np.ndarray:
    """uint8 (n, h, w, 1 or 3) to float32 (n, h, w) of 0 and 1, to be scored like probabilities."""
    return np.stack([otsu_mask(np.asarray(image)) for image in images]).astype(np.float32)


def all_background_accuracy(masks: np.ndarray) -> float:
    """Pixel accuracy of an empty prediction on masks of 0 and 1, any shape: one minus the foreground share."""
    return 1.0 - float(np.count_nonzero(masks)) / masks.size
