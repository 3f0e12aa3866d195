"""One training as one MLflow run: fit, score on validation, log the model. Search and training meet here."""

import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import keras
import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient

from unetlab.data import Dataset, cache
from unetlab.data.classes import UNKNOWN
from unetlab.data.dataset import FittedDataset
from unetlab.data.split import Split
from unetlab.errors import Stopped, redacted
from unetlab.images import codecs, geometry
from unetlab.inference import predict
from unetlab.inference.objects import METHODS
from unetlab.inference.package import log_segmenter, settings_of
from unetlab.inference.predict import Maps, Predictor, objects_at
from unetlab.jobs import class_scores
from unetlab.jobs.class_scores import ClassScored
from unetlab.jobs.progress import SearchProgress
from unetlab.jobs.resume import Kept, params_of, stoppable, tell_unsent, training_name, trainings
from unetlab.metrics import membranes, thresholds
from unetlab.metrics.baselines import Rivals
from unetlab.metrics.table import score_images, summarise
from unetlab.models import NETWORKS
from unetlab.search.rung import Rung
from unetlab.setup import Recipe, Setup
from unetlab.tracking import epochs, figures, write
from unetlab.training import fit


@dataclass(frozen=True)
class Bench:
    """What all trainings of a search share.

    Args:
        setup: the setup.
        dataset: the images, and the masks that are learnt.
        truth: the same images with the masks the final model is scored against; `dataset` itself, unless labels were
            made for training.
        split: the sides.
        seed: of weights, shuffling and augmentation.
        precision: "float32" or "bfloat16".
        weights: of the encoder, as the model builder takes them.
        models: "all" logs every trial's model, "best" the final one only.
        progress: bars and lines on the terminal.
        minutes: of each training at most; 0 for no limit.
        rivals: that the final model meets.
        threshold: "recipe" or "validation", as `Options` has it.
        scenes: int (n,), the scene of each image, None for each its own.
        kept: what earlier attempts left, and where this one saves what a next would want.
    """

    setup: Setup
    dataset: Dataset
    truth: Dataset
    split: Split
    seed: int
    precision: str
    weights: str | None
    models: str
    progress: SearchProgress
    minutes: float = 0.0
    rivals: Rivals = Rivals()
    threshold: str = "recipe"
    scenes: np.ndarray | None = None
    kept: Kept = Kept()

    @property
    def test_scenes(self) -> np.ndarray | None:
        """The scene of each test image, in the order of the split."""
        return None if self.scenes is None else self.scenes[self.split.test]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the foreground classes that are told apart; none where one mask is learnt."""
        return self.dataset.classes[1:] if self.dataset.learnt_classes else ()

    @property
    def objective(self) -> str:
        """The validation score that a search maximises: V_rand for membranes, where all inside has a high Dice."""
        return membranes.SCORES[0] if self.setup.membranes else "native_dice"

    def tags(self, role: str) -> dict[str, str]:
        """The tags every run carries."""
        return {
            "setup": self.setup.name,
            "role": role,
            "dataset": self.truth.name,
            "dataset_digest": self.truth.digest,
            "split_digest": self.split.digest,
            "ranked_by": self.objective,
            **({"classes": ", ".join(self.classes)} if self.classes else {}),
            **self.rivals.tags(),
        }

    def inputs(self) -> dict[str, Any]:
        """MLflow's description of each side of the split."""
        sides = {"train": self.split.train, "validation": self.split.validation, "test": self.split.test}
        return {
            side: write.split_input(self.truth.name, self.truth.digest, side, len(rows), self.split.digest)
            for side, rows in sides.items()
        }


@dataclass(frozen=True)
class Outcome:
    """A finished training.

    Args:
        recipe: what was trained.
        served: the recipe at the threshold that is served and scored: its own, or the best on validation.
        weights: of the best epoch, for `fit.rebuild`.
        val: validation scores by name, and of one mask best_threshold, the one that is best by the objective.
        history: one row an epoch.
        run_id: its MLflow run.
        model_id: its logged model, None where it was not logged.
    """

    recipe: Recipe
    served: Recipe
    weights: list[np.ndarray]
    val: Mapping[str, float]
    history: pd.DataFrame
    run_id: str
    model_id: str | None


