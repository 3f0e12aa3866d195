"""Small images with their masks, for the tests of batches and augmentation."""

import numpy as np

from unetlab.setup import Recipe

PLAIN = Recipe(image_size=16, channels=3, epochs=1, batch_size=4)


def image_and_mask(n: int = 32) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    masks = (rng.random((n, 16, 16, 1)) < 0.3).astype(np.uint8)
    return np.repeat(masks * 200, 3, axis=3), masks
