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
import os
import random
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from benchmarks import survival_workers
from benchmarks.processes import free_ports
from benchmarks.small_jobs import JOBS, write_images
from benchmarks.undisturbed import Compared, Work, console, folder_kept_if_bad, found, log, refuse_differences
from unetlab.cli.base import OneLineGroup

IMAGES = 20

SHORT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
"""MLflow's own settings, for a server that is away for longer than all its retries."""


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
    survival_workers.report(kills, seed)


def away_for(folder: Path, data: Path, seed: int, seconds: float, told: dict[str, str]) -> tuple[Work, bool, float]:
    """A search whose server is killed while its second training goes on and is back after so many seconds, or where
    these are 0 after the search gave up; then the same command again. Returns it after its end, whether it ended by
    itself, and the seconds without a server."""
    folder.mkdir()
    (port,) = free_ports(1)
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
    main()
