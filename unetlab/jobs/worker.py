"""A search's trials in a process of their own: whatever becomes of it, the search goes on.

One process trains one trial after another. It is started with the search and replaced when it dies or hangs, so that
the seconds which TensorFlow takes to start are paid once a search and once a death. UNETLAB_ONE_PROCESS=1 trains in the
process of the search instead: for debuggers, and for tests that are about something else.

`jobs/cluster.py` has the same process beside each worker of Dask, which so needs no TensorFlow itself.
"""

import contextlib
import functools
import hashlib
import importlib
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

import unetlab
from unetlab.errors import Stopped, UserError, redacted

if TYPE_CHECKING:
    from unetlab.jobs.bench import Bench
    from unetlab.jobs.judge import Judged
    from unetlab.search.rung import Rung
    from unetlab.setup import Recipe

ENDING = threading.Event()
"""Set where the command is interrupted: what is lost then has not failed."""

PROCESSES: list[Any] = []
"""Those that train now, so that an interrupted command ends them too."""

EARLY: list["Child"] = []
"""One that was begun before there was work for it."""

GLANCE = 0.5
"""Seconds between two looks at whether a piece of work is still wanted."""


class TrialLost(RuntimeError):
    """The process of a trial died or hung; the message says how."""


class Outdated(Stopped):
    """A process has other code than the command whose work it was given."""


class NotWanted(RuntimeError):
    """Nobody waits any more for what a process was doing."""


class Child:
    """A process with TensorFlow that does one piece of work after another; it begins with the first.

    Args:
        environment: variables that it has besides this process's.
        module: that its work will want, imported at once.
    """

    def __init__(self, environment: dict[str, str] | None = None, module: str = "") -> None:
        self.environment, self.module = environment or {}, module
        self.process: Any = None
        self.pipe: Connection | None = None

    def do(
        self, work: bytes, tell: Callable[..., None], stall: float, wanted: Callable[[], bool] = lambda: True
    ) -> bytes:
        """Does a piece of work, (where, function, arguments) pickled, and returns the pickled answer.

        Args:
            work: as `packed` makes it; the function is given a `_Told` besides.
            tell: is called with what the process says meanwhile, as `_Told` has it.
            stall: seconds without a step of training after which it counts as hung; 0 for never.
            wanted: asked while nothing is said.

        Raises TrialLost if the process dies or hangs, NotWanted, Outdated, RuntimeError with the reason if the work
        fails, and Stopped and UserError as the work does. A process that was lost, is outdated or is not wanted any
        more has ended.
        """
        self.begin()
        assert self.pipe is not None
        try:
            self.pipe.send_bytes(work)
            return self._watch(tell, stall, wanted)
        except (EOFError, OSError) as error:
            if ENDING.is_set():
                threading.Event().wait()  # until the interruption ends this process
            self.process.join(5)
            reason = _how_it_ended(self.process.exitcode)
            self.end()
            raise TrialLost(reason) from error
        except (TrialLost, NotWanted, Outdated):
            self.end()
            raise

    def end(self) -> None:
        """Ends the process, whatever it does."""
        if self.process is not None:
            self.process.kill()
            self.process.join()
            PROCESSES.remove(self.process)
            self.process = None
        if self.pipe is not None:
            self.pipe.close()
            self.pipe = None

    def begin(self) -> None:
        """Starts the process, unless it is alive."""
        if self.process is None or not self.process.is_alive():
            self.end()
            multiprocessing.current_process().daemon = False  # workers of Dask are daemons, which may have no children
            context = multiprocessing.get_context("spawn")
            self.pipe, theirs = context.Pipe()
            told = (theirs, self.environment, self.module)
            self.process = context.Process(target=_serve, args=told, name="unetlab-trials", daemon=True)
            self.process.start()
            theirs.close()
            PROCESSES.append(self.process)

    def _watch(self, tell: Callable[..., None], stall: float, wanted: Callable[[], bool]) -> bytes:
        """Reads what the process says until it is done: an answer, or an error that is raised."""
        assert self.pipe is not None
        stepping, heard = False, time.monotonic()
        while True:
            if not self.pipe.poll(GLANCE):
                if not wanted():
                    raise NotWanted("nobody waits for it")
                if stepping and stall and time.monotonic() - heard > stall:
                    raise TrialLost(f"it hung: no step of training for {stall / 60:g} minutes")
                continue
            kind, *said = self.pipe.recv()
            heard = time.monotonic()
            if kind == "answer":
                return said[0]  # type: ignore[no-any-return]
            if kind == "outdated":
                raise Outdated("unetlab's code has changed since this command began; give the same command again")
            if kind in ("stopped", "refused"):
                raise (Stopped if kind == "stopped" else UserError)(*said)
            if kind == "failed":
                raise RuntimeError(*said)
            stepping = kind in ("start", "step") or stepping and kind != "over"
            tell(kind, *said)


TRIALS = "unetlab.jobs.trial"


def trains_apart() -> bool:
    """Whether trials have a process of their own."""
    return os.environ.get("UNETLAB_ONE_PROCESS", "") in ("", "0")


