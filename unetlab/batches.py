"""Batches for training: images and masks gathered from the memory map, augmented together, normalised."""

import keras
import numpy as np

from unetlab import pixels
from unetlab.setup import Recipe


class Batches(keras.utils.PyDataset):
    """Training batches of (images float32 (b, s, s, c) in [0, 1], masks float32 (b, s, s, 1) in {0, 1}).

    Every epoch is shuffled and augmented anew, from a seed: the same seed gives the same batches.

    Args:
        images: uint8 (n, s, s, c), may be a memory map.
        masks: uint8 {0, 1} (n, s, s, 1), may be a memory map.
        rows: the indices to draw from.
        recipe: batch size, normalisation and augmentation.
        seed: of shuffling and augmentation.
        training: False gives the rows in order, unchanged.
    """

    def __init__(
        self, images: np.ndarray, masks: np.ndarray, rows: np.ndarray, recipe: Recipe, seed: int, training: bool
    ) -> None:
        super().__init__(workers=1)
        self.images, self.masks, self.rows = images, masks, np.asarray(rows)
        self.recipe, self.seed, self.training = recipe, seed, training
        self.epoch = 0
        self._shuffle()

    def __len__(self) -> int:
        return -(-len(self.rows) // self.recipe.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        size = self.recipe.batch_size
        rows = np.sort(self.order[index * size : (index + 1) * size])  # ascending reads suit a memory map
        images, masks = self.images[rows], self.masks[rows]
        if self.training:
            rng = np.random.default_rng([self.seed, self.epoch, index])
            images, masks = augment(images, masks, self.recipe, rng)
        return pixels.normalise(images, self.recipe.normalise), masks.astype(np.float32)

    def on_epoch_end(self) -> None:
        self.epoch += 1
        self._shuffle()

    def _shuffle(self) -> None:
        rng = np.random.default_rng([self.seed, self.epoch])
        self.order = rng.permutation(self.rows) if self.training else self.rows


def augment(
    images: np.ndarray, masks: np.ndarray, recipe: Recipe, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Augments a batch: each geometric change is applied to image and mask alike, each change of light to the image.

    Args:
        images: uint8 (b, s, s, c).
        masks: uint8 (b, s, s, 1) in {0, 1}.

    Returns:
        New arrays of the same shapes and dtypes; the masks hold no value they did not hold before.
    """
    images, masks = images.copy(), masks.copy()
    for i in range(len(images)):
        if recipe.flips != "none" and rng.random() < 0.5:
            images[i], masks[i] = images[i, :, ::-1].copy(), masks[i, :, ::-1].copy()
        if recipe.flips == "both" and rng.random() < 0.5:
            images[i], masks[i] = images[i, ::-1].copy(), masks[i, ::-1].copy()
        if recipe.quarter_turns:
            turns = int(rng.integers(4))
            images[i], masks[i] = np.rot90(images[i], turns).copy(), np.rot90(masks[i], turns).copy()
        if recipe.invert and rng.random() < recipe.invert:
            images[i] = 255 - images[i]
        if recipe.brightness:
            images[i] = _relight(images[i], recipe.brightness, rng)
    return images, masks


def _relight(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Multiplies contrast around the image's mean and shifts brightness, each by up to `strength`; uint8 in and out."""
    mean = image.mean()
    contrast, shift = 1 + rng.uniform(-strength, strength), rng.uniform(-strength, strength) * 255 * 0.5
    return np.clip((image - mean) * contrast + mean + shift, 0, 255).astype(np.uint8)
