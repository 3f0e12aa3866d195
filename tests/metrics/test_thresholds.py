"""The threshold that is best, and what counts as above one."""

import numpy as np
import pytest
from small_scores import masks_of, random_case, stack

from unetlab.data import targets
from unetlab.inference.objects import METHODS
from unetlab.metrics import thresholds
from unetlab.metrics.table import score_images


def test_best_threshold_by_hand():
    # Between 0.40 and 0.60 both images are perfect; of those 0.5 itself is the middle.
    probabilities = stack([0.9, 0.62, 0.1], [0.7, 0.3, 0.38])
    assert thresholds.best_threshold(probabilities, masks_of([1, 1, 0], [1, 0, 0])) == 0.5
    assert thresholds.best_threshold(stack([0.15, 0.04]), masks_of([1, 0])) == 0.10


def test_best_threshold_agrees_with_scoring_at_each():
    probabilities, masks, ids = random_case()
    masks[0] = 0
    dice = [score_images(probabilities, masks, ids, t)["dice"].mean() for t in thresholds.THRESHOLDS]
    assert thresholds.best_threshold(probabilities, masks) == pytest.approx(thresholds.THRESHOLDS[int(np.argmax(dice))])


def test_values_on_a_threshold_are_below_it():
    grid = thresholds.THRESHOLDS.astype(np.float32)
    masks = (np.arange(19) >= 10).astype(np.uint8)[None, None]
    assert thresholds.best_threshold(grid[None, None], masks) == thresholds.THRESHOLDS[9]


def test_the_number_of_a_method_is_the_one_whose_objects_are_best():
    truth = np.zeros((40, 60), np.uint16)
    truth[5:35, 5:30], truth[5:35, 30:55] = 1, 2
    depth = targets.distance(truth) / np.float32(255)
    # a head that sags to 0.55 between the two, and never falls below 0.45 within one: 0.6 and 0.7 alone part them
    head = np.where(truth > 0, np.maximum(depth, 0.55), 0).astype(np.float32)
    maps = np.stack([(truth > 0) * np.float32(0.8), head], axis=-1)
    assert thresholds.best_seeds([maps], [truth], "distance", 0.5) == (0.6, 1.0)
    assert thresholds.best_seeds(iter([maps, maps]), iter([truth, truth]), "distance", [0.5, 0.7]) == (0.6, 1.0)
    # a threshold that finds nothing in the second image: one of two perfect, and no number better than another
    assert thresholds.best_seeds([maps, maps], [truth, truth], "distance", [0.5, 0.9]) == (0.6, 0.5)
    assert thresholds.best_seeds([maps[..., 0]], [truth], "components", 0.5) == (0.5, 0.0)


def test_of_numbers_that_are_equally_good_the_method_s_own_is_taken():
    truth = np.zeros((40, 60), np.uint16)
    truth[5:35, 5:55] = 1
    for how, method in METHODS.items():
        maps = np.stack([truth, targets.distance(truth) / 255 if how == "distance" else 0 * truth], -1)
        assert thresholds.best_seeds([maps.astype(np.float32)], [truth], how, 0.5) == (method.default, 1.0)


def test_what_is_found_where_nobody_knows_chooses_nothing():
    maps, truth = np.zeros((20, 60), np.float32), np.zeros((20, 60), np.uint8)
    maps[5:15, 5:15] = truth[5:15, 5:15] = 1
    maps[5:15, 25:55] = 1
    known = np.ones((20, 60), bool)
    known[:, 20:] = False
    assert thresholds.best_seeds([maps], [truth], "components", 0.5)[1] == pytest.approx(0.5)
    assert thresholds.best_seeds([maps], [truth], "components", 0.5, known=iter([known]))[1] == 1


def test_how_sure_of_an_object_to_be_is_what_leaves_out_the_inventions():
    truth = np.zeros((30, 60), np.uint16)
    truth[5:25, 5:25] = 1
    maps = np.float32(0.9) * (truth > 0)
    maps[5:25, 35:55] = 0.72
    assert thresholds.best_confidence([maps], [truth], "components", 0.5, 0.5) == 0.75
    # in as many images with a true one as faint nothing is won, and of equals the least is taken
    faint = np.where(truth > 0, np.float32(0.72), np.float32(0))
    assert thresholds.best_confidence(iter([maps, faint, faint]), iter([truth] * 3), "components", 0.5, 0.5) == 0.0
    known = np.ones(truth.shape, bool)
    known[:, 30:] = False
    assert thresholds.best_confidence([maps], [truth], "components", 0.5, 0.5, known=[known]) == 0.0
    assert thresholds.best_confidence([maps], [truth], "components", 0.5, 0.5, least=500) == 0.0
    assert thresholds.best_confidence([], [], "components", 0.5, 0.5) == 0.0
