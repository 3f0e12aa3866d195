"""One training as one MLflow run: fit, score on validation, log the model."""

import contextlib
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import keras
import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient

from unetlab.data import cache
from unetlab.data.unmapped import Unmapped
from unetlab.errors import Stopped, redacted
from unetlab.images import codecs
from unetlab.inference.package import log_segmenter, settings_of
from unetlab.inference.predict import Predictor
from unetlab.jobs import class_scores
from unetlab.jobs.bench import Bench
from unetlab.jobs.class_scores import ClassScored
from unetlab.jobs.mask_scores import Scored, best_threshold, score_predicted, with_objects
from unetlab.jobs.resume import params_of, stoppable, tell_unsent, training_name
from unetlab.metrics import membranes
from unetlab.models import NETWORKS
from unetlab.search.rung import Rung
from unetlab.setup import Recipe
from unetlab.tracking import epochs, figures, write
from unetlab.training import fit


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
    more = dict(tags or {})
    if rung is not None:
        more["until_epoch"] = str(rung.epochs)
        if rung.past is not None:
            more["goes_on_with"] = f"trial {rung.past}"

    def work(own: Own) -> Outcome:
        return _train(bench, recipe, own, masks, rung)

    outcome = in_run(bench, recipe, name, role, more, work)
    if rung is None or rung.epochs >= recipe.epochs:  # else it may be promoted
        bench.kept.forget_state(training_name(role, more))
    return outcome


class Own(NamedTuple):
    """What a training knows of its own run.

    Args:
        run_id: of it.
        name, role: for people and for searches in MLflow.
        training: what tells it apart from the others of its run.
        inputs: MLflow's description of each side of the split.
        again: whether it was begun before.
    """

    run_id: str
    name: str
    role: str
    training: str
    inputs: Mapping[str, Any]
    again: bool


def in_run(
    bench: Bench, recipe: Recipe, name: str, role: str, tags: Mapping[str, str], work: Callable[[Own], Outcome]
) -> Outcome:
    """What `work` makes of a recipe inside a child run of the active one, unless it is done already. Raises as `train`
    does."""
    training, params = training_name(role, tags), params_of(recipe, bench.seed, bench.precision, bench.weights)
    if (done := bench.kept.finished(training, params)) is not None:
        bench.progress.done(f"{name}: done before")
        return outcome_again(recipe, *done)
    run_id = bench.kept.unfinished(training, params)
    told = {**bench.tags(role), **tags, "training": training}
    begun = write.run(name, tags=told, params=params, run_id=run_id, parent=bench.kept.parent)
    with stoppable(), begun as active:
        try:
            with stoppable():
                inputs = bench.inputs()
                if run_id is None or not write.has_inputs(run_id):
                    sides = [inputs["train"], inputs["validation"]]
                    mlflow.log_inputs(sides, ["training", "validation"], [None, None])
                return work(Own(active.info.run_id, name, role, training, inputs, run_id is not None))
        except Stopped:
            raise
        except Exception as error:
            mlflow.log_text(redacted(traceback.format_exc()), "traceback.txt")
            mlflow.set_tag("failed", redacted(f"{type(error).__name__}: {error}")[:500])
            bench.progress.done(f"{name}: failed; its run holds traceback.txt")
            raise


def fit_logged(
    bench: Bench,
    recipe: Recipe,
    own: Own,
    learnt: Sequence[np.ndarray] | np.ndarray | None = None,
    rows: np.ndarray | None = None,
    rung: Rung | None = None,
) -> fit.Fitted:
    """Fits a recipe and logs every epoch, and what the whole took; `learnt` stands in for the data's own masks, `rows`
    for the training side, whose validation scores are then of images it learnt, and not logged; it has its epochs in
    full, since more images take longer than the minutes that these were fitted to."""
    data = bench.dataset.fitted(recipe)
    logger = epochs.EpochLogger(own.run_id, own.again, validated=rows is None)
    params = params_of(recipe, bench.seed, bench.precision, bench.weights)
    if rung is not None and rung.past is not None:
        bench.kept.hand_on(f"trial {rung.past}", own.training)
    try:
        fitted = fit.fit(
            NETWORKS[bench.setup.network].build,
            recipe,
            data.images,
            data.masks if learnt is None else learnt,
            bench.split.train if rows is None else rows,
            bench.split.validation,
            seed=bench.seed,
            precision=bench.precision,
            weights=bench.weights,
            callbacks=[logger, bench.progress.start(own.name, rung.epochs if rung else recipe.epochs)],
            minutes=bench.minutes if rows is None else 0.0,
            checkpoint=bench.kept.checkpoint(own.training, params),
            until=rung.epochs if rung else 0,
        )
        logger.complete(fitted.history)
    finally:
        logger.close()
    tell_unsent(bench.progress.console, logger.unsent)
    shown = fitted.history if rows is None else fitted.history.filter(regex="^(?!val_)")
    write.log_figure(figures.learning_curves(shown), "curves.png")
    if fitted.weights is not None:
        named = zip(bench.dataset.classes, fitted.weights.tolist(), strict=True)
        mlflow.log_dict({name: round(weight, 4) for name, weight in named}, "class_weights.json")
    mlflow.log_metrics(
        {
            "train/seconds": fitted.seconds,
            "train/best_epoch": fitted.best_epoch,
            "train/parameters": fitted.parameters,
            "train/step_seconds": fitted.steps,
            "train/validation_seconds": fitted.validation,
            "train/waiting_share": fitted.waiting,
            "train/tracking_share": logger.seconds / max(fitted.seconds, 1e-9),
        }
    )
    return fitted


