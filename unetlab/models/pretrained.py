"""U-Nets of a pretrained encoder and a decoder that learns."""

from typing import Any

import keras
from keras import layers

from unetlab.models.decoder import decode, decode_full, probabilities, timid
from unetlab.models.encoders import get_encoder

ENCODER_NAME = "encoder"
"""The layer that holds a network's encoder."""


def encoder_unet(
    encoder: str,
    input_shape: tuple[int | None, int | None, int],
    weights: str | None = None,
    decoder_filters: int = 512,
    train_encoder: bool = False,
    dropout: float = 0.0,
    heads: int = 0,
    classes: int = 0,
    name: str = "encoder_unet",
    **options: Any,
) -> keras.Model:
    """Builds the U-Net of an encoder and transposed convolutions, as published with MobileNetV2.

    Args:
        encoder: a name of ENCODERS.
        input_shape: (height, width, 3), both sides divisible by the encoder's stride, or None for any that are; values
            in [0, 1].
        weights: None (random), "imagenet" (fetched by Keras), or the path of a weights file without top.
        decoder_filters: channels of the first transposed convolution; each next one has half.
        train_encoder: whether the encoder learns; batch normalisation of pretrained weights stays as it is.
        dropout: rate after each decoder step.
        heads: channels of the answer besides the mask's.
        classes: foreground classes that are told apart; 0 for one mask.
        name: of the model.
        options: of the encoder, where they differ from its row's.

    Returns:
        An uncompiled model from float images (n, h, w, 3) to float32 probabilities, as `decoder.probabilities` has
        them.

    Raises:
        ValueError: if a side is not divisible by the stride.
    """
    inputs = layers.Input(input_shape, name="image")
    _, bottom, skips = _features(encoder, inputs, weights, train_encoder, options)
    outputs = probabilities(decode(bottom, skips, decoder_filters, dropout), heads, classes)
    return keras.Model(inputs, outputs, name=name)


def full_unet(
    input_shape: tuple[int | None, int | None, int],
    weights: str | None = None,
    encoder: str = "mobilenetv2",
    decoder_filters: int = 256,
    train_encoder: bool = False,
    frozen_skips: int = 0,
    dropout: float = 0.0,
    heads: int = 0,
    classes: int = 0,
    **options: Any,
) -> keras.Model:
    """Builds the U-Net of any encoder and the decoder that sees the image at its full resolution.

    Args:
        decoder_filters: channels of the decoder's first step; the next have a half, three eighths and a quarter.
        frozen_skips: of an encoder that learns, the skips from large to small up to which pretrained weights stay as
            they came. Edges and spots are the same in all images, and at full size they are most of a step's work.
        others: as `encoder_unet` takes them.

    Returns and raises what `encoder_unet` does; UserError if there is no such encoder.
    """
    inputs = layers.Input(input_shape, name="image")
    image, bottom, skips = _features(encoder, inputs, weights, train_encoder, options, frozen_skips)
    features = decode_full(image, bottom, skips, decoder_filters, dropout)
    return keras.Model(inputs, probabilities(features, heads, classes, timid()), name="pretrained_unet")


def _features(
    encoder: str,
    inputs: keras.KerasTensor,
    weights: str | None,
    train_encoder: bool,
    options: dict[str, Any],
    frozen_skips: int = 0,
) -> tuple[keras.KerasTensor, keras.KerasTensor, list[keras.KerasTensor]]:
    """The image as the encoder takes it, the encoder's bottom, and its skips from large to small."""
    row = get_encoder(encoder)
    shape = inputs.shape[1:]
    if any(side and side % row.stride for side in shape[:2]):
        raise ValueError(f"image sides must be divisible by {row.stride}. Received: {shape[:2]}")
    network = row.build(shape, weights, **{**row.options, **options})
    outputs = [network.get_layer(name).output for name in (*row.skips, row.bottom)]
    features = keras.Model(network.input, outputs, name=ENCODER_NAME)
    features.trainable = train_encoder
    if weights is not None and frozen_skips:
        for layer in network.layers[: network.layers.index(network.get_layer(row.skips[frozen_skips - 1])) + 1]:
            layer.trainable = False
            layer.stays = True
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            # Keras' momentum of 0.999 needs thousands of steps to follow, which a small set does not have: a random
            # encoder gets a shorter memory, a pretrained one keeps ImageNet's statistics while its kernels learn
            layer.momentum = 0.9 if weights is None else layer.momentum
            layer.trainable = layer.trainable and weights is None
    image = layers.Rescaling(**row.rescale)(inputs)
    *skips, bottom = features(image)
    return image, bottom, skips


def freeze_encoder(model: keras.Model) -> None:
    """Stops a network's encoder from learning."""
    for encoder in _encoders(model):
        encoder.trainable = False


def thaw_encoder(model: keras.Model) -> bool:
    """Lets a frozen encoder learn, its batch normalisation and the layers of `frozen_skips` as they are; returns
    whether there was one.

    A network whose encoder learns already, or that has none, stays as it was. A compiled model takes notice once it is
    compiled anew or `make_train_function(force=True)` is called.
    """
    frozen = [encoder for encoder in _encoders(model) if not encoder.trainable]
    for encoder in frozen:
        encoder.trainable = True
        for layer in encoder.layers:
            if isinstance(layer, layers.BatchNormalization) or getattr(layer, "stays", False):
                layer.trainable = False
    return bool(frozen)


def _encoders(model: keras.Model) -> list[keras.Model]:
    return [layer for layer in model.layers if layer.name == ENCODER_NAME]
