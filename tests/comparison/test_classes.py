"""Comparison of runs that tell classes apart."""

import json

import numpy as np
import pandas as pd
import pytest
from fake_runs import IDS, difficulty, log_setup_run, score_table, write_artifacts
from mlflow.tracking import MlflowClient

from unetlab.comparison import behind, report
from unetlab.comparison.compare import compare
from unetlab.errors import UserError
from unetlab.metrics import significance
from unetlab.tracking import read, thumbnails

CLASSES = {"classes": "pans, eggs"}
RARE = np.arange(len(IDS)) % 3 == 0
"""Images that show eggs."""


def log_classes(setup, pans, eggs, tags=CLASSES, **more):
    """A run whose table has a Dice of each class, eggs NaN where they are not there."""
    dice = np.where(np.isnan(eggs), pans, (pans + np.nan_to_num(eggs)) / 2)
    table = score_table(dice, IDS).assign(**{"native_dice/pans": pans, "native_dice/eggs": eggs})
    shown = np.zeros((len(IDS), 8, 8), np.uint8)
    shown[:, :4], shown[RARE, 5:] = 1, 2
    pictures = np.full((len(IDS), 8, 8, 3), 90, np.uint8)
    held = {
        "scores/test.csv": table.to_csv(index=False).encode(),
        thumbnails.PATH: thumbnails.pack(IDS, pictures, shown, shown),
    }
    return log_setup_run(setup, dice, tags=tags, artifacts=held, **more)


def noise(seed):
    return np.random.default_rng(seed).normal(0, 0.02, len(IDS))


def eggs_of(values):
    return np.where(RARE, values, np.nan)


def test_each_class_is_compared_on_the_images_that_show_it_with_one_correction_for_all(store):
    base = difficulty()
    log_classes("good", base + noise(0), eggs_of(base - 0.1))
    log_classes("poor", base + noise(1), eggs_of(base - 0.3 + noise(2)))
    found = compare()
    rows = found.pairs.set_index("metric")
    assert rows.loc["native_dice/eggs", "difference"] == pytest.approx(0.2, abs=0.03)
    assert rows.loc["native_dice/eggs", "verdict"] == "a better"
    assert rows.loc["native_dice/pans", "verdict"] == "cannot tell"
    p = rows.loc[["native_dice/pans", "native_dice/eggs"], "p"].to_numpy()
    expected = significance.holm(p)
    np.testing.assert_allclose(rows.loc[["native_dice/pans", "native_dice/eggs"], "p_holm"], expected)
    ranking = found.ranking().set_index("name")
    assert ranking.loc["good", "native_dice/eggs"] == pytest.approx((base - 0.1)[RARE].mean())


def test_a_class_that_one_run_invents_counts_against_it(store):
    base = difficulty()
    invented = eggs_of(base)
    invented[1] = 0.0  # image 1 shows no eggs
    first = log_classes("sober", base, eggs_of(base))
    second = log_classes("inventive", base, invented)
    values = read.class_arrays([read.find_one(first), read.find_one(second)], IDS, "native_dice")["native_dice/eggs"]
    assert np.isnan(values[0, 1]) and values[1, 1] == 0 and np.isnan(values[:, 2]).all()
    found = compare([first, second])
    rows = found.pairs.set_index("metric")
    assert rows.loc["native_dice/eggs", "a"] == "sober"
    assert rows.loc["native_dice/eggs", "difference"] == pytest.approx(1 / (RARE.sum() + 1))
    means = found.ranking().set_index("name")["native_dice/eggs"]  # each run's own figure
    assert means["sober"] == pytest.approx(base[RARE].mean())
    assert means["inventive"] == pytest.approx(base[RARE].sum() / (RARE.sum() + 1))


