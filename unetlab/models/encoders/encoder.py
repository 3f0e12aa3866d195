"""What an encoder is to the decoder above it."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import keras


class Encoder(NamedTuple):
    """A row of ENCODERS.

    Args:
        words: its name and what a weights file of it must be, in words.
        build: called as build(input_shape, weights, **options) with weights None (random), "imagenet" or a file's path;
            its network without top, which takes what `rescale` makes.
        skips: layers whose outputs the decoder joins, each at half the size of the one before, the first at a half.
        bottom: the layer that the decoder begins with, at half the size of the last skip.
        rescale: arguments of the keras.layers.Rescaling that turns [0, 1] into what its weights were made for;
            a number, or one a channel.
        options: what `build` takes besides, and the defaults.
    """

    words: str
    build: Callable[..., keras.Model]
    skips: tuple[str, ...]
    bottom: str
    rescale: Mapping[str, float | Sequence[float]]
    options: Mapping[str, Any] = MappingProxyType({})

    @property
    def stride(self) -> int:
        """What image sides must be divisible by."""
        return int(2 ** (len(self.skips) + 1))
