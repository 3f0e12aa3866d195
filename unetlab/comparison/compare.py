"""Which setup is better, and how sure is that? Reads runs from MLflow and from nowhere else."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from unetlab.comparison.contenders import (
    EVERY_PAIR,
    EVERY_PAIR_OF_CLASSES,
    TRAIN_SHARE,
    listed,
    names_of,
    refuse_different,
    refuse_other_budgets,
    refuse_other_classes,
    refuse_seen,
    scenes_of,
    test_share_of,
)
from unetlab.comparison.pairs import LEVEL, means_of, pairs_of
from unetlab.errors import UserError
from unetlab.metrics import significance
from unetlab.metrics.table import METRICS, word_of
from unetlab.options import BUDGET
from unetlab.tracking.read import Record, budget, class_arrays, find, score_arrays


def ranking_metric(names: Collection[str]) -> str:
    """The metric that ranks runs whose tables all have columns of these names: the first of METRICS among them.

    Raises UserError if there is none.
    """
    for metric in METRICS:
        if metric in names:
            return metric
    raise UserError(f"runs have none of {', '.join(METRICS)} for each test image; run them again with this version")


@dataclass(frozen=True)
class Comparison:
    """Contenders, best first, and what can be said of their differences.

    Args:
        names: of the contenders, best mean Dice first.
        setups: setup of each.
        records: the runs behind each: one, or one a repeat.
        units: what scores are taken over: test image ids, or split digests of repeats.
        scenes: the scene of each test image; empty where runs do not say, and for repeats: then each is one of its own.
        scores: metric to float64 (contenders, units); of a class NaN where neither the truth nor the contender has
            anything of it.
        repeats: number of different splits; 1 is a comparison over the images of one split.
        test_share: test images over training images.
        pairs: a row for each pair and metric: metric, a, b (names, a the one with the better Dice), difference (a - b),
            low, high, p, p_holm, effect, verdict ("a better", "b better" or "cannot tell").
        intervals: float64 (contenders, 2), 95 % intervals of the contenders' mean Dice.
        best: names of those that cannot be told from the first by Dice, the first included.
        notes: what a reader must know.
    """

    names: tuple[str, ...]
    setups: tuple[str, ...]
    records: tuple[tuple[Record, ...], ...]
    units: tuple[str, ...]
    scenes: tuple[str, ...]
    scores: Mapping[str, np.ndarray]
    repeats: int
    test_share: float
    pairs: pd.DataFrame
    intervals: np.ndarray
    best: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def metric(self) -> str:
        """The metric that ranks."""
        return next(iter(self.scores))

    def pair(self, a: str, b: str) -> pd.DataFrame:
        """The rows of `pairs` for two names, `a` being the better of them whichever is given first; where `pairs` lacks
        them their figures, with p_holm as if all were tested.

        Raises KeyError for an unknown name.
        """
        places = {name: i for i, name in enumerate(self.names)}
        a, b = sorted((a, b), key=places.__getitem__)
        found = self.pairs[(self.pairs["a"] == a) & (self.pairs["b"] == b)]
        if len(found):
            return found
        which = np.array([[places[a], places[b]]])
        return pairs_of(self.names, self.scores, which, self.scenes, self.repeats, self.test_share)

    def ranking(self) -> pd.DataFrame:
        """One row a contender, best first.

        Columns rank, name, setup, each metric's mean, _low and _high of the one that ranks, behind_best (of that one),
        behind_low, behind_high, p_holm against the first, and among_best.
        """
        means = {metric: means_of(values) for metric, values in self.scores.items()}
        first = self.metric
        against = self.pairs[(self.pairs["metric"] == first) & (self.pairs["a"] == self.names[0])].set_index("b")
        against = against.reindex(list(self.names))
        best = set(self.best)
        table = pd.DataFrame({"rank": np.arange(1, len(self.names) + 1), "name": self.names, "setup": self.setups})
        return table.assign(
            **means,
            **{f"{first}_low": self.intervals[:, 0], f"{first}_high": self.intervals[:, 1]},
            behind_best=-against["difference"].to_numpy(),
            behind_low=-against["high"].to_numpy(),
            behind_high=-against["low"].to_numpy(),
            p_holm=against["p_holm"].to_numpy(),
            among_best=[name in best for name in self.names],
        )

    def images(self) -> str:
        """How many test images, and in how many scenes where that is known, in words."""
        return _counted(len(self.units), self.scenes)

    def conclusion(self) -> str:
        """What the comparison says, in plain words."""
        first, others = self.names[0], [name for name in self.best if name != self.names[0]]
        beaten = len(self.names) - len(self.best)
        over = f"{self.repeats} repeated splits" if self.repeats > 1 else self.images()
        if not others:
            return f"{first} is better than {'the other' if beaten == 1 else f'all {beaten} others'}, on {over}."
        shown = listed(others)
        word = word_of(self.metric)
        tied = f"{first} has the highest mean {word}, but {shown} cannot be told from it on {over}"
        if not beaten:
            return f"{tied}: no winner."
        return f"{tied}; {beaten} other{'s are' if beaten > 1 else ' is'} worse than {first}."


def compare(
    runs: Sequence[str] = (), experiment: str | None = None, where: str | None = None, seed: int = 0
) -> Comparison:
    """Compares finished setup runs, or evaluations, by their per-image scores on the same test images.

    Every difference is paired: two models are compared image by image, so what makes an image hard for both drops out.
    For Dice, IoU, accuracy, boundary F1 and the object score it gives

    - the mean difference and its 95 % interval: bias-corrected bootstrap over scenes, 10,000 draws;
    - the p-value of the paired test over scenes (sign flips and Student's t, see `significance.paired_test`);
    - Holm's correction over all pairs, for each metric on its own, but for the Dice of each of several classes over
      all pairs and classes; Dice is the metric that ranks, the others explain;
    - Cohen's d of paired data: the mean difference in standard deviations of the differences; 0.2 is called small, 0.8
      large.

    The Dice of a class is compared on the images in which the class is, in the truth or in either of the two answers;
    of two models the one that invents none there is right, with a Dice of 1. `ranking` has each model's mean over its
    own such images, as its run has it, and so have repeats; both may order models otherwise.

    **What is drawn.** Copies, frames of one take and tiles of one field are no independent witnesses: what is drawn and
    flipped is the scene, as `split.csv` of the runs has it, with all its images; what is estimated stays the mean over
    images. Where runs do not say, each image counts as a scene, and a note says so.

    **Which rules.** A verdict rests on Holm's p-value below 0.05 and on nothing else. The interval says how large a
    difference may be, for one pair and without correction: with many pairs, or few images, it can leave 0 out where
    the verdict is "cannot tell". The p-value rules because it takes two tests to convince: sign flips, which ask
    nothing of the scores' shape, and Student's t, which knows that few large scenes say little.

    **How many.** Up to 40 contenders, of classes 10, every pair is compared. Beyond, each is compared with the best
    only, so that the work grows with the runs and not with their square; since the best was picked by looking, Holm's
    correction still counts all pairs. `Comparison.pair` gives any other pair.

    **Repeats.** Runs with a tag `repeat` are compared setup by setup. Seeds on the same split are averaged image by
    image. Over several splits each gives one mean difference, and the variance is corrected for the images they share
    (`significance.corrected_resampled_t`); then a setup must have a run on every split.
    How much splits share is counted in scenes.

    What no test here sees: one training's luck. A single run a setup compares two trained models, not two recipes;
    repeats compare recipes.

    Args:
        runs: ids; all must be finished setup runs.
        experiment: name or id, where no ids are given. Defaults as `read.find` has it.
        where: MLflow filter on the runs of the experiment.
        seed: of resampling.

    Raises:
        UserError: for fewer than two runs; for runs whose data or split digests differ: their scores are of different
            images, and a difference would say more of the images than of the models (an evaluation has no split: its
            images must be the others'), and for evaluations on images
            that their models have seen; and for repeats of one setup with different budgets.

    Example (of the step behind the reading, `contest`):

        >>> scores = {"native_dice": np.array([[0.80, 0.70, 0.90, 0.85, 0.60, 0.75, 0.88, 0.79],
        ...                                    [0.85, 0.74, 0.92, 0.86, 0.69, 0.78, 0.93, 0.81]])}
        >>> found = contest(["small", "large"], scores)
        >>> found.conclusion()
        'large is better than the other, on 8 test images.'
        >>> found.pairs[["a", "b", "difference", "p_holm"]].round(4).to_dict("records")
        [{'a': 'large', 'b': 'small', 'difference': 0.0388, 'p_holm': 0.0078}]
    """
    records = find(runs, experiment, where)
    if len(records) < 2:
        found = ", ".join(each.name for each in records) or "none"
        raise UserError(f"a comparison needs two finished setup runs or more, found: {found}; give others or run more")
    refuse_other_classes(records)
    refuse_seen(records)
    if all("repeat" in each.tags for each in records):
        return _compare_repeats(records, seed)
    evaluated = any(each.tags.get("role") == "evaluation" for each in records)  # then only the images have to agree
    refuse_different(records, ("dataset_digest",) if evaluated else ("dataset_digest", "split_digest"))
    ids, scores = _scores(records)
    return contest(names_of(records), scores, ids, [(each,) for each in records], scenes_of(records, ids), seed=seed)


def contest(
    names: Sequence[str],
    scores: Mapping[str, np.ndarray],
    units: Sequence[str] = (),
    records: Sequence[tuple[Record, ...]] = (),
    scenes: Sequence[str] = (),
    repeats: int = 1,
    test_share: float = TRAIN_SHARE,
    seed: int = 0,
) -> Comparison:
    """The comparison of contenders' scores, metric to float64 (contenders, units); the arguments are Comparison's.

    Raises UserError for fewer than two units.
    """
    first = next(iter(scores))
    n = scores[first].shape[1]
    if n < 2:
        raise UserError(f"a comparison needs two test images or more, these runs have {n}; give more data")
    order = np.argsort(-scores[first].mean(axis=1), kind="stable")
    names = tuple(names[i] for i in order)
    ordered = {metric: values[order] for metric, values in scores.items()}
    k = len(names)
    # of a class each pair has images of its own, and takes as long as all pairs do of other scores
    few = k <= (EVERY_PAIR_OF_CLASSES if any("/" in metric for metric in scores) else EVERY_PAIR)
    which = np.stack(np.triu_indices(k, 1), axis=1) if few else np.array([[0, i] for i in range(1, k)])
    pairs = pairs_of(names, ordered, which, scenes, repeats, test_share, seed)
    if repeats > 1:
        low, high = significance.corrected_resampled_t(ordered[first], test_share)[1:3]
    else:
        low, high = significance.bootstrap_interval(ordered[first], scenes or None, seed=seed)
    told = set(pairs[(pairs["metric"] == first) & (pairs["a"] == names[0]) & (pairs["p_holm"] < LEVEL)]["b"])
    behind = tuple(records[i] for i in order) if len(records) else ((),) * k
    return Comparison(
        names=names,
        setups=tuple(runs[0].setup if runs else name for runs, name in zip(behind, names, strict=True)),
        records=behind,
        units=tuple(units) or tuple(str(i) for i in range(n)),
        scenes=tuple(scenes),
        scores=ordered,
        repeats=repeats,
        test_share=test_share,
        pairs=pairs,
        intervals=np.clip(np.stack([low, high], axis=1), 0, 1),  # a t interval over few splits knows no bounds
        best=tuple(name for name in names if name not in told),
        notes=tuple(_notes(behind, k, n, tuple(scenes), repeats, few)),
    )


def _compare_repeats(records: Sequence[Record], seed: int) -> Comparison:
    """Setups over repeats: seeds of one split averaged an image, splits taken as repeats."""
    refuse_different(records, ("dataset_digest",))
    setups = list(dict.fromkeys(each.setup for each in records))
    for setup in setups:
        refuse_other_budgets([each for each in records if each.setup == setup])
    splits = list(dict.fromkeys(each.tags.get("split_digest", "") for each in records))
    if len(setups) < 2:
        raise UserError(f"a comparison needs two setups or more, these repeats are all of {setups[0]}; run another one")
    per_split: list[dict[str, np.ndarray]] = []
    ids: list[str] = []
    for split in splits:
        there = [each for each in records if each.tags.get("split_digest") == split]
        missing = [setup for setup in setups if setup not in {each.setup for each in there}]
        if missing:
            raise UserError(
                f"repeats must have every setup on every split: {listed(missing)} has no run on split {split} "
                f"(repeat {there[0].tags['repeat']}); finish it, or leave that repeat out"
            )
        ids, scores = _scores(there)
        rows = [[i for i, each in enumerate(there) if each.setup == setup] for setup in setups]
        per_split.append({name: np.stack([_of_seeds(v[own]) for own in rows]) for name, v in scores.items()})
    behind = [tuple(each for each in records if each.setup == setup) for setup in setups]
    if len(splits) == 1:
        return contest(setups, per_split[0], ids, behind, scenes_of(records, ids), seed=seed)
    shared = [name for name in per_split[0] if all(name in each for each in per_split)]
    means = {name: np.stack([means_of(each[name]) for each in per_split], axis=1) for name in shared}
    share = test_share_of(records[0])
    return contest(setups, means, splits, behind, repeats=len(splits), test_share=share, seed=seed)


def _of_seeds(values: np.ndarray) -> np.ndarray:
    """Mean scores over the seeds of a setup, float64 (seeds, images) to (images,); of a class, a seed that has none
    where another one invents it is right, 1."""
    there = ~np.isnan(values).all(axis=0)
    return np.where(there, np.nan_to_num(values, nan=1.0).mean(axis=0), np.nan)


def _scores(records: Sequence[Record]) -> tuple[list[str], dict[str, np.ndarray]]:
    """What runs are compared by: METRICS, then the Dice of each class where they tell classes apart."""
    ids, scores = score_arrays(records, list(METRICS))
    several = bool(records[0].tags.get("classes"))
    return ids, scores | (class_arrays(records, ids, "native_dice") if several else {})


def _counted(images: int, scenes: Sequence[str]) -> str:
    if not scenes:
        return f"{images} test images"
    several = len(set(scenes))
    return f"{images} test images in {several} scene{'s' * (several != 1)}"


def _notes(
    behind: Sequence[tuple[Record, ...]], k: int, n: int, scenes: tuple[str, ...], repeats: int, every: bool
) -> list[str]:
    notes = []
    units = significance.count_scenes(scenes or None, n)
    if repeats > 1:
        notes.append(
            f"Scores are means over {repeats} splits; intervals and p-values allow for the images splits share "
            "(Nadeau and Bengio 2003)."
        )
        if repeats < 4:
            notes.append(f"{repeats} splits show only large differences; ten are usual.")
    elif 2.0 ** (1 - units) >= LEVEL / (k * (k - 1) / 2):
        notes.append(f"{_counted(n, scenes)} are too few: no difference could pass the test, however large.")
    if repeats == 1 and not scenes and any(behind):
        notes.append("No run says which test images show one scene: each counts as one of its own.")
    if not every:
        notes.append(
            f"{k} contenders: each is compared with the best only, and p-values are corrected for all "
            f"{k * (k - 1) // 2:,} pairs, since the best was picked by looking."
        )
    for each in [record for runs in behind for record in runs]:
        if (seen := each.tags.get("seen_images", "")).startswith("unknown"):
            why = seen.partition(": ")[2] or "its run does not say"
            trained = f"Nobody knows whether {each.name} ({each.run_id}) was trained on these images ({why})"
            notes.append(f"{trained}: if it was, its scores are too good.")
    made = sorted({each.tags.get("scored_against", "masks") for runs in behind for each in runs} - {"masks"})
    if made:
        notes.append(
            f"Scores are against {listed(made)}, which says how well models imitate them and not how right they are."
        )
    budgets = [budget(runs[0]) for runs in behind if runs]
    if differ := [name for name in BUDGET if len({given[name] for given in budgets if name in given}) > 1]:
        notes.append(f"The contenders had different budgets ({listed(differ)}): a difference may be due to that.")
    return notes
