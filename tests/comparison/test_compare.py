"""Comparison of runs read back from MLflow."""

import dataclasses
import doctest
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from fake_runs import IDS, difficulty, log_setup_run, score_table
from scipy import stats

from unetlab.comparison import contenders, report
from unetlab.comparison.compare import EVERY_PAIR, compare, contest, ranking_metric
from unetlab.errors import UserError
from unetlab.metrics.table import METRICS
from unetlab.tracking import read


def _noise(seed: int, size: float = 0.02, n: int = len(IDS)) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, size, n)


def test_the_examples_in_the_docstring_hold():
    assert doctest.testmod(sys.modules[contest.__module__]).failed == 0


def test_a_better_setup_is_told_from_a_worse_one_and_two_equal_ones_are_not(store):
    base = difficulty()
    log_setup_run("worse", base - 0.1 + _noise(1))
    log_setup_run("one", base + _noise(2))
    log_setup_run("other", base + _noise(3))
    found = compare()
    assert found.names[2] == "worse" and set(found.best) == {"one", "other"}
    assert "cannot be told from it on 30 test images; 1 other is worse" in found.conclusion()
    shared = [name for name in METRICS if not name.startswith("native_v_")]  # those are of membranes alone
    assert set(found.pairs["metric"]) == set(shared) and len(found.pairs) == 3 * len(shared)
    dice = found.pairs[found.pairs["metric"] == "native_dice"].set_index(["a", "b"])
    assert dice.loc[(found.names[0], "worse"), "verdict"] == "a better"
    assert dice.loc[found.names[:2], "verdict"] == "cannot tell"
    assert (dice["low"] <= dice["difference"]).all() and (dice["difference"] <= dice["high"]).all()
    assert (dice["p_holm"] >= dice["p"]).all()


def test_the_ranking_is_by_dice_with_intervals_and_the_distance_to_the_best(store):
    base = difficulty()
    for k, name in enumerate(("a", "b")):
        log_setup_run(name, base - 0.05 * k + _noise(k))
    table = compare().ranking()
    assert table["name"].tolist() == ["a", "b"] and table["among_best"].tolist() == [True, False]
    assert np.isnan(table["behind_best"][0]) and table["behind_best"][1] == pytest.approx(-0.05, abs=0.01)
    assert table["behind_low"][1] < table["behind_best"][1] < table["behind_high"][1] < 0
    assert (table["native_dice_low"] < table["native_dice"]).all()


def test_no_interval_of_few_splits_leaves_what_scores_can_be():
    found = contest(("a", "b"), {"native_dice": np.array([[0.9, 0.9, 0.9], [0.75, 0.0, 0.05]])}, repeats=3)
    (row,) = found.pairs.to_dict("records")
    assert row["difference"] == pytest.approx(0.6333, abs=1e-3) and -1 <= row["low"] < 0 and row["high"] == 1
    assert found.intervals.min() == 0 and found.intervals.max() == 1


def test_tables_in_another_order_are_matched_by_image(store):
    base = difficulty()
    first = log_setup_run("a", base)
    order = np.random.default_rng(0).permutation(len(IDS))
    second = log_setup_run("b", base[order] - 0.01, ids=[IDS[i] for i in order])
    found = compare([first, second])
    row = found.pairs[found.pairs["metric"] == "native_dice"].iloc[0]
    assert (row["low"], row["high"]) == (pytest.approx(0.01), pytest.approx(0.01))


@pytest.mark.parametrize("tag", ["dataset_digest", "split_digest"])
def test_runs_on_other_images_are_refused_by_name_and_digest(store, tag):
    log_setup_run("here", difficulty())
    there = log_setup_run("there", difficulty(), tags={tag: "f00d"})
    with pytest.raises(UserError, match=rf"here .* has {tag} [ds]1, there .*{there}.* has f00d") as caught:
        compare()
    assert "\n" not in str(caught.value)
    log_setup_run("third", difficulty())
    assert len(compare(where=f"tags.{tag} != 'f00d'").names) == 2


def test_a_run_without_scores_is_named(store):
    log_setup_run("a", difficulty())
    run_id = log_setup_run("b", difficulty())

    path = Path(mlflow.MlflowClient().get_run(run_id).info.artifact_uri.removeprefix("file://")) / "scores/test.csv"
    path.unlink()
    with pytest.raises(UserError, match=rf"b cells seed 0 \({run_id}\) has no scores/test.csv"):
        compare()


