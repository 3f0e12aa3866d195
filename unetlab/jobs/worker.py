"""A search's trials in a process of their own: whatever becomes of it, the search goes on.

One process trains one trial after another. It is started with the search and replaced when it dies or hangs, so that
the seconds which TensorFlow takes to start are paid once a search and once a death. UNETLAB_ONE_PROCESS=1 trains in the
process of the search instead: for debuggers, and for tests that are about something else.
"""

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unetlab.errors import Stopped, redacted

if TYPE_CHECKING:
    from unetlab.jobs.trial import Bench, Outcome
    from unetlab.setup import Recipe

PROCESSES: list[Any] = []
"""Those that train now, so that an interrupted command ends them too."""


class TrialLost(RuntimeError):
    """The process of a trial died or hung; the message says how."""


class Workers:
    """Trains trials, in a process that begins with the first and ends with the `with` block.

    Args:
        stall: minutes without a step of training after which a trial is given up; 0 for never.
    """

    def __init__(self, stall: float) -> None:
        self.stall = 60 * stall
        self.process: Any = None
        self.pipe: Connection | None = None
        self.apart = os.environ.get("UNETLAB_ONE_PROCESS", "") in ("", "0")

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def train(
        self, bench: "Bench", recipe: "Recipe", name: str, role: str, tags: Mapping[str, str] | None = None
    ) -> "Outcome":
        """`trial.train`, in the other process.

        Raises TrialLost if that dies or hangs, with the trial's run FAILED for that reason; RuntimeError with the
        reason if the trial fails; Stopped as `trial.train` does.
        """
        from unetlab.jobs import trial

        work = self._packed(bench, recipe, name, role, tags) if self.apart else None
        if work is None:
            return trial.train(bench, recipe, name, role, tags)
        self._begin()
        assert self.pipe is not None
        began = time.time()
        try:
            self.pipe.send_bytes(work)
            return self._watch(bench)
        except (EOFError, OSError):
            self.process.join(5)
            reason = _how_it_ended(self.process.exitcode)
        except TrialLost as hung:
            reason = str(hung)
        self._end()
        self._mark_failed(bench, name, reason, began)
        raise TrialLost(reason)

    def _packed(self, bench: "Bench", *rest: Any) -> bytes | None:
        """The work as bytes; None if the setup holds something that only this process has, such as a lambda."""
        import mlflow

        where = {"tracking": mlflow.get_tracking_uri(), "registry": mlflow.get_registry_uri()}
        try:
            return pickle.dumps((where, replace(bench, progress=None), *rest))  # type: ignore[arg-type]
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            bench.progress.console.print(
                f"the setup cannot go to a process of its own ({error}): its trials are trained in this one",
                highlight=False,
            )
            self.apart = False
            return None

    def _begin(self) -> None:
        if self.process is None or not self.process.is_alive():
            self._end()
            context = multiprocessing.get_context("spawn")
            self.pipe, theirs = context.Pipe()
            self.process = context.Process(target=_serve, args=(theirs,), name="unetlab-trials", daemon=True)
            self.process.start()
            theirs.close()
            PROCESSES.append(self.process)

    def _end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.join()
            PROCESSES.remove(self.process)
            self.process = None
        if self.pipe is not None:
            self.pipe.close()
            self.pipe = None

    def _watch(self, bench: "Bench") -> "Outcome":
        """Reads what the process says until it is done: an outcome, or an error that is raised."""
        assert self.pipe is not None
        stepping, bar = False, None
        while True:
            patience = self.stall if stepping and self.stall else None
            if not self.pipe.poll(patience):
                raise TrialLost(f"it hung: no step of training for {self.stall / 60:g} minutes")
            kind, *said = self.pipe.recv()
            if kind == "start":
                bar, stepping = bench.progress.start(*said), True
            elif kind == "epoch" and bar is not None:
                bar.on_epoch_end(*said)
            elif kind in ("step", "over"):
                stepping = kind == "step"
            elif kind == "done":
                bench.progress.done(*said)
            elif kind == "print":
                bench.progress.console.print(*said, highlight=False)
            elif kind == "outcome":
                return said[0]  # type: ignore[no-any-return]
            elif kind == "stopped":
                raise Stopped(*said)
            elif kind == "failed":
                raise RuntimeError(*said)

    def _mark_failed(self, bench: "Bench", name: str, reason: str, began: float) -> None:
        """Ends the run that the lost process left, with the reason."""
        import mlflow
        from mlflow.tracking import MlflowClient

        from unetlab.jobs import resume

        client = MlflowClient()
        experiment = mlflow.get_run(bench.kept.parent).info.experiment_id
        where = f"tags.`mlflow.parentRunId` = '{bench.kept.parent}' and attributes.status = 'RUNNING'"
        for run in resume.runs_where(experiment, where):
            if run.info.run_name == name:
                client.set_tag(run.info.run_id, "failed", reason)
                client.log_text(run.info.run_id, f"{reason}\n", "traceback.txt")
                client.set_terminated(run.info.run_id, "FAILED")
        bench.progress.done(f"{name}: failed after {time.time() - began:.0f} s: {reason}")


def _how_it_ended(status: int | None) -> str:
    if status is not None and status < 0:
        name = signal.Signals(-status).name
        why = ", as the system does where memory runs out" if -status == signal.SIGKILL else ""
        return f"its process was killed by {name}{why}"
    return f"its process ended with status {status}"


class _Told:
    """Stands for the console and the bars in the process of a trial: what they are told goes through the pipe."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe
        self.console = self

    def print(self, text: str, **_: Any) -> None:
        self.pipe.send(("print", str(text)))

    def done(self, line: str) -> None:
        self.pipe.send(("done", line))

    def start(self, name: str, epochs: int) -> Any:
        import keras

        self.pipe.send(("start", name, epochs))
        pipe = self.pipe

        class Steps(keras.callbacks.Callback):
            said = 0.0

            def step(self, *_: Any, **__: Any) -> None:
                if time.monotonic() - self.said > 1:
                    pipe.send(("step",))
                    self.said = time.monotonic()

            on_train_begin = on_train_batch_end = on_test_batch_end = step

            def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
                pipe.send(("epoch", epoch, dict(logs or {})))

            def on_train_end(self, logs: Any = None) -> None:
                pipe.send(("over",))

        return Steps()


def _serve(pipe: Connection) -> None:
    """The life of the other process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the search decides
    threading.Thread(target=_die_with_the_search, daemon=True).start()
    with contextlib.suppress(OSError):  # where memory runs out, the system shall take this process, not the search
        Path("/proc/self/oom_score_adj").write_text("500")
    import_tensorflow()
    import mlflow

    from unetlab.jobs import trial

    while True:
        try:
            where, bench, *work = pickle.loads(pipe.recv_bytes())
        except EOFError:
            return
        mlflow.set_tracking_uri(where["tracking"])
        mlflow.set_registry_uri(where["registry"])
        mlflow.set_experiment(experiment_id=mlflow.get_run(bench.kept.parent).info.experiment_id)
        try:
            outcome = trial.train(replace(bench, progress=_Told(pipe)), *work)
            pipe.send(("outcome", outcome))
        except Stopped as error:
            pipe.send(("stopped", str(error)))
        except Exception as error:
            pipe.send(("failed", redacted(f"{type(error).__name__}: {error}")))


def _die_with_the_search() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def import_tensorflow() -> None:
    """Imports TensorFlow without what its C++ half writes to standard error before it reads its log level."""
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        import tensorflow  # noqa: F401
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)
