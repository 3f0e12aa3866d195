"""From images to masks: the one way for validation, test, self-training, scoring, service and export.

This folder and `images` travel inside every logged model, so they import nothing else of unetlab, and that relatively.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import numpy as np

from ..images import geometry

BATCH = 8
"""Images the network sees at once, so that memory does not grow with what is asked."""

Threshold = float | Literal["mean"]


class Prepared(Protocol):
    """What prediction wants of a recipe, or of a logged model's settings."""

    @property
    def image_size(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def normalise(self) -> str: ...
    @property
    def threshold(self) -> Threshold: ...


class Predictor:
    """A network and how images are prepared for it and masks made of what it says.

    Args:
        model: from float32 images (n, s, s, c) in [0, 1] to probabilities (n, s, s, 1) in [0, 1]: a Keras model called
            directly, since `predict` would trace a graph for each model of a search, or a traced function.
        recipe: image_size, channels, normalise and threshold.
    """

    def __init__(self, model: Callable[[np.ndarray], Any], recipe: Prepared) -> None:
        self.model, self.recipe = model, recipe

    def squeezed(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Images uint8 (h, w, 1 or 3) of any size to the network's square, uint8 (n, s, s, c)."""
        size, channels = self.recipe.image_size, self.recipe.channels
        return np.stack([geometry.resize_image(geometry.fit_channels(image, channels), size, size) for image in images])

    def probabilities(self, squares: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """Foreground probabilities, float32 (n, s, s), of uint8 (n, s, s, c), or of its `rows` alone."""
        rows = np.arange(len(squares)) if rows is None else rows
        out = np.empty((len(rows), *squares.shape[1:3]), np.float32)
        for start in range(0, len(rows), BATCH):
            part = rows[start : start + BATCH]
            found = self.model(geometry.normalise(squares[part], self.recipe.normalise))
            out[start : start + len(part)] = np.asarray(found)[..., 0]
        return out

    def cuts(self, probabilities: np.ndarray) -> np.ndarray:
        """Each image's threshold, float32 (n,), from its probabilities (n, s, s)."""
        return thresholds(probabilities, self.recipe.threshold)

    def masks(self, images: Sequence[np.ndarray], threshold: Threshold | None = None) -> list[np.ndarray]:
        """Masks, bool (h, w), of images uint8 (h, w, 1 or 3) at their own sizes; `threshold` replaces the recipe's."""
        found = self.probabilities(self.squeezed(images))
        cuts = thresholds(found, self.recipe.threshold if threshold is None else threshold)
        sizes = [image.shape[:2] for image in images]
        return [mask_at(*each) for each in zip(found, cuts, sizes, strict=True)]


def thresholds(probabilities: np.ndarray, threshold: Threshold) -> np.ndarray:
    """Each image's threshold, float32 (n,): a number for all, or "mean" for each image's own mean probability."""
    if threshold == "mean":
        means: np.ndarray = probabilities.mean(axis=(1, 2), dtype=np.float64).astype(np.float32)
        return means
    return np.full(len(probabilities), threshold, dtype=np.float32)


def mask_at(probability: np.ndarray, cut: float, size: tuple[int, int]) -> np.ndarray:
    """A probability map, float32 (s, s), resized to (height, width) and cut there: bool (height, width)."""
    return np.asarray(geometry.resize_map(probability, *size) > np.float32(cut))
