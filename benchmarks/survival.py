"""What survives kills and a tracking server that is away, each beside an undisturbed run of the same seed.

    python -m benchmarks.survival kills --kills 20 --seed 0
    python -m benchmarks.survival kills --kills 6 --job showdown --job auto
    python -m benchmarks.survival outages --seconds 60
    python -m benchmarks.survival workers --kills 10

`kills` begins a job as a process, kills it (SIGKILL) at a moment drawn from the seed, uniformly over the seconds that
the undisturbed one took, and begins it again, until enough kills are done and the last one has ended. `outages` tracks
a search on a real `mlflow server` and kills that. `workers` kills workers of Dask and the command that began them
(`survival_workers.py`). What differs from the undisturbed run is printed and is an error. Processes are forked off one
that has imported TensorFlow, which takes longer than these jobs.
"""

import contextlib
import functools
import io
import multiprocessing
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
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
from rich.table import Table

from benchmarks.log import logged
from benchmarks.small_jobs import JOBS, write_images
from unetlab.cli.base import OneLineGroup

WALL = ("seconds", "ms_per_image", "tracking_share", "waiting_share")
"""What figures that are times end in."""

TABLES = ("scores/test.csv", "scores/validation.csv", "search/trials.csv")

IMAGES = 20

CLOSE = 1e-5
"""Relative difference of a figure up to which it is called the same; a resumed training is equal to float error."""

SHORT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
"""MLflow's own settings, for a server that is away for longer than all its retries."""

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


@dataclass
class Survived:
    """A job and how it survived."""

    job: str
    kills: int
    trainings: int
    begun: int
    runs: int
    seconds: float
    lost: float
    peak_gb: float
    compared: Compared


def survive(job: str, kills: int, seed: int, data: Path, folder: Path, light: bool = False) -> Survived:
    """Runs a job undisturbed, then kills it so many times at random moments; where it ends before enough kills are
    done, another one is begun. Each is compared with the undisturbed one."""
    moments = random.Random(f"{seed} {job}")
    whole = Work(job, folder / "whole", data, seed, light)
    whole.run()
    trainings, compared = whole.begun(), Compared()
    killed: list[Work] = []
    done, begun = 0, 0
    while done < kills or not killed:
        work = Work(job, folder / f"killed{len(killed)}", data, seed, light)
        own = 0
        while not work.run(moments.uniform(0, whole.seconds) if done < kills else float("inf")):
            own, done = own + 1, done + 1
        if work.begun() > trainings + own:
            compared.differences.append(f"{work.begun()} trainings were begun, not {trainings} and {own} kills")
        begun += work.begun()
        compared.add(work, whole)
        killed.append(work)
        console.print(f"{job}: ended after {own} kills, {len(compared.differences)} differences", highlight=False)
    lost = (sum(work.seconds for work in killed) - len(killed) * whole.seconds) / max(1, done)
    peak = max(work.peak_gb for work in (whole, *killed))
    return Survived(job, done, trainings, begun, len(killed), whole.seconds, lost, peak, compared)


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


@click.group(cls=OneLineGroup)
def main() -> None:
    """What survives."""


@main.command()
@click.option("--kills", type=click.IntRange(1), default=20, show_default=True, help="Of all jobs together.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the jobs and of the moments.")
@click.option(
    "--job",
    "jobs",
    type=click.Choice([job for job in JOBS if job != "workers"]),
    multiple=True,
    default=("random", "bayesian", "hyperband"),
)
@click.option("--light", is_flag=True, help="Trials in the process that is killed, without graphs.")
def kills(kills: int, seed: int, jobs: tuple[str, ...], light: bool) -> None:
    """Kills of the driver at random moments; its trials' process ends with it."""
    survived = []
    with folder_kept_if_bad() as folder:
        cells, plain = write_images(folder / "cells", IMAGES), write_images(folder / "plain", IMAGES, masks=False)
        for number, job in enumerate(jobs):
            share = kills * (number + 1) // len(jobs) - kills * number // len(jobs)
            survived.append(survive(job, share, seed, plain if job == "rounds" else cells, folder / job, light))
        columns = ("job", "kills", "ends", "trainings", "begun", "s", "s lost", "figures", "apart")
        peak = max(each.peak_gb for each in survived)
        title = f"kills at random moments, seed {seed}{', light' * light}; peak memory {peak:.2f} GB"
        table = Table(*columns, title=title)
        for each in survived:
            counts = (str(each.kills), str(each.runs), str(each.trainings * each.runs), str(each.begun))
            times = (f"{each.seconds:.0f}", f"{each.lost:.1f}")
            table.add_row(each.job, *counts, *times, str(each.compared.figures), f"{each.compared.largest:.1g}")
        console.print(table)
        rows = [{**vars(each), "compared": each.compared.largest} for each in survived]
        log("kills", rows, {"kills": sum(each.kills for each in survived), "peak_gb": peak})
        refuse_differences([each.compared for each in survived])


