"""The MobileNetV2 U-Net: frozen or trained encoder, any size, the same network for a seed."""

import keras
import numpy as np
import pytest

from unetlab.models import NETWORKS

mobilenet_unet = NETWORKS["mobilenet"].build


def test_a_frozen_encoder_has_no_trainable_weights():
    frozen = mobilenet_unet((64, 64, 3), decoder_filters=32)
    trained = mobilenet_unet((64, 64, 3), decoder_filters=32, train_encoder=True)
    assert not frozen.get_layer("encoder").trainable_weights
    assert len(trained.trainable_weights) > len(frozen.trainable_weights)


@pytest.mark.parametrize("shape", [(64, 64, 3), (96, 128, 3)])
def test_any_divisible_size_gives_probabilities_of_that_size(shape):
    out = mobilenet_unet(shape, decoder_filters=16).predict_on_batch(np.zeros((1, *shape), np.float32))
    assert out.shape == (1, *shape[:2], 1) and out.min() >= 0 and out.max() <= 1


def test_a_size_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="divisible by 32"):
        mobilenet_unet((48, 48, 3))


@pytest.mark.parametrize(
    ("options", "parameters", "total", "ranked", "answer"),
    [
        ({}, 6546049, 169809.9345480241, 15058.495483875126, 0.5000334978103638),
        (
            {"decoder_filters": 16, "train_encoder": True, "dropout": 0.1, "alpha": 0.35},
            *(308113, 29488.325534187257, 15262.364805864012, 0.499206006526947),
        ),
    ],
    ids=["published", "searched"],
)
def test_a_seed_gives_the_same_network_in_every_version(options, parameters, total, ranked, answer):
    keras.utils.set_random_seed(0)
    model = mobilenet_unet((64, 64, 3), **options)
    sizes = [np.abs(weights.astype(float)) for weights in model.get_weights()]
    assert (model.name, model.count_params(), len(sizes)) == ("mobilenet_unet", parameters, 275)
    assert sum(each.sum() for each in sizes) == pytest.approx(total, rel=1e-6)
    # each weight by its place, so that no two can change places
    assert sum(place * each.mean() for place, each in enumerate(sizes, 1)) == pytest.approx(ranked, rel=1e-6)
    image = np.random.default_rng(0).random((1, 64, 64, 3), dtype=np.float32)
    assert float(model(image).numpy().mean()) == pytest.approx(answer, abs=1e-4)
