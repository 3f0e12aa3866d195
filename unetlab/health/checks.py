"""Health checks of a finished run: pure functions over what it logged, each with a code, what it means, what to do."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from unetlab.health.finding import HealthFinding, RunData
from unetlab.metrics.power import detectable_difference, scenes_needed
from unetlab.metrics.significance import count_scenes, paired_test, spread
from unetlab.search.trials import trained_in_full

LEVEL = 0.05

LOSS_RATIO = 1.5
"""Validation loss over training loss above which, with ACCURACY_GAP, a model counts as overfitted."""

ACCURACY_GAP = 0.02

EDGE = 0.05
"""Share of a hyperparameter's range, at either end, that counts as its edge."""

FEW_SCENES = 20

LEAST_SCENES = 6
"""With fewer no difference passes a sign-flip test at 5 %, however large: 2 / 2**5 is 0.06."""

WORDS = {"native_v_rand": "V_rand", "native_dice": "Dice"}
"""Columns that runs are ranked by, the first that a run has: V_rand where membranes are to be found."""

NO_BETTER = "not better than one answer for every pixel"

ACCURACY_ALONE = f"accuracy {NO_BETTER}, though Dice is"
"""Title of an H002 that bars no model: where foreground is small, one that finds all of it may mark as much besides."""

SEED_RANGE = 0.01
"""Points of Dice or V_rand between seeds below which they agree whatever the test says."""


def overfitted(run: RunData) -> HealthFinding | None:
    """H001: training goes much better than validation."""
    names = ("train/loss", "val/loss", "train/accuracy", "val/accuracy")
    if not set(names) <= set(run.metrics):
        return None
    train_loss, val_loss, train_accuracy, val_accuracy = (run.metrics[name] for name in names)
    if val_loss < LOSS_RATIO * train_loss or train_accuracy - val_accuracy < ACCURACY_GAP:
        return None
    return HealthFinding(
        "H001",
        "overfitted",
        f"The model knows its training images better than new ones: loss {train_loss:.3f} in training and "
        f"{val_loss:.3f} in validation, accuracy {train_accuracy:.1%} and {val_accuracy:.1%}.",
        "Augment more (flips, quarter turns, brightness), raise dropout, take fewer filters, or stop earlier.",
        dict(zip(names, (train_loss, val_loss, train_accuracy, val_accuracy), strict=True)),
    )


def no_better_than_constant(run: RunData) -> HealthFinding | None:
    """H002: one answer for every pixel does as well.

    For accuracy, which is of one mask, the commonest class of these images' pixels; for Dice, and V_rand of membranes,
    the answer that had the better Dice on the training masks.
    """
    scenes = _test_scenes(run)
    several = any(column.startswith("native_dice/") for column in run.scores)
    gains, constant, answer = ({}, 0.0, "") if several else _gain_in_accuracy(run, scenes)
    for word, column in (("Dice", "native_dice"), ("V_rand", "native_v_rand")):
        if {column, f"constant_{column}"} <= set(run.scores):
            gains[word] = ((run.scores[column] - run.scores[f"constant_{column}"]).to_numpy(float), scenes)
    worse = [word for word, gain in gains.items() if not _better(*gain)]
    if not worse:
        return None
    named, alone = " and ".join(worse), worse == ["accuracy"] and len(gains) > 1
    said = [f"A mask that is all {answer} has accuracy {constant:.1%}"] if answer else []
    if "Dice" in gains:
        said.append(f"the better constant Dice {run.scores['constant_native_dice'].mean():.3f}")
    rival = ", and ".join(said)
    return HealthFinding(
        "H002",
        ACCURACY_ALONE if alone else f"{named} {NO_BETTER}",
        f"{rival[:1].upper()}{rival[1:]} on these images; the model's {named} "
        f"{'are' if len(worse) > 1 else 'is'} not better than that with any certainty.",
        "It finds what is there, and marks as much besides. Try threshold=validation, or train longer."
        if alone
        else "Look at predictions.png. If masks are empty or full, train longer or raise the learning rate, take the "
        f"loss bce_dice{'' if several else ', or move the threshold'}; and look at whether masks and images belong "
        "together.",
        {
            **{f"{word.lower()}_gain": float(gain.mean()) for word, (gain, _) in gains.items()},
            "constant_accuracy": constant,
        },
    )


