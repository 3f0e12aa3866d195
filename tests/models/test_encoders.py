"""An encoder is a row of a table: whatever its depth, the one decoder joins it."""

import keras
import numpy as np
import pytest

from unetlab.models import NETWORKS
from unetlab.models.decoder import REPEATED
from unetlab.models.encoders import ENCODERS
from unetlab.models.encoders.encoder import Encoder
from unetlab.models.pretrained import encoder_unet, full_unet


def _two_levels(input_shape, weights, width):
    x = inputs = keras.Input(input_shape)
    for number in (1, 2):
        x = keras.layers.Conv2D(width * number, 3, strides=2, padding="same", name=f"level{number}")(x)
    return keras.Model(inputs, x)


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_has_layers_that_shrink_by_two(name):
    row = ENCODERS[name]
    network = NETWORKS["pretrained"]
    assert network.encoder({"encoder": name}) is row and network.stride({"encoder": name}) == row.stride == 32
    encoder = row.build((2 * row.stride, 2 * row.stride, 3), None, **row.options)
    sizes = [encoder.get_layer(layer).output.shape[1] for layer in (*row.skips, row.bottom)]
    assert sizes == [2 * row.stride // 2**k for k in range(1, len(sizes) + 1)]


def test_an_encoder_of_another_depth_needs_no_more_than_a_row(monkeypatch):
    row = Encoder("two levels", _two_levels, ("level1",), "level2", {"scale": 1.0}, {"width": 4})
    monkeypatch.setitem(ENCODERS, "small", row)
    model = encoder_unet("small", (20, 12, 3), decoder_filters=16, width=6)
    assert model(np.zeros((1, 20, 12, 3), np.float32)).shape == (1, 20, 12, 1)
    assert model.get_layer("encoder").output[1].shape == (None, 5, 3, 12)
    filters = [layer.filters for layer in model.layers if isinstance(layer, keras.layers.Conv2DTranspose)]
    assert filters == [16, 8]
    with pytest.raises(ValueError, match="divisible by 4"):
        encoder_unet("small", (18, 12, 3))
    full = full_unet((20, 12, 3), encoder="small", decoder_filters=32, width=6)
    kernels = [tuple(layer.kernel.shape[2:]) for layer in full.layers if isinstance(layer, keras.layers.Conv2D)]
    assert sorted(kernels) == [(3, 16), (6, 32), (16, 1), (16, 16)]
    repeated = [layer.kernel.shape[2:] for layer in full.layers if layer.name.endswith(REPEATED)]
    assert repeated == [(32, 12), (16, 32)]
