"""Whether a training fits into memory, before it begins."""

import math
import os
from collections.abc import Callable

import keras

from unetlab.errors import UserError
from unetlab.setup import Recipe
from unetlab.training.fit import heads_of

BYTES = {"float32": 4, "bfloat16": 2, "auto": 2}
"""Of a number, by `precision`; what is not settled yet is taken for the smaller."""


def needed(model: keras.Model, batch: int, precision: str) -> int:
    """Bytes that a training step holds at least: what each layer gives, once on the way up and once, as a gradient, on
    the way down. Scratch space of convolutions comes on top."""
    layers = model._flatten_layers(include_self=False, recursive=True)
    outputs = [tensor for layer in layers for tensor in keras.tree.flatten(layer.output)]
    return 2 * BYTES[precision] * batch * sum(math.prod(tensor.shape[1:]) for tensor in outputs)


def refuse_too_large(build: Callable[..., keras.Model], recipe: Recipe, precision: str) -> None:
    """Raises UserError if a training step of the recipe wants more memory than this machine has."""
    shape = (recipe.image_size, recipe.image_size, recipe.channels)
    model = build(input_shape=shape, weights=None, **heads_of(recipe), **recipe.model)
    wanted = needed(model, recipe.batch_size, precision)
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if wanted > there:
        raise UserError(
            f"batches of {recipe.batch_size} at {recipe.image_size}x{recipe.image_size} want {wanted / 2**30:.0f} GiB "
            f"of memory at least, and this machine has {there / 2**30:.0f}; take a smaller patch, batch or network"
        )
