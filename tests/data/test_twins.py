"""The nuclei twin: the same for the same seed, varied, and shaped like the real thing."""

import numpy as np
import pytest

from unetlab.baselines import otsu_mask
from unetlab.data import open_dataset
from unetlab.data.twins.nuclei import jobs as nuclei_jobs


def test_the_same_seed_gives_the_same_images_and_another_does_not():
    one, same, other = (nuclei_jobs(seed, n=2)[1]() for seed in (0, 0, 1))
    assert np.array_equal(one[1], same[1]) and np.array_equal(one[2], same[2])
    assert one[1].shape != other[1].shape or not np.array_equal(one[1], other[1])


@pytest.fixture(scope="module")
def twin():
    return open_dataset("synthetic", seed=0)


def test_the_twin_has_kinds_sizes_and_touching_nuclei(twin):
    assert len(twin) == 120
    assert {name.split("-")[0] for name in twin.ids} == {"fluorescence", "stained", "bright"}
    assert len({tuple(size) for size in twin.sizes}) == 4
    shares = [(twin.labels(i) > 0).mean() for i in range(120)]
    assert min(shares) > 0.01 and max(shares) < 0.6 and 0.1 < np.mean(shares) < 0.3


def test_the_twin_is_neither_trivial_nor_hopeless(twin):
    dice = []
    for i in range(0, 120, 4):
        found, truth = otsu_mask(twin.image(i)), twin.labels(i) > 0
        dice.append(2 * (found & truth).sum() / (found.sum() + truth.sum()))
    assert 0.6 < np.mean(dice) < 0.95
