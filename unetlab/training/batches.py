"""Batches for training: images and masks gathered from the memory map, augmented together, normalised."""

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np

from unetlab.images import geometry
from unetlab.setup import Recipe
from unetlab.training import patches
from unetlab.training.augment import augment, turned

SYMMETRIES = 8
"""Flips and quarter turns of a square."""


class Batches(keras.utils.PyDataset):
    """Training batches of (images float32 (b, s, s, c) in [0, 1], masks float32 (b, s, s, k)).

    Every epoch is shuffled and augmented anew, from a seed: the same seed gives the same batches. With
    `recipe.symmetries` an epoch has each image in all its eight flips and quarter turns.

    Args:
        images: uint8 (n, s, s, c), may be a memory map.
        masks: uint8 (n, s, s, k), the first channel 0, 1, or the index of a class, and UNKNOWN where nobody knows; may
            be a memory map.
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
        return geometry.normalise(images, self.recipe.normalise), learnt(masks)

    def on_epoch_end(self) -> None:
        self.epoch += 1
        self._shuffle()

    def _shuffle(self) -> None:
        rng = np.random.default_rng([self.seed, self.epoch])
        every = (self.rows[:, None] * self.copies + np.arange(self.copies)).ravel()
        self.order = rng.permutation(every) if self.training else every


class PatchBatches(keras.utils.PyDataset):
    """Training batches of patches: crops at the working scale, drawn anew every epoch, normalised by the levels of the
    image they come from, augmented.

    Args:
        images: uint8 (h, w, c) each.
        masks: uint8 (h, w, k) each; the first channel is 0, 1 (or the index of a class) or UNKNOWN, the others 0 to
            255.
        rows: the indices to draw from.
        recipe: image_size (the patch's side), patches of an epoch, batch size, normalisation and augmentation.
        seed: of draws and augmentation.
        training: False draws the same patches every epoch, not enlarged nor augmented.
    """

    def __init__(
        self,
        images: Sequence[np.ndarray],
        masks: Sequence[np.ndarray],
        rows: np.ndarray,
        recipe: Recipe,
        seed: int,
        training: bool,
    ) -> None:
        super().__init__(workers=1)
        self.images, self.masks = images, masks
        self.seed, self.training, self.jitter = seed, training, recipe.scale_jitter if training else 0.0
        # patches are cut at their scale, from more of the image than a patch has
        self.recipe = dataclasses.replace(recipe, scale_jitter=0.0)
        self.sampler = patches.Sampler(masks, rows, seed)
        self.levels = {int(row): geometry.levels(np.asarray(images[row]), recipe.normalise) for row in rows}
        every = patches.covering(self.sampler.sizes, recipe.image_size)
        self.count = (recipe.patches or every) if training else every
        self.epoch = 0
        self._draw()

    def __len__(self) -> int:
        return -(-self.count // self.recipe.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        size, side = self.recipe.batch_size, self.recipe.image_size
        drawn = self.drawn[index * size : (index + 1) * size]
        # stretched first, so that a change of light is one to the network too
        images = np.stack([self._stretched(patch, side) for patch in drawn])
        masks = np.stack([patches.cut(self.masks[patch.row], patch, side, nearest=True) for patch in drawn])
        if self.training:
            rng = np.random.default_rng([self.seed, self.epoch, index])
            images, masks = augment(images, masks, self.recipe, rng)
        return geometry.normalise(images, "scale"), learnt(masks)

    def _stretched(self, patch: patches.Patch, side: int) -> np.ndarray:
        found = patches.cut(self.images[patch.row], patch, side, nearest=False)
        levels = self.levels[patch.row]
        if levels == geometry.levels(found, "scale"):
            return found
        return np.round(255 * geometry.stretch(found, *levels)).astype(np.uint8)

    def on_epoch_end(self) -> None:
        if self.training:
            self.epoch += 1
            self._draw()

    def _draw(self) -> None:
        rng = np.random.default_rng([self.seed, self.epoch])
        self.drawn = self.sampler.draw(self.count, self.jitter, rng)


def learnt(masks: np.ndarray) -> np.ndarray:
    """Masks uint8 (b, s, s, k) as losses take them: float32, the first channel as it is, the others in [0, 1]."""
    found = masks.astype(np.float32)
    found[..., 1:] /= np.float32(255)
    return found


def batches_of(
    images: Sequence[np.ndarray] | np.ndarray,
    masks: Sequence[np.ndarray] | np.ndarray,
    rows: np.ndarray,
    recipe: Recipe,
    seed: int,
    training: bool,
) -> Batches | PatchBatches:
    """The batches of a recipe's view: whole images are arrays, those that patches are cut from differ in size."""
    if isinstance(images, np.ndarray) and isinstance(masks, np.ndarray):
        return Batches(images, masks, rows, recipe, seed, training)
    return PatchBatches(list(images), list(masks), rows, recipe, seed, training)
