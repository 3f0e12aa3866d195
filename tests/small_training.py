"""A training of a second, on disks."""

import numpy as np

from unetlab.models.scratch import scratch_unet
from unetlab.setup import Recipe
from unetlab.training.fit import fit

RECIPE = Recipe(image_size=16, channels=1, epochs=6, batch_size=4, learning_rate=1e-2, model={"filters": 2, "depth": 1})


def disks(n=16):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:16, :16]
    centre = rng.integers(4, 12, (n, 2, 1, 1))
    masks = ((y - centre[:, 0]) ** 2 + (x - centre[:, 1]) ** 2 < 16).astype(np.uint8)[..., None]
    images = (masks * 120 + rng.integers(0, 60, masks.shape)).astype(np.uint8)
    return images, masks


def fit_disks(recipe=RECIPE, **options):
    images, masks = disks()
    given = {"seed": 1, "precision": "float32", **options}
    return fit(scratch_unet, recipe, images, masks, np.arange(12), np.arange(12, 16), **given)