def test_two_runs_of_one_setup_are_told_apart_by_name(store):
    log_setup_run("a", difficulty(), seed=0)
    log_setup_run("a", difficulty() - 0.01, seed=1)
    assert compare().names == ("a cells seed 0", "a cells seed 1")


def test_repeats_are_compared_setup_by_setup_with_the_corrected_variance(store):
    for repeat in range(4):
        base, tags = difficulty(seed=repeat), {"repeat": str(repeat), "split_digest": f"s{repeat}"}
        ids = [f"{name}-{repeat}" for name in IDS]
        log_setup_run("good", base + _noise(repeat), ids=ids, tags=tags)
        log_setup_run("bad", base - 0.08 + _noise(10 + repeat), ids=ids, tags=tags)
    found = compare()
    assert found.repeats == 4 and found.names == ("good", "bad") and found.best == ("good",)
    assert "on 4 repeated splits" in found.conclusion()
    row = found.pairs.iloc[0]
    values = found.scores["native_dice"][0] - found.scores["native_dice"][1]
    t = values.mean() / np.sqrt((1 / 4 + 0.15 / 0.7) * values.var(ddof=1))

    assert row["p"] == pytest.approx(2 * stats.t.sf(t, 3))


def test_repeats_of_one_setup_with_different_budgets_are_not_averaged(store):
    for repeat in range(2):
        tags = {"repeat": str(repeat), "split_digest": f"s{repeat}"}
        log_setup_run("a", difficulty(), tags=tags, params={"epochs": 10 if repeat else 50})
        log_setup_run("b", difficulty() - 0.1, tags=tags, params={"epochs": 10})
    with pytest.raises(UserError, match="repeats of a must have the same epochs: .* has 50, .* has 10"):
        compare()


def test_repeats_whose_encoders_began_from_other_weights_are_not_averaged(store):
    """Asked for with "auto" both: the first was trained without a network."""
    for repeat, encoder in enumerate(("random, trained", "imagenet")):
        tags = {"repeat": str(repeat), "split_digest": f"s{repeat}"}
        own = {"params": {"encoder_weights": "auto"}, "seed": repeat}
        log_setup_run("a", difficulty(), tags={**tags, "encoder": encoder}, **own)
        log_setup_run("b", difficulty() - 0.1, tags={**tags, "encoder": "none"}, **own)
    said = "same encoder_weights: .* has random, trained, .* has imagenet; filter by tags.encoder = 'random, trained'"
    with pytest.raises(UserError, match=said):
        compare()


def test_a_setup_without_an_encoder_has_no_other_weights_than_one_with(store):
    told = {"params": {"encoder_weights": "auto", "epochs": 1}}
    log_setup_run("a", difficulty(), tags={"encoder": "imagenet"}, **told)
    log_setup_run("b", difficulty() - 0.1, tags={"encoder": "none"}, **told)
    assert not any("different budgets" in note for note in compare().notes)
    log_setup_run("c", difficulty() - 0.2, tags={"encoder": "random, trained"}, **told)
    assert any("different budgets (encoder_weights)" in note for note in compare().notes)


def test_different_budgets_of_contenders_are_named(store):
    log_setup_run("a", difficulty(), params={"epochs": 10})
    log_setup_run("b", difficulty() - 0.1, params={"epochs": 50})
    assert any("different budgets (epochs)" in note for note in compare().notes)


def test_different_budgets_of_one_setup_are_named_too(store):
    log_setup_run("a", difficulty(), params={"trials": 1})
    log_setup_run("a", difficulty() - 0.1, params={"trials": 12})
    assert any("different budgets (trials)" in note for note in compare().notes)


def test_a_pair_is_the_same_whichever_is_named_first(store):
    log_setup_run("a", difficulty())
    log_setup_run("b", difficulty() - 0.1)
    found = compare()
    assert found.pair("b", "a").equals(found.pair("a", "b"))
    with pytest.raises(KeyError):
        found.pair("a", "c")


def test_repeats_on_one_split_are_averaged_an_image(store):
    base = difficulty()
    for repeat in range(2):
        log_setup_run("a", base + (0.02 if repeat else 0.0), tags={"repeat": str(repeat)})
        log_setup_run("b", base - 0.05 + _noise(repeat), tags={"repeat": str(repeat)})
    found = compare()
    assert found.repeats == 1 and len(found.units) == len(IDS)
    np.testing.assert_allclose(found.scores["native_dice"][0], np.clip(base, 0.01, 0.99) + 0.01, atol=0.006)


