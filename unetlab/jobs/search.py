"""The search of a run: recipes proposed, trained and scored on validation; the best one found."""

import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

import keras_tuner
import mlflow
import numpy as np
import pandas as pd

from unetlab.errors import Stopped, UserError
from unetlab.jobs import cluster, judge, trial
from unetlab.jobs.bench import Bench
from unetlab.jobs.recipe import without_heads
from unetlab.jobs.resume import Left, stoppable
from unetlab.models import NETWORKS
from unetlab.options import Options
from unetlab.search.keras_tuner import grid_size, search, trials_to_a_promotion
from unetlab.search.rung import Rung
from unetlab.search.space import ranges
from unetlab.search.trials import trained_in_full
from unetlab.setup import Recipe
from unetlab.tracking import figures, write


class Found(NamedTuple):
    """What a search leaves: the reference trial's outcome, None if it failed; the best recipe; and the outcome of the
    trial that had it, None where its weights were lost with the folder they were kept in."""

    reference: trial.Outcome | None
    recipe: Recipe
    best: trial.Outcome | None


class _Kept:
    """Outcomes of the reference trial and of the best one so far, in memory and on disk; those of others are forgotten.

    Args:
        bench: that keeps them.
        epochs: of a whole training; who was judged after fewer is behind all who were not.
    """

    def __init__(self, bench: Bench, epochs: int) -> None:
        self.bench, self.epochs = bench, epochs
        self.outcomes: dict[int, trial.Outcome] = {}
        self.best: tuple[bool, float, int] | None = None
        self.lock = threading.Lock()  # several trials may be under way

    def add(self, number: int, judged: judge.Judged, rung: Rung | None) -> None:
        """Takes what was judged; of equals the earlier trial is better, as in the table of trials."""
        if judged.outcome is None:
            return
        with self.lock:
            rank = rung is None or rung.epochs >= self.epochs, judged.objective, -number
            leads = not np.isnan(judged.objective) and (self.best is None or rank > self.best)
            behind = number if not leads else None if self.best is None else -self.best[2]
            if leads:
                self.best = rank
            if leads or number == 0:
                self.outcomes[number] = judged.outcome
            if behind:  # the reference trial is wanted whatever becomes of it
                self.outcomes.pop(behind, None)
                self.bench.kept.forget(f"trial {behind}")


SEARCHED = "searched"
"""Tag of a run whose search has ended: how many trials it had."""

NO_TIME = 1e-6
"""Minutes; 0 is no limit."""


def search_recipe(bench: Bench, reference: Recipe, options: Options) -> Found:
    """Runs the trials. The best is sought among those that were trained in full, as `trained_in_full` has it."""
    space = _space(bench, reference, options)
    kept = _Kept(bench, reference.epochs)
    reasons: list[str] = []

    def evaluate(number: int, values: Mapping[str, Any], rung: Rung | None) -> float:
        recipe = without_heads(reference.changed(values))
        name = f"trial {number:02d} " + ("reference" if number == 0 else _difference(reference, recipe))
        name += f" to epoch {rung.epochs}" if rung else ""
        try:
            with stoppable():  # a server that is away between two trials is no fault of the next
                judged = judge.known(bench, recipe, name, number) or workers.judge(bench, recipe, name, number, rung)
                kept.add(number, judged, rung)
        except Stopped:
            raise
        except Exception as error:
            reasons.append(f"trial {number}: {str(error) or repr(error)}")
            raise
        return judged.objective

    with cluster.workers(options, bench.progress.console) as workers:
        if said := _short_of(space, options, reference.epochs, workers.at_once):
            bench.progress.console.print(said, highlight=False)
        # of an attempt that was killed after its search: what its test has been asked of stays the best
        ended = int(mlflow.get_run(bench.kept.parent).data.tags.get(SEARCHED, 0))
        begun = ended or sum(name.startswith("trial ") for name in bench.kept.left)
        table = search(
            space,
            evaluate,
            tuner=options.tuner,
            trials=options.trials,
            epochs=reference.epochs,
            seed=options.seed,
            minutes=NO_TIME if ended else _minutes_left(bench, options, workers.at_once),
            begun=begun,
            at_once=workers.at_once,
        )
    mlflow.set_tag(SEARCHED, str(len(table)))
    full = trained_in_full(table)
    _log_search(bench, space, table, full)
    if full.empty:
        raise UserError(
            f"every trial failed, {reasons[0] if reasons else ''}; the trial runs in MLflow hold a traceback.txt each, "
            "and fresh=true tries again"
        )
    row = full.loc[full["objective"].idxmax()]
    values = {hp.name: _plain(row[hp.name]) for hp in space.space}
    if not np.isnan(row["tuner_epochs"]):  # the reference failed: trained as long as it was judged
        values["epochs"] = int(row["tuner_epochs"])
    return Found(kept.outcomes.get(0), reference.changed(values), kept.outcomes.get(int(row["number"])))


def _minutes_left(bench: Bench, options: Options, at_once: int) -> float:
    """Minutes of a search less what the trials of earlier attempts took; 0 for no limit."""
    before = [left for name, left in bench.kept.left.items() if name.startswith("trial ")]
    spent = sum(map(_took, before)) / at_once
    return max(NO_TIME, options.minutes - spent / 60) if options.minutes else 0.0


def _took(left: Left) -> float:
    """Seconds of a trial: what it said at its end is of the last attempt, what its epochs took of all attempts; of one
    that goes on with another of those that the other had as well."""
    whole = left.metrics.get("train/whole_seconds", 0.0)
    return whole if "goes_on_with" in left.tags else max(whole, left.metrics.get("train/seconds", 0.0))


def _space(bench: Bench, reference: Recipe, options: Options) -> keras_tuner.HyperParameters:
    """What of the setup's space is searched: the rest is told, or is not for this data."""
    declared, space = keras_tuner.HyperParameters(), keras_tuner.HyperParameters()
    fixed = {"train_encoder"} if NETWORKS[bench.setup.network].pretrained and bench.weights is None else set()
    if options.epochs or options.tuner == "hyperband":  # which gives out epochs itself
        fixed |= {"epochs"}
    if options.data == "synthetic":  # small, so that a first try takes minutes
        fixed |= {"epochs", *bench.setup.on_twin}
    # what is fixed may have a value that is none of the space's choices, such as epochs=2
    own = {name: value for name, value in bench.setup.recipe.flat().items() if name in fixed}
    bench.setup.space(declared, reference.changed(own))
    space.merge([hp for hp in declared.space if hp.name not in fixed])
    return space


def _log_search(bench: Bench, space: keras_tuner.HyperParameters, table: pd.DataFrame, full: pd.DataFrame) -> None:
    write.log_table(table, "search/trials.csv")
    mlflow.log_dict(ranges(space), "search/space.json")
    shown = table.drop(columns=["status", "tuner_epochs"])
    shown["short"] = ~table["number"].isin(full["number"])
    measure = "validation V_rand" if bench.setup.membranes else "validation Dice"
    winner = None if full.empty else int(full.loc[full["objective"].idxmax(), "number"])
    write.log_figure(figures.trials_plot(shown, measure, winner), "search/trials.png")
    completed = (table["status"] == "COMPLETED").sum()
    mlflow.log_metrics({"search/trials": len(table), "search/failed": len(table) - completed})


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
