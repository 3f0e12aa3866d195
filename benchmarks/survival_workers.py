"""Kills of workers and of drivers in searches on two Dask workers of this machine: `benchmarks.survival workers`.

A worker is killed (SIGKILL) with the process beside it that trains, a driver alone, and begun again at once. Each kill
comes at a moment drawn from the seed: a worker's uniformly over the seconds in which those of the undisturbed one had
such a process, counted from where one has it; a driver's over all its seconds, counted from its beginning or the kill
before. Seconds in which that process still imports TensorFlow are among them.
"""

import contextlib
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import psutil
from rich.table import Table

from benchmarks.processes import gone, local_workers
from benchmarks.small_jobs import write_images
from benchmarks.undisturbed import Compared, Work, console, folder_kept_if_bad, log, refuse_differences

IMAGES = 8


@dataclass
class Victims:
    """What is killed, in its order.

    Args:
        kills: of workers, and as many of drivers: pairs of one and the other in random order, since a trial that four
            workers died of is FAILED.
        seed: of order and moments.
    """

    kills: int
    seed: int
    done: list[str] = field(default_factory=list)
    processes: list[psutil.Process] = field(default_factory=list)
    """That a killed driver left."""

    def __post_init__(self) -> None:
        self.moments = random.Random(f"{self.seed} workers")
        self.left = [each for _ in range(self.kills) for each in self.moments.sample(("worker", "driver"), 2)]

    def kill(self, process: Any, workers: list[psutil.Process]) -> bool:
        """Kills the next one: a driver, or one of its workers. Returns whether it did: one that has ended stays."""
        try:
            if self.left[0] == "worker":
                kill_both(self.moments.choice(workers))
            else:
                below = psutil.Process(process.pid).children(recursive=True)
                process.kill()
                process.join()
                if process.exitcode == 0:
                    return False
                self.processes += below
        except psutil.NoSuchProcess:
            return False
        self.done.append(self.left.pop(0))
        return True


def kill_both(worker: psutil.Process) -> None:
    """Kills a worker and all below it. Raises psutil.NoSuchProcess where it has ended."""
    if gone(worker):  # which a kill of one that nobody has waited for would not say
        raise psutil.NoSuchProcess(worker.pid)
    below = worker.children(recursive=True)
    worker.kill()
    for each in below:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()


def undisturbed(work: Work) -> float:
    """Runs a search; returns the seconds in which its workers had processes beside them."""
    process, trained = work.begin(), []
    started = time.monotonic()
    while process.is_alive():
        if local_workers(process.pid):
            trained.append(time.monotonic())
        process.join(0.1)
    ended(work, process)
    work.seconds = time.monotonic() - started
    if not trained:
        raise click.ClickException(f"no worker trained: {work.last_words()}")
    return trained[-1] - trained[0]


def disturbed(work: Work, victims: Victims, seconds: float, training: float) -> None:
    """Runs a search to its end, with as many kills as come before it.

    Args:
        work: the search.
        victims: what is killed; what was is taken off.
        seconds: of an undisturbed search.
        training: seconds of it in which its workers had processes beside them.
    """
    started = time.monotonic()
    process = work.begin()
    while victims.left:
        of_worker = victims.left[0] == "worker"
        if of_worker:
            while process.is_alive() and not local_workers(process.pid):
                process.join(0.1)
        at = time.monotonic() + victims.moments.uniform(0, training if of_worker else seconds)
        there: list[psutil.Process] = []
        while process.is_alive() and (time.monotonic() < at or of_worker and not (there := local_workers(process.pid))):
            process.join(min(0.1, max(0.01, at - time.monotonic())))
        if not process.is_alive():
            break
        if victims.kill(process, there) and not of_worker:
            process = work.begin()
    process.join()
    ended(work, process)
    work.seconds = time.monotonic() - started


def ended(work: Work, process: Any) -> None:
    """Raises ClickException for a search that ended by itself and not well."""
    if process.exitcode:
        raise click.ClickException(f"{work.job} ended with status {process.exitcode}: {work.last_words()}")


def survive(kills: int, seed: int, folder: Path) -> tuple[Victims, Work, list[Work], Compared]:
    """One undisturbed search and as many disturbed ones as the kills take, each compared with it."""
    data = write_images(folder / "cells", IMAGES)
    whole = Work("workers", folder / "whole", data, seed, light=True)
    training = undisturbed(whole)
    said = f"undisturbed: {whole.seconds:.0f} s, of which workers trained {training:.0f} s"
    console.print(said, highlight=False)
    victims, compared = Victims(kills, seed), Compared()
    works: list[Work] = []
    while victims.left:
        work, before = Work("workers", folder / f"killed{len(works)}", data, seed, light=True), len(victims.done)
        disturbed(work, victims, whole.seconds, training)
        own = victims.done[before:]
        # a driver takes two workers with it, each with a training
        most = whole.begun() + own.count("worker") + 2 * own.count("driver")
        if not whole.begun() <= work.begun() <= most:
            compared.differences.append(f"{work.begun()} trainings were begun, not {whole.begun()} to {most}")
        compared.add(work, whole)
        works.append(work)
        told = f"killed {', '.join(own) or 'nothing'}: {len(compared.differences)} differences"
        console.print(told, highlight=False)
    outlived = sum(not gone(each) for each in victims.processes)
    if outlived:
        compared.differences.append(f"{outlived} processes outlived their driver")
    return victims, whole, works, compared


def report(kills: int, seed: int) -> None:
    """Prints and logs what survived. Raises ClickException if anything differs from the undisturbed search."""
    with folder_kept_if_bad() as folder:
        victims, whole, works, compared = survive(kills, seed, folder)
        lost = (sum(work.seconds for work in works) - len(works) * whole.seconds) / len(victims.done)
        row: dict[str, Any] = {
            "workers killed": victims.done.count("worker"),
            "drivers killed": victims.done.count("driver"),
            "searches": len(works),
            "trainings": whole.begun() * len(works),
            "begun": sum(work.begun() for work in works),
            "s": round(whole.seconds),
            "s lost a kill": round(lost, 1),
            "figures": compared.figures,
            "apart": float(f"{compared.largest:.1g}"),
        }
        table = Table(*row, title=f"workers and drivers killed at random moments, seed {seed}")
        table.add_row(*map(str, row.values()))
        console.print(table)
        log("workers", [row], {"kills": len(victims.done), "seconds_lost_a_kill": lost, "apart": compared.largest})
        refuse_differences([compared])
