"""The twins: the same for the same seed, varied, and shaped like the real thing."""

import numpy as np
import pytest

from unetlab.data import open_dataset
from unetlab.data.twins import TWINS
from unetlab.data.twins.nuclei import jobs as nuclei_jobs
from unetlab.errors import UserError
from unetlab.images.otsu import otsu_mask


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


@pytest.mark.parametrize(
    ("twin", "n", "low", "high"),
    [("latex", 120, 0.09, 0.14), ("kitchen", 40, 0.015, 0.05), ("membranes", 24, 0.73, 0.82)],
)
def test_the_other_twins_are_the_same_for_a_seed_with_the_foreground_of_their_kind(twin, n, low, high):
    make = TWINS[twin].jobs
    jobs, another = make(0), make(1)[1]()
    made = [job() for job in (jobs[1], *jobs[:: 4 if n == 24 else 1])]
    again = make(0)[1]()
    assert len(jobs) == n and len({one.id for one in made[1:]}) == len(made) - 1
    assert np.array_equal(made[0].image, again.image) and np.array_equal(made[0].labels, again.labels)
    assert not (again.image.shape == another.image.shape and np.array_equal(again.image, another.image))
    assert low < np.mean([(one.labels > 0).mean() for one in made[1:]]) < high


def test_latex_spheres_touch():
    made = [job() for job in TWINS["latex"].jobs(0)[:8]]
    per_cluster = [np.bincount(m.labels[m.labels > 0]).max() for m in made]
    assert max(per_cluster) > 1500  # pixels of many spheres in one aggregate


def test_neighbouring_sections_are_alike_and_distant_ones_are_not():
    jobs = TWINS["membranes"].jobs(0)
    first, second, last = (jobs[k]().labels > 0 for k in (0, 1, 23))
    chance = first.mean() * last.mean() + (1 - first.mean()) * (1 - last.mean())
    assert (first == second).mean() > chance + 0.08
    assert (first == last).mean() < chance + 0.06


def test_a_twin_can_be_named_outright_and_a_wrong_name_lists_them():
    assert open_dataset("synthetic-kitchen").name == "synthetic-kitchen"
    assert open_dataset("synthetic", twin="kitchen").digest == open_dataset("synthetic-kitchen").digest
    with pytest.raises(UserError, match="synthetic-nuclei, synthetic-latex"):
        open_dataset("synthetic-lungs")
