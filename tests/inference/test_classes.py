"""What a model of classes answers: the likeliest class of each pixel, and objects that carry a class."""

import io
import json
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import pandas as pd
import pytest
from conftest import encoded, log_tiny
from mlflow.exceptions import MlflowException
from PIL import Image

from unetlab.images import codecs, geometry, view
from unetlab.images.palette import colours
from unetlab.inference.objects import instances_of_classes
from unetlab.inference.predict import Predictor, classes_at

NAMES = ["nuclei", "debris"]


def scene(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (h, w, 3) and its classes: a red square, a green one that touches it, another green one apart."""
    classes = np.zeros((height, width), np.uint8)
    classes[height // 8 : height // 2, width // 8 : width // 2] = 1
    classes[height // 8 : height // 2, width // 2 : width * 3 // 4] = 2
    classes[height * 5 // 8 : height * 7 // 8, width // 8 : width * 3 // 4] = 2
    image = np.zeros((height, width, 3), np.uint8)
    image[classes == 1, 0] = image[classes == 2, 1] = 255
    return image, classes


def softmax(images):
    """Of what is red and what is green, over a background that is everywhere alike."""
    logits = 20 * np.stack([np.full(images.shape[:-1], 0.5), images[..., 0], images[..., 1]], axis=-1)
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (shares / shares.sum(axis=-1, keepdims=True)).astype(np.float32)


def recipe(**changes):
    own = {"image_size": 32, "channels": 3, "normalise": "scale", "threshold": 0.5, "view": "patches", "scale": 1.0}
    own |= {"tta": 0, "objects": "components", "seeds": 0.0, "least_object": 0, "confidence": 0.0, "classes": NAMES}
    return SimpleNamespace(**{**own, **changes})


def answers(info, *images: bytes, **params) -> pd.DataFrame:
    segmenter = mlflow.pyfunc.load_model(info.model_uri)
    return segmenter.predict(pd.DataFrame({"image": list(images)}), params=params or None)


@pytest.mark.parametrize("tta", [0, 8])
@pytest.mark.parametrize("size", [(40, 56), (1100, 600), (8, 16)])
def test_classes_of_patches_are_those_of_the_image_in_one_piece_and_in_tiles(size, tta):
    image, truth = scene(*size)
    (answer,) = Predictor(softmax, recipe(tta=tta)).answers([image], threshold=1.0)  # which does not apply
    assert answer.classes.dtype == np.uint8 and np.array_equal(answer.classes, truth)
    assert np.array_equal(answer.mask, truth > 0) and np.array_equal(answer.labels > 0, truth > 0)
    assert answer.object_classes.tolist() == [0, 1, 2, 2]
    assert np.array_equal(answer.object_classes[answer.labels], truth)


@pytest.mark.parametrize("seen", ["whole", "patches"])
def test_maps_hold_each_class_and_the_mask_is_what_is_no_background(seen):
    own = recipe(view=seen, scale=0.5)
    images = [scene(80, 112)[0], scene(64, 64)[0]]
    maps = Predictor(softmax, own).maps([view.fitted(image, own) for image in images])
    for k, image in enumerate(images):
        assert maps.classes[k].shape == (*view.size_of(image.shape[:2], own), 3) and maps.head is None
        np.testing.assert_allclose(maps.classes[k].sum(axis=-1), 1, atol=1e-5)
        np.testing.assert_allclose(maps.mask[k], 1 - maps.classes[k][..., 0])
        planes = np.moveaxis(maps.classes[k], -1, 0)
        native = np.stack([geometry.resize_map(plane, *image.shape[:2]) for plane in planes], axis=-1)
        assert native.shape == (*image.shape[:2], 3) and native.dtype == np.float32
        assert np.array_equal(native.argmax(axis=-1), classes_at(maps.classes[k], image.shape[:2]))


def test_of_equal_classes_the_first_is_taken():
    assert classes_at(np.full((2, 2, 3), 1 / 3, np.float32), (4, 4)).max() == 0
    assert (classes_at(np.float32([[[0.2, 0.4, 0.4]]]), (1, 1)) == 1).all()


@pytest.mark.parametrize("how", ["components", "watershed"])
def test_objects_are_parted_within_their_class_and_small_ones_left_out(how):
    classes = np.zeros((40, 60), np.uint8)
    classes[5:20, 5:20], classes[5:20, 20:40], classes[30:32, 30:32], classes[25:35, 5:15] = 3, 1, 1, 1
    labels, kinds = instances_of_classes(classes, how, 0.9)
    assert kinds.dtype == np.uint8 and kinds.tolist() == [0, 1, 1, 1, 3]
    assert np.array_equal(kinds[labels], classes)
    labels, kinds = instances_of_classes(classes, how, 0.9, least=10)
    assert kinds.tolist() == [0, 1, 1, 3] and labels[30, 30] == 0
    labels, kinds = instances_of_classes(np.zeros((4, 4), np.uint8), how, 0.9)
    assert kinds.tolist() == [0] and labels.dtype == np.int32 and not labels.any()


def test_a_logged_model_answers_classes_with_colours_names_and_the_class_of_each_object(store):
    info = log_tiny(classes=NAMES)
    image, truth = scene(64, 64)
    table = answers(info, encoded(image), encoded(np.zeros((30, 20), np.uint8)))
    answer, nothing = table.iloc[0], table.iloc[1]
    with Image.open(io.BytesIO(answer["classes"])) as picture:
        assert picture.mode == "P" and picture.size == (64, 64)
        listed = np.array(picture.getpalette("RGB"), np.uint8).reshape(-1, 3)
        found = np.asarray(picture)
        shown = np.asarray(picture.convert("RGB"))
    assert (found != truth).mean() < 0.1 and set(np.unique(found)) == {0, 1, 2}
    assert np.array_equal(listed[:3], colours(2)) and np.array_equal(shown, colours(2)[found])
    assert np.array_equal(codecs.decode_labels(answer["classes"]), found)
    assert np.array_equal(codecs.decode_mask(answer["mask"]), found > 0)
    assert answer["class_names"] == ["background", *NAMES]
    labels = codecs.decode_labels(answer["labels"])
    assert np.array_equal(np.array(answer["object_classes"])[labels], found)
    assert answer["object_count"] == len(answer["object_classes"]) - 1 == 3
    assert nothing["object_classes"] == [0] and nothing["object_count"] == 0
    folder = Path(mlflow.artifacts.download_artifacts(info.model_uri))
    assert json.loads((folder / "artifacts" / "settings.json").read_text())["classes"] == NAMES
    described = mlflow.models.get_model_info(info.model_uri)
    assert described.metadata == {"classes": NAMES}
    assert described.signature.outputs.input_names() == list(table.columns)


def test_a_threshold_is_refused_where_it_does_not_apply(store):
    info = log_tiny(classes=NAMES)
    with pytest.raises(MlflowException, match="likeliest class of each pixel, to which no threshold applies") as caught:
        answers(info, encoded(scene(40, 40)[0]), threshold=0.5)
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"
    assert answers(info, encoded(scene(40, 40)[0]), threshold=-1.0)["object_count"][0] == 3


def test_a_model_of_one_mask_answers_what_it_always_did(store):
    table = answers(log_tiny(), encoded(scene(40, 40)[0]))
    assert list(table.columns) == ["mask", "foreground_fraction", "object_count", "labels"]
