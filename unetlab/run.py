"""The life of a run, top to bottom: data, check, split, search, final model, scores on test, register."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import keras_tuner
import mlflow
import numpy as np
import pandas as pd
from rich.console import Console

from unetlab import baselines, fit, plots, scores, tracking, trial
from unetlab.check import DataCard, check
from unetlab.data import open_dataset
from unetlab.errors import UserError
from unetlab.models.weights import resolve_weights
from unetlab.options import Options
from unetlab.precision import resolve_precision
from unetlab.progress import SearchProgress
from unetlab.search import search
from unetlab.service.registry import register
from unetlab.setup import Recipe, Setup
from unetlab.split import split


@dataclass(frozen=True)
class Summary:
    """What a run leaves: its id and experiment, the final model's id, and the figures logged."""

    run_id: str
    experiment_id: str
    model_id: str
    figures: Mapping[str, float]


def run_setup(setup: Setup, options: Options, console: Console | None = None) -> Summary:
    """Runs a setup from images to a scored, and if asked registered, model.

    Raises UserError for bad input before anything is trained, and if every trial failed.
    """
    console = console or Console(stderr=True)
    precision = resolve_precision(options.precision)

    # data -> check -> split
    dataset = open_dataset(options.data, options.seed)
    card = check(dataset)
    console.print(card.table())
    _refuse_unusable(card, dataset.has_masks)
    sides = split(dataset.ids, card.groups, card.modality, seed=options.seed)

    # the encoder's weights; a frozen random encoder is worthless, so without weights it is trained
    weights = resolve_weights(options.encoder_weights, setup)
    recipe = _recipe(setup, options, weights)

    experiment_id = tracking.open_experiment()
    trainings = 1 if options.trials == 1 else options.trials + 1
    name = f"{setup.name} {dataset.name} seed {options.seed}" + (f" {options.trials} trials" if trainings > 1 else "")
    with SearchProgress(trainings, console) as progress:
        bench = trial.Bench(setup, dataset, sides, options.seed, precision, weights, options.models, progress)
        tags = {**bench.tags("search"), "encoder": _encoder_tag(setup, weights), "precision": precision}
        with tracking.run(name, nested=False, tags=tags, params=asdict(options)) as parent:
            mlflow.log_dict(card.to_json(), "data_card.json")
            inputs = bench.inputs()
            mlflow.log_inputs(list(inputs.values()), ["training", "validation", "testing"], [None] * len(inputs))

            # search -> final -> scores on test, once
            reference, best = (None, recipe) if options.trials == 1 else _search(bench, recipe, options)
            final = trial.train(bench, best, f"{setup.name} final", "final")
            figures = _finish(bench, final, reference, inputs["test"])

            published = {f"published/{key}": value for key, value in setup.published.items()}
            mlflow.log_metrics({**figures, **published})
            mlflow.log_params({f"best_{key}": value for key, value in best.flat().items()})
            assert final.model_id is not None  # the final model is always logged
            mlflow.set_tag("final_model", final.model_id)
            if options.register:
                console.print(f"registered {register(parent.info.run_id)}, alias champion")
            return Summary(parent.info.run_id, experiment_id, final.model_id, figures)


def run_check(data: str, seed: int) -> DataCard:
    """Checks a data set, prints what was found and logs it as a run of its own.

    Raises UserError for files that cannot be used.
    """
    dataset = open_dataset(data, seed)
    card = check(dataset)
    Console().print(card.table())
    tracking.open_experiment()
    tags = {"role": "check", "dataset": dataset.name, "dataset_digest": dataset.digest}
    with tracking.run(f"check {dataset.name}", nested=False, tags=tags, params={"data": data, "seed": seed}):
        mlflow.log_dict(card.to_json(), "data_card.json")
    return card


