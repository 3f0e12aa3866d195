"""The boundary score: what a boundary is, and how far off it may be."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from benchmarks.scoring import plain_boundary_f1
from unetlab.metrics import boundary


@pytest.mark.parametrize(("row", "column", "expected"), [(5, 7, 1.0), (6, 6, 1.0), (5, 8, 0.0), (6, 7, 0.0)])
def test_boundary_tolerance_is_two_pixels_in_a_straight_line(row, column, expected):
    truth, predicted = np.zeros((2, 1, 12, 12), dtype=bool)
    truth[0, 5, 5] = predicted[0, row, column] = True  # a step of (1, 2) is the square root of 5 long
    assert boundary.boundary_f1(predicted, truth)[0] == expected


def test_boundary_f1_by_hand():
    # The edge of a 3 x 3 square is its 8 outer pixels; the prediction finds them all and adds a far pixel:
    # precision 8 / 9, recall 1.
    truth = np.zeros((1, 12, 12), dtype=bool)
    truth[0, 1:4, 1:4] = True
    predicted = truth.copy()
    predicted[0, 10, 10] = True
    assert boundary.boundary_f1(predicted, truth)[0] == pytest.approx(2 * (8 / 9) / (8 / 9 + 1))


def test_masks_without_a_boundary_agree_or_not():
    full = np.ones((1, 8, 8), dtype=bool)
    assert boundary.boundary_f1(full, full)[0] == 1.0
    assert boundary.boundary_f1(full, ~full)[0] == boundary.boundary_f1(~full, full)[0] == 0.0


def test_the_image_s_frame_is_no_boundary():
    half = np.zeros((1, 128, 128), dtype=bool)
    half[:, :, :60] = True
    far, near = np.roll(half, 20, axis=2), np.roll(half, 2, axis=2)
    far[:, :, :20] = near[:, :, :2] = True
    assert boundary.boundary_f1(far, half)[0] == 0.0  # counting the frame, 0.6
    assert boundary.boundary_f1(near, half)[0] == 1.0
    assert boundary.boundary_f1(np.ones_like(half), half)[0] == 0.0  # no line drawn at all
    inset = half.copy()
    inset[:, 0] = False  # foreground that ends one pixel before the frame does end there
    assert 0.6 < boundary.boundary_f1(half, inset)[0] < 1.0


def test_the_edge_of_unknown_ground_is_no_boundary():
    truth, known = np.zeros((1, 40, 40), bool), np.ones((1, 40, 40), bool)
    known[:, 9:31, 9:31] = False
    known[:, 10:30, 10:30] = True  # a ring that nobody knows
    truth[:, 10:30, 10:30] = True
    assert boundary.boundary_f1(known.copy(), truth, known)[0] == 0.0  # all foreground draws no line
    assert boundary.boundary_f1(truth, truth, known)[0] == 1.0
    inside = np.zeros_like(truth)
    inside[:, 15:25, 15:25] = True
    assert boundary.boundary_f1(inside, truth, known)[0] == 0.0
    assert boundary.boundary_f1(inside, truth)[0] == boundary.boundary_f1(inside, truth, np.ones_like(known))[0]


@pytest.mark.parametrize("height, width", [(1, 1), (1, 2), (2, 1), (2, 63), (3, 64), (64, 65), (40, 129), (129, 3)])
def test_packed_words_say_what_erosion_and_dilation_say(height, width):
    rng = np.random.default_rng(height * width)
    noise = rng.random((6, height, width))
    smooth = gaussian_filter(noise, (0, 2, 2)) > 0.5
    blank = np.zeros_like(smooth)
    stacks = [noise < 0.5, noise < 0.03, noise > 0.03, smooth, np.roll(smooth, 2, axis=2), blank, ~blank]
    for predicted in stacks:
        for truth in stacks:
            found = boundary.boundary_f1(predicted, truth)
            assert found.dtype == np.float64 and np.array_equal(found, plain_boundary_f1(predicted, truth))


def test_no_image_at_all_has_no_score():
    assert boundary.boundary_f1(np.zeros((0, 4, 4), bool), np.zeros((0, 4, 4), bool)).shape == (0,)
