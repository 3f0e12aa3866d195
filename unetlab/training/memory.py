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

BYTES = {"float32": 4, "bfloat16": 2}
"""Of a number, by `precision`."""

LEARNT = 1.4
"""Times what `needed` says that a step takes at least where every layer learns: networks of 16 and 64 filters took 1.4
to 2.0 times."""

LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where Linux says what a container may use, new and old."""


def needed(model: keras.Model, batch: int, precision: str) -> int:
    """Bytes that a training step holds at least: what each layer gives, which its gradients want. On the way down
    gradients come on top where layers learn, as much again at most, and scratch space of convolutions."""
    layers = model._flatten_layers(include_self=False, recursive=True)
    outputs = [each.output for each in layers if not isinstance(each, keras.Model)]  # whose layers are there themselves
    shapes = [tensor.shape[1:] for tensor in keras.tree.flatten(outputs)]
    return BYTES[precision] * batch * sum(map(math.prod, shapes))


def there() -> int:
    """Bytes of memory that this process may use: the machine's, or what its container is limited to."""
    found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for path in LIMITS:
        with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
            found = min(found, int(Path(path).read_text()))
    return found


def largest_batch(build: Callable[..., keras.Model], recipe: Recipe, precision: str, at_once: int = 1) -> int:
    """The recipe's batch, halved until a training step with its gradients fits into the memory that the machine has for
    each of the trainings `at_once`; 1 also where not even that does. `precision=auto` may become float32."""
    taken = "float32" if precision == "auto" else precision
    one, batch = 2 * needed(_built(build, recipe), 1, taken), recipe.batch_size
    while batch > 1 and batch * one > there() / at_once:
        batch //= 2
    return batch


def refuse_too_large(build: Callable[..., keras.Model], recipe: Recipe, precision: str) -> None:
    """Raises UserError if a training step of the recipe wants more memory than this machine has."""
    model = _built(build, recipe)
    learns = all(each.trainable for each in model.layers) and not recipe.model.get("frozen_skips")
    taken = "bfloat16" if precision == "auto" else precision
    wanted = (LEARNT if learns else 1.0) * needed(model, recipe.batch_size, taken)
    if wanted > there():
        raise UserError(
            f"batches of {recipe.batch_size} at {recipe.image_size}x{recipe.image_size} want {wanted / 2**30:,.1f} GiB "
            f"of memory at least, and there are {there() / 2**30:,.1f}; take a machine with more, or a setup whose "
            "recipe (a file in experiments/) has a lower image_size, batch_size or number of filters"
        )


def _built(build: Callable[..., keras.Model], recipe: Recipe) -> keras.Model:
    shape = (recipe.image_size, recipe.image_size, recipe.channels)
    return build(input_shape=shape, weights=None, **heads_of(recipe), **recipe.model)
