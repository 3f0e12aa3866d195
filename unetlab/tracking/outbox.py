"""Metrics on their way to MLflow: on disk first, then sent from a thread, so that training waits for no server.

What could not be sent stays on disk, and the next run or `python -m unetlab sync` sends it.
"""

import contextlib
import hashlib
import json
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from unetlab.data import cache
from unetlab.errors import Stopped, UserError
from unetlab.tracking import store
from unetlab.tracking.lock import BEAT, DEAD, Lock

AGAIN = 5.0
"""Seconds between two attempts while the server does not answer."""

FLUSH_SECONDS = 2.0
"""Metrics wait so long for others to go with them."""

MOST = 1000
"""Metrics a call, MLflow's limit."""

KEPT = 30 * 24 * 3600.0
"""Seconds that metrics of a run wait that the server does not know: its address may be another store's for now."""


def folder() -> Path:
    """Where what is not sent yet lies, a file a run."""
    return cache.root() / "unsent"


class Outbox:
    """The metrics of one run, in order and once.

    Args:
        run_id: the run they belong to.
    """

    def __init__(self, run_id: str) -> None:
        self.run_id, self.client = run_id, MlflowClient()
        self.path = folder() / f"{run_id}.jsonl"
        # a worker that was lost on another machine is not known to be dead before its heartbeat has stopped
        self.lock = Lock(self.path.with_suffix(".lock"), f"sending the metrics of run {run_id}").take(DEAD + BEAT)
        _end_line(self.path)
        self.waiting: list[Metric] = _read(self.path)
        self.doubtful = bool(self.waiting)  # an attempt may have reached the server without our hearing of it
        self.closing, self.changed, self.given_up = threading.Event(), threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._send, daemon=True, name="outbox")
        self.thread.start()

    def put(self, metrics: Sequence[Metric]) -> None:
        """Takes metrics; they outlive this process when this returns. Raises Stopped if they cannot be written.

        The thread that sends them has them outlive a failure of power too: a disk may take its time for that.
        """
        lines = [json.dumps([metric.key, metric.value, metric.timestamp, metric.step]) for metric in metrics]
        before = self.path.stat().st_size if self.path.exists() else 0
        try:
            with open(self.path, "a", encoding="utf-8") as out:
                out.write(
                    "".join(f"{line}\n" for line in [*([] if before else [json.dumps({"server": _server()})]), *lines])
                )
        except OSError as error:
            with contextlib.suppress(OSError):  # an epoch is known by any of its figures: all of them, or none
                os.truncate(self.path, before)
            raise Stopped(f"cannot write {self.path} ({error.strerror}); make room there") from error
        self.waiting.extend(metrics)
        self.changed.set()

    def close(self, patience: float = 60.0) -> int:
        """Sends the rest, for so many seconds at most; returns how many metrics stay on disk."""
        self.closing.set()
        self.changed.set()
        self.thread.join(patience)
        self.given_up.set()  # what is left is for others to send
        left = len(self.waiting)
        if left:
            self.lock.release()
        else:
            self.path.unlink(missing_ok=True)
            self.lock.done()
        return left

    def _settle(self) -> None:
        with contextlib.suppress(OSError):  # where the disk is full, `put` says so
            descriptor = os.open(self.path, os.O_RDWR)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _send(self) -> None:
        while True:
            self.changed.wait()
            self._settle()
            if not self.closing.is_set():
                self.closing.wait(FLUSH_SECONDS)
            self.changed.clear()
            while self.waiting and not self.given_up.is_set():
                batch = self.waiting[:MOST]
                try:
                    send(self.client, self.run_id, batch, self.doubtful)
                except Exception:  # whatever the way to the server raises: its own errors, urllib3's, requests'
                    self.doubtful = True
                    self.closing.wait(AGAIN) if not self.closing.is_set() else time.sleep(AGAIN)
                    continue
                self.doubtful = False
                del self.waiting[: len(batch)]
            if self.closing.is_set():
                return


def send(client: MlflowClient, run_id: str, metrics: Sequence[Metric], doubtful: bool = True) -> int:
    """Sends metrics in order; `doubtful` ones only if the run does not have them. Returns how many were sent."""
    if doubtful:
        there = {(key, m.step) for key in {m.key for m in metrics} for m in client.get_metric_history(run_id, key)}
        metrics = [metric for metric in metrics if (metric.key, metric.step) not in there]
    for start in range(0, len(metrics), MOST):
        client.log_batch(run_id, metrics=metrics[start : start + MOST])
    return len(metrics)


def sync() -> tuple[int, int]:
    """Sends what earlier runs left on disk for this server; returns how many metrics were sent and how many runs wait
    for another server, are not known to this one, or are still being written.

    Raises Stopped if the server does not answer.
    """
    sent = left = 0
    for path in sorted(folder().glob("*.jsonl")):
        lock = Lock(path.with_suffix(".lock"))
        try:
            lock.take()
        except UserError:  # its run goes on
            left += 1
            continue
        with lock:
            count = _sent(path)
            if count is None:
                left += 1
                continue
            sent += count
            path.unlink(missing_ok=True)
            lock.done()
    return sent, left


def _sent(path: Path) -> int | None:
    """Sends the metrics in a file of which the lock is held; returns how many, None if they have to wait. Raises as
    `sync` does."""
    if not path.exists():  # another process was quicker
        return 0
    if _header(path) not in ("", _server()):
        return None
    client = MlflowClient()
    try:
        if client.get_run(path.stem).info.lifecycle_stage != "deleted":
            return send(client, path.stem, _read(path))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise Stopped(
                f"the tracking server does not answer ({str(error).splitlines()[0][:120]}); what it lacks stays in "
                f"{folder()}, for `python -m unetlab sync`"
            ) from error
        if time.time() - path.stat().st_mtime < KEPT:
            return None
    return 0


def _server() -> str:
    """This tracking server, without saying its address, which may hold a password."""
    return hashlib.sha256(store.named().encode()).hexdigest()[:16]


def _lines(path: Path) -> list[object]:
    found: list[object] = []
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:  # torn by a kill or a failure of power
                continue
    return found


def _end_line(path: Path) -> None:
    """Has what is appended begin on a line of its own where the last one was torn."""
    with contextlib.suppress(OSError):  # none yet; where the disk is full, `put` says so
        if path.read_bytes()[-1:] not in (b"", b"\n"):  # an empty file gets its first line by `put`
            with open(path, "a", encoding="utf-8") as out:
                out.write("\n")


def _header(path: Path) -> str:
    return next((str(line.get("server", "")) for line in _lines(path) if isinstance(line, dict)), "")


def _read(path: Path) -> list[Metric]:
    return [Metric(*line) for line in _lines(path) if isinstance(line, list)]
