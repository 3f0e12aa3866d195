"""Which tuner finds more in the same minutes?

    python -m benchmarks.search_quality --data dsb2018 --setup nuclei-scratch --minutes 10 --seeds 3 --out search.png

Searches with every tuner for so many minutes on the same splits, in turn, and draws the best validation score so far
against the minutes: a thin line a search, a thick one their mean. What a search could take as its result counts, and so
of Hyperband only trials that were trained in full. Each trial trains with what unetlab has to make it fast, in the
search's own process. Prints the best at the end by seed, and the test Dice of the model that each search ended with, by
which nothing is chosen; logs table and picture to MLflow. `--fix image_size=64` takes a hyperparameter out of the
search: in few minutes tuners differ only where trials are many.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import mlflow
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from rich.console import Console
from rich.table import Table

from benchmarks.log import logged
from experiments import SETUPS, load_setup
from unetlab.cli.base import OneLineErrors
from unetlab.errors import UserError
from unetlab.jobs.run import run_setup
from unetlab.options import Options
from unetlab.setup import Recipe, Setup

TUNERS = ("random", "bayesian", "hyperband")

TRIALS = 24
"""About as many as there is time for: `bayesian` proposes a third of the trials asked for at random, and would be
`random` throughout if many more were asked for."""

SHORT = 1000
"""Of `hyperband`, which promotes nobody before it has many short ones: minutes end it."""

POINTS = 200
"""Of a drawn curve."""

COLOURS = dict(zip(TUNERS, ("#0072b2", "#d55e00", "#009e73"), strict=True))


class Fixing:
    """A search space some of whose hyperparameters are given and not searched."""

    def __init__(self, space: Any, given: Mapping[str, Any]) -> None:
        self._space, self._given = space, given

    def __getattr__(self, kind: str) -> Callable[..., Any]:
        def declared(name: str, *values: Any, **told: Any) -> Any:
            return self._given[name] if name in self._given else getattr(self._space, kind)(name, *values, **told)

        return declared


def fixing(space: Callable[[Any, Recipe], None], given: Mapping[str, Any], hp: Any, recipe: Recipe) -> None:
    """A setup's `space` without what is `given`."""
    space(Fixing(hp, given), recipe)


def fixed(setup: Setup, words: Sequence[str]) -> Setup:
    """A setup with hyperparameters fixed, each "name=value". Raises UserError for one that the recipe lacks or that is
    of another kind there, and for a setup that configures itself."""
    if words and setup.adapts:
        raise UserError(f"{setup.name} configures itself, so that nothing can be fixed")
    given, known = {}, setup.recipe.flat()
    for name, _, value in (word.partition("=") for word in words):
        if name not in known or not value:
            raise UserError(f"--fix {name}={value}: the recipe has {', '.join(known)}")
        given[name] = _as(known[name], name, value)
    on_twin = {name: value for name, value in setup.on_twin.items() if name not in given}
    space = functools.partial(fixing, setup.space, given)
    return replace(setup, recipe=setup.recipe.changed(given), space=space, on_twin=on_twin)


def _as(own: Any, name: str, value: str) -> Any:
    """A value as the recipe's own is."""
    try:
        return click.types.convert_type(type(own))(value)
    except click.BadParameter as error:
        raise UserError(f"--fix {name}={value}: {error.message}") from error


def progress(parent: Run, trials: list[Run]) -> pd.DataFrame:
    """What a search could have ended with, and when.

    Args:
        parent: the run of the search, whose tag `ranked_by` names the validation score.
        trials: its finished trials.

    Returns columns minutes, since the search's run began, ascending, and best, the highest score by then.
    """
    ranked, rows = parent.data.tags["ranked_by"], []
    for run in trials:
        until = run.data.tags.get("until_epoch")
        whole = until is None or int(until) >= int(run.data.params["epochs"])
        if whole and f"val/{ranked}" in run.data.metrics:
            # the winner's run is opened again to be scored, so that its end says nothing
            began = (run.info.start_time - parent.info.start_time) / 60_000
            ended = began + run.data.metrics["train/whole_seconds"] / 60
            rows.append({"minutes": ended, "best": run.data.metrics[f"val/{ranked}"]})
    found = pd.DataFrame(rows, columns=["minutes", "best"]).sort_values("minutes", ignore_index=True)
    return found.assign(best=found["best"].cummax())


