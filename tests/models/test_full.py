"""The network "pretrained": any encoder, any size, a decoder that sees the image at its full resolution."""

import keras
import numpy as np
import pytest

from unetlab.errors import UserError
from unetlab.models import NETWORKS
from unetlab.models.decoder import REPEATED
from unetlab.models.encoders import ENCODERS
from unetlab.models.encoders.efficientnetv2b0 import DEVIATION, MEAN
from unetlab.models.pretrained import freeze_encoder, thaw_encoder
from unetlab.training.fused import fused

build = NETWORKS["pretrained"].build
IMAGES = np.random.default_rng(0).random((2, 64, 96, 3), dtype=np.float32)


@pytest.mark.parametrize("name", ENCODERS)
def test_any_size_that_divides_gives_the_same_answer_as_a_network_of_that_size(name):
    keras.utils.set_random_seed(0)
    of_any = build((None, None, 3), encoder=name, decoder_filters=32)
    of_one = build((64, 96, 3), encoder=name, decoder_filters=32)
    of_one.set_weights(of_any.get_weights())
    answer = of_any(IMAGES).numpy()
    assert answer.shape == (2, 64, 96, 1) and answer.dtype == np.float32 and answer.min() >= 0 and answer.max() <= 1
    np.testing.assert_allclose(of_one(IMAGES).numpy(), answer, atol=1e-6)


