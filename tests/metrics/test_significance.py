"""Intervals and tests against SciPy's and against textbook cases."""

import doctest
import sys

import numpy as np
import pytest
from scipy import stats

from unetlab.metrics.significance import (
    bootstrap_interval,
    by_scene,
    corrected_resampled_t,
    effect_size,
    holm,
    paired,
    paired_test,
    sign_flip_test,
    spread,
    tilted_p,
)


def _differences(n: int, k: int = 6, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_t(3, size=(k, n)) * 0.03 + np.linspace(0, 0.03, k)[:, None]


def _scipy_p(values: np.ndarray, draws: int) -> float:
    test = stats.permutation_test(
        (values,), lambda x, axis: np.mean(x, axis=axis), permutation_type="samples", vectorized=True,
        n_resamples=draws, batch=20_000, rng=np.random.default_rng(0),
    )  # fmt: skip
    return float(test.pvalue)


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(sys.modules[holm.__module__]).failed == 0


def test_all_flips_of_few_images_give_scipys_exact_p():
    values = _differences(9)
    expected = [_scipy_p(row, 10_000) for row in values]
    np.testing.assert_allclose(sign_flip_test(values), expected, atol=1e-12)


@pytest.mark.parametrize("n", [20, 75])
def test_random_flips_agree_with_scipy(n):
    values = _differences(n)
    expected = np.array([_scipy_p(row, 200_000) for row in values])
    error = 4 * np.sqrt(expected * (1 - expected) * (1 / 10_000 + 1 / 200_000)) + 2e-4
    assert (np.abs(sign_flip_test(values) - expected) < error + 0.08 * expected).all()


def _exact(rows: np.ndarray) -> np.ndarray:
    """p-values over all flips of the columns that are not 0."""
    found = []
    for row in rows:
        own = row[row != 0]
        flips = 1.0 - 2.0 * ((np.arange(2 ** len(own))[None, :] >> np.arange(len(own))[:, None]) & 1)
        found.append((np.abs(own @ flips) >= np.abs(own.sum()) - 1e-12).mean())
    return np.array(found)


def test_tilted_flips_give_the_exact_tail():
    values = np.abs(_differences(18, 40)) * np.where(np.arange(18) < 3, -0.5, 1)
    exact = _exact(values)
    assert exact.min() < 1e-3
    np.testing.assert_allclose(tilted_p(values), exact, rtol=0.1)


@pytest.mark.parametrize(("apart", "positive"), [(16, 14), (12, 11), (20, 17), (18, 17), (10, 10)])
def test_small_p_values_of_tied_differences_are_exact_too(apart, positive):
    row = np.zeros(40)
    row[:apart] = 0.1
    row[positive:apart] = -0.1
    exact = _exact(row[None])
    np.testing.assert_allclose(sign_flip_test(row[None]), exact, rtol=0.1)
    outlying = row * np.where(np.arange(40) % 5 == 0, 3.0, 1.0)
    np.testing.assert_allclose(sign_flip_test(outlying[None]), _exact(outlying[None]), rtol=0.1)


def test_a_p_value_far_below_any_number_of_draws():
    row = np.full(200, 0.01)
    row[:20] = -0.01  # the binomial tail: at most 20 of 200 coins the other way
    assert sign_flip_test(row[None])[0] == pytest.approx(2 * stats.binom.cdf(20, 200, 0.5), rel=0.1)


def test_ties_and_zeros_have_sensible_p_values():
    same, nothing = np.full((1, 30), 0.01), np.zeros((1, 30))
    assert sign_flip_test(same)[0] == pytest.approx(2.0**-29)
    assert sign_flip_test(nothing)[0] == 1
    found = paired(np.concatenate([same, nothing]))
    np.testing.assert_allclose([found.low, found.high], [[0.01, 0], [0.01, 0]], atol=1e-12)
    assert found.effect[0] == np.inf and found.effect[1] == 0


def test_p_does_not_depend_on_the_other_pairs_nor_on_which_comes_first():
    values = _differences(40)
    np.testing.assert_allclose(sign_flip_test(values)[3], sign_flip_test(values[3:4])[0])
    np.testing.assert_allclose(sign_flip_test(-values), sign_flip_test(values))


def test_the_interval_is_scipys_percentile_interval_where_images_are_many():
    values = np.random.default_rng(0).normal(0.02, 0.05, (3, 400))
    low, high = bootstrap_interval(values)
    for k, row in enumerate(values):
        found = stats.bootstrap((row,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(1))
        expected = found.confidence_interval
        assert low[k] == pytest.approx(expected.low, abs=0.03 * (high[k] - low[k]))
        assert high[k] == pytest.approx(expected.high, abs=0.03 * (high[k] - low[k]))


def test_the_bias_correction_leans_towards_the_long_tail():
    low, high = bootstrap_interval(np.random.default_rng(0).gamma(0.3, 0.1, (1, 40)))
    mean = np.random.default_rng(0).gamma(0.3, 0.1, (1, 40)).mean()
    assert high[0] - mean > 1.1 * (mean - low[0])


def test_the_interval_covers_at_few_images_too():
    values = np.random.default_rng(0).normal(0, 1, (1500, 12))
    low, high = bootstrap_interval(values)
    assert 0.93 < ((low <= 0) & (high >= 0)).mean() < 0.97


def test_holm_by_hand():
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm(np.array([0.01, 0.002]), family=10), [0.09, 0.02])
    assert holm(np.array([0.5, 0.9])).max() <= 1


def test_nadeau_and_bengio_is_the_t_test_with_a_larger_variance():
    values = np.random.default_rng(0).normal(0.02, 0.02, (4, 10))
    plain = corrected_resampled_t(values, test_share=0)
    np.testing.assert_allclose(plain.p_value, stats.ttest_1samp(values, 0, axis=1).pvalue)
    t = values.mean(axis=1) / np.sqrt((1 / 10 + 0.2) * values.var(axis=1, ddof=1))
    corrected = corrected_resampled_t(values, test_share=0.2)
    np.testing.assert_allclose(corrected.p_value, 2 * stats.t.sf(np.abs(t), 9))
    assert (corrected.high - corrected.low > plain.high - plain.low).all()


def test_repeats_that_do_not_differ_are_not_divided_by_zero():
    found = corrected_resampled_t(np.array([[0.0, 0.0, 0.0], [0.1, 0.1, 0.1]]), test_share=0.2)
    assert found.p_value.tolist() == [1, 0]


def test_effect_size_is_mean_over_deviation():
    assert effect_size(np.array([[1.0, 2.0, 3.0]]))[0] == pytest.approx(2.0)


def test_one_image_is_refused():
    with pytest.raises(ValueError, match=r"two images or more. Received: \(3, 1\)"):
        paired(np.zeros((3, 1)))


def test_copies_of_every_image_change_nothing():
    values = _differences(25)
    once, twice = paired(values), paired(np.repeat(values, 2, axis=1), scenes=np.repeat(np.arange(25), 2))
    for own, copied in zip(once, twice, strict=True):
        np.testing.assert_allclose(copied, own, rtol=1e-9, atol=1e-12)
    assert (sign_flip_test(np.repeat(values, 2, axis=1)) < once.p_value).any()  # what copies do if nobody says so


def test_scenes_may_be_words_and_images_in_any_order():
    values = _differences(30)
    numbers = np.random.default_rng(0).integers(0, 12, 30)
    words = np.array([f"take {number:02d}" for number in numbers])
    order = np.random.default_rng(1).permutation(30)
    for own, other in zip(paired(values, numbers), paired(values[:, order], words[order].tolist()), strict=True):
        np.testing.assert_allclose(other, own, rtol=1e-3)


def test_scenes_of_one_image_each_are_images():
    values = _differences(30)
    for own, other in zip(paired(values), paired(values, np.arange(30)), strict=True):
        np.testing.assert_allclose(other, own)


def test_images_of_one_scene_say_nothing():
    found = paired(np.full((1, 40), 0.1), scenes=["one"] * 40)
    assert found.p_value[0] == 1 and np.isnan([found.low[0], found.high[0], found.effect[0]]).all()
    assert found.mean[0] == pytest.approx(0.1)


def test_a_flip_turns_a_scene_as_a_whole():
    values, scenes = _differences(40), np.repeat(np.arange(10), 4)
    np.testing.assert_allclose(
        sign_flip_test(values, scenes), [_scipy_p(row, 10_000) for row in by_scene(values, scenes)[0]]
    )


def test_the_spread_is_the_jackknife_s_and_that_of_scene_means_where_sizes_agree():
    values, scenes = _differences(40), np.repeat(np.arange(10), 4)
    means = values.reshape(len(values), 10, 4).mean(axis=2)
    np.testing.assert_allclose(spread(values, scenes), means.std(axis=1, ddof=1))
    uneven = np.repeat(np.arange(5), [20, 10, 5, 4, 1])
    left_out = np.stack([values[:, uneven != k].mean(axis=1) for k in range(5)])
    error = np.sqrt(4 / 5 * ((left_out - values.mean(axis=1)) ** 2).sum(axis=0))
    np.testing.assert_allclose(spread(values, uneven) / np.sqrt(5), error)


def test_level_and_coverage_hold_over_scenes_of_uneven_size_and_not_over_their_images():
    rng = np.random.default_rng(0)
    sizes = np.r_[np.full(15, 1), np.full(6, 4), 10]
    scenes = np.repeat(np.arange(len(sizes)), sizes)
    values = rng.normal(0, 1, (800, len(sizes)))[:, scenes] + rng.normal(0, 0.5, (800, len(scenes)))
    low, high = bootstrap_interval(values, scenes, draws=2000)
    assert 0.93 < ((low <= 0) & (high >= 0)).mean() < 0.98
    assert 0.03 < (sign_flip_test(values, scenes, draws=2000) < 0.05).mean() < 0.07
    assert (sign_flip_test(values, draws=2000) < 0.05).mean() > 0.2


def test_one_scene_that_holds_half_of_the_images_widens_the_interval():
    values = np.random.default_rng(0).normal(0, 1, (1, 40))
    even, uneven = np.repeat(np.arange(20), 2), np.r_[np.zeros(20, int), np.arange(1, 21)]
    wide = [np.subtract(*bootstrap_interval(values, scenes)[::-1])[0] for scenes in (even, uneven)]
    assert wide[1] > 1.2 * wide[0]


def test_scenes_that_are_not_as_many_as_images_are_refused():
    with pytest.raises(ValueError, match=r"scene of each of 6 images. Received: \(5,\)"):
        paired(np.zeros((2, 6)), scenes=[0, 0, 1, 1, 2])


def test_a_difference_has_to_convince_flips_and_t():
    rng = np.random.default_rng(3)
    alike = rng.normal(0.02, 0.03, (60, 12))
    t = stats.ttest_1samp(alike, 0, axis=1).pvalue
    np.testing.assert_allclose(paired_test(alike), np.maximum(t, sign_flip_test(alike)))
    assert (paired_test(alike) > t).any() and (paired_test(alike) > sign_flip_test(alike)).any()
    assert paired_test(np.zeros((1, 8)))[0] == 1
    assert paired_test(np.full((1, 8), 0.1))[0] == pytest.approx(2.0**-7)  # no spread: flips alone can doubt


def test_few_large_scenes_say_less_than_flips_believe():
    """Scenes of very different sizes, as takes and tiles are, and differences with a long tail."""
    rng = np.random.default_rng(0)
    sizes = np.tile([1, 1, 1, 1, 2, 2, 3, 5, 12, 40], 2)
    scenes = np.repeat(np.arange(len(sizes)), sizes)
    values = (rng.exponential(size=(3000, len(sizes))) - 1)[:, scenes] + rng.normal(size=(3000, len(scenes)))
    flips = (sign_flip_test(values, scenes, draws=2000) < 0.05).mean()
    both = (paired_test(values, scenes, draws=2000) < 0.05).mean()
    assert both < 0.055 < 0.065 < flips
