"""Channels, size and normalisation: arrays in, arrays out."""

from collections.abc import Callable

import numpy as np
from PIL import Image

PERCENTILES = (1.0, 99.0)
"""Where the per-image normalisation puts 0 and 1."""


def fit_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """uint8 (h, w, 1 or 3) to uint8 (h, w, channels): grey is repeated, colour becomes luma (ITU-R BT.601)."""
    if image.shape[2] == channels:
        return image
    if channels == 3:
        return np.repeat(image, 3, axis=2)
    return np.asarray(Image.fromarray(image).convert("L"))[:, :, None]


def resize_image(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 (h, w, c) to uint8 (height, width, c), bilinear, antialiased when it shrinks."""
    if image.shape[:2] == (height, width):
        return image
    planes = image[:, :, 0] if image.shape[2] == 1 else image
    resized = np.asarray(Image.fromarray(planes).resize((width, height), Image.Resampling.BILINEAR))
    return resized.reshape(height, width, image.shape[2])


def resize_map(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """float32 (h, w) to float32 (height, width), bilinear: for probabilities, and for masks before a cut at 0.5."""
    if values.shape == (height, width):
        return values
    return np.asarray(Image.fromarray(values.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR))


def scale(images: np.ndarray) -> np.ndarray:
    """Divides by 255, as the published recipes do."""
    return images.astype(np.float32) / 255.0


def percentile(images: np.ndarray) -> np.ndarray:
    """Stretches each image so that its own 1st and 99th percentile over all channels become 0 and 1, and clips.

    It is what dim images need.
    """
    flat = images.reshape(len(images), -1)
    low, high = np.percentile(flat, PERCENTILES, axis=1).astype(np.float32)[:, :, None, None, None]
    return np.clip((images - low) / np.maximum(high - low, 1.0), 0.0, 1.0).astype(np.float32)


NORMALISATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"scale": scale, "percentile": percentile}
"""A recipe names one of these."""


def normalise(images: np.ndarray, how: str) -> np.ndarray:
    """uint8 (n, h, w, c) to float32 in [0, 1], as a name of NORMALISATIONS says.

    Raises ValueError for another name.
    """
    if how not in NORMALISATIONS:
        raise ValueError(f"normalise must be one of {', '.join(NORMALISATIONS)}. Received: {how!r}")
    return NORMALISATIONS[how](images)
