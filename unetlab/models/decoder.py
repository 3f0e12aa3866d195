"""The decoders of the networks with a pretrained encoder, and the layer that every network ends in."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

SHARES = (1, 1 / 2, 3 / 8, 1 / 4)
"""Channels of the steps of `decode_full` as shares of the first one's; further steps have the last share."""

FULL = 16
"""Channels at full resolution: of the skip from the image, and of the last convolution."""

SHARP = 6.0
"""What the last features are multiplied by when training begins. Adam moves a weight by about the learning rate each
step, so that the few weights of the last layer would take hundreds of steps to let a probability near 0 or 1."""


PROBABILITY = "probability"
"""The name of the layer that every network ends in, a convolution of 1x1."""

REPEATED = "_repeated"
"""How the names of transposed convolutions end that stand for a 3x3 convolution of repeated pixels; `training.fused`
has them learn that."""


def decode(
    bottom: keras.KerasTensor, skips: Sequence[keras.KerasTensor], filters: int, dropout: float
) -> keras.KerasTensor:
    """Transposed convolutions from the bottom up to twice the size of the first skip, joined with each skip on the way.

    Args:
        bottom: (n, h, w, c), at half the size of the last skip.
        skips: from large to small.
        filters: channels of the first transposed convolution; each next one has half, at least 8.
        dropout: rate after each step.

    Returns features, for `probabilities`.
    """
    x = bottom
    for step, skip in enumerate(reversed(skips)):
        x = _step(x, max(8, filters // 2**step), dropout)
        x = layers.Concatenate()([x, skip])
    last = max(8, filters // 2 ** len(skips))
    return layers.Conv2DTranspose(last, 3, strides=2, padding="same", activation="relu")(x)


def decode_full(
    image: keras.KerasTensor,
    bottom: keras.KerasTensor,
    skips: Sequence[keras.KerasTensor],
    filters: int,
    dropout: float,
) -> keras.KerasTensor:
    """Repeats pixels and convolves from the bottom up to the image's size, with each skip and with the image.

    The image comes by a convolution of its own, so that outlines are drawn from all its pixels and not from features
    of half its size; repeating pixels leaves none of the chequers that transposed convolutions do
    (https://distill.pub/2016/deconv-checkerboard).

    Args:
        image: (n, h, w, 3), as the encoder takes it.
        bottom: at half the size of the last skip.
        skips: from large to small, the first at half the image's size.
        filters: channels of the first step; the next ones have `SHARES` of them, in eights.
        dropout: rate after each step.

    Returns features (n, h, w, FULL), for `probabilities`.
    """
    x = bottom
    for step, skip in enumerate(reversed(skips)):
        share = SHARES[min(step, len(SHARES) - 1)]
        x = _join(x, skip, max(8, round(filters * share / 8) * 8), f"up{step + 1}")
        x = layers.Dropout(dropout)(x) if dropout else x
    return _join(x, _normalise(_convolution(FULL)(image)), FULL, f"up{len(skips) + 1}", SHARP)


def timid() -> keras.initializers.Initializer:
    """Of the last layer behind features that are SHARP: a tenth of Glorot's, so that a network begins without
    convictions. With Glorot's some seeds are sure of the wrong answer and lose an epoch to it."""
    return keras.initializers.VarianceScaling(0.01, "fan_avg", "uniform")  # draws its seed where it is made


def probabilities(
    x: keras.KerasTensor, heads: int, classes: int = 0, initializer: Any = "glorot_uniform"
) -> keras.KerasTensor:
    """The last layer of every network, float32 (n, h, w, 1 + heads): the mask's sigmoid channel, and one for each head.

    With `classes` a softmax over background and so many classes, (n, h, w, 1 + classes): a pixel of a mask is of one
    class, so that their probabilities sum to 1. It stays in float32 under mixed precision, so that the loss sees all
    digits.
    """
    activation = "softmax" if classes else "sigmoid"
    told = {"kernel_initializer": initializer, "dtype": "float32", "name": PROBABILITY}
    return layers.Conv2D(1 + (classes or heads), 1, activation=activation, **told)(x)


def _step(x: keras.KerasTensor, filters: int, dropout: float) -> keras.KerasTensor:
    x = layers.Conv2DTranspose(filters, 3, strides=2, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    return layers.Dropout(dropout)(x) if dropout else x


def _join(
    below: keras.KerasTensor, beside: keras.KerasTensor, filters: int, name: str, scale: float = 1.0
) -> keras.KerasTensor:
    """A 3x3 convolution of `below`, each pixel of which is repeated to twice its size, and `beside` together.

    The sum of one of each, which is the same. That of repeated pixels is a transposed convolution by a kernel of 4x4:
    less than half the multiplications, and nothing of the full size is made and joined before.
    """
    share = below.shape[-1] / (below.shape[-1] + beside.shape[-1])
    enlarged = layers.Conv2DTranspose(
        filters,
        4,
        strides=2,
        padding="same",
        use_bias=False,
        kernel_initializer=_he_normal(share),
        name=name + REPEATED,
    )(below)
    return _normalise(layers.Add()([enlarged, _convolution(filters, 1 - share)(beside)]), scale)


def _convolution(filters: int, share: float = 1.0) -> layers.Conv2D:
    return layers.Conv2D(filters, 3, padding="same", use_bias=False, kernel_initializer=_he_normal(share))


def _he_normal(share: float) -> keras.initializers.Initializer:
    """He's initialisation of a kernel that sees so much of all channels that are summed up."""
    return keras.initializers.VarianceScaling(2.0 * share, "fan_in", "truncated_normal")


def _normalise(x: keras.KerasTensor, scale: float = 1.0) -> keras.KerasTensor:
    # Keras' momentum of 0.99 needs hundreds of steps to follow, which a first epoch on a small set does not have
    return layers.ReLU()(
        layers.BatchNormalization(momentum=0.9, gamma_initializer=keras.initializers.Constant(scale))(x)
    )
