"""MobileNetV2 (Sandler et al. 2018, https://arxiv.org/abs/1801.04381), from Keras."""

import keras

from unetlab.models.encoders.encoder import Encoder

IMAGENET_SIZE = 128
"""The image size whose ImageNet weights are fetched, that of the published recipe."""


def build(input_shape: tuple[int, int, int], weights: str | None, alpha: float) -> keras.Model:
    """MobileNetV2 of width `alpha` without top, for images (h, w, 3) in [-1, 1]."""
    if weights != "imagenet":
        return keras.applications.MobileNetV2(input_shape, alpha, False, weights)
    # Keras has other files for other sizes: the weights are always those of one size, so that trials differ in what
    # they say they differ in, and one download serves all
    fetched = keras.applications.MobileNetV2((IMAGENET_SIZE, IMAGENET_SIZE, 3), alpha, False, "imagenet")
    encoder = keras.applications.MobileNetV2(input_shape, alpha, False, None)
    encoder.set_weights(fetched.get_weights())
    return encoder


ENCODER = Encoder(
    words="MobileNetV2 without top, alpha 1.0",
    build=build,
    skips=("block_1_expand_relu", "block_3_expand_relu", "block_6_expand_relu", "block_13_expand_relu"),
    bottom="block_16_project",
    rescale={"scale": 2.0, "offset": -1.0},
    options={"alpha": 1.0},
)
