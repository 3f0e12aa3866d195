"""Labels made without masks, and what a network is sure of."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import brightness_model
from PIL import Image
from rich.console import Console

from unetlab.data import open_dataset, targets
from unetlab.data.classes import LEANING, UNKNOWN, from_mask
from unetlab.data.dataset import relabelled
from unetlab.jobs import self_training
from unetlab.labels.made import made_labels
from unetlab.setup import Recipe

QUIET = Console(quiet=True)


def test_made_labels_never_look_at_the_masks(pairs):
    given = open_dataset(str(pairs))
    made = made_labels(given, "otsu", QUIET)
    for path in (pairs / "masks").iterdir():
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    other = made_labels(open_dataset(str(pairs)), "otsu", QUIET)
    assert made.ids == given.ids and made.digest == other.digest != given.digest
    assert all(np.array_equal(made.image(i), given.image(i)) for i in range(len(given)))


def test_labels_of_large_fields_say_what_they_may_miss(tmp_path, monkeypatch):
    folder, said = tmp_path / "fields" / "images", io.StringIO()
    folder.mkdir(parents=True)
    for k, side in enumerate((100, 2048, 50)):
        Image.fromarray(np.random.default_rng(k).integers(0, 255, (40, side), dtype=np.uint8)).save(folder / f"{k}.png")
    console = Console(file=said, width=300)
    made_labels(open_dataset(str(folder.parent)), "otsu", console)
    assert not said.getvalue()
    made_labels(open_dataset(str(folder.parent)), "kmeans", console)
    assert "the largest image has 2048: objects narrower than 56 pixels may be missing" in said.getvalue()


def test_label_figures_are_those_of_labels_against_truth(pairs):
    given = open_dataset(str(pairs))
    made = made_labels(given, "otsu", QUIET)
    figures = self_training.label_figures(made, given)
    assert figures["label/known"] == 1.0
    assert figures["label/dice"] == pytest.approx(self_training.label_dice(made, given, np.arange(12)).mean())
    assert self_training.label_dice(given, given, np.arange(3)).tolist() == [1.0, 1.0, 1.0]
    assert "label/dice" not in self_training.label_figures(made, None)


def test_what_the_makers_doubt_counts_as_what_most_of_them_say(pairs):
    given = open_dataset(str(pairs))

    def doubtful(image):
        return np.where(image[:, :, 0] > 110, LEANING, UNKNOWN).astype(np.uint8)

    def sure(image):
        return (image[:, :, 0] > 110).astype(np.uint8)

    doubted = relabelled(given, "doubtful", "doubtful 1", doubtful)
    plain = relabelled(given, "sure", "sure 1", sure)
    rows = np.arange(12)
    assert np.array_equal(self_training.label_dice(doubted, given, rows), self_training.label_dice(plain, given, rows))
    assert self_training.label_figures(doubted, None) == {"label/known": 0.0}


def test_a_round_that_knows_one_class_only_is_told():
    sure = np.array([0, 1, UNKNOWN], np.uint8).reshape(1, 1, 3, 1)
    assert self_training.missing_class(sure) == ""
    assert self_training.missing_class(np.where(sure == 1, UNKNOWN, sure)) == "foreground"
    assert self_training.missing_class(np.where(sure == 0, UNKNOWN, sure)) == "background"


def test_a_round_corrects_labels_where_the_network_is_sure_and_leaves_other_images_alone(pairs):
    data = open_dataset(str(pairs))
    recipe = Recipe(image_size=32, channels=3, epochs=1, batch_size=4)
    rows = np.array([1, 4])
    taught = self_training.corrected_masks(brightness_model(32, 3), recipe, data, rows)
    images, masks = data.fitted(recipe)
    untouched = np.setdiff1d(np.arange(12), rows)
    assert np.array_equal(taught[untouched], masks[untouched])
    brightness = images[rows].mean(axis=3) / 255
    sure = np.log(self_training.SURE / (1 - self_training.SURE)) / 20  # the model's slope is 20
    assert (taught[rows][..., 0][brightness > 0.5 + sure + 0.01] == 1).all()
    assert (taught[rows][..., 0][brightness < 0.5 - sure - 0.01] == 0).all()
    unsure = np.abs(brightness - 0.5) < sure - 0.01
    assert np.array_equal(taught[rows][..., 0][unsure], masks[rows][..., 0][unsure])


def test_labels_are_compared_with_what_is_known_of_the_truth():
    truth = np.array([[1, 1, 0, 0, 255, 255]], np.uint8)
    made = SimpleNamespace(labels=lambda i: np.array([[1, 1, 0, 0, 1, 0]], np.uint8))
    known = SimpleNamespace(objects=lambda i: np.where(truth == 255, 0, truth), known=lambda i: truth != 255)
    assert self_training.label_dice(made, known, np.array([0])).tolist() == [1.0]


@pytest.mark.parametrize("objects", ["distance", "border"])
def test_what_is_learnt_of_objects_is_of_the_corrected_mask(pairs, objects):
    data = open_dataset(str(pairs))
    recipe = Recipe(32, 1, epochs=1, batch_size=4, objects=objects, border_weight=1.0, model={})
    empty = relabelled(data, "empty", "empty 1", lambda image: np.zeros(image.shape[:2], np.uint8))
    (taught,) = self_training.corrected_masks(brightness_model(32, 1), recipe, empty, np.array([0]))[:1]
    assert (taught[..., 0] == 1).any() and not empty.fitted(recipe).masks[0][..., 0].any()
    labels = from_mask(taught[..., 0])
    for channel, name in enumerate((objects, "gaps"), start=1):
        assert np.array_equal(taught[..., channel], targets.TARGETS[name](labels))
