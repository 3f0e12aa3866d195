"""A U-Net whose encoder is MobileNetV2 (Sandler et al. 2018, https://arxiv.org/abs/1801.04381)."""

import keras
from keras import layers

SKIPS = ("block_1_expand_relu", "block_3_expand_relu", "block_6_expand_relu", "block_13_expand_relu")
BOTTOM = "block_16_project"

IMAGENET_SIZE = 128
"""The image size whose ImageNet weights are fetched, that of the published recipe."""


def mobilenet_unet(
    input_shape: tuple[int, int, int],
    weights: str | None = None,
    decoder_filters: int = 512,
    train_encoder: bool = False,
    dropout: float = 0.0,
    alpha: float = 1.0,
) -> keras.Model:
    """Builds the MobileNetV2 U-Net: skips at 1/2, 1/4, 1/8 and 1/16 of the size, bottom at 1/32.

    Args:
        input_shape: (height, width, 3), both sides divisible by 32; values in [0, 1].
        weights: None (random), "imagenet" (fetched by Keras), or the path of a weights file without top.
        decoder_filters: channels of the first transposed convolution; each next one has half.
        train_encoder: whether the encoder learns; batch normalisation of pretrained weights stays as it is.
        dropout: rate after each decoder step.
        alpha: width of MobileNetV2.

    Returns:
        An uncompiled model from float images (n, h, w, 3) to float32 probabilities (n, h, w, 1).

    Raises:
        ValueError: if a side is not divisible by 32.
    """
    if input_shape[0] % 32 or input_shape[1] % 32:
        raise ValueError(f"image sides must be divisible by 32. Received: {input_shape[:2]}")
    if weights == "imagenet":
        # Keras has other files for other sizes: the weights are always those of one size, so that trials differ in
        # what they say they differ in, and one download serves all
        fetched = keras.applications.MobileNetV2((IMAGENET_SIZE, IMAGENET_SIZE, 3), alpha, False, "imagenet")
        encoder = keras.applications.MobileNetV2(input_shape, alpha, False, None)
        encoder.set_weights(fetched.get_weights())
    else:
        encoder = keras.applications.MobileNetV2(input_shape, alpha, False, weights)
    features = keras.Model(encoder.input, [encoder.get_layer(name).output for name in (*SKIPS, BOTTOM)], name="encoder")
    features.trainable = train_encoder
    for layer in encoder.layers:
        if isinstance(layer, layers.BatchNormalization):
            # Keras' momentum of 0.999 needs thousands of steps to follow, which a small set does not have: a random
            # encoder gets a shorter memory, a pretrained one keeps ImageNet's statistics while its kernels learn
            layer.momentum = 0.9 if weights is None else layer.momentum
            layer.trainable = layer.trainable and weights is None

    inputs = layers.Input(input_shape, name="image")
    *skips, x = features(layers.Rescaling(2.0, offset=-1.0)(inputs))
    for step, skip in enumerate(reversed(skips)):
        x = _step(x, max(8, decoder_filters // 2**step), dropout)
        x = layers.Concatenate()([x, skip])
    x = layers.Conv2DTranspose(max(8, decoder_filters // 16), 3, strides=2, padding="same", activation="relu")(x)
    # the output stays in float32 under mixed precision, so that the loss sees all digits
    outputs = layers.Conv2D(1, 1, activation="sigmoid", dtype="float32", name="probability")(x)
    return keras.Model(inputs, outputs, name="mobilenet_unet")


def _step(x, filters: int, dropout: float):
    x = layers.Conv2DTranspose(filters, 3, strides=2, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    return layers.Dropout(dropout)(x) if dropout else x
