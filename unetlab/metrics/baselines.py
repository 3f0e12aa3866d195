"""What a model has to beat: Otsu's threshold, and calling everything background."""

import numpy as np

from unetlab.images.otsu import otsu_mask


def otsu_masks(images: np.ndarray) -> np.ndarray:
    """uint8 (n, h, w, 1 or 3) to float32 (n, h, w) of 0 and 1, to be scored like probabilities."""
    return np.stack([otsu_mask(np.asarray(image)) for image in images]).astype(np.float32)


def all_background_accuracy(masks: np.ndarray) -> float:
    """Pixel accuracy of an empty prediction on masks of 0 and 1, any shape: one minus the foreground share."""
    return 1.0 - float(np.count_nonzero(masks)) / masks.size
