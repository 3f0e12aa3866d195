"""Real processes that a test or a benchmark may kill: MLflow's server on PostgreSQL, a Dask scheduler, its workers, and
the commands that use them."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil
from mlflow.tracking import MlflowClient

ROOT = Path(__file__).parent.parent

TIMES = ("seconds", "ms_per_image", "tracking_share", "waiting_share")
"""Endings of figures that no two runs have in common."""


class Processes:
    """Processes of one folder, each with a log of its own there; what runs at the end of a `with` block is killed.

    Args:
        folder: that they work in.
        environment: variables that all of them have besides this process's.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})}
        self.running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self.running):
            kill(process)

    def begin(self, name: str, words: Sequence[object], **environment: str) -> "subprocess.Popen[bytes]":
        """Begins `python WORDS`; what it prints is added to `<name>.log`."""
        with open(self.folder / f"{name}.log", "a") as log:
            process = subprocess.Popen(
                [sys.executable, *map(str, words)],
                cwd=self.folder,
                env={**self.environment, **environment},
                stdout=log,
                stderr=log,
            )
        self.running.append(process)
        return process

    def log(self, name: str) -> str:
        """What a process has printed so far."""
        return (self.folder / f"{name}.log").read_text()

    @contextlib.contextmanager
    def server(self) -> Iterator[str]:
        """`python -m unetlab server`; gives its address, which may not answer yet, and ends it as a user would.

        It has a folder of its own that all users can reach, since PostgreSQL is another one where root begins it.
        """
        port, base = free_ports(2)
        with tempfile.TemporaryDirectory(prefix="unetlab-server-") as folder:
            os.chmod(folder, 0o755)
            told = ("--folder", folder, "--port", port, "--database-port", base)
            process = self.begin("server", ["-m", "unetlab", "server", *told])
            try:
                yield f"http://127.0.0.1:{port}"
            finally:
                process.terminate()
                process.wait(60)

    def scheduler(self) -> str:
        """A Dask scheduler; returns its address, which may not answer yet."""
        (port,) = free_ports(1)
        told = ("--host", "127.0.0.1", "--port", port, "--no-dashboard", "--no-show")
        self.begin("scheduler", ["-m", "distributed.cli.dask_scheduler", *told])
        return f"tcp://127.0.0.1:{port}"

    def worker(self, scheduler: str, name: str, *told: str) -> "subprocess.Popen[bytes]":
        """A worker of one thread, without the nanny that would begin it again once it is killed."""
        words = ["-m", "distributed.cli.dask_worker", scheduler, "--nthreads", "1", "--no-nanny", "--no-dashboard"]
        return self.begin(name, [*words, "--name", name, *told])


def kill(process: "subprocess.Popen[bytes]") -> None:
    """kill -9, and waits until it is gone."""
    process.kill()
    process.wait()


def local_workers(pid: int) -> list[psutil.Process]:
    """The workers of Dask that a command with `workers=N` has begun, and that train: each has a process beside it."""

    def spawned(process: psutil.Process) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            return [each for each in process.children() if any("spawn_main" in word for word in words(each))]
        return []

    def words(process: psutil.Process) -> list[str]:
        with contextlib.suppress(psutil.NoSuchProcess):  # a killed one that nobody has waited for does not hide others
            return process.cmdline()
        return []

    with contextlib.suppress(psutil.NoSuchProcess):
        return [each for each in spawned(psutil.Process(pid)) if spawned(each)]
    return []


def gone(process: psutil.Process) -> bool:
    """Whether a process has ended, whether or not somebody has waited for it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    return True


def free_ports(count: int) -> list[int]:
    """So many ports of this machine that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


def wait_until(so: Callable[[], object], seconds: float = 900.0, what: str = "") -> None:
    """Returns once `so` is true. Raises TimeoutError if it is not after so many seconds."""
    end = time.monotonic() + seconds
    while not so():
        if time.monotonic() > end:
            raise TimeoutError(f"after {seconds:g} s still not so: {what or so}")
        time.sleep(0.05)


def trainings(store: str) -> dict[str, tuple[str, dict[str, float]]]:
    """Status and metrics, times left out, of each training of a store that holds one search; "run" is the search.

    Raises AssertionError if there are two of one, or if the epochs of one are not 1, 2, 3 and so on.
    """
    client, found = MlflowClient(store), {}
    for run in client.search_runs([each.experiment_id for each in client.search_experiments()]):
        name = run.data.tags.get("training", "run")
        assert name not in found, f"two runs of {name}"
        for key in (key for key in run.data.metrics if key.startswith("epoch/")):
            steps = [point.step for point in client.get_metric_history(run.info.run_id, key)]
            assert steps == list(range(1, len(steps) + 1)), f"{name} {key} has the epochs {steps}"
        found[name] = run.info.status, {k: v for k, v in run.data.metrics.items() if not k.endswith(TIMES)}
    return found
