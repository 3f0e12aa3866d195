"""One training as one MLflow run: fit, score on validation, log the model. Search and training meet here."""

import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient

from unetlab.data import Dataset
from unetlab.data.classes import UNKNOWN
from unetlab.data.split import Split
from unetlab.images import codecs, geometry
from unetlab.inference.package import log_segmenter
from unetlab.inference.predict import Predictor
from unetlab.jobs.progress import SearchProgress
from unetlab.metrics import membranes, thresholds
from unetlab.metrics.baselines import Rivals
from unetlab.metrics.table import score_images, summarise
from unetlab.models import NETWORKS
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

    @property
    def test_scenes(self) -> np.ndarray | None:
        """The scene of each test image, in the order of the split."""
        return None if self.scenes is None else self.scenes[self.split.test]

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
        val: validation scores by name, and best_threshold, the one that is best by the objective.
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
    """Predictions of one side, (n, s, s) like their masks, and their scores an image and by name."""

    probabilities: np.ndarray
    masks: np.ndarray
    table: pd.DataFrame
    figures: Mapping[str, float]


def train(
    bench: Bench,
    recipe: Recipe,
    name: str,
    role: str,
    tags: Mapping[str, str] | None = None,
    masks: np.ndarray | None = None,
) -> Outcome:
    """Trains a recipe inside a child run of the active one and logs everything it saw.

    `masks`, uint8 (n, s, s, 1), are learnt instead of the data set's own if they are given. A training that raises
    leaves a FAILED run with `traceback.txt`, and raises on.
    """
    params = {**recipe.flat(), "seed": bench.seed, "precision": bench.precision, "encoder_weights": bench.weights}
    with write.run(name, tags={**bench.tags(role), **(tags or {})}, params=params) as active:
        inputs = bench.inputs()
        mlflow.log_inputs([inputs["train"], inputs["validation"]], ["training", "validation"], [None, None])
        try:
            return _train(bench, recipe, name, role, active.info.run_id, inputs, masks)
        except Exception:
            mlflow.log_text(traceback.format_exc(), "traceback.txt")
            bench.progress.done(f"{name}: failed; its run holds traceback.txt")
            raise


def _train(
    bench: Bench,
    recipe: Recipe,
    name: str,
    role: str,
    run_id: str,
    inputs: Mapping[str, Any],
    learnt: np.ndarray | None,
) -> Outcome:
    data = bench.dataset.fitted(recipe)
    logger = epochs.EpochLogger(run_id)
    started = time.perf_counter()
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
        callbacks=[logger, bench.progress.start(name, recipe.epochs)],
        minutes=bench.minutes,
    )
    rows = bench.split.validation
    predicted = Predictor(fitted.model, recipe).probabilities(data.images, rows)
    best = _best_threshold(bench, predicted, rows)
    served = recipe.changed({"threshold": best}) if bench.threshold == "validation" else recipe
    validated = score_predicted(bench, predicted, served, rows, bench.dataset, best)
    val = {**validated.figures, "best_threshold": best}
    if served is not recipe:  # MLflow shows a run's params on its model, and there `threshold` is the recipe's
        mlflow.log_param("served_threshold", best)
    model_id = None
    if bench.models == "all" or role != "trial":  # any round may turn out to be the last
        model_id = _log_model(bench, fitted.model, served, role, best)
    write.log_scores("val", val, model_id, inputs["validation"])
    mlflow.log_metrics(bench.setup.published_metrics())
    if bench.truth is not bench.dataset:  # what the labels' pupil is worth; nothing is chosen by it
        true = score_predicted(bench, predicted, served, rows, bench.truth, best).figures
        mlflow.log_metrics({f"truth/val_{name}": true[name] for name in ("native_dice", "dice", "accuracy")})
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
    return Outcome(recipe, served, fitted.model.get_weights(), val, fitted.history, run_id, model_id)


