"""What an exported network is said to lose."""

import numpy as np
import pytest
from taught_models import with_split

from unetlab.errors import UserError
from unetlab.service.exports.check import CALIBRATION, calibration_images, loss
from unetlab.service.exports.network import trained
from unetlab.service.own import own_images
from unetlab.service.predict import load
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