def begin_early() -> None:
    """Starts the process of a search's trials before its images are looked at: TensorFlow takes seconds to import."""
    if trains_apart() and not EARLY:
        EARLY.append(Child(module=TRIALS))
        EARLY[0].begin()


class Workers:
    """Judges trials, in a process that begins with the first and ends with the `with` block.

    Args:
        stall: minutes without a step of training after which a trial is given up; 0 for never.
    """

    at_once = 1

    def __init__(self, stall: float) -> None:
        self.stall = 60 * stall
        self.child = EARLY.pop() if EARLY else Child(module=TRIALS)
        self.apart = trains_apart()

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        self.child.end()

    def judge(self, bench: "Bench", recipe: "Recipe", name: str, number: int, rung: "Rung | None" = None) -> "Judged":
        """`judge.judge`, in the other process.

        Raises TrialLost if that dies or hangs, with the trial's run FAILED for that reason; RuntimeError with the
        reason if the trial fails; Stopped as `judge.judge` does.
        """
        from unetlab.jobs import judge

        work = self._packed(bench, recipe, name, number, rung) if self.apart else None
        if work is None:
            return judge.judge(bench, recipe, name, number, rung)
        began = time.time()
        try:
            return pickle.loads(self.child.do(work, _Shown(bench), self.stall))  # type: ignore[no-any-return]
        except TrialLost as lost:
            mark_failed(bench, name, str(lost), began)
            raise

    def _packed(self, bench: "Bench", *rest: Any) -> bytes | None:
        """The work as bytes; None if the setup holds something that only this process has, such as a lambda."""
        try:
            return packed_trial(pickle.dumps, bench, *rest)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            bench.progress.console.print(
                f"the setup cannot go to a process of its own ({error}): its trials are trained in this one",
                highlight=False,
            )
            self.apart = False
            return None


class _Shown:
    """Shows on this terminal what the process of a trial says."""

    def __init__(self, bench: "Bench") -> None:
        self.progress = bench.progress
        self.bar: Any = None

    def __call__(self, kind: str, *said: Any) -> None:
        if kind == "start":
            self.bar = self.progress.start(*said)
        elif kind == "epoch" and self.bar is not None:
            self.bar.on_epoch_end(*said)
        elif kind == "done":
            self.progress.done(*said)
        elif kind == "print":
            self.progress.console.print(*said, highlight=False)


@functools.lru_cache(maxsize=1)
def code() -> str:
    """What tells this unetlab from any other, by the content of its files: those that this process has imported, if it
    asks as it begins."""
    found = hashlib.sha256()
    for path in sorted(Path(unetlab.__file__).parent.rglob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()[:16]


def packed(dumps: Callable[[Any], bytes], experiment: str, function: Callable[..., Any], *arguments: Any) -> bytes:
    """A piece of work for a Child as bytes: the store and the experiment that are set here hold for it there too."""
    import mlflow

    from unetlab.data import cache

    where = {"tracking": mlflow.get_tracking_uri(), "registry": mlflow.get_registry_uri()}
    where |= {"experiment": experiment, "cache": str(cache.root()), "code": code()}
    return dumps((where, dumps((function, arguments))))  # what another unetlab may not have stays closed there


def packed_trial(dumps: Callable[[Any], bytes], bench: "Bench", *rest: Any) -> bytes:
    """A trial as a piece of work; `rest` as `judge.judge` takes it."""
    import mlflow

    from unetlab.jobs import judge

    experiment = mlflow.get_run(bench.kept.parent).info.experiment_id
    return packed(dumps, experiment, judge.judge_elsewhere, replace(bench, progress=None), *rest)  # type: ignore[arg-type]


def mark_failed(bench: "Bench", name: str, reason: str, began: float) -> None:
    """Ends the run that a lost process left, with the reason."""
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


def _serve(pipe: Connection, environment: dict[str, str], module: str) -> None:
    """The life of the other process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the search decides
    threading.Thread(target=_die_with_the_search, daemon=True).start()
    with contextlib.suppress(OSError):  # where memory runs out, the system shall take this process, not the search
        Path("/proc/self/oom_score_adj").write_text("500")
    os.environ.update(environment)
    # of `mlflow run`; begun before the search took it up, this process would log its first trial into the search's run
    os.environ.pop("MLFLOW_RUN_ID", None)
    import_tensorflow()
    import mlflow

    if module:
        importlib.import_module(module)
    own = code()
    while True:
        try:
            work = pipe.recv_bytes()
        except EOFError:
            return
        try:
            where, task = pickle.loads(work)
            if where["code"] != own:
                pipe.send(("outdated",))
                continue
            function, arguments = pickle.loads(task)
            mlflow.set_tracking_uri(where["tracking"])
            mlflow.set_registry_uri(where["registry"])
            if where["experiment"]:
                mlflow.set_experiment(experiment_id=where["experiment"])
            pipe.send(("answer", pickle.dumps(function(_Told(pipe), Path(where["cache"]), *arguments))))
        except Stopped as error:
            pipe.send(("stopped", str(error)))
        except UserError as error:
            pipe.send(("refused", str(error)))
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