def _gain_in_accuracy(
    run: RunData, scenes: np.ndarray | None
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray | None]], float, str]:
    """What accuracy gains over the commonest class of each image's known pixels, with the scenes of the images that
    have any; that class's accuracy and its name."""
    counts = {name: run.scores[name].to_numpy(float) for name in ("tp", "fp", "fn", "tn")}
    pixels = np.sum(list(counts.values()), axis=0)
    known = pixels > 0
    if not known.any():
        return {}, 0.0, ""
    share = {name: each[known] / pixels[known] for name, each in counts.items()}
    foreground = share["tp"] + share["fn"]
    answer = "foreground" if foreground.mean() > 0.5 else "background"
    commonest = foreground if answer == "foreground" else 1 - foreground
    gain = (share["tp"] + share["tn"] - commonest, None if scenes is None else scenes[known])
    return {"accuracy": gain}, float(commonest.mean()), answer


def no_better_than_otsu(run: RunData) -> HealthFinding | None:
    """H003: a global threshold, which needs no training, does as well: by V_rand where that ranks, else by Dice."""
    own = next((column for column in WORDS if {column, f"otsu_{column}"} <= set(run.scores)), None)
    if own is None:
        return None
    otsu = run.scores[f"otsu_{own}"]
    gain = (run.scores[own] - otsu).to_numpy(float)
    scenes = _test_scenes(run)
    if _better(gain, scenes):
        return None
    p = float(paired_test(gain[None], scenes)[0]) if len(gain) > 1 else 1.0
    chance = "" if p < LEVEL else ", which may be chance"
    relation = "below" if gain.mean() < 0 else "above"
    given = run.against == "masks"
    by = "" if given else f", against {run.against}, which Otsu's threshold may have helped to make"
    return HealthFinding(
        "H003",
        "not better than Otsu's threshold",
        f"Otsu's threshold, which learns nothing, has {WORDS[own]} {otsu.mean():.3f} on these images{by}; the model "
        f"is {abs(gain.mean()):.3f} {relation} it{chance} (p = {p:.2g}).",
        "Do not publish this model as a success. Give it more images or more epochs, or use the threshold."
        if given
        else "Draw masks of some images and `evaluate` with them: made labels cannot say which of the two is better.",
        {"gain": float(gain.mean()), "p_value": p},
    )


def best_at_the_edge(run: RunData) -> HealthFinding | None:
    """H004: the best value of a hyperparameter is the smallest or largest the search could try."""
    if run.trials is None:
        return None
    done = trained_in_full(run.trials)
    edges = {}
    for name in done.columns.drop(["number", "status", "objective", "tuner_epochs"], errors="ignore"):
        column = done[name]
        if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
            continue
        given = (run.space or {}).get(name)
        if given is None and (run.space is not None or column.nunique() < 3):
            continue
        low, high = (given["low"], given["high"]) if given else (float(column.min()), float(column.max()))
        side = _edge(float(column[done["objective"].idxmax()]), low, high)
        if side:
            edges[name] = f"{column[done['objective'].idxmax()]:.4g}, the {side} of {low:.4g} to {high:.4g}"
    if not edges:
        return None
    return HealthFinding(
        "H004",
        "best value at the edge of the search space",
        "The best trial has " + "; ".join(f"{name} {text}" for name, text in edges.items()) + ". Beyond may be better.",
        "Widen the space on that side in the setup's file and search again.",
        edges,
    )


def image_on_both_sides(run: RunData) -> HealthFinding | None:
    """H005: an image, or a near copy of it, is tested and was also seen in training or validation."""
    if run.seen:
        return HealthFinding(
            "H005",
            "scored on images that the model has seen",
            f"The model was trained or validated on {run.seen} of these images, or on others of their scenes: the "
            "scores are too good.",
            "Score it on images that it has not seen, and throw these scores away.",
            {"seen": run.seen},
        )
    tested = set(run.scores["id"])
    both = sorted(tested & set(run.validation_ids))
    near: list[str] = []
    if run.sides is not None:
        sides = run.sides
        tests = sides["side"] == "test"
        alike = pd.Series(False, sides.index)
        # blocks part the scene that a stack is, with a gap; runs of before pixels were known have no sha
        for column in ({"sha"} if run.params.get("split") == "blocks" else {"group", "sha"}).intersection(sides):
            alike |= sides[column].isin(set(sides.loc[~tests, column]))
        near = sorted(sides.loc[tests & alike, "id"].astype(str))
    found = sorted({*both, *near})
    if not found:
        return None
    shown = ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
    return HealthFinding(
        "H005",
        "same image on both sides",
        f"{len(found)} test image{'s' * (len(found) > 1)} ({shown}) or near copies of them were also trained or "
        "validated on: the test scores are too good.",
        "Split again with duplicates kept together, and throw these scores away.",
        {"images": len(found), "first": found[0]},
    )


