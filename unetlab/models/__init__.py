"""Networks by name: build(input_shape, weights, **options) -> uncompiled keras.Model, probabilities out."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras

from unetlab.models.encoders import ENCODERS
from unetlab.models.encoders.encoder import Encoder
from unetlab.models.pretrained import encoder_unet
from unetlab.models.scratch import scratch_unet


class Network(NamedTuple):
    """A row of NETWORKS.

    Args:
        build: called as build(input_shape=(h, w, c), weights=..., **recipe.model).
        stride: from recipe.model to the number that image sides must be divisible by.
        encoder: the one whose pretrained weights it takes, if any.
    """

    build: Callable[..., keras.Model]
    stride: Callable[[Mapping[str, Any]], int]
    encoder: Encoder | None = None

    @property
    def pretrained(self) -> bool:
        """Whether it takes pretrained weights for its encoder."""
        return self.encoder is not None


def _with_encoder(name: str, encoder: Encoder) -> Network:
    return Network(functools.partial(encoder_unet, name), lambda model: encoder.stride, encoder)


NETWORKS: dict[str, Network] = {
    "scratch": Network(scratch_unet, lambda model: 2 ** int(model.get("depth", 4))),
    **{name: _with_encoder(name, encoder) for name, encoder in ENCODERS.items()},
}
"""A setup names one of these."""
