"""Test-time augmentation."""

import numpy as np
import pytest

from unetlab.inference.symmetries import SYMMETRIES, turn, turn_back, with_symmetries


@pytest.mark.parametrize("tta", [4, 8])
def test_symmetries_differ_and_are_undone(tta):
    image = np.arange(2 * 3 * 5).reshape(1, 2, 3, 5)
    turned = {turn(image, symmetry).tobytes() + bytes(turn(image, symmetry).shape) for symmetry in SYMMETRIES[tta]}
    assert len(turned) == tta
    assert all(np.array_equal(turn_back(turn(image, s), s), image) for s in SYMMETRIES[tta])


@pytest.mark.parametrize("tta", [4, 8])
def test_the_mean_does_not_depend_on_how_the_image_lies(tta):
    ramp = np.linspace(0, 1, 6)[:, None, None]

    def lopsided(images):  # what it says depends on the row and the column
        rows = np.broadcast_to(ramp[: images.shape[1]], images.shape[1:])
        return images * (1 + rows + 0.5 * np.arange(images.shape[2])[:, None])

    images = np.random.default_rng(0).random((2, 6, 4, 1)).astype(np.float32)
    averaged = with_symmetries(lopsided, tta)
    flipped = averaged(images[:, ::-1])[:, ::-1]
    assert np.allclose(averaged(images), flipped)
    assert not np.allclose(lopsided(images), lopsided(images[:, ::-1])[:, ::-1])


def test_none_is_the_network_itself():
    assert with_symmetries(abs, 0) is abs
