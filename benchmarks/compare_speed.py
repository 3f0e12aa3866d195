"""How long and how much memory `compare` takes over many runs, reading from a SQLite store included.

    python -m benchmarks.compare_speed --runs 1000 --images 100

Writes so many finished runs with per-image tables into a temporary store, then compares them in a fresh process whose
time and memory are measured, the import of MLflow included; CPU time, of all threads, means the same on a busy machine.
Writing the store takes longer than comparing it.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import mlflow
import numpy as np
import pandas as pd
from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.log import logged
from unetlab.cli.base import OneLineErrors
from unetlab.metrics.table import METRICS

PROBE = """
import json, re, resource, time
from pathlib import Path
started = time.perf_counter()
import mlflow
from unetlab.comparison.compare import compare
imported, cpu = time.perf_counter(), time.process_time()
found = compare(experiment="speed")
seconds, cpu_seconds = time.perf_counter() - imported, time.process_time() - cpu
status = Path("/proc/self/status")  # on Linux ru_maxrss begins at the size of the process that started this one
peak = (
    int(re.search(r"VmHWM:\\s+(\\d+) kB", status.read_text())[1]) / 2**20
    if status.exists()
    else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**30
)
times = {"import_seconds": imported - started, "seconds": seconds, "cpu_seconds": cpu_seconds}
print(json.dumps({**times, "peak_gb": peak, "best": len(found.best)}))
"""


def write_store(folder: Path, runs: int, images: int) -> str:
    """Fills a SQLite store with finished setup runs; returns its address."""
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    client = MlflowClient(uri)
    experiment = client.create_experiment("speed", artifact_location=(folder / "artifacts").as_uri())
    rng = np.random.default_rng(0)
    difficulty = 0.97 - rng.gamma(1.2, 0.06, images)
    ids = [f"image{i:05d}" for i in range(images)]
    tags = {"role": "search", "dataset": "twin", "dataset_digest": "0" * 16, "split_digest": "0" * 16}
    for k in track(range(runs), f"writing {runs} runs", console=Console(stderr=True)):
        dice = np.clip(difficulty + rng.normal(0, 0.03, images) - 0.05 * k / runs, 0, 1)
        run = client.create_run(experiment, run_name=f"setup-{k:05d} twin")
        client.log_batch(
            run.info.run_id,
            [Metric(f"test/{name}", float(dice.mean()), 0, 0) for name in [*METRICS, *"abcdefghijklmnopqrst"]],
            [Param(f"best_{name}", "0.5") for name in "abcdefghijklmnopqrst"],
            [RunTag(name, value) for name, value in {**tags, "setup": f"setup-{k:05d}"}.items()],
        )
        path = Path(run.info.artifact_uri.removeprefix("file://")) / "scores" / "test.csv"
        path.parent.mkdir(parents=True)
        counts = {name: rng.integers(0, 10_000, images) for name in ("tp", "fp", "fn", "tn")}
        others = {name: dice for name in ("dice", "iou", "precision", "recall", "ap50", "otsu_dice")}
        table = pd.DataFrame({"id": ids, **counts, **others, **{name: dice for name in METRICS}})
        table.to_csv(path, index=False)
        client.set_terminated(run.info.run_id)
    return uri


def measure(uri: str) -> dict[str, float]:
    """Seconds and peak memory of a process that compares the store's runs."""
    environment = {**os.environ, "MLFLOW_TRACKING_URI": uri, "MLFLOW_DISABLE_TELEMETRY": "true"}
    answer = subprocess.run([sys.executable, "-c", PROBE], env=environment, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    return found


@click.command(cls=OneLineErrors)
@click.option("--runs", type=click.IntRange(2), multiple=True, default=(100, 1000), show_default=True)
@click.option("--images", type=click.IntRange(2), default=100, show_default=True)
def main(runs: tuple[int, ...], images: int) -> None:
    """Prints a table and logs it to MLflow."""
    table = Table(
        "runs", "import s", "compare s", "CPU s", "CPU ms a run", "peak GB", title=f"compare, {images} images a run"
    )
    results = []
    for count in runs:
        with tempfile.TemporaryDirectory() as folder:
            found = measure(write_store(Path(folder), count, images))
        results.append({"runs": count, "images": images, **found})
        table.add_row(
            f"{count:,}",
            f"{found['import_seconds']:.1f}",
            f"{found['seconds']:.1f}",
            f"{found['cpu_seconds']:.1f}",
            f"{1000 * found['cpu_seconds'] / count:.1f}",
            f"{found['peak_gb']:.2f}",
        )
    Console().print(table)
    with logged("compare speed"):
        mlflow.log_text(pd.DataFrame(results).to_csv(index=False), "compare_speed.csv")
        for row in results:
            figures = {name: row[name] for name in ("seconds", "cpu_seconds", "peak_gb")}
            mlflow.log_metrics(figures, step=int(row["runs"]))


if __name__ == "__main__":
    main()
