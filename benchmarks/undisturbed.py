"""Jobs as processes, killed or not, and what they leave in their stores beside what undisturbed ones leave."""

import contextlib
import functools
import io
import multiprocessing
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import mlflow
import pandas as pd
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from rich.console import Console

from benchmarks.log import logged

WALL = ("seconds", "ms_per_image", "tracking_share", "waiting_share")
"""What figures that are times end in."""

TABLES = ("scores/test.csv", "scores/validation.csv", "search/trials.csv")

CLOSE = 1e-5
"""Relative difference of a figure up to which it is called the same; a resumed training is equal to float error."""

console = Console()


def in_folder(job: str, folder: Path, data: Path, seed: int, light: bool, environment: dict[str, str]) -> None:
    """What a process that runs a job does: its folder, its environment and its log are its own."""
    os.chdir(folder)
    os.environ.update(environment)
    log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    from benchmarks import small_jobs

    small_jobs.run(job, str(data), seed, light)


@functools.cache
def new_store() -> Path:
    """A store that holds nothing yet, to be copied, since MLflow takes seconds to make one."""
    path = Path(tempfile.mkdtemp(prefix="unetlab-store-")) / "mlflow.db"
    with contextlib.chdir(path.parent):  # artifacts of the default experiment would lie below the working directory
        MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@dataclass
class Work:
    """A job in a folder of its own, begun as often as it takes.

    Args:
        job: a name of `small_jobs.JOBS`.
        folder: of its store, cache and log.
        data: images.
        seed: of the job.
        light: whether trials are trained in the process of the search and without graphs, in a store that is there.
            Else as by commands.
        uri: of its store, the SQLite file in the folder by default.
        said: what its runs said, where the store is gone by the time it is asked.
    """

    job: str
    folder: Path
    data: Path
    seed: int
    light: bool
    uri: str = ""
    said: "dict[str, Found] | None" = None
    seconds: float = 0.0
    peak_gb: float = 0.0

    def begin(self, **changes: str) -> Any:
        """Starts it as a process, forked off one that has imported TensorFlow."""
        if not self.folder.exists():
            self.folder.mkdir(parents=True)
            if self.light:
                shutil.copy(new_store(), self.folder / "mlflow.db")
        self.uri = self.uri or f"sqlite:///{self.folder / 'mlflow.db'}"
        own = {"UNETLAB_CACHE": str(self.folder / "cache"), "MLFLOW_TRACKING_URI": self.uri}
        own |= {"UNETLAB_ONE_PROCESS": "1" if self.light else "0", **changes}
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["benchmarks.preloaded"])
        told = (self.job, self.folder, self.data, self.seed, self.light, own)
        process = context.Process(target=in_folder, args=told)
        process.start()
        return process

    def run(self, kill_after: float = float("inf")) -> bool:
        """Begins it and waits; kills it after so many seconds. Returns whether it ended by itself."""
        process = self.begin()  # the first one waits for TensorFlow's import
        started = time.monotonic()
        while process.is_alive() and time.monotonic() - started < kill_after:
            self.peak_gb = max(self.peak_gb, peak_gb(process.pid))
            process.join(min(0.2, max(0.0, kill_after - time.monotonic() + started)))
        alive = process.is_alive()
        process.kill()
        process.join()
        self.seconds += time.monotonic() - started
        if not alive and process.exitcode:
            raise click.ClickException(f"{self.job} ended with status {process.exitcode}: {self.last_words()}")
        return not alive

    def last_words(self) -> str:
        """The end of its log."""
        return (self.folder / "log").read_text()[-1500:]

    def begun(self) -> int:
        """How often a training began, or went on."""
        path = self.folder / "begun"
        return len(path.read_text().splitlines()) if path.exists() else 0


@dataclass
class Found:
    """What a run says that does not depend on the clock: its params, the points of each metric, its tables."""

    status: str
    params: dict[str, str]
    metrics: dict[str, list[tuple[int, float]]]
    tables: dict[str, str]


def found(work: Work) -> dict[str, Found]:
    """All runs of a store, by their names and those of the runs they are part of.

    Raises ClickException where two have one name: a run that should have gone on was begun again.
    """
    if work.said is not None:
        return work.said
    client, runs = MlflowClient(work.uri), {}
    for each in client.search_runs([one.experiment_id for one in client.search_experiments()], max_results=1000):
        runs[each.info.run_id] = each
    named: dict[str, Found] = {}
    for run_id, run in runs.items():
        name = _path(run, runs)
        if name in named:
            raise click.ClickException(f"two runs of {work.job} are called {name}")
        metrics = {
            key: [(each.step, each.value) for each in client.get_metric_history(run_id, key)]
            for key in run.data.metrics
            if not key.endswith(WALL)
        }
        named[name] = Found(run.info.status, dict(run.data.params), metrics, _tables(work.uri, run))
    return named


