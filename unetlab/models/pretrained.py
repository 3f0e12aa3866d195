"""A U-Net of a pretrained encoder and a decoder that learns."""

from typing import Any

import keras
from keras import layers

from unetlab.models.decoder import decode
from unetlab.models.encoders import ENCODERS


def encoder_unet(
    encoder: str,
    input_shape: tuple[int, int, int],
    weights: str | None = None,
    decoder_filters: int = 512,
    train_encoder: bool = False,
    dropout: float = 0.0,
    **options: Any,
) -> keras.Model:
    """Builds the U-Net of an encoder.

    Args:
        encoder: a name of ENCODERS.
        input_shape: (height, width, 3), both sides divisible by the encoder's stride; values in [0, 1].
        weights: None (random), "imagenet" (fetched by Keras), or the path of a weights file without top.
        decoder_filters: channels of the first transposed convolution; each next one has half.
        train_encoder: whether the encoder learns; batch normalisation of pretrained weights stays as it is.
        dropout: rate after each decoder step.
        options: of the encoder, where they differ from its row's.

    Returns:
        An uncompiled model from float images (n, h, w, 3) to float32 probabilities (n, h, w, 1).

    Raises:
        ValueError: if a side is not divisible by the stride.
    """
    row = ENCODERS[encoder]
    if input_shape[0] % row.stride or input_shape[1] % row.stride:
        raise ValueError(f"image sides must be divisible by {row.stride}. Received: {input_shape[:2]}")
    network = row.build(input_shape, weights, **{**row.options, **options})
    outputs = [network.get_layer(name).output for name in (*row.skips, row.bottom)]
    features = keras.Model(network.input, outputs, name="encoder")
    features.trainable = train_encoder
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            # Keras' momentum of 0.999 needs thousands of steps to follow, which a small set does not have: a random
            # encoder gets a shorter memory, a pretrained one keeps ImageNet's statistics while its kernels learn
            layer.momentum = 0.9 if weights is None else layer.momentum
            layer.trainable = layer.trainable and weights is None

    inputs = layers.Input(input_shape, name="image")
    *skips, bottom = features(layers.Rescaling(**row.rescale)(inputs))
    return keras.Model(inputs, decode(bottom, skips, decoder_filters, dropout), name=f"{encoder}_unet")