@dataclass(frozen=True)
class Scored:
    """What a network says of one side, the masks (h, w) at its size, the objects, and the scores by image and name.

    `maps` are 0 where `masks` are unknown, and these are 0 there.
    """

    maps: Maps
    masks: Sequence[np.ndarray] | np.ndarray
    table: pd.DataFrame
    figures: Mapping[str, float]


class Judged(NamedTuple):
    """What a search learns of a trial: its objective and its outcome, None where its weights are not kept."""

    objective: float
    outcome: Outcome | None


def judge(bench: Bench, recipe: Recipe, name: str, number: int, rung: Rung | None = None) -> Judged:
    """Trains a trial of a search, unless it finished before. Raises as `train` and `known` do."""
    if (before := known(bench, recipe, name, number)) is not None:
        return before
    outcome = train(bench, recipe, name, "trial", {"trial": str(number)}, rung=rung)
    return Judged(float(outcome.val[bench.objective]), outcome)


def known(bench: Bench, recipe: Recipe, name: str, number: int) -> Judged | None:
    """A trial that finished in an earlier attempt; None for the reference trial without its weights, which are wanted
    too.

    Raises FailedBefore and Stopped as `Kept.objective` does.
    """
    params = params_of(recipe, bench.seed, bench.precision, bench.weights)
    if (done := bench.kept.finished(f"trial {number}", params)) is not None:
        outcome = _outcome_again(recipe, *done)
        judged = Judged(float(outcome.val[bench.objective]), outcome)
    else:
        before = bench.kept.objective(f"trial {number}", params, f"val/{bench.objective}")
        if not number or before is None:
            return None
        judged = Judged(before, None)
    bench.progress.done(f"{name}: done before, {judged.objective:.4f}")
    return judged


def judge_elsewhere(
    told: Any, root: Path, bench: Bench, recipe: Recipe, name: str, number: int, rung: Rung | None = None
) -> Judged:
    """`judge` in another process, maybe on another machine and maybe after another worker that was lost.

    Args:
        told: in place of the bench's progress.
        root: the cache folder that the bench's own folders lie below; here they are below this machine's.
    """
    experiment = mlflow.get_run(bench.kept.parent).info.experiment_id
    dataset = _here(bench.dataset, root)
    truth = dataset if bench.truth is bench.dataset else _here(bench.truth, root)
    folder = None if bench.kept.folder is None else cache.root() / bench.kept.folder.relative_to(root)
    left = trainings(experiment, bench.kept.parent, f"trial {number}")
    kept = replace(bench.kept, folder=folder, left=left)
    here = replace(bench, dataset=dataset, truth=truth, kept=kept, progress=told)
    judged = judge(here, recipe, name, number, rung)
    if folder is not None and not folder.with_suffix(".lock").exists():  # this disk is not the one who asks has
        kept.forget(f"trial {number}")
    return judged


def _here(dataset: Dataset, root: Path) -> Dataset:
    return replace(dataset, folder=cache.root() / dataset.folder.relative_to(root))


def train(
    bench: Bench,
    recipe: Recipe,
    name: str,
    role: str,
    tags: Mapping[str, str] | None = None,
    masks: Sequence[np.ndarray] | np.ndarray | None = None,
    rung: Rung | None = None,
) -> Outcome:
    """Trains a recipe inside a child run of the active one and logs everything it saw.

    `masks`, as `FittedDataset` has them, are learnt instead of the data set's own if given. `rung` has a trial pause
    after so many of the recipe's epochs, and go on where another one paused, with its weights and optimiser. A training
    that raises leaves a FAILED run with `traceback.txt`, and raises on; Stopped leaves a KILLED one.
    """
    training, params = training_name(role, tags or {}), params_of(recipe, bench.seed, bench.precision, bench.weights)
    if (done := bench.kept.finished(training, params)) is not None:
        bench.progress.done(f"{name}: done before")
        return _outcome_again(recipe, *done)
    run_id = bench.kept.unfinished(training, params)
    told = {**bench.tags(role), **(tags or {}), "training": training}
    if rung is not None:
        told |= {"until_epoch": str(rung.epochs)} | (
            {} if rung.past is None else {"goes_on_with": f"trial {rung.past}"}
        )
    begun = write.run(name, tags=told, params=params, run_id=run_id, parent=bench.kept.parent)
    with stoppable(), begun as active:
        try:
            with stoppable():
                inputs = bench.inputs()
                if run_id is None or not write.has_inputs(run_id):
                    sides = [inputs["train"], inputs["validation"]]
                    mlflow.log_inputs(sides, ["training", "validation"], [None, None])
                own = active.info.run_id
                outcome = _train(bench, recipe, name, role, own, inputs, masks, training, run_id is not None, rung)
        except Stopped:
            raise
        except Exception as error:
            mlflow.log_text(redacted(traceback.format_exc()), "traceback.txt")
            mlflow.set_tag("failed", redacted(f"{type(error).__name__}: {error}")[:500])
            bench.progress.done(f"{name}: failed; its run holds traceback.txt")
            raise
    if rung is None or rung.epochs >= recipe.epochs:  # else it may be promoted
        bench.kept.forget_state(training)
    return outcome


