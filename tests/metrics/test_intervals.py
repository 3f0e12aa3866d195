"""Intervals of mean scores, scene by scene."""

import numpy as np
import pandas as pd
import pytest

from unetlab.metrics import intervals


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
