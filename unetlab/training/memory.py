"""Whether a training fits into memory, before it begins."""

import contextlib
import math
import os
from collections.abc import Callable
from pathlib import Path

import keras

from unetlab.errors import UserError
from unetlab.setup import Recipe
from unetlab.training.fit import heads_of

BYTES = {"float32": 4, "bfloat16": 2, "auto": 2}
"""Of a number, by `precision`; what is not settled yet is taken for the smaller."""


LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where Linux says what a container may use, new and old."""


def needed(model: keras.Model, batch: int, precision: str) -> int:
    """Bytes that a training step holds at least: what each layer gives, once on the way up and once, as a gradient, on
    the way down. Scratch space of convolutions comes on top."""
    layers = model._flatten_layers(include_self=False, recursive=True)
    outputs = [tensor for layer in layers for tensor in keras.tree.flatten(layer.output)]
    return 2 * BYTES[precision] * batch * sum(math.prod(tensor.shape[1:]) for tensor in outputs)


def there() -> int:
    """Bytes of memory that this process may use: the machine's, or what its container is limited to."""
    found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for path in LIMITS:
        with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
            found = min(found, int(Path(path).read_text()))
    return found


def largest_batch(build: Callable[..., keras.Model], recipe: Recipe, precision: str) -> int:
    """The recipe's batch, halved until a training step fits into memory; 1 also where not even that does."""
    one, batch = _wanted(build, recipe.changed({"batch_size": 1}), precision), recipe.batch_size
    while batch > 1 and batch * one > there():
        batch //= 2
    return batch


def refuse_too_large(build: Callable[..., keras.Model], recipe: Recipe, precision: str) -> None:
    """Raises UserError if a training step of the recipe wants more memory than there is."""
    wanted = _wanted(build, recipe, precision)
    if wanted > there():
        raise UserError(
            f"batches of {recipe.batch_size} at {recipe.image_size}x{recipe.image_size} want {wanted / 2**30:.0f} GiB "
            f"of memory at least, and there are {there() / 2**30:.0f}; lower image_size, batch_size or the network's "
            "filters in the setup's recipe (a file in experiments/), or take a machine with more"
        )


def _wanted(build: Callable[..., keras.Model], recipe: Recipe, precision: str) -> int:
    shape = (recipe.image_size, recipe.image_size, recipe.channels)
    model = build(input_shape=shape, weights=None, **heads_of(recipe), **recipe.model)
    return needed(model, recipe.batch_size, precision)