def _train(
    bench: Bench,
    recipe: Recipe,
    name: str,
    role: str,
    run_id: str,
    inputs: Mapping[str, Any],
    learnt: Sequence[np.ndarray] | np.ndarray | None,
    training: str,
    again: bool,
    rung: Rung | None,
) -> Outcome:
    data = bench.dataset.fitted(recipe)
    logger = epochs.EpochLogger(run_id, again)
    params = params_of(recipe, bench.seed, bench.precision, bench.weights)
    started = time.perf_counter()
    if rung is not None and rung.past is not None:
        bench.kept.hand_on(f"trial {rung.past}", training)
    try:
        fitted = fit.fit(
            NETWORKS[bench.setup.network].build,
            recipe,
            data.images,
            data.masks if learnt is None else learnt,
            bench.split.train,
            bench.split.validation,
            seed=bench.seed,
            precision=bench.precision,
            weights=bench.weights,
            callbacks=[logger, bench.progress.start(name, rung.epochs if rung else recipe.epochs)],
            minutes=bench.minutes,
            checkpoint=bench.kept.checkpoint(training, params),
            until=rung.epochs if rung else 0,
        )
        logger.complete(fitted.history)
    finally:
        logger.close()
    tell_unsent(bench.progress.console, logger.unsent)
    served, validated, val, true = _validated(bench, recipe, fitted.model)
    if served.threshold != recipe.threshold:  # MLflow shows a run's params on its model; `threshold` is the recipe's
        mlflow.log_param("served_threshold", served.threshold)
    if served.objects != recipe.objects or served.seeds != recipe.seeds:
        mlflow.log_params({"served_objects": served.objects, "served_seeds": served.seeds})
    model_id = None
    if bench.models == "all" or role != "trial":  # any round may turn out to be the last
        model_id = _log_model(bench, fitted.model, served, role, val.get("best_threshold"))
    write.log_scores("val", val, model_id, inputs["validation"])
    mlflow.log_metrics(bench.setup.published_metrics())
    if true:
        mlflow.log_metrics({f"truth/val_{name}": true[name] for name in ("native_dice", "dice", "accuracy")})
    if fitted.weights is not None:
        named = zip(bench.dataset.classes, fitted.weights.tolist(), strict=True)
        mlflow.log_dict({name: round(weight, 4) for name, weight in named}, "class_weights.json")
    mlflow.log_metrics(
        {
            "train/seconds": fitted.seconds,
            "train/best_epoch": fitted.best_epoch,
            "train/parameters": fitted.model.count_params(),
            "train/tracking_share": logger.seconds / max(fitted.seconds, 1e-9),
        }
    )
    write.log_table(validated.table, "scores/validation.csv")
    write.log_figure(figures.learning_curves(fitted.history), "curves.png")
    bench.progress.done(
        f"{name}: val {_shown(validated.figures)} at native size, "
        f"accuracy {validated.figures['accuracy']:.4f}, {len(fitted.history)} epochs, "
        f"{time.perf_counter() - started:.0f} s"
    )
    outcome = Outcome(recipe, served, fitted.model.get_weights(), val, fitted.history, run_id, model_id)
    keep(bench, training, outcome)
    return outcome


class Validated(NamedTuple):
    """What validation chooses of a trained network, its scores, those as figures, and of made labels those against the
    truth, by which nothing is chosen."""

    served: Recipe
    scored: "Scored | ClassScored"
    val: dict[str, float]
    true: Mapping[str, float]