def test_a_missing_repeat_is_named(store):
    for repeat in range(2):
        log_setup_run("a", difficulty(), tags={"repeat": str(repeat), "split_digest": f"s{repeat}"})
    log_setup_run("b", difficulty(), tags={"repeat": "0", "split_digest": "s0"})
    with pytest.raises(UserError, match=r"b has no run on split s1 \(repeat 1\)"):
        compare()


def test_many_contenders_are_each_compared_with_the_best_and_any_pair_can_be_had():
    k, n = EVERY_PAIR + 5, 60
    rng = np.random.default_rng(0)
    dice = difficulty(n) + rng.normal(0, 0.02, (k, n)) - np.linspace(0, 0.08, k)[:, None]
    found = contest([f"m{i}" for i in range(k)], {"native_dice": dice})
    assert len(found.pairs) == k - 1 and set(found.pairs["a"]) == {found.names[0]}
    assert 1 < len(found.best) < k
    assert any("corrected for all 990 pairs" in note for note in found.notes)
    other = found.pair(found.names[3], found.names[40])
    assert other["verdict"].item() in ("a better", "cannot tell") and other["difference"].item() > 0


def test_too_few_images_to_tell_anything_is_said():
    found = contest(["a", "b"], {"native_dice": np.array([[0.9, 0.9, 0.9], [0.1, 0.1, 0.1]])})
    assert found.best == ("a", "b") and "too few" in found.notes[0]


def test_one_image_is_refused():
    with pytest.raises(UserError, match="two test images or more, these runs have 1"):
        contest(["a", "b"], {"native_dice": np.array([[0.9], [0.1]])})


def test_membranes_are_ranked_by_v_rand(store):
    base = difficulty()

    def run(name: str, dice: float, v_rand: float) -> str:
        table = score_table(base + dice + _noise(1), IDS)
        lines = {"native_v_rand": np.clip(base - 0.2 + v_rand, 0, 1), "native_v_info": np.clip(base - 0.1, 0, 1)}
        scores = table.assign(**lines).to_csv(index=False).encode()
        return log_setup_run(name, base + dice, artifacts={"scores/test.csv": scores})

    merges, tells = run("merges", 0.02, 0.0), run("tells", 0.0, 0.1)
    found = compare([merges, tells])
    assert found.metric == ranking_metric(found.scores) == "native_v_rand"
    assert found.conclusion() == "tells is better than the other, on 30 test images."
    assert {"native_v_rand_low", "native_v_info", "native_dice"} <= set(found.ranking())
    page = report.html(found)
    assert "V_rand</th>" in page and "tells cells apart" in page
    other = log_setup_run("older", base)  # whose table has no V_rand: Dice is what all have
    assert compare([merges, tells, other]).metric == "native_dice"
    with pytest.raises(UserError, match="none of native_v_rand, native_dice"):
        ranking_metric(["iou"])


def test_a_run_that_lacks_a_param_is_no_other_budget(store):
    base = difficulty()
    older = log_setup_run("a", base, tags={"repeat": "0"})
    newer = log_setup_run("a", base, tags={"repeat": "1"}, params={"threshold": "recipe", "split": "random"}, seed=1)
    rival = log_setup_run("b", base, tags={"repeat": "0"}, params={"threshold": "recipe", "split": "random"})
    assert compare([older, newer, rival]).names
    other = log_setup_run("a", base, tags={"repeat": "2"}, params={"split": "blocks"}, seed=2)
    with pytest.raises(UserError, match="must have the same split.*filter by params.split = 'random'"):
        compare([newer, other, rival])
    told = [log_setup_run("a", base, tags={"repeat": "0", "precision": p}) for p in ("float32", "bfloat16")]
    with pytest.raises(UserError, match="same precision.*filter by tags.precision = 'float32'"):
        compare([*told, rival])
    auto = {"params": {"precision": "auto"}}  # measured anew for each split
    tags = [{"repeat": "0", "precision": p} for p in ("float32", "bfloat16")]
    assert compare([*(log_setup_run("a", base, tags=each, seed=3, **auto) for each in tags), rival]).names


def _sides(groups, ids=IDS, trained: int = 0) -> dict[str, bytes]:
    rows = [f"{image},test,{group}" for image, group in zip(ids, groups, strict=True)]
    rows += [f"train{k},train,t{k}" for k in range(trained)]
    return {"split.csv": "\n".join(["id,side,group", *rows]).encode()}


