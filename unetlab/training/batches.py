"""Batches for training: images and masks gathered from the memory map, augmented together, normalised."""

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np

from unetlab.data.unmapped import Unmapped, release
from unetlab.images import geometry
from unetlab.setup import Recipe
from unetlab.training import patches
from unetlab.training.augment import augment, turned

RELEASED = 64
"""Batches after which the pages of the memory map are given back, so that memory does not grow with the data."""

SYMMETRIES = 8
"""Flips and quarter turns of a square."""


class Batches(keras.utils.PyDataset):
    """Training batches of (images float32 (b, s, s, c) in [0, 1], masks float32 (b, s, s, k)).

    Every epoch is shuffled and augmented anew, from a seed: the same seed gives the same batches. With
    `recipe.symmetries` every image comes in all its eight flips and quarter turns before any comes again. With
    `recipe.draws` an epoch has so many, and the next goes on with those that have not come.

    Args:
        images: uint8 (n, s, s, c), may be a memory map.
        masks: uint8 (n, s, s, k), the first channel 0, 1, or the index of a class, and UNKNOWN where nobody knows; may
            be a memory map.
        rows: the indices to draw from.
        recipe: batch size, normalisation and augmentation.
        seed: of shuffling and augmentation.
        training: False gives the rows in order, unchanged; of more than `recipe.draws` as many, the same every epoch.
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
        if index % RELEASED == 0:
            release(self.images)
            release(self.masks)
        if not self.training:
            return geometry.normalise(images, self.recipe.normalise), learnt(masks)
        for i, copy in enumerate(copies):
            stretched = _stretched(images[i], geometry.levels(images[i], self.recipe.normalise))
            images[i], masks[i] = turned(stretched, int(copy)), turned(masks[i], int(copy))
        rng = np.random.default_rng([self.seed, self.epoch, index])
        images, masks = augment(images, masks, self.recipe, rng)
        return geometry.normalise(images, "scale"), learnt(masks)

    def on_epoch_end(self) -> None:
        self.epoch += 1
        self._shuffle()

    def _shuffle(self) -> None:
        every = (self.rows[:, None] * self.copies + np.arange(self.copies)).ravel()
        count = self.recipe.draws or len(every)
        if not self.training:
            some = np.random.default_rng(self.seed).permutation(every)[:count]
            self.order = np.sort(some) if len(every) > count else every
            return
        begin, end = self.epoch * count, (self.epoch + 1) * count
        rounds = range(begin // len(every), -(-end // len(every)))
        shuffled = [np.random.default_rng([self.seed, k]).permutation(every) for k in rounds]
        first = begin - rounds.start * len(every)
        self.order = np.concatenate(shuffled)[first : first + count]


class PatchBatches(keras.utils.PyDataset):
    """Training batches of patches: crops at the working scale, drawn anew every epoch, normalised by the levels of the
    image they come from, augmented. With `recipe.symmetries` each is in one of its eight flips and quarter turns.

    Args:
        images: uint8 (h, w, c) each.
        masks: uint8 (h, w, k) each; the first channel is 0, 1 (or the index of a class) or UNKNOWN, the others 0 to
            255.
        rows: the indices to draw from.
        recipe: image_size (the patch's side), draws of an epoch, batch size, normalisation and augmentation.
        seed: of draws and augmentation.
        training: False draws the same patches every epoch, not enlarged nor augmented; no more of them than
            `recipe.draws`.
    """

    def __init__(
        self,
        images: Sequence[np.ndarray] | np.ndarray,
        masks: Sequence[np.ndarray] | np.ndarray,
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
        # all of them are looked at before the first step, which would map all data into memory at once
        seen = Unmapped(images)
        self.sampler = patches.Sampler(Unmapped(masks), rows, seed)
        self.levels = {int(row): geometry.levels(seen[row], recipe.normalise) for row in rows}
        self.copies = SYMMETRIES if training and recipe.symmetries else 1
        every = patches.covering(self.sampler.sizes, recipe.image_size) * self.copies
        self.count = every if not recipe.draws else recipe.draws if training else min(every, recipe.draws)
        self.epoch = 0
        self._draw()

    def __len__(self) -> int:
        return -(-self.count // self.recipe.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        size, side = self.recipe.batch_size, self.recipe.image_size
        drawn = self.drawn[index * size : (index + 1) * size]
        found = (patches.cut(self.images[patch.row], patch, side, nearest=False) for patch in drawn)
        images = np.stack([_stretched(each, self.levels[patch.row]) for each, patch in zip(found, drawn, strict=True)])
        masks = np.stack([patches.cut(self.masks[patch.row], patch, side, nearest=True) for patch in drawn])
        if index % RELEASED == 0:
            release(self.images[drawn[0].row])
            release(self.masks[drawn[0].row])
        if self.training:
            rng = np.random.default_rng([self.seed, self.epoch, index])
            if self.copies > 1:
                for i, copy in enumerate(rng.integers(self.copies, size=len(images))):
                    images[i], masks[i] = turned(images[i], int(copy)), turned(masks[i], int(copy))
            images, masks = augment(images, masks, self.recipe, rng)
        return geometry.normalise(images, "scale"), learnt(masks)

    def on_epoch_end(self) -> None:
        if self.training:
            self.epoch += 1
            self._draw()

    def _draw(self) -> None:
        rng = np.random.default_rng([self.seed, self.epoch])
        self.drawn = self.sampler.draw(self.count, self.jitter, rng)


def _stretched(image: np.ndarray, levels: tuple[float, float]) -> np.ndarray:
    """An image uint8 (h, w, c) between its levels, uint8 again: before it is augmented, so that a change of light is
    one to the network too."""
    if levels == geometry.scale(image):
        return image
    return np.round(255 * geometry.stretch(image, *levels)).astype(np.uint8)


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
    return PatchBatches(images, masks, rows, recipe, seed, training)