def _validated(bench: Bench, recipe: Recipe, model: keras.Model) -> Validated:
    """Chooses threshold and objects on validation, and scores there."""
    rows, data = bench.split.validation, bench.dataset
    if recipe.classes:
        seen = class_scores.look(model, recipe, rows, data)
        served = class_scores.with_objects(recipe, seen, rows, data)
        found = class_scores.score(seen, served, rows, data)
        return Validated(served, found, dict(found.figures), {})
    predicted = Predictor(model, recipe).maps(data.fitted(recipe).images, rows)
    best = _best_threshold(bench, predicted.mask, rows)
    served = recipe.changed({"threshold": best}) if bench.threshold == "validation" else recipe
    served = _with_objects(bench, served, predicted, rows)
    scored = score_predicted(bench, predicted, served, rows, data, best)
    true: Mapping[str, float] = {}
    if bench.truth is not bench.dataset:  # what the labels' pupil is worth
        true = score_predicted(bench, predicted, served, rows, bench.truth, best).figures
    return Validated(served, scored, {**scored.figures, "best_threshold": best}, true)


def keep(bench: Bench, training: str, outcome: Outcome) -> None:
    """Saves a finished training for a later attempt, as `Kept.finish` does."""
    recipe, served = outcome.recipe.flat(), outcome.served.flat()
    changed = {name: value for name, value in served.items() if recipe.get(name) != value}
    about = {"run_id": outcome.run_id, "model_id": outcome.model_id, "val": dict(outcome.val), "served": changed}
    bench.kept.finish(training, about, outcome.history, outcome.weights)


def _outcome_again(
    recipe: Recipe, about: Mapping[str, Any], history: pd.DataFrame, weights: list[np.ndarray]
) -> Outcome:
    """A training that finished in an earlier attempt, as `Kept` has it."""
    served = recipe.changed(about["served"])
    return Outcome(recipe, served, weights, about["val"], history, about["run_id"], about["model_id"])


def _shown(figures: Mapping[str, float]) -> str:
    lines = figures.get(membranes.SCORES[0])
    return f"dice {figures['native_dice']:.4f}" + ("" if lines is None else f", v_rand {lines:.4f}")


def as_final(bench: Bench, outcome: Outcome) -> Outcome:
    """Makes a finished training the final one, and logs its model where that was left out."""
    client = MlflowClient()
    client.set_tag(outcome.run_id, "role", "final")
    if outcome.model_id:
        client.set_logged_model_tags(outcome.model_id, {"role": "final"})
        return outcome
    with mlflow.start_run(run_id=outcome.run_id, nested=True):
        best = outcome.val.get("best_threshold")
        model_id = _log_model(bench, model_of(bench, outcome), outcome.served, "final", best)
        write.log_scores("val", outcome.val, model_id, bench.inputs()["validation"])
    outcome = replace(outcome, model_id=model_id)
    keep(bench, client.get_run(outcome.run_id).data.tags["training"], outcome)  # or a later attempt would log it again
    return outcome


def model_of(bench: Bench, outcome: Outcome) -> keras.Model:
    """The trained model again, float32 and uncompiled."""
    return fit.rebuild(NETWORKS[bench.setup.network].build, outcome.recipe, outcome.weights)


def score(
    bench: Bench, model: Any, recipe: Recipe, rows: np.ndarray, against: Dataset, best_threshold: float
) -> Scored:
    """Scores a model on some images at its own size and at theirs."""
    found = Predictor(model, recipe).maps(against.fitted(recipe).images, rows)
    return score_predicted(bench, found, recipe, rows, against, best_threshold)


def score_predicted(
    bench: Bench,
    maps: Maps,
    recipe: Recipe,
    rows: np.ndarray,
    against: Dataset,
    best_threshold: float,
) -> Scored:
    """Scores what a network says of the images `rows`, by the recipe that is served.

    Pixels that `against` does not know count as background found to be background. `best_threshold`, which validation
    has chosen, is where V_rand and V_info cut: they ask for closed lines, not for the width of a membrane.
    """
    truth = masks_of(against.fitted(recipe), rows)
    if any((each == UNKNOWN).any() for each in truth):
        maps = maps._replace(mask=_zeroed(maps.mask, truth))
        truth = _zeroed(truth, truth)
    ids = [against.ids[i] for i in rows]

    def native_objects(i: int, mask: np.ndarray) -> np.ndarray:
        return objects_at(mask, maps.head_of(i), recipe)

    table = score_images(
        maps.mask, truth, ids, recipe.threshold, lambda i: against.objects(int(rows[i])), native_objects
    )
    figures = summarise(table, maps.mask, truth)
    if bench.setup.membranes:
        cells = (found > np.float32(best_threshold) for found in native_maps(maps.mask, rows, against))
        sections = membranes.score_sections(cells, native_truths(rows, against))
        table = table.join(sections)
        figures |= {name: float(sections[name].mean()) for name in sections}
    return Scored(maps, truth, table, figures)


