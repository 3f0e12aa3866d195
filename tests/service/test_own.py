"""The images of a model's own run, found again."""

import shutil

import mlflow
import numpy as np
import pytest
from conftest import write_pairs
from taught_models import tiny, with_split

from unetlab.errors import UserError
from unetlab.service.own import own_images
from unetlab.service.predict import load
from unetlab.service.seen import origin


def whence(model):
    return origin(load(model))


def test_each_image_is_on_the_side_on_which_the_run_had_it(store, pairs):
    own = own_images(whence(with_split(pairs, "train validation test")))
    assert own.train.tolist() == [0, 3, 6, 9] and own.test.tolist() == [2, 5, 8, 11] and own.missing == 0
    assert own.scenes.tolist() == [1, 2, 4, 5]


def test_images_are_known_by_their_pixels_wherever_they_lie_and_whatever_they_are_called(store, pairs, tmp_path):
    model = whence(with_split(pairs, "train test"))
    moved = tmp_path / "moved"
    shutil.move(pairs, moved)
    for folder in ("images", "masks"):
        (moved / folder / "cell01.png").rename(moved / folder / "other.png")
        (moved / folder / "cell03.png").unlink()
    with pytest.raises(UserError, match="^the images of the model's run: .*; data=... says where they lie now$"):
        own_images(model)
    own = own_images(model, str(moved))
    assert own.missing == 1 and len(own.train) == 6
    assert {own.dataset.ids[row] for row in own.test} == {"other", "cell05", "cell07", "cell09", "cell11"}


def test_other_images_are_not_taken_for_them(store, pairs, tmp_path):
    model = whence(with_split(pairs, "train test"))
    others = str(write_pairs(tmp_path / "others", 4, seed=9))
    with pytest.raises(UserError, match="none of the 4 images is one that the model was tested on"):
        own_images(model, others)


def test_without_masks_nothing_can_be_measured(store, pairs, tmp_path):
    model, bare = whence(with_split(pairs, "train test")), tmp_path / "bare"
    shutil.copytree(pairs / "images", bare)
    with pytest.raises(UserError, match="no masks, so what an export loses cannot be measured"):
        own_images(model, str(bare))


def test_a_run_that_is_not_here_is_one_line(store):
    with pytest.raises(UserError, match="is not in this tracking store, .*set MLFLOW_TRACKING_URI"):
        own_images(whence(tiny()))


def test_runs_that_kept_no_pixels_go_by_names(store, pairs):
    model = whence(with_split(pairs, "train test"))
    older = model.sides.drop(columns=["sha", "group"])
    own = own_images(type(model)(model.model_id, model.run_id, model.setup, model.tags, older))
    np.testing.assert_array_equal(own.test, np.arange(1, 12, 2))
    assert own.scenes is None and mlflow.active_run() is None
