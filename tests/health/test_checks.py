"""Each health check: a run that sets it off, and the healthy run that does not."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from fake_runs import difficulty, score_table

from unetlab.health import checks
from unetlab.health.examine import check_run
from unetlab.health.finding import RunData

HEALTHY = RunData(
    metrics={"train/loss": 0.08, "val/loss": 0.09, "train/accuracy": 0.97, "val/accuracy": 0.965},
    params={"seed": "0"},
    scores=score_table(difficulty(60), [f"image{i}" for i in range(60)]),
    split="s0",
)


def _changed(**changes) -> RunData:
    return dataclasses.replace(HEALTHY, **changes)


def _codes(run: RunData) -> list[str]:
    return [finding.code for finding in check_run(run)]


def _trials(values, objective=None) -> pd.DataFrame:
    objective = np.linspace(0.8, 0.9, len(values)) if objective is None else objective
    columns = {"number": range(len(values)), "status": "COMPLETED", "objective": objective, "learning_rate": values}
    return pd.DataFrame(columns)


def test_a_healthy_run_has_no_findings():
    assert check_run(HEALTHY) == []


def test_codes_follow_the_order_of_the_checks_and_are_documented():
    codes = [check.__doc__[:4] for check in checks.CHECKS]
    assert codes == [f"H{i:03d}" for i in range(1, len(codes) + 1)]


def test_h001_overfitted():
    run = _changed(metrics={**HEALTHY.metrics, "val/loss": 0.3, "val/accuracy": 0.91})
    finding = check_run(run)[0]
    assert finding.code == "H001" and "0.300 in validation" in finding.explanation
    assert finding.figures["train/loss"] == 0.08
    assert _codes(_changed(metrics={**HEALTHY.metrics, "val/loss": 0.3})) == []  # the loss alone is overconfidence
    assert _codes(_changed(metrics={})) == []


def test_h002_no_better_than_one_answer():
    scores = HEALTHY.scores.assign(tp=0, fp=0, dice=0.0, native_dice=0.0)
    scores["fn"] = HEALTHY.scores["tp"] + HEALTHY.scores["fn"]
    scores["tn"] = HEALTHY.scores["tn"] + HEALTHY.scores["fp"]
    finding = check_run(_changed(scores=scores))[0]
    assert finding.code == "H002" and "accuracy 75.0%" in finding.explanation
    assert "constant Dice 0.400" in finding.explanation and finding.figures["dice_gain"] == pytest.approx(-0.4)
    assert finding.title == "accuracy and Dice not better than one answer for every pixel"
    scores = HEALTHY.scores.assign(fp=HEALTHY.scores["tp"])  # as many pixels gained as lost
    scores["tn"] = HEALTHY.scores["tn"] + HEALTHY.scores["fp"] - scores["fp"]
    alone = check_run(_changed(scores=scores))[0]
    assert alone.title == checks.ACCURACY_ALONE and "marks as much besides" in alone.remedy
    older = scores.drop(columns=["constant_native_dice"])
    assert check_run(_changed(scores=older))[0].title == "accuracy not better than one answer for every pixel"


def test_h002_of_classes_is_about_dice():
    full = HEALTHY.scores.assign(tp=4000, fp=0, fn=96, tn=0, **{"native_dice/cell": 0.9})  # no background anywhere
    assert "H002" not in _codes(_changed(scores=full))
    poor = next(f for f in check_run(_changed(scores=full.assign(native_dice=0.4))) if f.code == "H002")
    assert poor.title == "Dice not better than one answer for every pixel" and "threshold" not in poor.remedy
    assert poor.explanation.startswith("The better constant Dice 0.400 on these images; the model's Dice is not better")


def test_h002_where_foreground_is_the_larger_side():
    full = HEALTHY.scores.assign(tp=3000, fp=1096, fn=0, tn=0, native_dice=0.845, constant_native_dice=0.845)
    finding = check_run(_changed(scores=full))[0]
    assert finding.title.startswith("accuracy and Dice not")
    assert "all foreground has accuracy 73.2%" in finding.explanation
    lines = full.assign(tn=1000, fp=96, native_dice=0.95, native_v_rand=0.05, constant_native_v_rand=0.05)
    finding = check_run(_changed(scores=lines))[0]
    assert finding.title == "V_rand not better than one answer for every pixel"
    assert "H002" not in _codes(_changed(scores=lines.assign(native_v_rand=0.8)))
    older = HEALTHY.scores.drop(columns="constant_native_dice")  # of runs before there was a constant rival
    assert "H002" not in _codes(_changed(scores=older))


def test_h004_looks_at_trials_trained_in_full():
    trials = _trials([1e-3, 3e-4, 1e-4, 1e-2]).assign(tuner_epochs=[np.nan, np.nan, np.nan, 1.0])
    assert _codes(_changed(trials=trials)) == ["H004"]  # 1e-4 is the best of those, at the bottom
    trials = _trials([1e-4, 1e-2, 1e-3, 1e-2]).assign(tuner_epochs=[np.nan, np.nan, np.nan, 1.0])
    assert _codes(_changed(trials=trials)) == []  # the best after one epoch is none


@pytest.mark.parametrize(("gain", "words"), [(-0.05, "0.050 below it (p"), (0.0, "which may be chance")])
def test_h003_no_better_than_otsu(gain, words):
    noise = np.random.default_rng(0).normal(0, 0.02, len(HEALTHY.scores))
    otsu = HEALTHY.scores["native_dice"] - gain + noise - noise.mean()
    finding = check_run(_changed(scores=HEALTHY.scores.assign(otsu_native_dice=otsu)))[0]
    assert finding.code == "H003" and words in finding.explanation
    scores = HEALTHY.scores.assign(otsu_native_dice=otsu)
    made = check_run(_changed(scores=scores, against="labels by consensus"))[0]
    assert "against labels by consensus, which Otsu's" in made.explanation and "Draw masks" in made.remedy
    membranes = HEALTHY.scores.assign(native_v_rand=HEALTHY.scores["native_dice"], otsu_native_v_rand=otsu)
    assert "has V_rand 0." in check_run(_changed(scores=membranes))[0].explanation  # whatever Otsu's Dice


@pytest.mark.parametrize(
    ("values", "space", "expected"),
    [
        ([1e-4, 3e-4, 1e-3, 3e-3, 1e-2], None, ["H004"]),  # the last trial is the best
        ([1e-4, 1e-2, 3e-4, 3e-3, 1e-3], None, []),
        ([1e-4, 1e-3], None, []),  # two values have no middle
        ([1e-4, 1e-3, 1e-2], {"learning_rate": {"low": 1e-5, "high": 1.0}}, []),
        ([1e-4, 1e-3], {"learning_rate": {"low": 1e-5, "high": 1e-3}}, ["H004"]),
        ([1e-4, 1e-3, 1e-2], {}, []),  # the space says it has no order
    ],
)
def test_h004_best_at_the_edge(values, space, expected):
    assert _codes(_changed(trials=_trials(values), space=space)) == expected


def test_h004_names_the_parameter_and_leaves_words_and_failures_out():
    trials = _trials([0.1, 0.2, 0.3]).assign(loss=["bce", "dice", "focal"], quarter_turns=[False, True, True])
    failed = pd.DataFrame([{**trials.iloc[0].to_dict(), "status": "FAILED", "learning_rate": 9.0, "objective": np.nan}])
    finding = check_run(_changed(trials=pd.concat([trials, failed])))[0]
    assert finding.figures == {"learning_rate": "0.3, the top of 0.1 to 0.3"}


def test_h005_image_on_both_sides():
    assert _codes(_changed(validation_ids=["image3", "other"])) == ["H005"]
    sides = pd.DataFrame(
        {
            "id": ["image3", "twin", "image4", "far"],
            "side": ["test", "train", "test", "validation"],
            "group": [0, 0, 1, 2],
        }
    )
    finding = check_run(_changed(sides=sides))[0]
    assert finding.code == "H005" and "1 test image (image3)" in finding.explanation
    assert _codes(_changed(sides=sides.assign(group=range(4)))) == []
    copied = sides.assign(group=range(4), sha=["a", "b", "c", "c"])  # pixel for pixel, in groups of their own
    assert "1 test image (image4)" in check_run(_changed(sides=copied))[0].explanation
    assert _codes(_changed(sides=copied.assign(sha=list("abcd")))) == []
    blocks = {**HEALTHY.params, "split": "blocks"}  # which part the scene that a stack is
    assert _codes(_changed(sides=sides, params=blocks)) == []
    assert _codes(_changed(sides=copied, params=blocks)) == ["H005"]


def test_h006_too_few_images():
    noise = np.random.default_rng(0).normal(0, 0.05, len(HEALTHY.scores))
    small = HEALTHY.scores.assign(reference_native_dice=HEALTHY.scores["native_dice"] - 0.004 - noise + noise.mean())
    finding = check_run(_changed(scores=small))[0]
    assert finding.code == "H006" and "gain over its published recipe is +0.004" in finding.explanation
    assert 0.01 < finding.figures["detectable"] < 0.03 and "about 1," in finding.remedy
    exact = HEALTHY.scores.assign(reference_native_dice=HEALTHY.scores["native_dice"] - 0.004)
    assert _codes(_changed(scores=exact)) == []  # small, and plain to see
    large = HEALTHY.scores.assign(reference_native_dice=HEALTHY.scores["native_dice"] - 0.05 - noise)
    assert _codes(_changed(scores=large)) == []
    assert "H006" in _codes(_changed(scores=small[:8]))
    (tiny,) = check_run(_changed(scores=large[:3]))  # and not that three images fail a test they could not pass
    assert tiny.code == "H006" and "can show no difference" in tiny.explanation and "about 6 test" in tiny.remedy
    assert "H006" not in _codes(_changed(scores=large[:12]))  # few images, and still beyond doubt
    worse = HEALTHY.scores.assign(reference_native_dice=HEALTHY.scores["native_dice"] + 0.05 + noise)
    assert "H006" not in _codes(_changed(scores=worse[:12]))  # a loss as well


def test_h007_tested_more_than_once():
    assert _codes(_changed(test_scorings=2)) == ["H007"]


def test_h007_says_how_much_better_the_largest_of_equal_models_looks():
    """By the figure, and by looking at many series of twenty equal models on the same sixty images."""
    rng = np.random.default_rng(0)
    own = HEALTHY.scores["native_dice"].to_numpy()
    scores = own + rng.normal(0, 0.02, (500, 20, 60))
    seen = np.mean(scores.mean(axis=2).max(axis=1) - own.mean())
    finding = check_run(
        _changed(
            test_scorings=20,
            peers=scores[0, :5],
            scores=HEALTHY.scores.assign(native_dice=scores[0, 5], otsu_native_dice=scores[0, 5] - 0.1),
        )
    )[0]
    assert finding.code == "H007" and finding.figures["scorings"] == 20
    assert finding.figures["looks_better_by"] == pytest.approx(seen, rel=0.2)
    assert f"the largest looks {finding.figures['looks_better_by']:.4f} Dice better than it is" in finding.explanation
    (bound,) = check_run(_changed(test_scorings=20))  # without the others' scores only the spread of Dice bounds it
    assert bound.figures["looks_better_by"] > 2 * seen and "looks up to" in bound.explanation


def test_h007_counts_scenes_and_not_images():
    ids = HEALTHY.scores["id"]
    sides = pd.DataFrame({"id": ids, "side": "test", "group": np.arange(60) // 15})
    peers = HEALTHY.scores["native_dice"].to_numpy() + np.repeat([[0.02, -0.02, 0.01, -0.01]], 15, axis=1)
    alone, together = (check_run(_changed(test_scorings=2, peers=peers, sides=s)) for s in (None, sides))
    alone, together = (next(each for each in found if each.code == "H007") for found in (alone, together))
    assert "60 images of 60 scenes" in alone.explanation and "60 images of 4 scenes" in together.explanation
    assert together.figures["looks_better_by"] > 3 * alone.figures["looks_better_by"]


@pytest.mark.parametrize(("k", "expected"), [(1, 0.0), (2, 0.5642), (20, 1.8675)])
def test_the_expected_maximum_is_that_of_the_tables(k, expected):
    assert checks.expected_maximum(k) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("shift", "expected"), [(0.1, ["H008"]), (0.005, [])])
@pytest.mark.parametrize("split", ["s0", "s1"])
def test_h008_seeds_disagree(shift, split, expected):
    dice = HEALTHY.scores["native_dice"].to_numpy() - shift + np.random.default_rng(0).normal(0, 0.02, 60)
    run = _changed(seeds={"1": (split, HEALTHY.scores["id"].tolist(), dice)})
    assert _codes(run) == expected


def test_h008_says_nothing_of_seeds_that_were_tested_on_one_scene_each():
    ids = HEALTHY.scores["id"].tolist()
    run = _changed(seeds={"1": ("s1", ids, HEALTHY.scores["native_dice"].to_numpy() - 0.1)})
    assert "H008" in _codes(run)
    assert "H008" not in _codes(dataclasses.replace(run, sides=_in_scenes([0] * 60)))


def test_an_image_of_which_nothing_is_known_does_not_make_h002():
    scores = HEALTHY.scores.copy()
    for unknown in (1, 12, 40):
        scores.loc[: unknown - 1, ["tp", "fp", "fn", "tn"]] = 0
        assert "H002" not in _codes(_changed(scores=scores))
        assert "H002" not in _codes(_changed(scores=scores, sides=_in_scenes(list(range(60)))))


def test_membranes_are_judged_by_v_rand_and_not_by_dice():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.05, 60)
    v_rand = np.clip(HEALTHY.scores["native_dice"] * 0.6, 0, 1)
    scores = HEALTHY.scores.assign(
        native_v_rand=v_rand,
        reference_native_v_rand=v_rand - 0.004 - noise + noise.mean(),
        reference_native_dice=HEALTHY.scores["native_dice"] - 0.2,
    )
    run = _changed(scores=scores)
    finding = next(f for f in check_run(run) if f.code == "H006")
    assert "V_rand four times in five" in finding.explanation and finding.figures["gain"] == pytest.approx(0.004)
    ids = scores["id"].tolist()
    apart = dataclasses.replace(run, seeds={"1": ("s0", ids, v_rand.to_numpy() - 0.1 + noise / 5)})
    assert "scores V_rand" in next(f for f in check_run(apart) if f.code == "H008").explanation


def test_seeds_on_other_splits_may_differ_by_what_images_explain():
    dice = difficulty(60, seed=5) - 0.015
    assert abs(dice.mean() - HEALTHY.scores["native_dice"].mean()) > checks.SEED_RANGE
    assert _codes(_changed(seeds={"1": ("s1", [f"other{i}" for i in range(60)], dice)})) == []


def test_a_value_of_none_at_all_is_no_edge():
    trials = pd.DataFrame({"number": [0, 1], "status": "COMPLETED", "objective": [0.9, 0.8], "dropout": [0.0, 0.3]})
    run = _changed(trials=trials, space={"dropout": {"low": 0.0, "high": 0.3}})
    assert "H004" not in _codes(run)


def test_the_published_recipe_claims_no_gain_over_itself():
    scores = HEALTHY.scores.assign(reference_native_dice=HEALTHY.scores["native_dice"])[:8]
    assert "H006" not in _codes(_changed(scores=scores))  # it is shown to be above Otsu's threshold


def _in_scenes(groups) -> pd.DataFrame:
    return pd.DataFrame({"id": HEALTHY.scores["id"], "side": "test", "group": list(groups)})


def test_gains_are_tested_over_scenes():
    gain = np.where(np.arange(60) < 36, 0.06, -0.02)
    scores = HEALTHY.scores.assign(otsu_native_dice=HEALTHY.scores["native_dice"] - gain)
    assert "H003" not in _codes(_changed(scores=scores))
    finding = next(
        f for f in check_run(_changed(scores=scores, sides=_in_scenes(np.arange(60) // 6))) if f.code == "H003"
    )
    assert finding.figures["p_value"] > 0.05


def test_too_few_scenes_are_named_beside_images():
    finding = next(f for f in check_run(_changed(sides=_in_scenes(np.arange(60) // 15))) if f.code == "H006")
    assert "60 test images of 4 scenes can show no difference" in finding.explanation and finding.figures["scenes"] == 4


def test_one_scene_can_show_nothing_and_that_is_said():
    scores = HEALTHY.scores.assign(otsu_native_dice=HEALTHY.scores["native_dice"] - 0.0005)
    run = _changed(scores=scores, sides=_in_scenes(np.zeros(60)))
    finding = next(f for f in check_run(run) if f.code == "H006")
    assert "60 test images of 1 scene can show no difference" in finding.explanation
    assert "at least 6 test scenes" in finding.remedy


def test_seeds_that_differ_in_one_scene_do_not_disagree():
    scene = np.arange(60) // 30
    dice = HEALTHY.scores["native_dice"].to_numpy() - np.where(scene == 0, 0.15, 0.05)
    run = _changed(seeds={"1": ("s0", HEALTHY.scores["id"].tolist(), dice)})
    assert "H008" in _codes(run)
    assert "H008" not in _codes(dataclasses.replace(run, sides=_in_scenes(scene)))
