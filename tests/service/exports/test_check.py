"""What an exported network is said to lose."""

import numpy as np
import pytest
from conftest import encoded
from taught_models import of_before, with_split

from unetlab.errors import UserError
from unetlab.service.exports import FORMATS
from unetlab.service.exports.card import card
from unetlab.service.exports.check import CALIBRATION, calibration_images, loss
from unetlab.service.exports.network import trained
from unetlab.service.loading import load, predictor_of
from unetlab.service.own import own_images
from unetlab.service.seen import origin


def opened(pairs, sides="train test", **changes):
    model = with_split(pairs, sides, **changes)
    return trained(model), own_images(origin(load(model)))


@pytest.mark.parametrize("changes", [{}, {"view": "patches", "scale": 2.0, "tta": 4, "normalise": "percentile"}])
def test_the_same_network_loses_nothing_and_one_that_answers_less_does(store, pairs, changes):
    network, own = opened(pairs, **changes)
    shape = (1, 64, 64, 3) if changes else (1, 32, 32, 3)
    seen = []

    def same(images):
        seen.append(images.shape[1:])
        return np.asarray(network.model(images))

    found = loss(network, same, shape, own)
    assert set(seen) == {shape[1:]}  # in patches of 80 pixels too
    assert found.mean == 0 and found.largest < 1e-6 and found.scenes == 6 and len(found.table) == 6
    assert (found.table["dice"] > 0.8).all() or changes

    def less(images):
        answer = same(images).copy()
        answer[:, :, ::2] = 0
        return answer

    found = loss(network, less, shape, own)
    assert 0.02 < found.low <= found.mean <= found.high == found.worst and found.largest > 0.5
    assert f"{found.mean:+.4f} (95 % " in str(found) and "6 test images of 6 scenes" in str(found)


def test_one_scene_has_no_interval_and_its_mean_counts(store, pairs):
    network, own = opened(pairs, "test test train train train train train train train train train train")
    found = loss(network, lambda images: np.asarray(network.model(images)) * 0, (1, 32, 32, 3), own)
    assert np.isnan(found.high) and found.worst == found.mean > 0.5 and found.scenes == 1


def test_calibration_images_are_training_images_as_the_network_sees_them(store, pairs):
    network, own = opened(pairs, "train validation test", normalise="percentile")
    found = calibration_images(network, own, (1, 32, 32, 3))
    assert len(found) == len(own.train) == 4 <= CALIBRATION
    assert {each.shape for each in found} == {(1, 32, 32, 3)} and found[0].dtype == np.float32
    assert all(each.min() == 0 and each.max() == 1 for each in found)  # percentiles of the image


def test_calibration_images_of_patches_are_tiles_of_the_size_that_a_file_takes(store, pairs):
    network, own = opened(pairs, view="patches", scale=3.0, tta=8)
    assert {each.shape for each in calibration_images(network, own, (1, None, None, 3))} == {(1, 64, 64, 3)}
    assert {each.shape for each in calibration_images(network, own, (1, 96, 96, 3))} == {(1, 96, 96, 3)}


def test_int8_without_training_images_is_one_line(store, pairs):
    network, own = opened(pairs, "validation test")
    with pytest.raises(UserError, match="^precision=int8 wants images to calibrate on, and none of these are training"):
        calibration_images(network, own, (1, 32, 32, 3))


def write_colours(folder, names="value,name\n1,pan\n2,egg\n"):
    """Six images of a red and a green square on black, their classes in the masks."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for i in range(6):
        index = np.zeros((40, 40), np.uint8)
        index[4:16, 2 + i : 20], index[24:36, 20 : 38 - i] = 1, 2
        image = np.stack([index == 1, index == 2, index == 3], axis=-1) * np.uint8(255)
        (folder / "images" / f"{i}.png").write_bytes(encoded(image))
        (folder / "masks" / f"{i}.png").write_bytes(encoded(index))
    (folder / "classes.csv").write_text(names)
    return folder


def test_of_classes_the_mean_over_them_is_compared(store, tmp_path):
    network, own = opened(write_colours(tmp_path / "colours"), classes=["egg", "pan"])
    swapped = [0, 2, 1]  # the model has its classes in another order than the data: red is egg to it

    def right(images):
        return np.asarray(network.model(images))[..., swapped]

    found = loss(network, right, (1, 32, 32, 3), own)
    assert (found.table["dice"] > 0.9).all() and (found.table["keras_dice"] < 0.1).all()

    def blind(images):
        answer = right(images).copy()
        answer[..., 1] = 0  # one class of two is never found
        return answer

    assert loss(network, blind, (1, 32, 32, 3), own).table["dice"].mean() == pytest.approx(0.5)


def test_masks_that_do_not_show_the_classes_are_one_line(store, tmp_path):
    folder = write_colours(tmp_path / "colours", "value,name\n1,pan\n2,cup\n")
    network, own = opened(folder, classes=["pan", "egg"])
    with pytest.raises(UserError, match="the model tells pan, egg apart and the masks show pan, cup; give"):
        loss(network, network.model, (1, 32, 32, 3), own)


def test_an_export_has_the_levels_of_the_copy_that_its_model_travels_with(store, pairs, tmp_path):
    address = with_split(pairs, "train test", normalise="percentile", objects="watershed")
    before = of_before(address, tmp_path)
    now, own = opened(pairs, "train test", normalise="percentile")
    predictor = predictor_of(load(before))
    network = trained(before, type(predictor))
    said = card(FORMATS["onnx"], "float32", "m", network, (1, 32, 32, 3))["before"]["normalisation"]
    assert "percentiles 20 and 80" in said
    old, new = (calibration_images(each, own, (1, 32, 32, 3))[0] for each in (network, now))
    assert (old == 0).mean() > 0.15 and (new == 0).mean() < 0.1
