"""Losses against arithmetic done by hand."""

import numpy as np
import pytest

from unetlab.training.losses import accuracy, dice, get_loss

TRUTH = np.array([[1, 1], [0, 0]], np.float32).reshape(1, 2, 2, 1)
HALF = np.full((1, 2, 2, 1), 0.5, np.float32)


def test_soft_dice_of_a_half_sure_prediction():
    # 2 * (0.5 + 0.5) / (2 + 2) = 0.5
    assert float(dice(TRUTH, HALF)[0]) == pytest.approx(0.5, abs=1e-4)


def test_soft_dice_is_a_mean_over_images_and_two_empty_masks_score_1():
    empty = np.zeros_like(TRUTH)
    both = float(np.mean(dice(np.concatenate([TRUTH, empty]), np.concatenate([HALF, empty]))))
    assert both == pytest.approx((0.5 + 1) / 2, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bce", np.log(2)),
        ("dice", 0.5),
        ("bce_dice", np.log(2) + 0.5),
        ("focal", 0.25 * np.log(2)),  # (1 - p)^2 * -log(p) at p = 0.5
    ],
)
def test_losses_of_a_half_sure_prediction(name, expected):
    assert float(np.mean(get_loss(name)(TRUTH, HALF))) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", ["bce", "dice", "bce_dice", "focal"])
def test_a_perfect_prediction_costs_next_to_nothing(name):
    assert float(np.mean(get_loss(name)(TRUTH, TRUTH))) < 1e-4


@pytest.mark.parametrize("name", ["bce", "dice", "bce_dice", "focal"])
def test_pixels_nobody_knows_count_in_no_loss(name):
    unsure = np.array([[1, 255], [0, 255]], np.float32).reshape(1, 2, 2, 1)
    known = np.array([[0.8], [0.3]], np.float32).reshape(1, 2, 1, 1)
    guess, other = (np.concatenate([known, np.full_like(known, value)], axis=2) for value in (0.1, 0.9))
    losses = [float(get_loss(name)(unsure, prediction)[0]) for prediction in (guess, other)]
    assert losses[0] == pytest.approx(losses[1])
    assert losses[0] == pytest.approx(float(get_loss(name)(unsure[:, :, :1], known)[0]), abs=1e-4)


def test_accuracy_is_over_known_pixels():
    unsure = np.array([[1, 255], [0, 255]], np.float32).reshape(1, 2, 2, 1)
    assert float(accuracy(unsure, np.ones_like(unsure))[0]) == 0.5
