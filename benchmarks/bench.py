"""How fast unetlab is, in one table and one picture: `make bench`.

    python -m benchmarks.bench --out bench.png

Every figure is a ratio of two things measured side by side in this run, a pair a repeat, with its spread: training
steps beside plain Keras and PyTorch (`benchmarks.steps`), the format that `precision=auto` takes beside the better one
(`benchmarks.precision`), scores at native size beside the plain way to have them (`benchmarks.scoring`), `--help`
beside what it may take and a second start beside the first (`benchmarks.starts`), training with tracking beside the
same without (`benchmarks.tracking`), training with augmentation beside the same less its waiting for it
(`benchmarks.waiting`), a served answer beside what the bare calls allow it (`benchmarks.serving`), and a whole run of
`nuclei` beside plain Keras (`benchmarks.whole_run`). What takes a search, another version or real images has commands
of its own: `search_time`, `search_quality`, `against`, `quality`, `growth`.
"""

import importlib.util
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import mlflow
import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks import precision, scoring, serving, starts, steps, tracking, waiting, whole_run
from benchmarks.log import EXPERIMENT, logged
from benchmarks.scoring import spread
from unetlab.cli.base import OneLineErrors
from unetlab.data import open_dataset
from unetlab.jobs.evaluate import refuse_unlabelled

SCORING = 5.0
"""Times faster than the plain way that scoring is to be."""

PRECISION = 0.95
"""Of the better format's speed that `precision=auto` is to have."""

HELP = 1.5
"""Seconds that `--help` may take."""

START, TRACKING, WAITING, WHOLE = 20.0, 0.98, 0.97, 3.0
"""Times faster that a second start is to be, times as fast a training that is tracked, one that waits for its batches,
and a whole run."""

ROWS_OF_A_RUN = 8


class Row(NamedTuple):
    """What is measured beside what, how many times faster it is in each repeat, and how many it is to be."""

    what: str
    beside: str
    faster: list[float]
    asked: float

    @property
    def median(self) -> float:
        """Of the repeats."""
        return statistics.median(self.faster)


def rows_of_steps(name: str, length: int, repeats: int) -> list[Row]:
    """A case of `benchmarks.steps` beside its peers."""
    case = steps.CASES[name]
    found, _ = steps.compared(case, length, repeats)
    rows = [Row(f"step: {name}", "plain Keras", steps.ratios(found, "plain Keras"), case.plain)]
    if case.torch is not None and "PyTorch" in found:
        rows.append(Row(f"step: {name}", "PyTorch", steps.ratios(found, "PyTorch"), 1 / case.torch))
    return rows


def row_of_precision(name: str, length: int, repeats: int) -> Row:
    """What auto chose for a case of `benchmarks.precision`, beside the better format by a second look."""
    shares = [precision.looked_at_twice(*precision.CASES[name], length)["share"] for _ in range(repeats)]
    return Row(f"precision=auto: {name}", "the better format", shares, PRECISION)


def rows_of_a_run(data: str, repeats: int) -> Iterator[Row]:
    """What a run has around its steps, ROWS_OF_A_RUN of them."""
    helped = [starts.seconds_of_help() for _ in range(repeats)]
    yield Row("--help", f"{HELP:g} s", [HELP / seconds for seconds in helped], 1.0)
    starts_of = starts.compared(data, repeats)
    yield Row("a second start", "the first", [first[0] / second[0] for first, second in starts_of], START)
    rounds = max(1, int(50 / tracking.worked(50)))
    found = [tracking.measured(8, rounds) for _ in range(repeats)]
    yield Row("training with tracking", "without", [plain / tracked for _, tracked, plain in found], TRACKING)
    for name, images in (("pseudo-label", 16), ("auto", 64)):
        told = waiting.prepared(name, images, 3)
        pairs = [(waiting.trained(*told, made=False), waiting.trained(*told, made=True)) for _ in range(repeats)]
        yield Row(f"{name} with augmentation", "ready batches", [b.steps / a.steps for a, b in pairs], WAITING)
    calls, answers, _ = serving.latencies("full", 50, repeats)
    within = [serving.allowed(call) / answer for call, answer in zip(calls, answers, strict=True)]
    yield Row("a served PNG of 256x256", "1.5 bare calls and 10 ms", within, 1.0)
    calls, answers, *_ = serving.large("full", 4096, repeats)
    within = [serving.TILED * call / answer for call, answer in zip(calls, answers, strict=True)]
    yield Row("a served PNG of 4096x4096", f"{serving.TILED:g} times the bare calls of its tiles", within, 1.0)
    runs = whole_run.compared(data, None, 10, repeats)
    yield Row("nuclei, a whole run, random weights", "plain Keras", whole_run.faster(runs), WHOLE)