def too_few_images(run: RunData) -> HealthFinding | None:
    """H006: the gain a run claims is smaller than what its test images can show; of V_rand where that ranks."""
    n, scenes = len(run.scores), _test_scenes(run)
    units = count_scenes(scenes, n)
    column = ranked_by(run.scores)
    own = run.scores[column]
    rivals = [name for name in ("reference", "otsu") if f"{name}_{column}" in run.scores]
    # where the published recipe itself came out best, there is no gain over it to be seen
    rival = next((name for name in rivals if not own.equals(run.scores[f"{name}_{column}"])), None)
    if rival is None:
        return None
    words = {"reference": "its published recipe", "otsu": "Otsu's threshold"}
    gains = (own - run.scores[f"{rival}_{column}"]).to_numpy(float)
    least, gain = detectable_difference(gains, scenes), float(gains.mean())
    none = units < LEAST_SCENES
    shown = _better(gains, scenes) or _better(-gains, scenes)
    if not none and (shown or (units >= FEW_SCENES and (gain <= 0 or gain >= least))):
        return None
    counted = f"{n} test images" + ("" if scenes is None else f" of {units} scene{'s' * (units != 1)}")
    smallest = f"{least:.3f} {WORDS[column]} four times in five, and smaller ones less often"
    remedy = "Take test images of more scenes before you rank models."
    if gain > 0:
        needed = max(LEAST_SCENES, scenes_needed(gains, scenes))
        # of one scene nothing is known of the spread
        many = f"about {needed:,} test scenes would" if units > 1 else f"at least {needed} test scenes can"
        remedy = f"Claim no gain; {many} show one of this size, if it is one."
    return HealthFinding(
        "H006",
        "too few test images for the difference",
        (f"{counted} can show no difference, however large" if none else f"{counted} show {smallest}")
        + f"; this run's gain over {words[rival]} is {gain:+.3f}.",
        remedy,
        {"images": n, "scenes": units, **({} if none else {"detectable": least}), "gain": gain},
    )


def tested_more_than_once(run: RunData) -> HealthFinding | None:
    """H007: the test split was looked at more than once, by whatever search, setup or evaluation of the store."""
    if run.test_scorings <= 1:
        return None
    scenes = _test_scenes(run)
    luck, bound = _luck(run, scenes)
    cost = expected_maximum(run.test_scorings) * luck
    n = len(run.scores)
    return HealthFinding(
        "H007",
        "test split scored more than once",
        f"{run.test_scorings} models were scored on this test split in this store, over all experiments. Who picks "
        f"among test scores picks luck too: of {run.test_scorings} equal models on {n} images of "
        f"{count_scenes(scenes, n)} scenes the largest looks {'up to ' * bound}{cost:.4f} Dice better than it is.",
        "Choose by validation scores, and test the one you chose on images that no run has seen (`evaluate`).",
        {"scorings": run.test_scorings, "looks_better_by": cost},
    )


def seeds_disagree(run: RunData) -> HealthFinding | None:
    """H008: the same setup with another seed gives another score than chance in the images explains."""
    column = ranked_by(run.scores)
    own = (run.split, run.scores["id"].tolist(), run.scores[column].to_numpy(float))
    all_seeds = {**run.seeds, str(run.params.get("seed", "this")): own}
    usable = {seed: values for seed, values in all_seeds.items() if len(values[2]) > 1}
    means = {seed: float(values[2].mean()) for seed, values in usable.items()}
    if len(means) < 2 or max(means.values()) - min(means.values()) < SEED_RANGE:
        return None
    if len({values[0] for values in usable.values()}) == 1:
        p = _paired_extremes(usable, means, _scene_of(run))
    else:
        variances = np.array([_variance(ids, dice, _scene_of(run)) for _, ids, dice in usable.values()])
        p = _heterogeneity(np.array(list(means.values())), variances)
    if p >= LEVEL:
        return None
    return HealthFinding(
        "H008",
        "seeds disagree",
        f"The same setup scores {WORDS[column]} "
        + ", ".join(f"{mean:.3f} (seed {seed})" for seed, mean in means.items())
        + f": more apart than the choice of test images explains (p = {p:.2g}). One run says little of this setup.",
        "Judge it by several repeats, never by its best seed; more epochs or a lower learning rate steady it.",
        {**{f"seed_{seed}": mean for seed, mean in means.items()}, "p_value": p},
    )


CHECKS: tuple[Callable[[RunData], HealthFinding | None], ...] = (
    overfitted,
    no_better_than_constant,
    no_better_than_otsu,
    best_at_the_edge,
    image_on_both_sides,
    too_few_images,
    tested_more_than_once,
    seeds_disagree,
)
"""In the order of their codes, H001 first."""