def masks_of(fitted: FittedDataset, rows: np.ndarray) -> Sequence[np.ndarray] | np.ndarray:
    """The masks of some images at the network's size, uint8 (n, s, s), or in patches n of (h, w)."""
    masks = fitted.masks
    return np.asarray(masks[rows][..., 0]) if isinstance(masks, np.ndarray) else [masks[row][..., 0] for row in rows]


def _zeroed(stack: Sequence[np.ndarray] | np.ndarray, truth: Sequence[np.ndarray] | np.ndarray) -> Any:
    """The same with 0 wherever the truth is unknown."""
    if isinstance(stack, np.ndarray):
        return np.where(truth == UNKNOWN, stack.dtype.type(0), stack)
    return [_zeroed(each, known) for each, known in zip(stack, truth, strict=True)]


def native_maps(
    probabilities: Sequence[np.ndarray] | np.ndarray, rows: np.ndarray, against: Dataset
) -> Iterator[np.ndarray]:
    """Predicted probabilities, (h, w) each, of some images at each one's own size, 0 where labels are unknown."""
    for found, row in zip(probabilities, rows, strict=True):
        known = against.known(int(row))
        yield np.where(known, geometry.resize_map(found, *known.shape), np.float32(0))


def native_truths(rows: np.ndarray, against: Dataset) -> Iterator[np.ndarray]:
    """The objects of some images at each one's own size."""
    return (against.objects(int(row)) for row in rows)


def _best_threshold(bench: Bench, probabilities: Sequence[np.ndarray] | np.ndarray, rows: np.ndarray) -> float:
    """The threshold that is best on the given validation images: by V_rand for membranes, else by Dice."""
    choose = membranes.best_cut if bench.setup.membranes else thresholds.best_threshold
    return choose(native_maps(probabilities, rows, bench.dataset), native_truths(rows, bench.dataset))


def _with_objects(bench: Bench, recipe: Recipe, maps: Maps, rows: np.ndarray) -> Recipe:
    """The recipe with the way of parting objects that has the best object score on validation: its own or a plainer
    one, of equals the plainer. Components are never left."""
    plainer = list(METHODS)[: list(METHODS).index(recipe.objects) + 1]
    ways = [how for how in plainer if how == recipe.objects or not METHODS[how].uses_head]
    if len(ways) == 1:
        return recipe
    sizes = bench.dataset.sizes[rows].tolist()
    heads = maps.mask if maps.head is None else maps.head

    def native() -> Iterator[np.ndarray]:
        """Mask and head, (h, w, 2), of each image at its own size."""
        for mask, head, size in zip(maps.mask, heads, sizes, strict=True):
            yield np.stack([geometry.resize_map(each, *size) for each in (mask, head)], axis=-1)

    cuts = predict.thresholds(maps.mask, recipe.threshold).tolist()
    found = [
        thresholds.best_seeds(native(), native_truths(rows, bench.dataset), how, cuts, recipe.least_object)
        for how in ways
    ]
    best = int(np.argmax([score for _, score in found]))
    return recipe.changed({"objects": ways[best], "seeds": found[best][0]})


def _log_model(bench: Bench, model: Any, recipe: Recipe, role: str, best_threshold: float | None) -> str:
    info = log_segmenter(
        model,
        name=bench.setup.name,
        settings=settings_of(recipe, bench.classes if recipe.classes else ()),
        example=codecs.encode_image(bench.dataset.image(int(bench.split.train[0]))),
        tags=bench.tags(role) | ({} if best_threshold is None else {"validation_threshold": f"{best_threshold:g}"}),
    )
    return str(info.model_id)
