"""Where an encoder's weights come from, and which are refused."""

import functools
import http.server
import logging
import os
import threading
import warnings
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format

from experiments import load_setup
from unetlab.errors import UserError
from unetlab.models import NETWORKS
from unetlab.models.scratch import scratch_unet
from unetlab.models.weights import resolve_weights

NUCLEI = load_setup("nuclei")
mobilenet_unet = NETWORKS["mobilenet"].build


def _real_weights() -> str:
    folder = os.environ.get("UNETLAB_DATA")
    if not folder:
        pytest.skip("UNETLAB_DATA is not set")
    return str(Path(folder) / "weights" / "mobilenet_v2_1.0_no_top.weights.h5")


def test_real_imagenet_weights_are_taken_from_a_file():
    path = _real_weights()
    assert resolve_weights(path, NUCLEI) == str(Path(path).resolve())
    kernel = mobilenet_unet((64, 64, 3), weights=path).get_layer("encoder").get_layer("Conv1").get_weights()[0]
    other = mobilenet_unet((64, 64, 3), weights=path).get_layer("encoder").get_layer("Conv1").get_weights()[0]
    assert np.array_equal(kernel, other)


def test_a_missing_weights_file_is_named():
    with pytest.raises(UserError, match=r"no file .*nowhere\.h5; allowed are auto, imagenet, none"):
        resolve_weights("/nowhere.h5", NUCLEI)


def test_weights_of_another_model_are_refused(tmp_path):
    path = tmp_path / "other.weights.h5"
    keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2)]).save_weights(path)
    with pytest.raises(UserError, match=r"other\.weights\.h5 does not fit the encoder of nuclei"):
        resolve_weights(str(path), NUCLEI)


def test_weights_of_a_whole_other_network_are_one_line(tmp_path):
    path = tmp_path / "unet.weights.h5"
    scratch_unet((32, 32, 3), filters=4, depth=2).save_weights(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserError, match=r"unet\.weights\.h5 does not fit the encoder of nuclei"):
            resolve_weights(str(path), NUCLEI)


@pytest.fixture
def unreachable(monkeypatch, tmp_path):
    """Keras looks for weights in an empty cache and on a server that does not answer."""
    monkeypatch.setattr("keras.applications.mobilenet_v2.BASE_WEIGHT_PATH", "http://127.0.0.1:9/", raising=False)
    monkeypatch.setattr("keras.src.applications.mobilenet_v2.BASE_WEIGHT_PATH", "http://127.0.0.1:9/")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path), raising=False)


def test_imagenet_without_a_network_fails_clearly(unreachable):
    with pytest.raises(UserError, match="could not be fetched"):
        resolve_weights("imagenet", NUCLEI)


def test_imagenet_weights_are_fetched_once_for_all_sizes(unreachable, tmp_path, monkeypatch):
    served, asked = tmp_path / "served", []
    served.mkdir()
    model = keras.applications.MobileNetV2((128, 128, 3), 1.0, False, None)
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_128_no_top.h5"
    with h5py.File(served / name, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            asked.append(self.path)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(served)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/"
    monkeypatch.setattr("keras.src.applications.mobilenet_v2.BASE_WEIGHT_PATH", address)
    try:
        assert resolve_weights("auto", NUCLEI) == "imagenet"
    finally:
        server.shutdown()
        server.server_close()
    assert asked == [f"/{name}"]
    for size in (64, 96):
        encoder = mobilenet_unet((size, size, 3), weights="imagenet", decoder_filters=16).get_layer("encoder")
        assert np.array_equal(encoder.get_layer("Conv1").get_weights()[0], model.get_layer("Conv1").get_weights()[0])


def test_auto_without_a_network_says_so_loudly_and_goes_on(unreachable, caplog):
    caplog.set_level(logging.WARNING, "unetlab.models.weights")  # whatever other libraries have done to the root's
    assert resolve_weights("auto", NUCLEI) is None
    assert "NO IMAGENET WEIGHTS" in caplog.text


def test_a_setup_without_an_encoder_needs_no_weights():
    assert resolve_weights("auto", load_setup("nuclei-scratch")) is None
    with pytest.raises(UserError, match="no file"):
        resolve_weights("/nowhere.h5", load_setup("nuclei-scratch"))
