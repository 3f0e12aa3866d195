"""What so many scenes can show, beside what they do show when it is tried."""

import numpy as np
import pytest

from unetlab.metrics.power import detectable_difference, least_scenes, scenes_needed
from unetlab.metrics.significance import paired_test


def scattered(n: int, mean: float = 0.0) -> np.ndarray:
    """Differences of n scenes with exactly that mean and a standard deviation of 1."""
    values = np.random.default_rng(n).normal(size=n)
    return mean + (values - values.mean()) / values.std(ddof=1)


@pytest.mark.parametrize(("n", "level"), [(6, 0.05), (8, 0.05), (12, 0.05), (40, 0.05), (11, 0.0015), (30, 0.0015)])
def test_a_detectable_difference_is_detected_about_four_times_in_five(n, level):
    size = detectable_difference(scattered(n), level=level)
    again = np.random.default_rng(0).normal(size, 1, (500, n))
    assert 0.75 < (paired_test(again) < level).mean() < 0.87


@pytest.mark.parametrize(("mean", "level"), [(1.6, 0.05), (0.9, 0.05), (0.4, 0.05), (1.5, 0.003)])
def test_so_many_scenes_as_are_asked_for_show_it_about_four_times_in_five(mean, level):
    n = scenes_needed(scattered(5, mean), level=level)
    again = np.random.default_rng(1).normal(mean, 1, (500, n))
    assert 0.75 < (paired_test(again) < level).mean() < 0.95  # few scenes come in steps


def test_copies_of_every_image_show_no_more():
    values = scattered(25, 0.3)
    twice, scenes = np.repeat(values, 2), np.repeat(np.arange(25), 2)
    assert detectable_difference(twice, scenes) == pytest.approx(detectable_difference(values))
    assert scenes_needed(twice, scenes) == scenes_needed(values)


def test_one_scene_and_too_few_show_nothing():
    assert np.isnan(detectable_difference(np.array([0.1])))
    assert np.isnan(detectable_difference(np.arange(4.0), ["one"] * 4))
    assert detectable_difference(scattered(5)) == np.inf
    assert scenes_needed(np.arange(4.0), ["one"] * 4) == scenes_needed(np.zeros(5)) == 0
    assert scenes_needed(scattered(30) * 0.05 + 1e-12) == 10**9  # as many as nobody has
    assert least_scenes(0.05) == 6 and scenes_needed(np.ones(3)) == 6
