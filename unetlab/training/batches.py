"""Batches for training: images and masks gathered from the memory map, augmented together, normalised."""

import keras
import numpy as np

from unetlab.images import geometry
from unetlab.setup import Recipe
from unetlab.training.augment import augment, turned

SYMMETRIES = 8
"""Flips and quarter turns of a square."""


class Batches(keras.utils.PyDataset):
    """Training batches of (images float32 (b, s, s, c) in [0, 1], masks float32 (b, s, s, 1) in {0, 1}).

    Every epoch is shuffled and augmented anew, from a seed: the same seed gives the same batches. With
    `recipe.symmetries` an epoch has each image in all its eight flips and quarter turns.

    Args:
        images: uint8 (n, s, s, c), may be a memory map.
        masks: uint8 {0, 1} (n, s, s, 1), and 2 where nobody knows; may be a memory map.
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
        self.copies = SYMMETRIES if training and recipe.symmetries else 1
        self.epoch = 0
        self._shuffle()

    def __len__(self) -> int:
        return -(-len(self.order) // self.recipe.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        size = self.recipe.batch_size
        # ascending reads suit a memory map
        rows, copies = np.divmod(np.sort(self.order[index * size : (index + 1) * size]), self.copies)
        images, masks = self.images[rows], self.masks[rows]
        if self.training:
            for i, copy in enumerate(copies):
                images[i], masks[i] = turned(images[i], int(copy)), turned(masks[i], int(copy))
            rng = np.random.default_rng([self.seed, self.epoch, index])
            images, masks = augment(images, masks, self.recipe, rng)
        return geometry.normalise(images, self.recipe.normalise), masks.astype(np.float32)

    def on_epoch_end(self) -> None:
        self.epoch += 1
        self._shuffle()

    def _shuffle(self) -> None:
        rng = np.random.default_rng([self.seed, self.epoch])
        every = (self.rows[:, None] * self.copies + np.arange(self.copies)).ravel()
        self.order = rng.permutation(every) if self.training else every
