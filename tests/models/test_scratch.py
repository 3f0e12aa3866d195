"""The scratch U-Net is the published one."""

import numpy as np
import pytest

from unetlab.models.scratch import scratch_unet


def _filters(model, kind):
    return [layer.filters for layer in model.layers if type(layer).__name__ == kind]


def test_the_published_network_of_64_to_1024_filters_has_31_million_parameters():
    model = scratch_unet((128, 128, 1), filters=64)
    down = [64, 64, 128, 128, 256, 256, 512, 512, 1024, 1024]
    assert _filters(model, "Conv2D") == [*down, 512, 512, 256, 256, 128, 128, 64, 64, 1]
    assert _filters(model, "Conv2DTranspose") == [512, 256, 128, 64]
    assert 31_000_000 < model.count_params() < 31_100_000


def test_dropout_rises_from_a_third_to_the_whole_rate():
    model = scratch_unet((32, 32, 3), filters=4, dropout=0.3)
    rates = [layer.rate for layer in model.layers if type(layer).__name__ == "Dropout"]
    assert rates == pytest.approx([0.1, 0.1, 0.2, 0.2, 0.3, 0.2, 0.2, 0.1, 0.1])


def test_deep_dropout_sits_after_the_last_level_and_the_bottleneck():
    model = scratch_unet((32, 32, 3), filters=4, dropout=0.5, dropout_at="deep")
    assert [layer.rate for layer in model.layers if type(layer).__name__ == "Dropout"] == [0.5, 0.5]


@pytest.mark.parametrize(
    "options", [{"upsampling": "resize"}, {"kernel_size": 5}, {"depth": 2}, {"dropout": 0.2}], ids=str
)
@pytest.mark.parametrize("shape", [(32, 32, 1), (48, 64, 3)])
def test_any_divisible_size_gives_probabilities_of_that_size(options, shape):
    model = scratch_unet(shape, filters=2, **options)
    out = model.predict_on_batch(np.random.default_rng(0).random((2, *shape), dtype=np.float32))
    assert out.shape == (2, *shape[:2], 1) and out.dtype == np.float32
    assert out.min() >= 0 and out.max() <= 1


def test_a_size_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="divisible by 16"):
        scratch_unet((40, 40, 3))
