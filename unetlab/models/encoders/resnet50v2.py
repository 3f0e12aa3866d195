"""ResNet50V2 (He et al. 2016, https://arxiv.org/abs/1603.05027), from Keras."""

import keras

from unetlab.models.encoders.encoder import Encoder


def build(input_shape: tuple[int | None, int | None, int], weights: str | None) -> keras.Model:
    """ResNet50V2 without top, for images (h, w, 3) in [-1, 1]."""
    return keras.applications.ResNet50V2(include_top=False, weights=weights, input_shape=input_shape)


ENCODER = Encoder(
    words="ResNet50V2 without top",
    build=build,
    skips=("conv1_conv", "conv2_block3_1_relu", "conv3_block4_1_relu", "conv4_block6_1_relu"),
    bottom="post_relu",
    rescale={"scale": 2.0, "offset": -1.0},
)
