"""The life of a run, top to bottom: data, check, split, search, final model, scores on test, register."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import keras_tuner
import mlflow
import numpy as np
import pandas as pd
from rich.console import Console

from unetlab import health, plots, teach, tracking, trial
from unetlab.check import DataCard, check
from unetlab.data import Dataset, open_dataset
from unetlab.data.export import export
from unetlab.errors import UnusableFiles, UserError
from unetlab.finish import finish
from unetlab.models.weights import resolve_weights
from unetlab.options import Options
from unetlab.precision import resolve_precision
from unetlab.progress import SearchProgress
from unetlab.search import search
from unetlab.service.registry import register
from unetlab.setup import Recipe, Setup
from unetlab.split import Split, split, split_blocks


@dataclass(frozen=True)
class Summary:
    """What a run leaves: its id and experiment, the final model's id, and the figures logged."""

    run_id: str
    experiment_id: str
    model_id: str
    figures: Mapping[str, float]
    setup: str = ""

    def headline(self) -> str:
        """The result in one line."""
        found = self.figures
        low, high = (found.get(f"test/native_dice_{end}", float("nan")) for end in ("low", "high"))
        return (
            f"{self.setup}: test Dice {found['test/native_dice']:.4f} at native size (95 % {low:.4f} to {high:.4f}, "
            f"{found['test/images']:.0f} images; Otsu {found['baseline/otsu_native_dice']:.4f}), "
            f"accuracy {found['test/accuracy']:.4f}"
        )


def run_setup(
    setup: Setup, options: Options, console: Console | None = None, own_tags: Mapping[str, str] = MappingProxyType({})
) -> Summary:
    """Runs a setup from images to a scored, and if asked registered, model; `own_tags` go to its run.

    Raises UserError for bad input before anything is trained, and if every trial failed.
    """
    console = console or Console(stderr=True)
    precision = resolve_precision(options.precision)

    # the encoder's weights; a frozen random encoder is worthless, so without weights it is trained
    weights = resolve_weights(options.encoder_weights, setup)
    recipe = _recipe(setup, options, weights)
    if options.labels != "masks":
        setup = replace(setup, published={})  # those figures are of models that learnt given masks

    # data -> check -> split
    twin_seed = options.seed if options.twin_seed is None else options.twin_seed
    dataset = open_dataset(options.data, twin_seed, setup.twin)
    card = check(dataset)
    console.print(card.table())
    _refuse_unusable(card, dataset.has_masks, options.labels)
    sides = _split(dataset, card, options)
    learnt = dataset if options.labels == "masks" else teach.made_labels(dataset, options.labels, console)
    truth = dataset if dataset.has_masks else learnt

    experiment_id = tracking.open_experiment()
    rounds = options.rounds if learnt is not dataset else 0
    trainings = (1 if options.trials == 1 else options.trials + 1) + rounds
    with SearchProgress(trainings, console) as progress:
        bench = trial.Bench(
            setup, learnt, truth, sides, options.seed, precision, weights, options.models, progress, options.minutes
        )
        tags = {
            **own_tags,
            **bench.tags("search"),
            "encoder": _encoder_tag(setup, weights),
            "precision": precision,
            "labels": options.labels,
            "scored_against": "masks" if dataset.has_masks else f"labels by {options.labels}",
        }
        with tracking.run(_name(setup, dataset, options), tags=tags, params=asdict(options)) as parent:
            inputs = _log_data(bench, dataset, card)

            # search -> final -> scores on test, once
            reference, best = (None, recipe) if options.trials == 1 else _search(bench, recipe, options)
            final = _final(bench, best, rounds)
            figures = finish(bench, final, reference, inputs["test"])

            mlflow.log_metrics({**figures, **setup.published_metrics()})
            mlflow.log_params({f"best_{key}": value for key, value in best.flat().items()})
            assert final.model_id is not None  # the final model is always logged
            mlflow.set_tag("final_model", final.model_id)
            _say_health(health.examine(parent.info.run_id), console)
            if options.register:
                console.print(str(register(parent.info.run_id)), highlight=False)
            return Summary(parent.info.run_id, experiment_id, final.model_id, figures, setup.name)


def _split(dataset: Dataset, card: DataCard, options: Options) -> Split:
    if options.split == "blocks":
        return split_blocks(dataset.ids, dataset.sha, seed=options.seed)
    return split(dataset.ids, card.groups, card.modality, seed=options.seed)


def _name(setup: Setup, dataset: Dataset, options: Options) -> str:
    labels = "" if options.labels == "masks" else f" labels {options.labels}"
    trials = f" {options.trials} trials {options.tuner}" if options.trials > 1 else ""
    epochs = f" {options.epochs} epochs" if options.epochs else ""
    return f"{setup.name} seed {options.seed} {dataset.name}{labels}{trials}{epochs}"


def _log_data(bench: trial.Bench, dataset: Dataset, card: DataCard) -> Mapping[str, Any]:
    """Logs what the run learns from and is scored on; returns MLflow's description of each side."""
    mlflow.log_dict(card.to_json(), "data_card.json")
    tracking.log_table(_sides(dataset, card, bench.split), "split.csv")
    inputs = bench.inputs()
    mlflow.log_inputs(list(inputs.values()), ["training", "validation", "testing"], [None] * len(inputs))
    if bench.dataset is not dataset:
        mlflow.log_metrics(teach.label_figures(bench.dataset, dataset if dataset.has_masks else None))
    return inputs


