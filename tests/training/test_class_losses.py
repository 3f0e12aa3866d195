"""Losses over classes against arithmetic done by hand, and a training that tells classes apart."""

import numpy as np
import pytest
from small_training import RECIPE, disks

from unetlab.data.classes import UNKNOWN
from unetlab.models.scratch import scratch_unet
from unetlab.setup import Recipe
from unetlab.training import class_losses, losses
from unetlab.training.augment import augment
from unetlab.training.batches import learnt
from unetlab.training.fit import fit
from unetlab.training.patches import Sampler

TRUTH = np.array([[0, 0], [1, 2]], np.float32).reshape(1, 2, 2, 1)
ONES = np.ones(3, np.float32)


def said(*rows):
    """Probabilities (1, 2, 2, 3) of four pixels."""
    return np.array(rows, np.float32).reshape(1, 2, 2, 3)


UNSURE = said(*[[1 / 3] * 3] * 4)
RIGHT = said([1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1])


def of(name, found=UNSURE, truth=TRUTH, weights=ONES, **changes):
    recipe = Recipe(image_size=2, channels=1, epochs=1, batch_size=1, loss=name, classes=2).changed(changes)
    return float(losses.of_recipe(recipe, weights)(truth, found)[0])


@pytest.mark.parametrize("name", sorted(losses.LOSSES))
def test_every_loss_is_least_for_the_truth_and_leaves_unknown_pixels_out(name):
    assert of(name, RIGHT) == pytest.approx(0, abs=1e-4)
    assert of(name) > 0.1
    hidden = TRUTH.copy()
    hidden[0, 0, 1] = UNKNOWN
    wrong = RIGHT.copy()
    wrong[0, 0, 1] = [0, 0, 1]
    assert of(name, wrong, hidden) == pytest.approx(0, abs=1e-4) and of(name, wrong) > 0.1


def test_cross_entropy_and_focal_loss_by_hand():
    assert of("bce") == pytest.approx(np.log(3), abs=1e-5)
    assert of("focal") == pytest.approx((2 / 3) ** 2 * np.log(3), abs=1e-5)
    # background weighs 0.5, the classes 1 and 2: of four pixels (0.5 + 0.5 + 1 + 2) log 3
    assert of("bce", weights=np.float32([0.5, 1, 2])) == pytest.approx(np.log(3), abs=1e-5)
    assert of("bce", weights=np.float32([0.5, 1, 5])) == pytest.approx(7 / 4 * np.log(3), abs=1e-5)


def test_dice_of_classes_is_a_mean_over_those_there_background_among_them():
    # background: 2 (2/3) / (2 + 4/3) = 0.4; each class: 2 (1/3) / (1 + 4/3) = 2/7
    assert of("dice") == pytest.approx(1 - (0.4 + 2 / 7 + 2 / 7) / 3, abs=1e-4)
    alone = np.zeros_like(TRUTH)
    assert of("dice", truth=alone) == pytest.approx(1 - 2 * (4 / 3) / (4 + 4 / 3), abs=1e-4)


def test_gaps_between_objects_weigh_more_in_any_loss():
    gaps = np.concatenate([TRUTH, np.float32([1, 0, 0, 0]).reshape(1, 2, 2, 1)], axis=-1)
    assert of("bce", truth=gaps, border_weight=3.0) == pytest.approx(np.log(3) * (1 + 3 / 4), abs=1e-5)


def test_training_metrics():
    half = said([0.5, 0.5, 0], [1, 0, 0], [0, 0.6, 0.4], [0, 0.6, 0.4])
    assert float(class_losses.accuracy(TRUTH, half)[0]) == 0.75
    one, two = 2 * 0.6 / (1 + 0.5 + 1.2), 2 * 0.4 / (1 + 0.8)
    assert float(class_losses.dice(TRUTH, half)[0]) == pytest.approx((one + two) / 2, abs=1e-4)
    empty = np.zeros_like(TRUTH)
    nothing = said(*[[1, 0, 0]] * 4)
    assert (
        float(class_losses.dice(empty, nothing)[0]) == pytest.approx(1)
        and float(class_losses.dice(empty, half)[0]) < 0.01
    )


def test_class_weights_are_softened_inverse_frequencies_of_known_pixels():
    mask = np.zeros((10, 10, 1), np.uint8)
    mask[0, :9], mask[0, 9], mask[9] = 1, 2, UNKNOWN
    found = class_losses.class_weights([mask], 3)
    share = np.array([80, 9, 1, 0]) / 90
    assert (found * share).sum() == pytest.approx(1)
    assert found[3] == 0 and found[1] / found[0] == pytest.approx(np.sqrt(80 / 9), rel=1e-5)
    assert found[2] / found[0] == pytest.approx(np.sqrt(80), rel=1e-5)
    rare = np.zeros((1000, 1000, 1), np.uint8)
    rare[0, 0] = 1
    weights = class_losses.class_weights([rare], 1)
    assert weights[1] / weights[0] == pytest.approx(class_losses.MOST_WEIGHT, rel=1e-5)


def test_augmentation_keeps_indices_of_classes_that_are_there():
    rng = np.random.default_rng(0)
    masks = np.kron(rng.choice([0, 1, 3, UNKNOWN], (2, 4, 4)), np.ones((8, 8))).astype(np.uint8)[..., None]
    images = rng.integers(0, 255, (2, 32, 32, 3)).astype(np.uint8)
    recipe = RECIPE.changed(
        {"flips": "both", "quarter_turns": True, "rotation": 30.0, "shift": 0.1, "shear": 10.0, "zoom": 0.2}
        | {"scale_jitter": 0.5, "elastic": 0.08, "brightness": 0.3, "blur": 1.0}
    )
    found = augment(images, masks, recipe, rng)[1]
    assert set(np.unique(found)) <= {0, 1, 3, UNKNOWN} and not np.array_equal(found, masks)
    assert set(np.unique(learnt(found))) <= {0.0, 1.0, 3.0, 255.0}


def test_patches_lie_around_rare_classes_as_often_as_around_common_ones():
    mask = np.zeros((400, 400, 1), np.uint8)
    mask[:200], mask[390:, 390:] = 1, 2
    drawn = Sampler([mask], np.array([0]), 0).draw(600, 0.0, np.random.default_rng(0))
    rare = sum(patch.y >= 390 and patch.x >= 390 for patch in drawn)
    assert 70 < rare < 130  # a sixth


@pytest.mark.slow  # a long training
def test_a_network_learns_to_tell_classes_apart():
    images, masks = disks()
    left = masks.copy()
    left[:, :, 8:] *= 2
    images = (left * 90 + np.random.default_rng(0).integers(0, 40, left.shape)).astype(np.uint8)
    recipe = RECIPE.changed({"classes": 2, "epochs": 30, "loss": "bce_dice", "filters": 4, "activation": "elu"})
    found = fit(scratch_unet, recipe, images, left, np.arange(12), np.arange(12, 16), seed=1, precision="float32")

    assert found.model.output_shape == (None, 16, 16, 3) and found.weights.shape == (3,)
    answer = np.asarray(found.model(images[12:].astype(np.float32) / 255))
    np.testing.assert_allclose(answer.sum(axis=-1), 1, atol=1e-5)
    assert (answer.argmax(axis=-1) == left[12:, ..., 0]).mean() > 0.85
    assert found.history["val_dice"].iloc[-1] > found.history["val_dice"].iloc[0]
