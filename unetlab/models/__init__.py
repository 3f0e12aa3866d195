"""Networks by name: build(input_shape, weights, **options) -> uncompiled keras.Model, probabilities out."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras

from unetlab.models.mobilenet import mobilenet_unet
from unetlab.models.scratch import scratch_unet


class Network(NamedTuple):
    """A row of NETWORKS.

    Args:
        build: called as build(input_shape=(h, w, c), weights=..., **recipe.model).
        stride: from recipe.model to the number that image sides must be divisible by.
        pretrained: whether it takes ImageNet weights for its encoder.
    """

    build: Callable[..., keras.Model]
    stride: Callable[[Mapping[str, Any]], int]
    pretrained: bool = False


NETWORKS: dict[str, Network] = {
    "scratch": Network(scratch_unet, lambda model: 2 ** int(model.get("depth", 4))),
    "mobilenet": Network(mobilenet_unet, lambda model: 32, pretrained=True),
}
"""A setup names one of these."""
