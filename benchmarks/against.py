"""A command of this version beside the same command of another one: how much faster is it?

    python -m benchmarks.against main -- nuclei --data synthetic --encoder-weights none
    python -m benchmarks.against HEAD~20 --repeats 5 -- nuclei-scratch --trials 3 --epochs 3

Runs `python -m unetlab COMMAND` from a working tree of the other commit and from this one, in turn, so that what else
the machine does slows both; each in a store of its own that is empty, with one cache for all runs of a version, which a
first run that does not count has filled. Prints wall seconds and seconds of processors, the ratio of each pair and
their spread. A search's best validation Dice and the final model's test Dice stand beside them: what was gained by
leaving out work shows the same scores.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import mlflow
import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmarks.log import logged
from unetlab.cli.base import OneLineErrors
from unetlab.errors import UserError

ROOT = Path(__file__).parent.parent


def ran(tree: Path, command: tuple[str, ...], folder: Path) -> dict[str, float]:
    """Runs the command once; returns its seconds, and the scores of its run."""
    place = Path(tempfile.mkdtemp(dir=folder))
    told = {"UNETLAB_CACHE": str(folder / "cache"), "MLFLOW_TRACKING_URI": f"sqlite:///{place / 'mlflow.db'}"}
    environment = {**os.environ, **told, "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONPATH": str(tree)}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "unetlab", *command], cwd=place, env=environment, capture_output=True, text=True
    )
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise UserError(f"{' '.join(command)} of {tree} ended with {done.returncode}: {done.stderr[-500:]}")
    client = mlflow.MlflowClient(told["MLFLOW_TRACKING_URI"])
    experiments = [each.experiment_id for each in client.search_experiments()]
    runs = [run for run in client.search_runs(experiments) if "test/native_dice" in run.data.metrics]
    scores = {name: runs[0].data.metrics[name] for name in ("val/native_dice", "test/native_dice")} if runs else {}
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": seconds, "processor": busy, **scores}


@click.command(cls=OneLineErrors)
@click.argument("commit")
@click.argument("command", nargs=-1, required=True)
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True, help="Runs of each that count.")
def main(commit: str, command: tuple[str, ...], repeats: int) -> None:
    """Prints a table and logs it to MLflow."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="unetlab-against-") as name:
        folder = Path(name)
        trees = {"other": folder / "tree", "this": ROOT}
        made = subprocess.run(
            ["git", "worktree", "add", "--detach", str(trees["other"]), commit],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        if made.returncode:
            raise UserError(made.stderr.strip().splitlines()[-1])
        try:
            for which in trees:
                (folder / which).mkdir()
            for repeat in range(repeats + 1):
                for which, tree in trees.items():
                    found = ran(tree, command, folder / which)
                    if repeat:
                        rows.append({"version": which, "repeat": repeat, **found})
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(trees["other"])], cwd=ROOT, check=False)
    frame = pd.DataFrame(rows)
    table = Table("version", *frame.columns[2:], title=f"{' '.join(command)}: {commit} and this, {repeats} each")
    for which, part in frame.groupby("version", sort=False):
        table.add_row(str(which), *(f"{part[name].median():.4g}" for name in frame.columns[2:]))
    console = Console()
    console.print(table)
    wide, figures = frame.pivot(index="repeat", columns="version"), {}
    for name in ("seconds", "processor"):
        ratios = sorted(wide[name]["other"] / wide[name]["this"])
        figures[f"{name}/faster"] = statistics.median(ratios)
        said = f"{name}: {figures[f'{name}/faster']:.2f} times as fast, {ratios[0]:.2f} to {ratios[-1]:.2f}"
        console.print(said, highlight=False)
    with logged("against"):
        mlflow.log_params({"commit": commit, "command": " ".join(command), "repeats": repeats})
        mlflow.log_metrics(figures)
        mlflow.log_text(frame.to_csv(index=False), "against.csv")


if __name__ == "__main__":
    main()