def _sides(dataset: Dataset, card: DataCard, sides: Split) -> pd.DataFrame:
    """Which image is on which side, and in which group of copies; images on no side are left out."""
    parts = {"train": sides.train, "validation": sides.validation, "test": sides.test}
    rows = [(dataset.ids[i], side, int(card.groups[i])) for side, part in parts.items() for i in part]
    return pd.DataFrame(rows, columns=["id", "side", "group"])


def _say_health(findings: Sequence[health.HealthFinding], console: Console) -> None:
    for finding in findings:
        console.print(f"{finding.code} {finding.title}: {finding.explanation} {finding.remedy}", highlight=False)


def _final(bench: trial.Bench, recipe: Recipe, rounds: int) -> trial.Outcome:
    """Fits the best recipe once more; on made labels so many rounds follow, each taught by the one before."""
    name = bench.setup.name
    if not rounds:
        return trial.train(bench, recipe, f"{name} final", "final")
    outcome = trial.train(bench, recipe, f"{name} round 0 {bench.dataset.name}", "round", {"round": "0"})
    for number in range(1, rounds + 1):
        masks = teach.corrected_masks(trial.model_of(bench, outcome), recipe, bench.dataset, bench.split.train)
        if missing := teach.missing_class(masks[bench.split.train]):
            bench.progress.done(
                f"{name} round {number}: left out, since round {number - 1} finds no {missing}; its model is final"
            )
            return trial.as_final(outcome)
        last = number == rounds
        title = f"{name} final" if last else f"{name} round {number}"
        outcome = trial.train(bench, recipe, title, "final" if last else "round", {"round": str(number)}, masks)
    return outcome


def run_check(data: str, seed: int, folder: Path | None = None) -> DataCard:
    """Checks a data set, prints what was found, logs it as a run of its own, and exports it if a folder is named.

    Files that cannot be decoded are a finding here, and the others are looked at all the same.

    Raises UserError where training would be refused, once all that is logged, and for a folder that is not empty.
    """
    try:
        dataset = open_dataset(data, seed)
    except UnusableFiles:
        dataset = open_dataset(data, seed, lenient=True)
    card = check(dataset)
    console = Console()
    console.print(card.table())
    if folder is not None:
        console.print(f"wrote {export(dataset, folder)} images to {folder}", highlight=False)
    tracking.open_experiment()
    tags = {"role": "check", "dataset": dataset.name, "dataset_digest": dataset.digest}
    with tracking.run(f"check {dataset.name}", tags=tags, params={"data": data, "seed": seed}):
        mlflow.log_dict(card.to_json(), "data_card.json")
    _refuse_errors(card)
    return card


def _refuse_unusable(card: DataCard, has_masks: bool, labels: str) -> None:
    if labels == "masks" and not has_masks:
        raise UserError(
            f"{card.name} has images and no masks; put one mask an image into a folder masks beside images, "
            "or train on made labels with the setup pseudo-label and labels=consensus"
        )
    _refuse_errors(card)


def _refuse_errors(card: DataCard) -> None:
    errors = [finding for finding in card.findings if finding.severity == "error"]
    if errors:
        more = f" ({len(errors) - 1} more errors above)" if len(errors) > 1 else ""
        raise UserError(f"{errors[0].code} {errors[0].message}; {errors[0].remedy}{more}")


def _recipe(setup: Setup, options: Options, weights: str | None) -> Recipe:
    changes: dict[str, Any] = dict(setup.on_twin) if options.data == "synthetic" else {}
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
    fixed = {"train_encoder"} if bench.setup.pretrained and bench.weights is None else set()
    if options.epochs:
        fixed |= {"epochs"}
    if options.data == "synthetic":  # small, so that a first try takes minutes
        fixed |= {"epochs", *bench.setup.on_twin}
    space.merge([hp for hp in declared.space if hp.name not in fixed])
    outcomes: dict[int, trial.Outcome] = {}

    def evaluate(number: int, values: Mapping[str, Any], epochs: int | None) -> float:
        recipe = reference.changed(dict(values) | ({"epochs": epochs} if epochs else {}))
        name = f"trial {number:02d} " + ("reference" if number == 0 else _difference(reference, recipe))
        outcome = trial.train(bench, recipe, name, "trial", {"trial": str(number)})
        if number == 0:
            outcomes[0] = outcome
        return float(outcome.val["native_dice"])

    table = search(
        space,
        evaluate,
        tuner=options.tuner,
        trials=options.trials,
        epochs=reference.epochs,
        seed=options.seed,
        minutes=options.minutes,
    )
    tracking.log_table(table, "search/trials.csv")
    mlflow.log_dict(_ranges(space), "search/space.json")
    tracking.log_figure(plots.trials_plot(table.drop(columns=["status", "tuner_epochs"])), "search/trials.png")
    completed = table[table["status"] == "COMPLETED"]
    mlflow.log_metrics({"search/trials": len(table), "search/failed": len(table) - len(completed)})
    if completed.empty:
        raise UserError("every trial failed; the trial runs in MLflow hold a traceback.txt each")
    row = completed.loc[completed["objective"].idxmax()]
    return outcomes.get(0), reference.changed({hp.name: _plain(row[hp.name]) for hp in space.space})


def _ranges(space: keras_tuner.HyperParameters) -> dict[str, dict[str, float]]:
    """The lowest and highest value of each hyperparameter that has an order and something between its ends."""
    ranges = {}
    for hp in space.space:
        chosen = isinstance(hp, keras_tuner.engine.hyperparameters.Choice)  # a Float has values too, not its ends
        tried = hp.values if chosen else [getattr(hp, "min_value", None), getattr(hp, "max_value", None)]
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in tried)
        if numbers and len(tried) > (2 if chosen else 1):
            ranges[hp.name] = {"low": float(min(tried)), "high": float(max(tried))}
    return ranges


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
