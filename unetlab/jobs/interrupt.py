"""Ctrl-C and SIGTERM end a command within seconds, whatever step TensorFlow is in, and say what goes on with it."""

import os
import shlex
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from unetlab.jobs import resume, worker
from unetlab.tracking import ui, write

PATIENCE = 3.0
"""Seconds to tell MLflow; a server that is away must not keep a user waiting."""


@contextmanager
def interruptible(command: str) -> Iterator[None]:
    """While it lasts, an interruption ends the process: runs marked KILLED, `command` said to be what goes on, in the
    same experiment.

    A handler in Python would wait for the end of TensorFlow's step; the system's writes to a socket, which a thread
    reads.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    command += _experiment()
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    before = {each: signal.signal(each, lambda *_: None) for each in (signal.SIGINT, signal.SIGTERM)}
    descriptor = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(ours, command), daemon=True, name="interrupt").start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(descriptor)
        for each, handler in before.items():
            signal.signal(each, handler)
        theirs.close()


def _experiment() -> str:
    """The options of `mlflow run` that lead to this command's experiment: plans are looked up in one only."""
    given = os.environ.get("MLFLOW_EXPERIMENT_ID") if "MLFLOW_RUN_ID" in os.environ else None
    name = ui.experiment_name()
    if given:  # by its name all the same: MLflow refuses an id where MLFLOW_EXPERIMENT_NAME is set
        try:
            name = MlflowClient().get_experiment(given).name
        except MlflowException:  # the run itself says that the store is away
            return f" --experiment-id {given}"
    return f" --experiment-name {shlex.quote(name)}"


def _watch(ours: socket.socket, command: str) -> None:
    while heard := ours.recv(1):
        if heard[0] in (signal.SIGINT, signal.SIGTERM):
            _end(heard[0], command)
    ours.close()


def _end(number: int, command: str) -> None:
    worker.ENDING.set()  # or the trial of a process that is killed here would be taken for one that failed
    for process in list(worker.PROCESSES):
        process.kill()
    told = threading.Thread(target=_mark_killed, daemon=True)
    told.start()
    told.join(PATIENCE)
    sys.stderr.write(
        f"\x1b[?25h\ninterrupted; this goes on with it:\n{command}\n"
        if sys.stderr.isatty()
        else f"interrupted; this goes on with it:\n{command}\n"
    )
    sys.stderr.flush()
    os._exit(128 + number)


def _mark_killed() -> None:
    client = MlflowClient()
    for run_id in list(reversed(write.OPEN)):
        resume.end_below(client.get_run(run_id).info.experiment_id, run_id)
        client.set_terminated(run_id, "KILLED")
