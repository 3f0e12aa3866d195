"""The threshold that is best, and what counts as above one."""

import numpy as np
import pytest
from small_scores import masks_of, random_case, stack

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
