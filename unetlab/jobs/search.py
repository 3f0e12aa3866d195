"""The search of a run: recipes proposed, trained and scored on validation; the best one found."""

from collections.abc import Mapping
from typing import Any

import keras_tuner
import mlflow
import numpy as np

from unetlab.errors import Stopped, UserError
from unetlab.jobs import cluster, trial
from unetlab.jobs.recipe import without_heads
from unetlab.models import NETWORKS
from unetlab.options import Options
from unetlab.search.keras_tuner import grid_size, search, trained_in_full, trials_to_a_promotion
from unetlab.search.space import ranges
from unetlab.setup import Recipe
from unetlab.tracking import figures, write


def search_recipe(bench: trial.Bench, reference: Recipe, options: Options) -> tuple[trial.Outcome | None, Recipe]:
    """Runs the trials; returns the reference trial's outcome (None if it failed) and the best recipe.

    The best is sought among trials that were judged as long as the final model is trained.
    """
    declared, space = keras_tuner.HyperParameters(), keras_tuner.HyperParameters()
    bench.setup.space(declared, reference)
    fixed = {"train_encoder"} if NETWORKS[bench.setup.network].pretrained and bench.weights is None else set()
    if options.epochs or options.tuner == "hyperband":  # which gives out epochs itself
        fixed |= {"epochs"}
    if options.data == "synthetic":  # small, so that a first try takes minutes
        fixed |= {"epochs", *bench.setup.on_twin}
    space.merge([hp for hp in declared.space if hp.name not in fixed])
    outcomes: dict[int, trial.Outcome] = {}
    reasons: list[str] = []

    def evaluate(number: int, values: Mapping[str, Any], epochs: int | None) -> float:
        recipe = without_heads(reference.changed(dict(values) | ({"epochs": epochs} if epochs else {})))
        name = f"trial {number:02d} " + ("reference" if number == 0 else _difference(reference, recipe))
        try:
            judged = trial.known(bench, recipe, name, number) or workers.judge(bench, recipe, name, number)
        except Stopped:
            raise
        except Exception as error:
            reasons.append(f"trial {number}: {str(error) or repr(error)}")
            raise
        if judged.outcome is not None:
            outcomes[number] = judged.outcome
        return judged.objective

    with cluster.workers(options, bench.progress.console) as workers:
        if said := _short_of(space, options, reference.epochs, workers.at_once):
            bench.progress.console.print(said, highlight=False)
        table = search(
            space,
            evaluate,
            tuner=options.tuner,
            trials=options.trials,
            epochs=reference.epochs,
            seed=options.seed,
            minutes=options.minutes,
            begun=sum(name.startswith("trial ") for name in bench.kept.left),
            at_once=workers.at_once,
        )
    write.log_table(table, "search/trials.csv")
    mlflow.log_dict(ranges(space), "search/space.json")
    shown = table.drop(columns=["status", "tuner_epochs"])
    measure = "validation V_rand" if bench.setup.membranes else "validation Dice"
    write.log_figure(figures.trials_plot(shown, measure), "search/trials.png")
    completed = table[table["status"] == "COMPLETED"]
    mlflow.log_metrics({"search/trials": len(table), "search/failed": len(table) - len(completed)})
    if completed.empty:
        raise UserError(
            f"every trial failed, {reasons[0] if reasons else ''}; the trial runs in MLflow hold a traceback.txt each, "
            "and fresh=true tries again"
        )
    full = trained_in_full(table)
    row = full.loc[full["objective"].idxmax()]
    values = {hp.name: _plain(row[hp.name]) for hp in space.space}
    if not np.isnan(row["tuner_epochs"]):  # the reference failed: trained as long as it was judged
        values["epochs"] = int(row["tuner_epochs"])
    return outcomes.get(0), reference.changed(values)


def _short_of(space: keras_tuner.HyperParameters, options: Options, epochs: int, at_once: int) -> str:
    """What a search of so few trials cannot do, in one line; "" if it lacks nothing."""
    if options.tuner == "grid" and (size := grid_size(space)) > options.trials:
        return (
            f"tuner=grid: the grid has {size:,} points; the {options.trials} trials are spread over it so that each "
            "varies all hyperparameters"
        )
    if options.tuner == "hyperband" and (least := trials_to_a_promotion(epochs, at_once)) > options.trials:
        return (
            f"tuner=hyperband: only trials trained for all {epochs} epochs can win, and beside the published recipe "
            f"Hyperband begins the first such after {least - 1} trials; give trials={least} or more, or tuner=random"
        )
    return ""


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _difference(reference: Recipe, recipe: Recipe) -> str:
    """The three first changes, so that a person can tell runs apart."""
    before, after = reference.flat(), recipe.flat()
    changes = [
        f"{key}={value:.2g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in after.items()
        if before.get(key) != value
    ]
    return " ".join(changes[:3]) + (" ..." if len(changes) > 3 else "")
