"""The network of a logged model, and the same network for other sizes."""

import keras
import mlflow
import numpy as np
import pytest
from conftest import brightness_model
from taught_models import tiny

from unetlab.errors import UserError
from unetlab.inference import tiles
from unetlab.models.scratch import scratch_unet
from unetlab.service.exports import FORMATS
from unetlab.service.exports.network import any_size, tiled_as, traced, trained


def nested(side: int) -> keras.Model:
    """A U-Net inside a network, as encoders are."""
    inner = scratch_unet((side, side, 3), filters=2, depth=1)
    inputs = keras.Input((side, side, 3))
    return keras.Model(inputs, keras.layers.Conv2D(1, 1, activation="sigmoid")(inner(inputs)))


def test_the_same_network_takes_other_sizes_and_answers_the_same_at_its_own():
    keras.utils.set_random_seed(0)
    own, few = nested(16), np.random.default_rng(0).random((2, 16, 16, 3), np.float32)
    free = any_size(own)
    np.testing.assert_array_equal(free(few), own(few))
    assert free(np.zeros((1, 32, 8, 3), np.float32)).shape == (1, 32, 8, 1)
    assert own.input_shape == (None, 16, 16, 3)  # left as it was


def test_a_logged_network_is_the_one_that_was_logged(store):
    found = trained(tiny(channels=1))
    given = np.full((3, 32, 32, 1), 0.6, np.float32)
    np.testing.assert_array_equal(found.model(given), brightness_model(32, 1)(given))
    np.testing.assert_allclose(traced(found.model, (1, 32, 32, 1))(given), found.model(given), atol=1e-6)
    assert (found.recipe.view, found.recipe.threshold, found.file.suffix) == ("whole", 0.5, ".keras")


def test_what_a_file_takes_follows_view_and_format(store):
    whole, patches = trained(tiny()), trained(tiny(view="patches"))
    assert {whole.shape(row) for row in FORMATS.values()} == {(1, 32, 32, 3)}
    assert patches.shape(FORMATS["onnx"]) == (1, None, None, 3)
    assert patches.shape(FORMATS["litert"]) == (1, 64, 64, 3)  # tiles of 32 could not overlap
    recipe, tile = tiled_as(patches.recipe, (1, 64, 64, 3))
    assert (recipe.image_size, tile) == (64, 64)
    assert tiled_as(patches.recipe, (1, None, None, 3)) == (patches.recipe, tiles.TILE)


def test_options_newer_than_a_model_have_their_default(store, tmp_path):
    folder = mlflow.artifacts.download_artifacts(artifact_uri=tiny(), dst_path=str(tmp_path))
    settings = tmp_path / "artifacts" / "settings.json"
    settings.write_text(settings.read_text().replace('"tta": 0, ', ""))
    assert trained(folder).recipe.tta == 0


def test_a_folder_without_its_network_is_one_line(store, tmp_path):
    folder = mlflow.artifacts.download_artifacts(artifact_uri=tiny(), dst_path=str(tmp_path))
    (tmp_path / "artifacts" / "model.keras").write_bytes(b"no zip")
    with pytest.raises(UserError, match="holds no network as unetlab logs it"):
        trained(folder)
