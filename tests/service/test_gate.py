"""The gate's statistics: twenty challengers as good as the champion displace it in one series of twenty at most."""

import numpy as np
import pytest

from unetlab.service import gate

SCATTER = 0.035
"""Standard deviation over images of what is a model's own in its Dice, such as real pairs of nuclei models have."""


def series(images: int, luck: float, margin: float, n: int = 300, challengers: int = 20, seed: int = 0) -> list[float]:
    """Shares of series in which a champion is displaced by challengers as good as it, all on the same test images: by
    the gate's rule and, for comparison, by p < 0.05 each time. Every trained model has its own scatter over images,
    with heavy tails, and as much luck of its seed as `luck` standard errors of its mean."""
    rng = np.random.default_rng(seed)
    scatter = SCATTER * rng.standard_t(3, (n, challengers + 1, images)) / np.sqrt(3)
    trained = scatter + rng.normal(0, luck * SCATTER / np.sqrt(images), (n, challengers + 1, 1))
    differences = trained[:, 1:] - trained[:, :1]
    mean = differences.mean(axis=2)
    flat = (differences - margin).reshape(-1, images)
    p = gate.significance.paired_test(flat, draws=2000).reshape(mean.shape)
    levels = np.array([gate.level(k) for k in range(1, challengers + 1)])
    return [float(((mean > margin) & (p < at)).any(axis=1).mean()) for at in (levels, gate.LEVEL)]


def test_levels_of_however_many_challengers_add_up_to_one():
    assert gate.level(1) == pytest.approx(0.0304, abs=1e-4) and gate.level(2) == pytest.approx(gate.level(1) / 4)
    assert 0.049 < sum(gate.level(k) for k in range(1, 1000)) < gate.LEVEL


@pytest.mark.parametrize("images", [20, 75])
def test_twenty_equal_challengers_displace_a_champion_in_five_percent_at_most(images):
    spent, each_time = series(images, luck=0, margin=0.0)
    assert spent <= 0.05 < 0.12 < each_time


@pytest.mark.parametrize("images", [20, pytest.param(75, marks=pytest.mark.slow)])
def test_nor_do_they_with_luck_of_seeds_as_large_as_that_of_images(images):
    spent, each_time = series(images, luck=1, margin=gate.MARGIN)
    assert spent <= 0.05
    assert series(images, luck=1, margin=0.0)[1] > 0.4


def test_a_better_challenger_is_seen_at_the_first_attempt_and_at_the_tenth():
    rng = np.random.default_rng(0)
    differences = 0.03 + SCATTER * rng.standard_t(3, 75) / np.sqrt(3)
    assert gate.judge(differences, None, gate.MARGIN, 1).better
    assert not gate.judge(differences - 0.03, None, gate.MARGIN, 1).better
    assert gate.judge(differences + 0.02, None, gate.MARGIN, 10).better


@pytest.mark.parametrize("attempt", [1, 2, 5, 20])
def test_the_scenes_that_a_verdict_takes_are_just_enough(attempt):
    needed = gate.power.least_scenes(gate.level(attempt))
    assert 2.0 ** (1 - needed) < gate.level(attempt) <= 2.0 ** (2 - needed)
    rng = np.random.default_rng(0)
    for count, possible in ((needed, True), (needed - 1, False)):
        found = gate.judge(0.1 + rng.normal(0, 0.001, count), None, 0.01, attempt)
        assert found.better is possible and found.possible is possible and found.needed == needed


def test_images_of_one_scene_count_once():
    rng = np.random.default_rng(0)
    differences = 0.03 + rng.normal(0, 0.01, 40)
    alone, together = (gate.judge(differences, scenes, 0.0, 1) for scenes in (None, np.arange(40) // 10))
    assert alone.better and (alone.scenes, together.scenes) == (40, 4)
    assert not together.better and together.p == 0.125 and together.mean == alone.mean
    one = gate.judge(differences, np.zeros(40, int), 0.0, 1)
    assert not one.better and one.p == 1 and one.scenes == 1


def test_the_sample_asked_for_shows_the_difference_about_four_times_in_five():
    rng = np.random.default_rng(0)
    scatter = rng.normal(0, 1, 30)
    scatter = 0.05 * (scatter - scatter.mean()) / scatter.std(ddof=1)
    found = gate.judge(0.02 + scatter, None, 0.0, 1)
    assert not found.better and found.sample > 30
    again = 0.02 + rng.normal(0, 0.05, (400, found.sample))
    assert 0.74 < (gate.significance.paired_test(again, draws=1000) < found.level).mean() < 0.86


def test_more_scenes_are_asked_for_than_showed_nothing():
    rng, refused = np.random.default_rng(0), 0
    for _ in range(300):
        scenes = np.repeat(np.arange(8), rng.integers(1, 25, 8))
        of_scene = rng.normal(0.05, 0.04, 8)
        found = gate.judge(of_scene[scenes] + rng.normal(0, 0.02, len(scenes)), scenes, 0.0, 1)
        if not found.better and found.sample:
            assert found.sample > found.scenes
            refused += 1
    assert refused > 20


def test_membranes_are_ranked_by_what_separates_cells():
    assert gate.ranking_metric({"ranked_by": "native_v_rand"}) == "native_v_rand"
    assert gate.ranking_metric({}) == gate.ranking_metric({"ranked_by": "native_dice"}) == "native_dice"
