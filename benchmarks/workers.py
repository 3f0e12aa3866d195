"""What do more workers gain? Two against one here, and as many as you like on paper.

    python -m benchmarks.workers --trials 8 --epochs 6

Runs the same random search of small networks with one process and with two, and prints how long each took from the
first to the last of its trials, the start of processes included. What bounds it here is how many cores one training
keeps busy already: that is printed too. Then draws the times of trials from those measured with one process, deals them
out to up to 64 workers that have a machine each, and prints how much faster the search would be: for random and grid,
where a free worker takes the next trial, and for bayesian and hyperband, where trial k waits until those up to
k - workers have ended. The cost of proposing, and that all write to one MLflow server, are left out on paper.
"""

import heapq
import os
import resource
import time
from collections.abc import Sequence
from dataclasses import replace

import click
import mlflow
import numpy as np
import pandas as pd
from mlflow.tracking import MlflowClient
from rich.console import Console
from rich.table import Table

from benchmarks.log import logged
from experiments.nuclei_scratch import SETUP
from unetlab.cli.base import OneLineErrors
from unetlab.jobs.run import run_setup
from unetlab.options import Options
from unetlab.setup import Recipe

WORKERS = (1, 2, 4, 8, 16, 32, 64)

DRAWS = 200
"""Searches on paper, of which the median is told."""


def space(hp, recipe: Recipe) -> None:  # type: ignore[no-untyped-def]  # KerasTuner has no types
    """What a search varies: what changes how long a trial takes, and what does not."""
    hp.Choice("filters", [4, 8, 16], default=8)
    hp.Float("learning_rate", 2e-4, 3e-3, sampling="log", default=recipe.learning_rate)


def searched(workers: int, told: Options) -> tuple[float, list[float], float]:
    """Runs the search; returns its seconds, those of each trial, and how many cores its processes kept busy (of one
    worker; NaN of more, whose processes are not this one's)."""
    recipe = SETUP.recipe.changed({"image_size": 64, "filters": 8, "depth": 2, "batch_size": 8})
    setup = replace(SETUP, name="nuclei-small", recipe=recipe, space=space, on_twin={})
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
    summary = run_setup(setup, replace(told, workers=workers))
    after, client = resource.getrusage(resource.RUSAGE_CHILDREN), MlflowClient()
    where = f"tags.`mlflow.parentRunId` = '{summary.run_id}' and tags.trial LIKE '%'"
    runs = client.search_runs([summary.experiment_id], where)
    # the winner's run is opened again to be scored, so that its end says nothing
    took = [run.data.metrics["train/whole_seconds"] for run in runs]
    ended = max(run.info.start_time / 1000 + each for run, each in zip(runs, took, strict=True))
    seconds = ended - max(client.get_run(summary.run_id).info.start_time / 1000, began)
    busy = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / seconds
    return seconds, took, busy if workers == 1 else float("nan")


def on_paper(times: Sequence[float], start: float, workers: int, in_order: bool) -> float:
    """Seconds that `workers` take for trials of these seconds, each worker having started for `start` seconds first.

    A free worker takes the next trial; if `in_order`, trial k waits until all up to k - workers have ended.
    """
    free, told = [start] * workers, 0.0
    ended: list[float] = []
    for k, seconds in enumerate(times):
        if in_order and k >= workers:
            told = max(told, ended[k - workers])
        begins = max(heapq.heappop(free), told)
        ended.append(begins + seconds)
        heapq.heappush(free, ended[-1])
    return max(ended)


def speed_up(measured: Sequence[float], start: float, workers: int, trials: int, in_order: bool) -> float:
    """Median over DRAWS searches of so many trials, each drawn from the measured ones."""
    rng = np.random.default_rng([workers, trials])
    drawn = rng.choice(np.asarray(measured), (DRAWS, trials))
    one = np.array([on_paper(row, start, 1, in_order) for row in drawn.tolist()])
    several = np.array([on_paper(row, start, workers, in_order) for row in drawn.tolist()])
    return float(np.median(one / several))


@click.command(cls=OneLineErrors)
@click.option("--data", default="synthetic-nuclei", show_default=True, help="As nuclei-scratch takes it.")
@click.option("--trials", type=click.IntRange(2), default=8, show_default=True, help="Of the searches that are run.")
@click.option("--epochs", type=click.IntRange(1), default=6, show_default=True, help="Of each training.")
@click.option("--paper", type=click.IntRange(1), default=256, show_default=True, help="Trials of those on paper.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the searches.")
def main(data: str, trials: int, epochs: int, paper: int, seed: int) -> None:
    """Prints two tables and logs them to MLflow."""
    told = Options(data=data, trials=trials, epochs=epochs, seed=seed, models="best", fresh=True)
    found = {workers: searched(workers, told) for workers in (1, 2)}
    (one, measured, busy), (two, *_) = found[1], found[2]
    cores = len(os.sched_getaffinity(0))
    here = Table("workers", "seconds", "speed-up", "median trial, s", title=f"{trials} trials on {cores} cores")
    for workers, (seconds, each, _) in found.items():
        here.add_row(str(workers), f"{seconds:.1f}", f"{one / seconds:.2f}", f"{np.median(each):.1f}")
    console = Console()
    console.print(here)
    console.print(
        f"one worker keeps {busy:.2f} of {cores} cores busy, so that more could be {cores / busy:.2f} times as fast at "
        "most on this machine, as long as nothing else runs on it",
        highlight=False,
    )
    start = max(0.0, one - sum(measured))
    rows = [
        {
            "workers": workers,
            "random, grid": speed_up(measured, start, workers, paper, False),
            "bayesian, hyperband": speed_up(measured, start, workers, paper, True),
        }
        for workers in WORKERS
    ]
    title = f"{paper} trials on paper, drawn from {len(measured)} of {min(measured):.1f} to {max(measured):.1f} s"
    shown = Table(*rows[0], title=f"{title}, {start:.1f} s to start")
    for row in rows:
        shown.add_row(str(row["workers"]), *(f"{row[name]:.1f}" for name in list(row)[1:]))
    console.print(shown)
    with logged("workers"):
        mlflow.log_params({"data": data, "trials": trials, "epochs": epochs, "paper": paper, "seed": seed})
        mlflow.log_metrics({"seconds/1": one, "seconds/2": two, "speed_up/2": one / two, "cores_busy": busy})
        mlflow.log_text(pd.DataFrame(rows).to_csv(index=False), "workers.csv")


if __name__ == "__main__":
    main()