def _shown(figures: Mapping[str, float]) -> str:
    lines = figures.get(membranes.SCORES[0])
    return f"dice {figures['native_dice']:.4f}" + ("" if lines is None else f", v_rand {lines:.4f}")


def as_final(outcome: Outcome) -> Outcome:
    """Makes a finished training the final one."""
    client = MlflowClient()
    client.set_tag(outcome.run_id, "role", "final")
    if outcome.model_id:
        client.set_logged_model_tags(outcome.model_id, {"role": "final"})
    return outcome


def model_of(bench: Bench, outcome: Outcome) -> keras.Model:
    """The trained model again, float32 and uncompiled."""
    size = outcome.recipe.image_size
    return fit.rebuild(
        NETWORKS[bench.setup.network].build, outcome.recipe, (size, size, outcome.recipe.channels), outcome.weights
    )


def score(
    bench: Bench, model: Any, recipe: Recipe, rows: np.ndarray, against: Dataset, best_threshold: float
) -> Scored:
    """Scores a model on some images at its own size and at theirs."""
    found = Predictor(model, recipe).probabilities(against.fitted(recipe).images, rows)
    return score_predicted(bench, found, recipe, rows, against, best_threshold)


def score_predicted(
    bench: Bench,
    probabilities: np.ndarray,
    recipe: Recipe,
    rows: np.ndarray,
    against: Dataset,
    best_threshold: float,
) -> Scored:
    """Scores predicted probabilities, float32 (len(rows), s, s), of some images.

    Pixels that `against` does not know count as background found to be background. `best_threshold`, which validation
    has chosen, is where V_rand and V_info cut: they ask for closed lines, not for the width of a membrane.
    """
    truth = np.asarray(against.fitted(recipe).masks[rows][..., 0])
    if (truth == UNKNOWN).any():
        probabilities = np.where(truth == UNKNOWN, np.float32(0), probabilities)
        truth = np.where(truth == UNKNOWN, np.uint8(0), truth)
    ids = [against.ids[i] for i in rows]
    table = score_images(probabilities, truth, ids, recipe.threshold, lambda i: against.objects(int(rows[i])))
    figures = summarise(table, probabilities, truth)
    if bench.setup.membranes:
        cells = (found > np.float32(best_threshold) for found in native_maps(probabilities, rows, against))
        sections = membranes.score_sections(cells, native_truths(rows, against))
        table = table.join(sections)
        figures |= {name: float(sections[name].mean()) for name in sections}
    return Scored(probabilities, truth, table, figures)


def native_maps(probabilities: np.ndarray, rows: np.ndarray, against: Dataset) -> Iterator[np.ndarray]:
    """Predicted probabilities, (len(rows), s, s), of some images at each one's own size, 0 where labels are unknown."""
    for found, row in zip(probabilities, rows, strict=True):
        known = against.known(int(row))
        yield np.where(known, geometry.resize_map(found, *known.shape), np.float32(0))


def native_truths(rows: np.ndarray, against: Dataset) -> Iterator[np.ndarray]:
    """The objects of some images at each one's own size."""
    return (against.objects(int(row)) for row in rows)


def _best_threshold(bench: Bench, probabilities: np.ndarray, rows: np.ndarray) -> float:
    """The threshold that is best on the given validation images: by V_rand for membranes, else by Dice."""
    choose = membranes.best_cut if bench.setup.membranes else thresholds.best_threshold
    return choose(native_maps(probabilities, rows, bench.dataset), native_truths(rows, bench.dataset))


def _log_model(bench: Bench, model: Any, recipe: Recipe, role: str, best_threshold: float) -> str:
    info = log_segmenter(
        model,
        name=bench.setup.name,
        image_size=recipe.image_size,
        channels=recipe.channels,
        normalise=recipe.normalise,
        threshold=recipe.threshold,
        example=codecs.encode_image(bench.dataset.image(int(bench.split.train[0]))),
        tags={**bench.tags(role), "validation_threshold": f"{best_threshold:g}"},
    )
    return str(info.model_id)
