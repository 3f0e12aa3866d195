"""Intervals of mean scores, scene by scene."""

import numpy as np
import pandas as pd
import pytest

from unetlab.metrics import intervals
from unetlab.metrics.pixelwise import ratios


def _scores(n: int = 24) -> np.ndarray:
    return np.clip(0.97 - np.random.default_rng(0).gamma(1.2, 0.06, n), 0, 1)


def test_copies_change_neither_mean_nor_interval():
    once = intervals.interval(_scores())
    twice = intervals.interval(np.repeat(_scores(), 2), scenes=np.repeat(np.arange(24), 2))
    np.testing.assert_allclose(twice, once)
    narrow = intervals.interval(np.repeat(_scores(), 2))
    assert narrow.high - narrow.low < 0.8 * (once.high - once.low)


def test_one_scene_has_a_mean_and_no_interval():
    for values in (_scores(), np.full(5, 0.9)):
        found = intervals.interval(values, scenes=["only"] * len(values))
        assert found.mean == pytest.approx(values.mean()) and np.isnan([found.low, found.high]).all()
    gain = intervals.paired_interval(_scores(), _scores() - 0.1, scenes=["only"] * 24)
    assert gain.mean == pytest.approx(0.1) and gain.p_value == 1 and np.isnan(gain.low)


def test_a_gain_is_tested_over_scenes():
    better = _scores() + np.r_[np.full(20, 0.05), np.full(4, -0.01)]
    images = intervals.paired_interval(better, _scores())
    scenes = intervals.paired_interval(better, _scores(), np.repeat(np.arange(6), 4))
    assert images.mean == scenes.mean and images.p_value < 0.001 < scenes.p_value


@pytest.mark.parametrize("name", ["precision", "recall", "f1", "accuracy"])
@pytest.mark.parametrize("missed", [0, 30])
def test_nothing_found_has_the_ratios_of_its_run(name, missed):
    counts = pd.DataFrame({"tp": [0] * 4, "fp": [0] * 4, "fn": [missed] * 4, "tn": [70, 70, 60, 70]})
    own = float(ratios(counts.sum().to_frame().T)["dice" if name == "f1" else name][0])
    assert (
        intervals.pooled_interval(counts, name).mean
        == own
        == (1 if not missed else 270 / 390 if name == "accuracy" else 0)
    )


def test_values_that_are_all_the_same_have_an_interval_of_no_length():
    assert intervals.interval(np.full(6, 0.5), scenes=[0, 0, 1, 1, 2, 2]) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("name", ["accuracy", "f1", "soft_dice"])
def test_a_score_over_pixels_is_drawn_by_scene(name):
    rng = np.random.default_rng(0)
    tp = rng.integers(50, 900, 20)
    table = pd.DataFrame({"tp": tp, "fp": 1000 - tp, "fn": 1000 - tp, "tn": 5000})
    table = table.assign(soft_overlap=tp.astype(float), soft_total=2000.0)
    copied = table.loc[np.repeat(table.index, 2)].reset_index(drop=True)
    once = intervals.pooled_interval(table, name)
    twice = intervals.pooled_interval(copied, name, np.repeat(np.arange(20), 2), draws=2000)
    assert twice.mean == pytest.approx(once.mean, abs=0.01)
    assert twice.high - twice.low == pytest.approx(once.high - once.low, rel=0.15)
    alone = intervals.pooled_interval(copied, name, ["one"] * 40)
    assert np.isnan([alone.low, alone.high]).all()


def test_interval_holds_the_mean_and_is_repeatable():
    values = np.random.default_rng(0).beta(8, 2, 80)
    found = intervals.interval(values)
    half = 1.96 * values.std(ddof=1) / np.sqrt(80)
    assert found.low < found.mean < found.high
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)
    assert found == intervals.interval(pd.Series(values))


@pytest.mark.parametrize("values", [[0.3, 0.3, 0.3], [1.0] * 50, [0.0, 0.0]])
def test_interval_of_equal_values_is_a_point(values):
    assert intervals.interval(values) == pytest.approx((values[0],) * 3)


def test_interval_of_too_few_values():
    assert intervals.interval([0.5]) == pytest.approx((0.5, np.nan, np.nan), nan_ok=True)
    assert np.isnan(intervals.interval([]).mean)


def test_interval_of_nearly_equal_values():
    found = intervals.interval([1.0] * 60 + [0.0])
    assert 0.9 < found.low < found.mean < found.high <= 1.0


def test_paired_interval_by_hand():
    # Differences 1, 2, 3, 4: of 16 flips of signs only two are as far from 0 as all equal: p = 2 / 16.
    found = intervals.paired_interval([2, 4, 6, 8], [1, 2, 3, 4])
    assert found.mean == 2.5
    assert found.p_value == pytest.approx(2 / 16)
    reach = 3.1824 * np.sqrt(5 / 3) / 2  # Student's t with 3 degrees of freedom: four differences say no more
    assert (found.low, found.high) == pytest.approx((2.5 - reach, 2.5 + reach), abs=1e-3)


def test_paired_interval_finds_a_small_shift_between_spread_images():
    rng = np.random.default_rng(2)
    base = rng.uniform(0.3, 0.9, 60)
    found = intervals.paired_interval(base + 0.01 + 0.01 * rng.standard_normal(60), base)
    assert found.low > 0 and found.p_value < 0.001
    swapped = intervals.paired_interval(base, base)
    assert swapped == (0.0, 0.0, 0.0, 1.0)


def test_paired_interval_refuses_unequal_lengths():
    with pytest.raises(ValueError, match=r"Received: \(2,\) and \(3,\)"):
        intervals.paired_interval([1, 2], [1, 2, 3])