def _path(run: Run, runs: dict[str, Run]) -> str:
    parent = run.data.tags.get("mlflow.parentRunId", "")
    return (f"{_path(runs[parent], runs)} / " if parent in runs else "") + str(run.info.run_name)


def _tables(uri: str, run: Run) -> dict[str, str]:
    with mlflow_at(uri):
        listed = {
            each.path
            for folder in ("scores", "search")
            for each in MlflowClient(uri).list_artifacts(run.info.run_id, folder)
        }
        return {
            path: mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/{path}") for path in TABLES if path in listed
        }


@contextlib.contextmanager
def mlflow_at(uri: str) -> Iterator[None]:
    """Turns MLflow to a store for a while."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)


@dataclass
class Compared:
    """What differs between a disturbed run and the undisturbed one; how much was compared."""

    differences: list[str] = field(default_factory=list)
    figures: int = 0
    largest: float = 0.0
    lost: int = 0

    def add(self, work: Work, whole: Work) -> "Compared":
        """Compares runs, statuses, params, each point of each metric, and tables."""
        one, two = found(work), found(whole)
        for name in sorted(one.keys() ^ two.keys()):
            self.differences.append(f"{name}: only in {'the disturbed' if name in one else 'the undisturbed'} run")
        for name in sorted(one.keys() & two.keys()):
            self._add_run(name, one[name], two[name])
        for kind in ("unfinished", "unsent"):
            left = [each.name for each in (work.folder / "cache" / kind).glob("*")]
            if left:
                self.differences.append(f"{kind} holds {left}")
        return self

    def _add_run(self, name: str, one: Found, two: Found) -> None:
        if one.status != two.status:
            self.differences.append(f"{name}: {one.status}, undisturbed {two.status}")
        if one.params != two.params:
            changed = sorted(key for key, _ in one.params.items() ^ two.params.items())
            self.differences.append(f"{name}: other params: {', '.join(dict.fromkeys(changed))}")
        for key in sorted(one.metrics.keys() | two.metrics.keys()):
            mine, theirs = one.metrics.get(key, []), two.metrics.get(key, [])
            self.lost += len({step for step, _ in theirs} - {step for step, _ in mine})
            if not key.startswith("epoch/"):  # what is logged once more, after a kill or of the winner, is the same
                mine, theirs = (list(dict.fromkeys(each)) for each in (mine, theirs))
            if [step for step, _ in mine] != [step for step, _ in theirs]:
                self.differences.append(f"{name}: {key} has the steps {[step for step, _ in mine]}")
                continue
            for (step, value), (_, other) in zip(mine, theirs, strict=True):
                self.figures += 1
                apart = abs(value - other) / max(abs(other), 1e-3) if value == value or other == other else 0.0
                self.largest = max(self.largest, apart)
                if not apart <= CLOSE:
                    self.differences.append(f"{name}: {key} of step {step} is {value:.6g}, undisturbed {other:.6g}")
        if one.tables.keys() != two.tables.keys():
            self.differences.append(f"{name}: other tables: {sorted(one.tables)}")
        for path in sorted(one.tables.keys() & two.tables.keys()):
            if not same_table(one.tables[path], two.tables[path]):
                self.differences.append(f"{name}: {path} holds other values")


def same_table(one: str, two: str) -> bool:
    """Whether two CSVs hold the same, numbers to a pixel of a thousand."""
    mine, theirs = (pd.read_csv(io.StringIO(text)) for text in (one, two))
    try:
        pd.testing.assert_frame_equal(mine, theirs, rtol=1e-3, atol=1e-3)
    except AssertionError:
        return False
    return True


@contextlib.contextmanager
def folder_kept_if_bad() -> Iterator[Path]:
    """A temporary folder, which stays where something went wrong."""
    folder = Path(tempfile.mkdtemp(prefix="unetlab-survival-"))
    try:
        yield folder
    except BaseException:
        console.print(f"what was left stays in {folder}", highlight=False)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def peak_gb(process: int) -> float:
    """Peak memory of a process so far, in GB; 0 where it has ended or the system does not say."""
    with contextlib.suppress(OSError):
        said = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
        return int(said[1]) / 2**20 if said else 0.0
    return 0.0


def log(name: str, rows: list[dict[str, Any]], figures: dict[str, float]) -> None:
    """Logs a table and its figures to MLflow."""
    with logged(f"survival {name}"):
        mlflow.log_text(pd.DataFrame(rows).to_csv(index=False), f"survival_{name}.csv")
        mlflow.log_metrics(figures)


def refuse_differences(compared: list[Compared]) -> None:
    """Prints what differs, and raises ClickException if anything does."""
    differences = [each for one in compared for each in one.differences]
    for each in differences[:40]:
        console.print(each, highlight=False)
    if differences:
        raise click.ClickException(f"{len(differences)} differences from undisturbed runs")