def _refuse_unusable(card: DataCard, has_masks: bool) -> None:
    if not has_masks:
        raise UserError(f"{card.name} has images and no masks; put one mask an image into a folder masks beside images")
    errors = [finding for finding in card.findings if finding.severity == "error"]
    if errors:
        more = f" ({len(errors) - 1} more errors above)" if len(errors) > 1 else ""
        raise UserError(f"{errors[0].code} {errors[0].message}; {errors[0].remedy}{more}")


def _recipe(setup: Setup, options: Options, weights: str | None) -> Recipe:
    changes: dict[str, Any] = {}
    if options.epochs:
        changes["epochs"] = options.epochs
    if setup.pretrained and weights is None:
        changes["train_encoder"] = True
    return setup.recipe.changed(changes)


def _encoder_tag(setup: Setup, weights: str | None) -> str:
    if not setup.pretrained:
        return "none"
    return "random, trained" if weights is None else "imagenet" if weights == "imagenet" else "weights file"


def _search(bench: trial.Bench, reference: Recipe, options: Options) -> tuple[trial.Outcome | None, Recipe]:
    """Runs the trials; returns the reference trial's outcome (None if it failed) and the best recipe."""
    declared, space = keras_tuner.HyperParameters(), keras_tuner.HyperParameters()
    bench.setup.space(declared, reference)
    random_encoder = bench.setup.pretrained and bench.weights is None
    space.merge([hp for hp in declared.space if not (random_encoder and hp.name == "train_encoder")])
    outcomes: dict[int, trial.Outcome] = {}

    def evaluate(number: int, values: Mapping[str, Any], epochs: int | None) -> float:
        recipe = reference.changed(dict(values) | ({"epochs": epochs} if epochs else {}))
        name = f"trial {number:02d} " + ("reference" if number == 0 else _difference(reference, recipe))
        outcome = trial.train(bench, recipe, name, "trial", {"trial": str(number)})
        if number == 0:
            outcomes[0] = outcome
        return float(outcome.val["native_dice"])

    table = search(
        space, evaluate, tuner=options.tuner, trials=options.trials, epochs=reference.epochs, seed=options.seed
    )
    tracking.log_table(table, "search/trials.csv")
    tracking.log_figure(plots.trials_plot(table.drop(columns=["status", "epochs"])), "search/trials.png")
    completed = table[table["status"] == "COMPLETED"]
    mlflow.log_metrics({"search/trials": len(table), "search/failed": len(table) - len(completed)})
    if completed.empty:
        raise UserError("every trial failed; the trial runs in MLflow hold a traceback.txt each")
    row = completed.loc[completed["objective"].idxmax()]
    return outcomes.get(0), reference.changed({hp.name: _plain(row[hp.name]) for hp in space.space})


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _difference(reference: Recipe, recipe: Recipe) -> str:
    """The three first changes, so that a person can tell runs apart."""
    before, after = reference.flat(), recipe.flat()
    changes = [
        f"{key}={value:.2g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in after.items()
        if before[key] != value
    ]
    return " ".join(changes[:3]) + (" ..." if len(changes) > 3 else "")


def _finish(
    bench: trial.Bench, final: trial.Outcome, reference: trial.Outcome | None, test_input: Any
) -> dict[str, float]:
    """Scores the final model on test, beside Otsu's threshold and the reference trial on the same images."""
    with mlflow.start_run(run_id=final.run_id, nested=True):
        model = _model(bench, final)
        tested = trial.score(bench, model, final.recipe, bench.split.test)
        tracking.log_scores("test", tested.figures, final.model_id, test_input)
        table, rivals = _with_rivals(bench, tested, final.recipe, reference)
        _log_pictures(bench, final, tested, table)
    tracking.log_table(table, "scores/test.csv")
    strips = {"final": table["native_dice"], "Otsu": table["otsu_native_dice"]}
    if reference is not None:
        strips["reference"] = table["reference_native_dice"]
    tracking.log_figure(plots.dice_strips(strips), "test_dice.png")
    dice = scores.interval(table["dice"])
    native = scores.interval(table["native_dice"])
    figures = {
        **{f"val/{key}": value for key, value in final.val.items()},
        **{f"test/{key}": value for key, value in tested.figures.items()},
        "test/dice_low": dice.low,
        "test/dice_high": dice.high,
        "test/native_dice_low": native.low,
        "test/native_dice_high": native.high,
        "test/images": float(len(table)),
        **rivals,
        **_train_figures(final),
    }
    return {key: float(value) for key, value in figures.items() if math.isfinite(value)}