def _train(
    bench: Bench, recipe: Recipe, own: Own, learnt: Sequence[np.ndarray] | np.ndarray | None, rung: Rung | None
) -> Outcome:
    started = time.perf_counter()
    fitted = fit_logged(bench, recipe, own, learnt, rung=rung)
    served, validated, val, true = _validated(bench, recipe, fitted.model)
    log_served(recipe, served)
    model_id = None
    if bench.models == "all" or own.role != "trial":  # any round may turn out to be the last
        model_id = log_model(bench, fitted.model, served, own.role, val.get("best_threshold"))
    write.log_scores("val", val, model_id, own.inputs["validation"])
    mlflow.log_metrics(bench.setup.published_metrics())
    if true:
        mlflow.log_metrics({f"truth/val_{name}": true[name] for name in ("native_dice", "dice", "accuracy")})
    write.log_table(validated.table, "scores/validation.csv")
    took = time.perf_counter() - started
    mlflow.log_metric("train/whole_seconds", took)
    outcome = Outcome(recipe, served, fitted.model.get_weights(), val, fitted.history, own.run_id, model_id)
    keep(bench, own.training, outcome)
    bench.progress.done(  # last, so that what is called done is done again by nobody
        f"{own.name}: val {_shown(validated.figures)} at native size, "
        f"accuracy {validated.figures['accuracy']:.4f}, {_epochs(len(fitted.history), recipe)}, {took:.0f} s"
    )
    return outcome


def _epochs(done: int, recipe: Recipe) -> str:
    """How many epochs were trained, and of how many where minutes or patience ended them."""
    return f"{done} epochs" if done == recipe.epochs else f"{done} of {recipe.epochs} epochs"


def log_served(recipe: Recipe, served: Recipe) -> None:
    """Logs what validation chose to be served in place of the recipe's own: MLflow shows a run's params on its model,
    and `threshold` and what parts objects are the recipe's."""
    if served.threshold != recipe.threshold:
        mlflow.log_param("served_threshold", served.threshold)
    ways = ("objects", "seeds", "confidence")
    if any(getattr(served, name) != getattr(recipe, name) for name in ways):
        mlflow.log_params({f"served_{name}": getattr(served, name) for name in ways})


class Validated(NamedTuple):
    """What validation chooses of a trained network, its scores, those as figures, and of made labels those against the
    truth, by which nothing is chosen."""

    served: Recipe
    scored: Scored | ClassScored
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
    predicted = Predictor(model, recipe).maps(Unmapped(data.fitted(recipe).images), rows, cache.root())
    best = best_threshold(bench, predicted.mask, rows)
    served = recipe.changed({"threshold": best}) if bench.threshold == "validation" else recipe
    served = with_objects(bench, served, predicted, rows)
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


def outcome_again(
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
    with reopened(outcome.run_id):
        best = outcome.val.get("best_threshold")
        model_id = log_model(bench, model_of(bench, outcome), outcome.served, "final", best)
        write.log_scores("val", outcome.val, model_id, bench.inputs()["validation"])
    outcome = replace(outcome, model_id=model_id)
    keep(bench, client.get_run(outcome.run_id).data.tags["training"], outcome)  # or a later attempt would log it again
    return outcome


@contextmanager
def reopened(run_id: str) -> Iterator[None]:
    """The run of a finished training, to be scored in; where that is stopped, it has not failed, and can be gone on
    with."""
    with mlflow.start_run(run_id=run_id, nested=True):
        try:
            yield
        except BaseException:
            with contextlib.suppress(Exception):  # what stopped it may keep this from MLflow too
                mlflow.end_run("KILLED")
            raise


def model_of(bench: Bench, outcome: Outcome) -> keras.Model:
    """The trained model again, float32 and uncompiled."""
    return fit.rebuild(NETWORKS[bench.setup.network].build, outcome.recipe, outcome.weights)


def log_model(bench: Bench, model: Any, recipe: Recipe, role: str, best_threshold: float | None) -> str:
    """Logs a model that is served as a recipe says, to the active run; returns its id."""
    info = log_segmenter(
        model,
        name=bench.setup.name,
        settings=settings_of(recipe, bench.classes if recipe.classes else ()),
        example=codecs.encode_image(bench.dataset.image(int(bench.split.train[0]))),
        channels=bench.channels,
        tags=bench.tags(role) | ({} if best_threshold is None else {"validation_threshold": f"{best_threshold:g}"}),
    )
    return str(info.model_id)