def test_scenes_are_read_from_the_split_and_stand_in_what_is_said(store):
    base, scenes = difficulty(), np.repeat(np.arange(6), 5)
    log_setup_run("a", base, artifacts=_sides(scenes))
    log_setup_run("b", base - 0.02 + _noise(1, 0.005), artifacts=_sides(scenes))
    found = compare()
    assert "30 test images in 6 scenes" in found.conclusion() and found.scenes[5] == "1"
    row = found.pairs.iloc[0]
    assert row["p"] == pytest.approx(2 / 2**6)  # all six scenes lean one way; thirty images would say 1e-9
    other = found.pair("b", "a").iloc[0]
    assert other["p"] == row["p"]
    assert not any("No run says" in note for note in found.notes)


def test_a_model_of_which_no_run_says_what_it_learnt_is_named(store):
    ids = [log_setup_run(name, difficulty() + _noise(k)) for k, name in enumerate("ab")]
    assert not any("trained on" in note for note in compare().notes)
    mlflow.MlflowClient().set_tag(ids[1], "seen_images", "unknown: its run is not in this store")
    (note,) = (note for note in compare().notes if "trained on" in note)
    assert ids[1] in note and ids[0] not in note and "its scores are too good" in note
    assert "(its run is not in this store)" in note


def test_the_share_that_splits_have_in_common_is_of_images_where_blocks_part_a_scene(store):
    for groups, share in ((np.arange(20), 6 / 14), (np.arange(20) // 2, 3 / 7), (np.zeros(20, int), 6 / 14)):
        sides = pd.DataFrame({"id": np.arange(20), "side": ["train"] * 14 + ["test"] * 6, "group": groups})
        kept = {"split.csv": sides.to_csv(index=False).encode()}
        run = log_setup_run("a", difficulty(), artifacts=kept)
        record = dataclasses.replace(read.find_one(run), sides={"train": 14, "test": 6})
        assert contenders.test_share_of(record) == pytest.approx(share)


def test_labels_that_nobody_drew_are_named(store):
    for k, name in enumerate("ab"):
        log_setup_run(name, difficulty() + _noise(k), tags={"scored_against": "labels made by consensus"})
    (note,) = (note for note in compare().notes if "Scores are against" in note)
    assert note == (
        "Scores are against labels made by consensus, which says how well models imitate them and not how right they "
        "are."
    )


def test_without_scenes_each_image_is_its_own_and_that_is_said(store):
    for name in "ab":
        log_setup_run(name, difficulty() + _noise(1))
    found = compare()
    assert found.scenes == () and any("No run says which test images show one scene" in note for note in found.notes)


def test_images_of_one_scene_cannot_tell_setups_apart(store):
    for k, name in enumerate("ab"):
        log_setup_run(name, difficulty() - 0.3 * k, artifacts=_sides(["only"] * 30))
    found = compare()
    assert found.best == ("a", "b") and (found.pairs["verdict"] == "cannot tell").all()
    assert any("30 test images in 1 scene are too few" in note for note in found.notes)


def test_too_few_are_counted_in_scenes(store):
    for k, name in enumerate("ab"):
        log_setup_run(name, difficulty() - 0.3 * k, artifacts=_sides(np.repeat(np.arange(5), 6)))
    assert any("30 test images in 5 scenes are too few" in note for note in compare().notes)


def test_what_splits_share_is_counted_in_scenes(store):
    for repeat in range(3):
        ids = [f"{name}-{repeat}" for name in IDS]
        kept = _sides(np.repeat(np.arange(10), 3), ids, trained=20)
        tags = {"repeat": str(repeat), "split_digest": f"s{repeat}"}
        for k, name in enumerate("ab"):
            log_setup_run(name, difficulty(seed=repeat) - 0.05 * k, ids=ids, tags=tags, artifacts=kept)
    assert compare().test_share == pytest.approx(10 / 20)


def test_an_evaluation_on_what_its_model_has_seen_is_refused(store):
    log_setup_run("nuclei", difficulty())
    run_id = log_setup_run("latex", difficulty() + 0.02, tags={"seen_images": "12 of 30"})
    mlflow.MlflowClient().set_tag(run_id, "role", "evaluation")
    with pytest.raises(UserError, match="latex .* was trained or validated on .12 of 30., which is no test"):
        compare(where="tags.role != 'final'")


@pytest.mark.parametrize("order", [(10, 1), (1, 10)])
def test_of_other_scenes_the_fewest_count_in_whatever_order_the_runs_came(store, order):
    for name, size in zip(("nuclei", "latex"), order, strict=True):
        sides = "id,side,group\n" + "".join(f"{image},test,{i // size}\n" for i, image in enumerate(IDS))
        log_setup_run(name, difficulty() - 0.01 * size, artifacts={"split.csv": sides.encode()})
    assert len(set(compare().scenes)) == 3
