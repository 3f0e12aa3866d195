"""Networks by name: build(input_shape, weights, **options) -> uncompiled keras.Model, probabilities out."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras

from unetlab.models.encoders import get_encoder
from unetlab.models.encoders.encoder import Encoder
from unetlab.models.pretrained import encoder_unet, full_unet
from unetlab.models.scratch import scratch_unet


class Network(NamedTuple):
    """A row of NETWORKS.

    Args:
        build: called as build(input_shape=(h, w, c), weights=..., **recipe.model).
        stride: from recipe.model to the number that image sides must be divisible by.
        encoder: from recipe.model to the one whose pretrained weights it takes, if it takes any.
    """

    build: Callable[..., keras.Model]
    stride: Callable[[Mapping[str, Any]], int]
    encoder: Callable[[Mapping[str, Any]], Encoder] | None = None

    @property
    def pretrained(self) -> bool:
        """Whether it takes pretrained weights for its encoder."""
        return self.encoder is not None


def _with_encoder(build: Callable[..., keras.Model], encoder: Callable[[Mapping[str, Any]], Encoder]) -> Network:
    return Network(build, lambda model: encoder(model).stride, encoder)


NETWORKS: dict[str, Network] = {
    "scratch": Network(scratch_unet, lambda model: 2 ** int(model.get("depth", 4))),
    "mobilenet": _with_encoder(
        functools.partial(encoder_unet, "mobilenetv2", name="mobilenet_unet"), lambda model: get_encoder("mobilenetv2")
    ),
    "pretrained": _with_encoder(full_unet, lambda model: get_encoder(model.get("encoder", "mobilenetv2"))),
}
"""A setup names one of these."""
