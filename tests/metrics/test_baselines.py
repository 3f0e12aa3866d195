"""Otsu's threshold on images whose answer is plain."""

import numpy as np
import pytest

from unetlab.images.otsu import otsu_mask
from unetlab.metrics.baselines import all_background_accuracy, otsu_masks


def square(ground: int, inside: int) -> tuple[np.ndarray, np.ndarray]:
    """A 6 x 8 grey image with a 3 x 3 square, and the square's mask."""
    image = np.full((6, 8, 1), ground, dtype=np.uint8)
    image[1:4, 2:5] = inside
    mask = np.zeros((6, 8), dtype=bool)
    mask[1:4, 2:5] = True
    return image, mask


@pytest.mark.parametrize(("ground", "inside"), [(20, 200), (200, 20), (3, 4), (0, 255)])
def test_foreground_is_the_smaller_side(ground, inside):
    image, mask = square(ground, inside)
    assert np.array_equal(otsu_mask(image), mask)


def test_of_equal_sides_the_brighter():
    image = np.array([[[10], [200]]] * 4, dtype=np.uint8)
    assert otsu_mask(image).tolist() == [[False, True]] * 4


@pytest.mark.parametrize("value", [0, 130, 255])
def test_flat_image_is_background(value):
    assert not otsu_mask(np.full((5, 5, 3), value, dtype=np.uint8)).any()


def test_colour_is_cut_by_luma():
    # Luma of pure green is 150, of pure blue 29: a green square on blue is bright.
    image = np.zeros((6, 8, 3), dtype=np.uint8)
    image[..., 2] = 255
    image[1:4, 2:5] = (0, 255, 0)
    assert np.array_equal(otsu_mask(image), square(0, 1)[1])


def test_stack_scores_like_probabilities():
    images = np.stack([square(20, 200)[0], square(200, 20)[0], square(7, 7)[0]])
    masks = otsu_masks(images)
    assert masks.dtype == np.float32 and masks.shape == (3, 6, 8)
    assert masks.sum(axis=(1, 2)).tolist() == [9, 9, 0]


def test_all_background_accuracy():
    masks = np.zeros((2, 2, 5), dtype=np.uint8)
    masks[0, 0] = 1
    assert all_background_accuracy(masks) == 0.75