@pytest.mark.parametrize("name", ENCODERS)
def test_training_mode_brings_no_luck_into_a_frozen_encoder(name):
    encoder = build((64, 96, 3), encoder=name, decoder_filters=16).get_layer("encoder")
    for one, other in zip(encoder(IMAGES, training=True), encoder(IMAGES, training=True), strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_the_decoder_is_that_of_the_table():
    model = build((64, 64, 3), dropout=0.1)
    kernels = [tuple(layer.kernel.shape) for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    skips = [(3, 3, 576, 256), (3, 3, 192, 128), (3, 3, 144, 96), (3, 3, 96, 64), (3, 3, 16, 16)]
    assert sorted(kernels) == sorted([*skips, (3, 3, 3, 16), (1, 1, 16, 1)])
    repeated = [tuple(layer.kernel.shape) for layer in model.layers if layer.name.endswith(REPEATED)]
    assert repeated == [(4, 4, 256, 320), (4, 4, 128, 256), (4, 4, 96, 128), (4, 4, 64, 96), (4, 4, 16, 64)]
    assert [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)] == [0.1] * 4
    assert not model.get_layer("encoder").trainable_weights
    assert build((64, 64, 3), train_encoder=True).get_layer("encoder").trainable_weights


def test_frozen_skips_leave_the_first_layers_of_pretrained_weights_alone(tmp_path):
    weights = tmp_path / "encoder.weights.h5"
    row = ENCODERS["mobilenetv2"]
    row.build((64, 64, 3), None, **row.options).save_weights(weights)
    model = build((64, 64, 3), weights=str(weights), train_encoder=True, frozen_skips=2, decoder_filters=16)
    encoder = model.get_layer("encoder")
    names = [layer.name for layer in encoder.layers]
    last = names.index(row.skips[1])
    learning = {layer.name for layer in encoder.layers if layer.trainable_weights}
    assert learning and not learning & set(names[: last + 1])
    before = [layer.get_weights() for layer in encoder.layers[: last + 1]]
    model.compile("sgd", "mse")
    model.train_on_batch(IMAGES[:, :, :64], np.ones((2, 64, 64, 1), np.float32))
    for layer, old in zip(encoder.layers, before, strict=False):
        assert all(np.array_equal(*pair) for pair in zip(layer.get_weights(), old, strict=True))
    for each in (model, fused(build((64, 64, 3), weights=str(weights), frozen_skips=2, decoder_filters=16))):
        freeze_encoder(each)
        assert thaw_encoder(each)
        thawed = each.get_layer("encoder").layers
        assert {layer.name for layer in thawed if layer.trainable_weights} == learning


def test_without_pretrained_weights_no_layer_stays_at_random():
    learns = build((64, 64, 3), train_encoder=True, frozen_skips=2, decoder_filters=16)
    every = build((64, 64, 3), train_encoder=True, decoder_filters=16)
    assert len(learns.trainable_weights) == len(every.trainable_weights)


def test_a_pixel_of_the_image_reaches_the_answer_at_full_resolution():
    keras.utils.set_random_seed(0)
    model = build((64, 64, 3), decoder_filters=16)
    image = np.full((1, 64, 64, 3), 0.5, np.float32)
    other = image.copy()
    other[0, 20, 20] = 1.0
    difference = np.abs(model(other).numpy() - model(image).numpy())[0, ..., 0]
    assert difference.argmax() // 64 in range(18, 23) and difference.argmax() % 64 in range(18, 23)


@pytest.mark.parametrize(
    ("network", "options"),
    [
        ("scratch", {"filters": 2, "depth": 2}),
        ("mobilenet", {"decoder_filters": 16}),
        ("pretrained", {"decoder_filters": 16}),
    ],
)
def test_heads_are_further_channels_of_the_same_layer(network, options):
    keras.utils.set_random_seed(0)
    plain = NETWORKS[network].build((64, 64, 3), **options)
    with_head = NETWORKS[network].build((64, 64, 3), heads=1, **options)
    assert with_head.output.shape == (None, 64, 64, 2)
    assert with_head.layers[-1].name == "probability"
    assert with_head.count_params() - plain.count_params() == plain.layers[-1].count_params()
    assert with_head.layers[-1].dtype_policy.name == "float32"


@pytest.mark.parametrize(
    ("name", "lowest", "highest"),
    [
        ("mobilenetv2", -1, 1),
        ("resnet50v2", -1, 1),
        ("efficientnet-lite0", (0 - 127) / 128, (255 - 127) / 128),
        ("efficientnetv2b0", [-m / d for m, d in zip(MEAN, DEVIATION, strict=True)], None),
    ],
)
def test_images_reach_an_encoder_as_its_weights_want_them(name, lowest, highest):
    layer = keras.layers.Rescaling(**ENCODERS[name].rescale)
    low, high = layer(np.zeros((1, 1, 1, 3))).numpy(), layer(np.ones((1, 1, 1, 3))).numpy()
    np.testing.assert_allclose(low[0, 0, 0], np.broadcast_to(lowest, 3), rtol=1e-5)
    if highest is None:
        highest = [(1 - m) / d for m, d in zip(MEAN, DEVIATION, strict=True)]
    np.testing.assert_allclose(high[0, 0, 0], np.broadcast_to(highest, 3), rtol=1e-5)


def test_a_saved_network_answers_alike(tmp_path):
    model = build((None, None, 3), encoder="efficientnet-lite0", decoder_filters=16)
    model.save(tmp_path / "model.keras")
    read = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_allclose(read(IMAGES).numpy(), model(IMAGES).numpy(), atol=1e-6)


def test_an_unknown_encoder_and_a_size_that_does_not_divide_are_refused():
    with pytest.raises(UserError, match="encoder must be one of mobilenetv2, efficientnet-lite0.*'vgg'"):
        build((64, 64, 3), encoder="vgg")
    with pytest.raises(UserError, match="encoder must be one of"):
        NETWORKS["pretrained"].stride({"encoder": "vgg"})
    with pytest.raises(ValueError, match="divisible by 32"):
        build((None, 48, 3))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_kernel_is_drawn_from_the_seed(name):
    def kernels(seed):
        keras.utils.set_random_seed(seed)
        model = NETWORKS[name].build((64, 64, 3))
        return {each.path: each.numpy() for each in model.weights if each.path.endswith("kernel")}

    first, again, other = kernels(0), kernels(0), kernels(1)
    assert len(first) > 10
    for one, same, different in zip(first.values(), again.values(), other.values(), strict=True):
        assert np.array_equal(one, same) and not np.array_equal(one, different)