def test_what_a_third_run_invents_changes_nothing_between_two_others(store):
    base, wild = difficulty(), np.where(RARE, difficulty() - 0.3, 0.0)
    runs = [log_classes(f"s{k}", base, eggs_of(base - 0.1 * k + noise(k))) for k in range(2)]
    third = log_classes("wild", base - 0.1, wild)

    def eggs(found):
        pairs = found.pairs[(found.pairs["metric"] == "native_dice/eggs")].set_index(["a", "b"])
        return pairs.loc[("s0", "s1"), ["difference", "low", "high", "p", "effect"]].astype(float).to_numpy()

    alone, beside = compare(runs), compare([*runs, third])
    np.testing.assert_array_equal(eggs(alone), eggs(beside))
    both = alone.ranking().set_index("name")["native_dice/eggs"]
    pd.testing.assert_series_equal(beside.ranking().set_index("name")["native_dice/eggs"][both.index], both)
    never = log_classes("never", base - 0.2, np.full(len(IDS), np.nan))  # says nothing of eggs, which there are none of
    odd = log_classes("odd", base - 0.2, np.where(np.arange(len(IDS)) == 1, 0.0, np.nan))
    found = compare([never, odd])
    assert "native_dice/eggs" not in set(found.pairs["metric"])  # one image is no comparison
    assert np.isnan(found.ranking().set_index("name").loc["never", "native_dice/eggs"])


def test_of_many_models_of_classes_each_is_compared_with_the_best(store, monkeypatch):
    monkeypatch.setattr("unetlab.comparison.compare.EVERY_PAIR_OF_CLASSES", 2)
    base = difficulty()
    for k in range(3):
        log_classes(f"s{k}", base - 0.05 * k + noise(k), eggs_of(base - 0.05 * k))
    found = compare()
    assert set(found.pairs["a"]) == {"s0"} and any(
        "each is compared with the best only" in note for note in found.notes
    )


def test_classes_are_not_compared_with_one_mask_nor_with_other_classes(store):
    base = difficulty()
    log_classes("classes", base, eggs_of(base))
    log_setup_run("mask", base - 0.01)
    with pytest.raises(UserError, match=r"must learn the same.*one mask"):
        compare()
    log_classes("others", base, eggs_of(base), tags={"classes": "pans, spoons"}, metrics={})
    with pytest.raises(UserError, match=r"the classes pans, spoons"):
        compare(where="tags.classes LIKE 'pans%'")


def test_the_report_names_classes_and_draws_them_in_their_colours(store):
    base = difficulty()
    for k, name in enumerate(("one", "other")):
        log_classes(name, base - 0.05 * k + noise(k), eggs_of(base + noise(k + 5)))
    page = report.html(compare())
    assert "Dice of eggs" in page and "#e69f00" in page and "#56b4e9" in page
    assert "of classes over all pairs and classes" in page and "Outlines:" not in page


def test_a_comma_in_a_class_s_name_parts_it_not(store):
    base = difficulty()
    kept = json.dumps({"classes": {"background": 0.7, "cell, dividing": 0.2, "debris": 0.1}}).encode()
    runs = [log_setup_run(f"s{k}", base - 0.05 * k, tags={"classes": "cell, dividing, debris"}) for k in range(2)]
    found = compare(runs)
    assert [name for name, _ in behind.legend(found)] == ["cell", "dividing", "debris"]  # a run without such a card
    for run_id in runs:
        write_artifacts(MlflowClient().get_run(run_id), {"data_card.json": kept})
    assert behind.legend(found) == [("cell, dividing", "#e69f00"), ("debris", "#56b4e9")]


def test_repeats_over_splits_compare_classes_too(store):
    base = difficulty()
    for split in range(3):
        for k, name in enumerate(("one", "other")):
            eggs = eggs_of(base - 0.05 * k + noise(10 * split + k))
            tags = {**CLASSES, "repeat": str(split), "split_digest": f"s{split}"}
            log_classes(name, base - 0.05 * k + noise(split), eggs, tags=tags, seed=split)
    found = compare()
    assert found.repeats == 3 and found.scores["native_dice/eggs"].shape == (2, 3)
    assert set(pd.unique(found.pairs["metric"])) >= {"native_dice", "native_dice/eggs", "native_dice/pans"}


def test_runs_of_one_mask_say_nothing_of_classes(store):
    base = difficulty()
    for k, name in enumerate(("one", "other")):
        log_setup_run(name, base - 0.05 * k)
    found = compare()
    assert not any("/" in metric for metric in found.pairs["metric"])
    assert "of classes over" not in report.html(found) and "Outlines:" in report.html(found)