@contextlib.contextmanager
def mlflow_server(folder: Path, port: int, **changes: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A tracking server that keeps all it has in a folder; killed at the end."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", "--artifacts-destination"]
    command += [str(folder / "artifacts")]
    path = str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"]
    with open(folder / "server.log", "a") as output:
        server = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "PATH": path, **changes},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _wait_for(port, server, folder)
        yield server
    finally:
        kill_group(server)


def kill_group(process: "subprocess.Popen[bytes]") -> None:
    """Kills a process that leads a group, and the group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, 9)
    process.wait()


def _wait_for(port: int, server: "subprocess.Popen[bytes]", folder: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
            return
        time.sleep(0.2)
    raise click.ClickException(f"the server does not start: {(folder / 'server.log').read_text()[-500:]}")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_training(work: Work, process: Any, number: int) -> None:
    """Until so many trainings have begun."""
    while work.begun() < number and process.is_alive():
        time.sleep(0.1)
    if not process.is_alive():
        raise click.ClickException(f"it ended before training {number}: {work.last_words()}")


@main.command()
@click.option("--seconds", type=click.FloatRange(0.0), default=60.0, show_default=True, help="Without a server.")
@click.option("--seed", type=int, default=0, show_default=True)
def outages(seconds: float, seed: int) -> None:
    """A tracking server that is killed in the middle of a training: once for some seconds, during which the search
    goes on by itself, and once for longer than all of MLflow's retries, after which the same command goes on."""
    with folder_kept_if_bad() as folder:
        data = write_images(folder / "cells", IMAGES)
        whole = Work("random", folder / "whole", data, seed, light=False)
        whole.run()
        table = Table("outage", "seconds away", "ended by itself", "metrics lost", "figures", "apart")
        rows, compared = [], []
        for name, away, told in (("in a training", seconds, {}), ("longer than retries", 0.0, SHORT)):
            work, ended, gone = away_for(folder / name.replace(" ", "-"), data, seed, away, told)
            compared.append(Compared().add(work, whole))
            shown = (f"{gone:.0f}", "yes" if ended else "no, the same command went on")
            table.add_row(
                name, *shown, str(compared[-1].lost), str(compared[-1].figures), f"{compared[-1].largest:.1g}"
            )
            rows.append({"outage": name, "seconds": gone, "lost": compared[-1].lost})
        console.print(table)
        log("outages", rows, {"outages": len(rows), "metrics_lost": sum(each.lost for each in compared)})
        refuse_differences(compared)


@main.command()
@click.option("--kills", type=click.IntRange(1), default=10, show_default=True, help="Of workers, and of drivers.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the searches and of the moments.")
def workers(kills: int, seed: int) -> None:
    """Kills of workers, and of the driver, of searches on two workers of this machine."""
    from benchmarks import survival_workers

    survival_workers.report(kills, seed)


def away_for(folder: Path, data: Path, seed: int, seconds: float, told: dict[str, str]) -> tuple[Work, bool, float]:
    """A search whose server is killed while its second training goes on and is back after so many seconds, or where
    these are 0 after the search gave up; then the same command again. Returns it after its end, whether it ended by
    itself, and the seconds without a server."""
    folder.mkdir()
    port = free_port()
    work = Work("random", folder / "work", data, seed, light=False, uri=f"http://127.0.0.1:{port}")
    with mlflow_server(folder, port):
        process = work.begin(**told)
        wait_for_training(work, process, 2)
        time.sleep(0.5)
    started = time.monotonic()
    if seconds:
        time.sleep(seconds)
    else:
        process.join()
    gone = time.monotonic() - started
    with mlflow_server(folder, port):
        process.join()
        ended = process.exitcode == 0
        if not ended and not work.run():
            raise click.ClickException(work.last_words())
        work.said = found(work)
    return work, ended, gone


if __name__ == "__main__":
    from benchmarks import survival  # so that there is one of it, whoever imports it

    survival.main()