def picture(rows: list[Row]) -> Figure:
    """A bar a row, its spread, and what is asked."""
    figure = Figure(figsize=(9.6, 1.2 + 0.42 * len(rows)), layout="constrained")
    axis = figure.subplots()
    places = range(len(rows), 0, -1)
    medians = [row.median for row in rows]
    reach = [[row.median - min(row.faster) for row in rows], [max(row.faster) - row.median for row in rows]]
    over = [median - 1 for median in medians]  # on an axis of logarithms bars have no other place to begin at
    axis.barh(places, over, left=1, height=0.6, xerr=reach, color="#56b4e9", ecolor="#333333", capsize=3)
    axis.set_ylim(0.4, len(rows) + 0.6)
    axis.plot([row.asked for row in rows], places, "|", color="#d55e00", markersize=18, markeredgewidth=3)
    axis.set_yticks(places, [f"{row.what}\nbeside {row.beside}" for row in rows], fontsize=8)
    axis.axvline(1, color="#333333", linewidth=0.8)
    axis.set_xscale("log")  # a second start is hundreds of times faster, which would leave nothing of the others
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_xlabel("times as fast (median, least and most of the repeats); orange: what is aimed at")
    return figure


def rows_of(data: str, length: int, repeats: int, console: Console) -> Iterator[Row]:
    """All of them, one after the other: they take an hour."""
    dataset = open_dataset(data)  # before anything takes its minutes
    refuse_unlabelled(dataset, data)
    for name in track(steps.CASES, "training steps", console=console):
        yield from rows_of_steps(name, length, repeats)
    for name in track(precision.CASES, "formats", console=console):
        yield row_of_precision(name, length, repeats)
    for side in track(scoring.SIDES, "scores", console=console):
        found = scoring.compared(dataset, side, repeats)
        yield Row(f"scores at {side}x{side}", "the plain way", found["ratio"], SCORING)
    mlflow.set_experiment(EXPERIMENT)
    yield from track(rows_of_a_run(data, repeats), "a run", total=ROWS_OF_A_RUN, console=console)


def conclude(rows: list[Row], told: dict[str, Any], out: Path | None, console: Console) -> None:
    """Prints one table, draws it, and leaves a run with the figures of every repeat and the picture."""
    table = Table("what", "beside", "times as fast", "asked", title=f"{told['repeats']} repeats")
    for row in rows:
        table.add_row(row.what, row.beside, spread(row.faster, 2), f"{row.asked:.2f}")
    console.print(table)
    figure = picture(rows)
    if out:
        figure.savefig(out, dpi=120)
    with logged("bench"):
        mlflow.log_params(told)
        every = [{**row._asdict(), "faster": each} for row in rows for each in row.faster]
        mlflow.log_text(pd.DataFrame(every).to_csv(index=False), "bench.csv")
        mlflow.log_figure(figure, "bench.png")


@click.command(cls=OneLineErrors)
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True)
@click.option("--steps", "length", type=click.IntRange(2), default=6, show_default=True, help="Of an epoch.")
@click.option("--data", default="synthetic", show_default=True, help="Images with their objects, to be scored.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="File for the picture, as PNG.")
def main(repeats: int, length: int, data: str, out: Path | None) -> None:
    """Prints one table, draws it, and logs both to MLflow; where a row fails, those before it."""
    console, rows, told = Console(), list[Row](), {"repeats": repeats, "steps": length, "data": data, "complete": False}
    if not importlib.util.find_spec("torch"):
        console.print(steps.NO_TORCH)
    try:
        for row in rows_of(data, length, repeats, console):
            rows.append(row)
            console.print(f"{row.what}, beside {row.beside}: {spread(row.faster, 2)} times as fast", highlight=False)
        told["complete"] = True
    finally:
        if rows:
            conclude(rows, told, out, console)


if __name__ == "__main__":
    main()