def _model(bench: trial.Bench, outcome: trial.Outcome) -> Any:
    size = outcome.recipe.image_size
    return fit.rebuild(bench.setup.build, outcome.recipe, (size, size, outcome.recipe.channels), outcome.weights)


def _train_figures(final: trial.Outcome) -> dict[str, float]:
    best = final.history.loc[final.history["val_loss"].idxmin()]
    return {"train/accuracy": best["accuracy"], "train/loss": best["loss"], "val/loss": best["val_loss"]}


def _with_rivals(
    bench: trial.Bench, tested: trial.Scored, recipe: Recipe, reference: trial.Outcome | None
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Adds Otsu's and the reference trial's Dice of each test image, and the paired gains with their intervals."""
    rows = bench.split.test
    images, _ = bench.dataset.at_size(recipe.image_size, recipe.channels)
    otsu = scores.score_images(baselines.otsu_masks(images[rows]), tested.masks, list(tested.table["id"]), 0.5)
    otsu_native = scores.score_native(
        lambda i, height, width: baselines.otsu_mask(bench.dataset.image(int(rows[i]))),
        lambda i: bench.dataset.labels(int(rows[i])),
        len(rows),
    )
    table = tested.table.assign(otsu_dice=otsu["dice"], otsu_native_dice=otsu_native["native_dice"])
    rivals = {"baseline/otsu_dice": otsu["dice"].mean(), "baseline/otsu_native_dice": otsu_native["native_dice"].mean()}
    names = ["otsu"]
    if reference is not None:
        scored = trial.score(bench, _model(bench, reference), reference.recipe, rows).table
        table = table.assign(reference_dice=scored["dice"], reference_native_dice=scored["native_dice"])
        rivals["baseline/reference_native_dice"] = scored["native_dice"].mean()
        names.append("reference")
    for name in names:
        gain = scores.paired_interval(table["native_dice"], table[f"{name}_native_dice"])
        rivals |= {
            f"gain/over_{name}": gain.mean,
            f"gain/over_{name}_low": gain.low,
            f"gain/over_{name}_high": gain.high,
        }
    return table, rivals


def _log_pictures(bench: trial.Bench, final: trial.Outcome, tested: trial.Scored, table: pd.DataFrame) -> None:
    """Pictures and reports of the final model on test, into the active run."""
    images, _ = bench.dataset.at_size(final.recipe.image_size, final.recipe.channels)
    order = np.argsort(table["native_dice"].to_numpy())
    cut = scores.thresholds(tested.probabilities, final.recipe.threshold)
    picked = []
    for label, i in (("best", order[-1]), ("median", order[len(order) // 2]), ("worst", order[0])):
        picked.append(
            {
                "label": label,
                "id": table["id"][i],
                "image": np.asarray(images[bench.split.test[i]]),
                "truth": tested.masks[i],
                "probability": tested.probabilities[i],
                "mask": tested.probabilities[i] > cut[i],
                "dice": table["dice"][i],
            }
        )
    tracking.log_figure(plots.prediction_panel(picked), "predictions.png")
    tracking.log_figure(plots.confusion(scores.confusion_matrix(table)), "confusion.png")
    tracking.log_figure(plots.reliability(tested.probabilities, tested.masks), "reliability.png")
    mlflow.log_text(scores.classification_report(table), "classification_report.txt")
    tracking.log_table(table, "scores/test.csv")
