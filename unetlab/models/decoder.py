"""The decoder of every network with a pretrained encoder."""

from collections.abc import Sequence

import keras
from keras import layers


def decode(
    bottom: keras.KerasTensor, skips: Sequence[keras.KerasTensor], filters: int, dropout: float
) -> keras.KerasTensor:
    """Transposed convolutions from the bottom up to twice the size of the first skip, joined with each skip on the way.

    Args:
        bottom: (n, h, w, c), at half the size of the last skip.
        skips: from large to small.
        filters: channels of the first transposed convolution; each next one has half, at least 8.
        dropout: rate after each step.

    Returns float32 probabilities (n, ..., 1).
    """
    x = bottom
    for step, skip in enumerate(reversed(skips)):
        x = _step(x, max(8, filters // 2**step), dropout)
        x = layers.Concatenate()([x, skip])
    last = max(8, filters // 2 ** len(skips))
    x = layers.Conv2DTranspose(last, 3, strides=2, padding="same", activation="relu")(x)
    # the output stays in float32 under mixed precision, so that the loss sees all digits
    return layers.Conv2D(1, 1, activation="sigmoid", dtype="float32", name="probability")(x)


def _step(x: keras.KerasTensor, filters: int, dropout: float) -> keras.KerasTensor:
    x = layers.Conv2DTranspose(filters, 3, strides=2, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    return layers.Dropout(dropout)(x) if dropout else x