def at(curve: pd.DataFrame, minutes: np.ndarray) -> np.ndarray:
    """The best at some times, NaN before the first trial has ended, float (n,)."""
    place = np.searchsorted(curve["minutes"], minutes, side="right")
    return np.concatenate([[np.nan], curve["best"]])[place]


def picture(curves: dict[tuple[str, int], pd.DataFrame], minutes: float, ranked: str) -> Figure:
    """All searches, thin, and the mean of each tuner's, from when all of them have a result."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axis, times = figure.subplots(), np.linspace(0, minutes, POINTS)
    for tuner in TUNERS:
        each = np.array([at(curve, times) for (name, _), curve in curves.items() if name == tuner])
        for line in each:
            axis.step(times, line, where="post", color=COLOURS[tuner], linewidth=0.8, alpha=0.5)
        axis.step(times, each.mean(axis=0), where="post", color=COLOURS[tuner], linewidth=2.5, label=tuner)
    axis.set_xlabel("minutes")
    axis.set_ylabel(f"best validation {ranked} so far")
    axis.legend(loc="lower right")
    axis.grid(alpha=0.3)
    return figure


def searched(parent: Run) -> pd.DataFrame:
    """The `progress` of a search that has ended."""
    children = MlflowClient().search_runs(
        [parent.info.experiment_id],
        f"tags.`mlflow.parentRunId` = '{parent.info.run_id}' and attributes.status = 'FINISHED'",
    )
    return progress(parent, [run for run in children if "trial" in run.data.tags])


@click.command(cls=OneLineErrors)
@click.option("--setup", "name", type=click.Choice(sorted(SETUPS)), default="nuclei-scratch", show_default=True)
@click.option("--data", default="synthetic", show_default=True, help="As the setup takes it.")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), default=10.0, show_default=True, help="Of each.")
@click.option("--epochs", type=click.IntRange(0), default=0, show_default=True, help="Of a trial; 0: the setup's own.")
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="Splits, and searches on them.")
@click.option("--trials", type=click.IntRange(2), default=TRIALS, show_default=True, help="At most, but for hyperband.")
@click.option("--encoder-weights", default="auto", show_default=True)
@click.option("--fix", multiple=True, help="A hyperparameter that is not searched, as name=value.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="File for the picture, as PNG.")
def main(
    name: str,
    data: str,
    minutes: float,
    epochs: int,
    seeds: int,
    trials: int,
    encoder_weights: str,
    fix: Sequence[str],
    out: Path | None,
) -> None:
    """Prints a table and logs it to MLflow."""
    setup = fixed(load_setup(name), fix)
    curves: dict[tuple[str, int], pd.DataFrame] = {}
    rows: list[dict[str, Any]] = []
    ranked = ""
    for seed in range(seeds):
        for tuner in TUNERS[seed % len(TUNERS) :] + TUNERS[: seed % len(TUNERS)]:  # none is always the first
            most = SHORT if tuner == "hyperband" else trials
            told = Options(data, most, tuner, epochs, minutes, seed, models="best", encoder_weights=encoder_weights)
            summary = run_setup(setup, told)
            parent = mlflow.get_run(summary.run_id)
            curve, ranked = searched(parent), parent.data.tags["ranked_by"]
            curves[tuner, seed] = curve
            rows.append({"tuner": tuner, "seed": seed, "trials": len(curve), "best": at(curve, np.array([minutes]))[0]})
            rows[-1] |= {"test_dice": summary.figures["test/native_dice"]}
    frame = pd.DataFrame(rows)
    table = Table(
        *("tuner", "trials that could win", f"best validation {ranked}, by seed", "mean", "test Dice, mean"),
        title=f"{name} on {data}, {minutes:g} minutes a search",
        title_justify="left",
    )
    for tuner in TUNERS:
        own = frame[frame["tuner"] == tuner].sort_values("seed")
        each = ", ".join(f"{best:.4f}" for best in own["best"])
        means = (f"{own[column].mean():.4f}" for column in ("best", "test_dice"))
        table.add_row(tuner, ", ".join(map(str, own["trials"])), each, *means)
    Console().print(table)
    figure = picture(curves, minutes, ranked)
    if out:
        figure.savefig(out, dpi=120)
    with logged("search quality"):
        about = {"setup": name, "data": data, "minutes": minutes, "epochs": epochs, "seeds": seeds}
        mlflow.log_params({**about, "fix": " ".join(fix)})
        mlflow.log_text(frame.to_csv(index=False), "searches.csv")
        mlflow.log_figure(figure, "search.png")


if __name__ == "__main__":
    main()
