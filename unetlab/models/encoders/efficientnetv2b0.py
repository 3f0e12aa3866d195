"""EfficientNetV2B0 (Tan and Le 2021, https://arxiv.org/abs/2104.00298), from Keras."""

import keras
from keras import layers

from unetlab.models.encoders.encoder import Encoder

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the colours of ImageNet, as its weights want images normalised."""


def build(input_shape: tuple[int | None, int | None, int], weights: str | None) -> keras.Model:
    """EfficientNetV2B0 without top, for images (h, w, 3) less `MEAN`, by `DEVIATION`.

    Its squeeze-and-excitation takes means over the whole image: what it says of a tile depends on where the tile ends.
    """
    encoder = keras.applications.EfficientNetV2B0(
        include_top=False, weights=weights, input_shape=input_shape, include_preprocessing=False
    )
    for layer in encoder.layers:
        if isinstance(layer, layers.Dropout):  # drops whole blocks, which makes noise of what a frozen encoder says
            layer.rate = 0.0
    return encoder


ENCODER = Encoder(
    words="EfficientNetV2B0 without top",
    build=build,
    skips=("block1a_project_activation", "block2b_add", "block4a_expand_activation", "block6a_expand_activation"),
    bottom="block6h_add",
    rescale={
        "scale": [1 / deviation for deviation in DEVIATION],
        "offset": [-mean / deviation for mean, deviation in zip(MEAN, DEVIATION, strict=True)],
    },
)
