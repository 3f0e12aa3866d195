"""The U-Net of Ronneberger et al. (2015), https://arxiv.org/abs/1505.04597, with same padding, trained from scratch."""

import keras
from keras import layers

from unetlab.models.decoder import probabilities


def scratch_unet(
    input_shape: tuple[int | None, int | None, int],
    weights: None = None,
    filters: int = 64,
    depth: int = 4,
    kernel_size: int = 3,
    dropout: float = 0.0,
    dropout_at: str = "all",
    upsampling: str = "transposed",
    activation: str = "relu",
    initializer: str = "he_normal",
    heads: int = 0,
    classes: int = 0,
) -> keras.Model:
    """Builds a U-Net with `depth` halvings and filters, 2 * filters, 4 * filters, ... channels.

    Args:
        input_shape: (height, width, channels), both sides divisible by 2 ** depth, or None for any that are; values
            in [0, 1].
        weights: accepted so that all builders are called alike; nothing pretrained exists.
        filters: channels of the first level.
        depth: number of 2x2 max-poolings.
        kernel_size: of the two convolutions of each level.
        dropout: rate in the bottleneck.
        dropout_at: "all" puts dropout between the convolutions of every level, rising from a third of the rate at the
            top; "deep" after the last level before the bottleneck and after the bottleneck.
        upsampling: "transposed" (2x2 transposed convolution) or "resize" (2x2 repetition, then a 2x2 convolution).
        activation: of the hidden convolutions.
        initializer: of all kernels but the output's.
        heads: channels of the answer besides the mask's.
        classes: foreground classes that are told apart; 0 for one mask.

    Returns:
        An uncompiled model from float images (n, h, w, c) to float32 probabilities, as `decoder.probabilities` has
        them.

    Raises:
        ValueError: if a side is not divisible by 2 ** depth.
    """
    if any(side and side % 2**depth for side in input_shape[:2]):
        raise ValueError(f"image sides must be divisible by {2**depth} at depth {depth}. Received: {input_shape[:2]}")

    def convolve(x: keras.KerasTensor, channels: int, size: int) -> keras.KerasTensor:
        return layers.Conv2D(channels, size, padding="same", activation=activation, kernel_initializer=initializer)(x)

    def level(x: keras.KerasTensor, index: int) -> keras.KerasTensor:
        x = convolve(x, filters * 2**index, kernel_size)
        if dropout and dropout_at == "all":
            x = layers.Dropout(round(dropout * _rise(index, depth), 4))(x)
        return convolve(x, filters * 2**index, kernel_size)

    def up(x: keras.KerasTensor, index: int) -> keras.KerasTensor:
        if upsampling == "transposed":
            return layers.Conv2DTranspose(filters * 2**index, 2, strides=2, kernel_initializer=initializer)(x)
        return convolve(layers.UpSampling2D(2)(x), filters * 2**index, 2)

    x = inputs = layers.Input(input_shape, name="image")
    skips = []
    for index in range(depth):
        x = level(x, index)
        if dropout and dropout_at == "deep" and index == depth - 1:
            x = layers.Dropout(dropout)(x)
        skips.append(x)
        x = layers.MaxPooling2D(2)(x)
    x = level(x, depth)
    if dropout and dropout_at == "deep":
        x = layers.Dropout(dropout)(x)
    for index in reversed(range(depth)):
        x = level(layers.Concatenate()([skips[index], up(x, index)]), index)
    return keras.Model(inputs, probabilities(x, heads, classes), name="scratch_unet")


def _rise(index: int, depth: int) -> float:
    """A third at the top two levels, two thirds below, the whole rate in the bottleneck (0.1, 0.1, 0.2, 0.2, 0.3)."""
    return 1.0 if index == depth else (1 + min(1, index * 2 // depth)) / 3
