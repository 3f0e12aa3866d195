"""What is said of an exported file."""

import keras
import pytest
from taught_models import tiny

from unetlab.models.scratch import scratch_unet
from unetlab.service.exports import FORMATS
from unetlab.service.exports.card import card
from unetlab.service.exports.network import Trained, trained


def test_a_file_of_squares(store):
    network = trained(tiny())
    page = card(FORMATS["onnx"], "int8", "models:/m-1", network, network.shape(FORMATS["onnx"]))
    assert page["input"] == {
        "name": "image",
        "shape": [1, 32, 32, 3],
        "dtype": "float32",
        "range": [0.0, 1.0],
        "channels": ["red", "green", "blue"],
    }
    assert page["output"]["shape"] == [1, 32, 32, 1] and page["output"]["channels"] == ["foreground"]
    assert (page["file"], page["precision"], page["model"]) == ("model.onnx", "int8", "models:/m-1")
    assert "squeezed to 32 x 32" in page["before"]["size"] and page["before"]["normalisation"].endswith("by 255")
    assert page["after"]["threshold"] == 0.5


def test_a_network_that_learnt_from_certain_channels_says_which(store):
    network = trained(tiny())
    pages = {
        told: card(FORMATS["onnx"], "float32", "m", network, (1, 32, 32, 3), told) for told in ("", "4,1,2", "1-3")
    }
    assert pages[""]["before"]["channels"] == "those of the file"
    assert pages["4,1,2"]["input"]["channels"] == [f"channel {k} of the file" for k in (4, 1, 2)]
    assert "channels=4,1,2 of the file, counted from 1" in pages["4,1,2"]["before"]["channels"]
    one = card(FORMATS["onnx"], "float32", "m", network, (1, 32, 32, 1), "2")
    assert one["input"]["channels"] == ["channel 2 of the file"]


@pytest.mark.parametrize("name", ["onnx", "litert"])
def test_a_file_of_patches_says_which_sizes_it_takes(store, name):
    network = trained(tiny(view="patches", scale=0.5, normalise="percentile", channels=1))
    page = card(FORMATS[name], "float32", "m", network, network.shape(FORMATS[name]))
    assert page["input"]["channels"] == ["grey"] and "percentiles 1 and 99.8 over" in page["before"]["normalisation"]
    assert "0.5 times its size" in page["before"]["size"]
    if name == "onnx":
        assert page["input"]["shape"] == [1, None, None, 1] and page["input"]["multiple_of"] == 32
        assert "multiple of 32" in page["before"]["size"]
    else:
        assert page["input"]["shape"] == [1, 64, 64, 1] and "multiple_of" not in page["input"]
        assert "overlapping tiles" in page["before"]["size"]


def test_channels_of_heads_and_of_classes_have_their_names(store):
    network = trained(tiny())
    two = Trained(network.file, scratch_unet((32, 32, 3), filters=2, depth=1, heads=1), network.recipe)
    channels = card(FORMATS["onnx"], "float32", "m", two, (1, 32, 32, 3))["output"]["channels"]
    assert channels == ["foreground", "what parts objects (border or distance)"]
    inputs = keras.Input((32, 32, 3))
    three = keras.Model(inputs, keras.layers.Conv2D(3, 1, activation="softmax")(inputs))
    recipe = type(network.recipe)(**{**vars(network.recipe), "classes": ["pan", "egg"]})
    page = card(FORMATS["onnx"], "float32", "m", Trained(network.file, three, recipe), (1, 32, 32, 3))
    assert page["after"]["threshold"] is None  # the likeliest is the answer
    assert page["output"]["channels"] == ["background", "pan", "egg"] and page["output"]["shape"] == [1, 32, 32, 3]
