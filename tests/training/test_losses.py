"""Losses against arithmetic done by hand."""

import numpy as np
import pytest
import tensorflow as tf

from unetlab.data.classes import UNKNOWN
from unetlab.setup import Recipe
from unetlab.training import losses
from unetlab.training.losses import LOSSES, accuracy, dice, get_loss

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
        ("tversky", 0.5),  # 1 - 1 / (1 + 0.3 * 1 + 0.7 * 1)
    ],
)
def test_losses_of_a_half_sure_prediction(name, expected):
    assert float(np.mean(get_loss(name)(TRUTH, HALF))) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", LOSSES)
def test_a_perfect_prediction_costs_next_to_nothing(name):
    assert float(np.mean(get_loss(name)(TRUTH, TRUTH))) < 1e-4


@pytest.mark.parametrize("name", LOSSES)
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


def test_an_option_changes_its_loss_and_no_other():
    # at p = 0.5 the focal loss is 0.5^gamma * log 2
    assert float(np.mean(get_loss("focal", {"gamma": 1.0})(TRUTH, HALF))) == pytest.approx(0.5 * np.log(2), abs=1e-4)
    assert get_loss("bce", {"gamma": 1.0}) is get_loss("bce")
    default = float(np.mean(get_loss("focal", {"alpha": 1.0})(TRUTH, HALF)))
    assert default == pytest.approx(0.25 * np.log(2), abs=1e-4)


def _cost_and_gradient(name: str, options: dict[str, float], truth: np.ndarray, guess: np.ndarray):
    with tf.GradientTape() as tape:
        prediction = tf.Variable(guess)
        cost = get_loss(name, options)(truth, prediction)
    return cost.numpy(), tape.gradient(cost, prediction).numpy()


def test_tversky_of_equal_halves_is_soft_dice_in_value_and_gradient():
    rng = np.random.default_rng(0)
    truth = rng.choice([0, 1, UNKNOWN], (4, 8, 8, 1)).astype(np.float32)
    truth[3] = 0
    guess = rng.random(truth.shape, dtype=np.float32)
    halves = _cost_and_gradient("tversky", {"alpha": 0.5, "beta": 0.5}, truth, guess)
    for ours, theirs in zip(halves, _cost_and_gradient("dice", {}, truth, guess), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    assert not halves[1][truth == UNKNOWN].any() and halves[1][truth <= 1].any()


def test_tversky_s_alpha_weighs_what_is_falsely_found_and_beta_what_is_missed():
    found_too_much, missed = np.ones_like(TRUTH), TRUTH * np.array([1, 0], np.float32).reshape(1, 1, 2, 1)
    tversky = get_loss("tversky", {"alpha": 0.2, "beta": 0.9})
    assert float(tversky(TRUTH, found_too_much)[0]) == pytest.approx(1 - 2 / (2 + 0.2 * 2), abs=1e-4)
    assert float(tversky(TRUTH, missed)[0]) == pytest.approx(1 - 1 / (1 + 0.9 * 1), abs=1e-4)


def test_the_loss_of_a_head_counts_borders_and_leaves_unknown_pixels_out():
    recipe = Recipe(image_size=4, channels=1, epochs=1, batch_size=1, objects="border")
    loss = losses.of_recipe(recipe)
    truth = np.zeros((1, 4, 4, 2), np.float32)
    truth[0, 1, 1, 1] = 1.0
    found = np.full((1, 4, 4, 2), 0.5, np.float32)
    half = np.log(2)
    # the mask's cross-entropy, and that of 15 pixels once and of one ten times
    assert float(loss(truth, found)[0]) == pytest.approx(half + half * (15 + 10) / 16, rel=1e-5)
    truth[0, 1, 1, 0] = UNKNOWN
    assert float(loss(truth, found)[0]) == pytest.approx(2 * half, rel=1e-5)
    distance = losses.of_recipe(recipe.changed({"objects": "distance"}))
    assert float(distance(truth, found)[0]) == pytest.approx(2 * half, rel=1e-5)


def test_pixels_between_objects_weigh_more():
    recipe = Recipe(image_size=4, channels=1, epochs=1, batch_size=1, border_weight=3.0)
    truth = np.zeros((1, 4, 4, 2), np.float32)
    truth[0, 0, 0, 1] = 1.0
    found = np.full((1, 4, 4, 1), 0.5, np.float32)
    assert float(losses.of_recipe(recipe)(truth, found)[0]) == pytest.approx(np.log(2) * (1 + 3 / 16), rel=1e-5)