def ranked_by(scores: pd.DataFrame) -> str:
    """The column that a run is ranked by, one of WORDS."""
    return next(column for column in WORDS if column in scores)


def _better(gains: np.ndarray, scenes: np.ndarray | None) -> bool:
    """Whether gains are shown to be above 0, or just are where scenes are too few to show anything (H006 says so)."""
    few = count_scenes(scenes, len(gains)) < LEAST_SCENES
    return gains.mean() > 0 and (few or float(paired_test(gains[None], scenes)[0]) < LEVEL)


def _scene_of(run: RunData) -> pd.Series | None:
    """The scene of each image of the data by id, None where the run does not say."""
    if run.sides is None:
        return None
    return run.sides.assign(id=run.sides["id"].astype(str)).drop_duplicates("id").set_index("id")["group"]


def _scenes_of(ids: Sequence[str], scene_of: pd.Series | None) -> np.ndarray | None:
    """The scenes of images, None where that of one is not known."""
    if scene_of is None:
        return None
    found = scene_of.reindex([str(image) for image in ids])
    return None if found.isna().any() else found.to_numpy()


def _test_scenes(run: RunData) -> np.ndarray | None:
    """The scene of each test image in the order of the scores, None where the run does not say."""
    return _scenes_of(run.scores["id"].tolist(), _scene_of(run))


def expected_maximum(k: int) -> float:
    """Of k independent standard normals: the integral of x k pdf(x) cdf(x)^(k - 1), 0 for one, 1.87 for twenty."""
    x = np.linspace(-9, 9, 20_001)
    return float(np.trapezoid(x * k * stats.norm.pdf(x) * stats.norm.cdf(x) ** (k - 1), x))


def _luck(run: RunData, scenes: np.ndarray | None) -> tuple[float, bool]:
    """Standard error of a mean Dice between equal models on these images, and whether it is only a bound.

    Images that are hard are hard for all, and that moves all means alike: what tells equal models apart is how their
    differences scatter, over the square root of 2 for each one's share. Without other models to look at the scatter of
    the Dice itself bounds it.
    """
    own = run.scores["native_dice"].to_numpy(float)
    root = np.sqrt(count_scenes(scenes, len(own)))
    if run.peers is None or len(own) < 2:
        return float(np.nan_to_num(spread(own[None], scenes)[0]) / root) if len(own) > 1 else 0.0, True
    apart = np.nan_to_num(spread(own - run.peers, scenes))
    return float(np.sqrt((apart**2).mean() / 2) / root), False


def _edge(value: float, low: float, high: float) -> str:
    """ "bottom" or "top" if a value lies within EDGE of an end of its range, on a log scale where that is wide.

    0 is no edge: there is no dropout and no augmentation below none.
    """
    if high <= low or value == 0:
        return ""
    if low > 0 and high / low >= 10:
        value, low, high = np.log(value), np.log(low), np.log(high)
    place = (value - low) / (high - low)
    return "bottom" if place <= EDGE else "top" if place >= 1 - EDGE else ""


def _variance(ids: Sequence[str], dice: np.ndarray, scene_of: pd.Series | None) -> float:
    """Of the mean Dice, over scenes; infinite where all images are of one, which says nothing."""
    scenes = _scenes_of(ids, scene_of)
    units = count_scenes(scenes, len(dice))
    return float(spread(dice[None], scenes)[0]) ** 2 / units if units > 1 else float("inf")


def _paired_extremes(
    seeds: Mapping[str, tuple[str, Sequence[str], np.ndarray]],
    means: Mapping[str, float],
    scene_of: pd.Series | None,
) -> float:
    """p-value of best against worst seed on the same images, for all pairs (Bonferroni)."""
    best, worst = max(means, key=means.__getitem__), min(means, key=means.__getitem__)
    pair = [pd.Series(seeds[seed][2], index=list(seeds[seed][1])) for seed in (best, worst)]
    gains = (pair[0] - pair[1]).dropna()
    pairs = len(means) * (len(means) - 1) / 2
    if len(gains) < 2:
        return 1.0
    scenes = _scenes_of(gains.index.tolist(), scene_of)
    return min(1.0, float(paired_test(gains.to_numpy()[None], scenes)[0]) * pairs)


def _heterogeneity(means: np.ndarray, variances: np.ndarray) -> float:
    """p-value of Cochran's Q: whether means spread more than their own variances explain; 1 where none is known."""
    weights = 1 / np.maximum(variances, 1e-12)
    if not weights.any():
        return 1.0
    centre = (weights * means).sum() / weights.sum()
    return float(stats.chi2.sf((weights * (means - centre) ** 2).sum(), len(means) - 1))
