"""Work on several processes or machines, by Dask: a search's trials, and shards of images.

Each worker of Dask has a process with TensorFlow beside it (`jobs/worker.py`), so that a trial that dies or hangs takes
no worker with it, and a worker that dies is told apart from its trial: Dask gives what it did to another, which goes on
with the run and, if they share a cache folder, from the last saved epoch. KerasTuner proposes where the command runs;
its own chief is not used, since it waits for ever for a worker that died.
"""

import contextlib
import logging
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
from rich.console import Console

from unetlab.data import cache
from unetlab.errors import Stopped, UserError
from unetlab.jobs import worker
from unetlab.jobs.worker import Child, NotWanted, Outdated, TrialLost, Workers
from unetlab.options import DEPENDENT, Options
from unetlab.service.shards import Spread, in_turn

if TYPE_CHECKING:
    from unetlab.jobs.bench import Bench
    from unetlab.jobs.judge import Judged
    from unetlab.search.rung import Rung
    from unetlab.setup import Recipe

TRIES = 4
"""Workers to which a data set cannot be sent before that is no longer the workers' fault."""

PIECE = 2**24
"""Bytes of a data set that are sent to a worker at a time."""

STORED = ("images.bin", "labels.bin", "index.json")
"""What a data set's folder holds; all else there is made from it. The last one says that it is whole."""

IDLE: list[Child] = []
"""In a worker of Dask: the processes beside it that wait for work."""


def is_wanted(options: Options) -> bool:
    """Whether more than one process of this machine is to train."""
    return options.workers > 1 or bool(options.scheduler)


def workers(options: Options, console: Console) -> "Workers | Cluster":
    """What trains the trials of a search: a process beside this one, several, or a cluster.

    Raises UserError for a cluster that cannot train them, before it is asked.
    """
    if not is_wanted(options):
        return Workers(options.stall)
    return Cluster(options.workers, options.scheduler, options.stall, console)


@contextlib.contextmanager
def spreading(workers: int, scheduler: str) -> Iterator[Spread]:
    """Who does the shards of a command that answers images: this process, several, or a cluster. Raises UserError as
    `refuse_unreachable` does."""
    refuse_unreachable(Options(workers=workers, scheduler=scheduler))
    if workers <= 1 and not scheduler:
        yield in_turn
        return
    with Cluster(workers, scheduler, 0.0, Console(stderr=True)) as cluster:
        yield cluster.spread


class Cluster:
    """Workers of Dask, from the beginning to the end of a `with` block.

    Args:
        workers: pieces of work under way at once; of this machine as many processes. 0: as many as the scheduler has.
        scheduler: address of a cluster that is there; "" for processes on this machine.
        stall: minutes without a step of training after which a trial is given up; 0 for never.
        console: where it is told what is waited for.
    """

    def __init__(self, workers: int, scheduler: str, stall: float, console: Console) -> None:
        self.workers, self.scheduler, self.stall, self.console = workers, scheduler, 60 * stall, console
        self.at_once = workers
        self.devices: tuple[str, ...] = ()
        self.resources: dict[str, float] | None = None
        self.local: Any = None

    def __enter__(self) -> "Cluster":
        distributed = _distributed()
        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # a worker that is lost is told in our words
        if self.scheduler:
            self.client = self._found(distributed)
        else:
            self.local = self._begun(distributed)
            self.client = distributed.Client(self.local, set_as_default=False)
        worker.PROCESSES.append(self)
        there = list(self.client.scheduler_info(n_workers=-1)["workers"].values())
        gpus = sum(each["resources"].get("GPU", 0) for each in there)
        if gpus:
            self.resources = {"GPU": 1}
        asked = self.workers if self.scheduler else min(self.workers, len(there))
        self.at_once = asked or int(gpus or sum(each["nthreads"] for each in there))
        return self

    def __exit__(self, *_: object) -> None:
        worker.PROCESSES.remove(self)
        with contextlib.suppress(Exception):  # whatever became of the cluster
            self.client.close()
        if self.local is not None:
            self.kill()
            with contextlib.suppress(Exception):
                self.local.close(timeout=5)

    def kill(self) -> None:
        """Ends what the workers do for this command, within two seconds; those of this machine end too."""
        if self.local is None:
            closing = threading.Thread(target=self.client.close, daemon=True)
            closing.start()
            closing.join(1)
            time.sleep(worker.GLANCE)  # until they have seen that nobody waits for it
            return
        for nanny in list(self.local.workers.values()):
            with contextlib.suppress(OSError, TypeError):  # it is gone
                os.kill(nanny.pid, signal.SIGKILL)

    def judge(self, bench: "Bench", recipe: "Recipe", name: str, number: int, rung: "Rung | None" = None) -> "Judged":
        """`judge.judge` by one of the workers, by another if that one is lost.

        Raises TrialLost if the trial's own process dies or hangs, or several workers died of it, with its run FAILED
        for that reason; RuntimeError with the reason if the trial fails; Stopped as `judge.judge` does, and if the
        cluster is lost.
        """
        import cloudpickle

        from unetlab.jobs import trial

        began = time.time()
        folders = {bench.dataset.folder, bench.truth.folder}
        work = worker.packed_trial(cloudpickle.dumps, bench, recipe, name, number, rung)
        try:
            judged: Judged = cloudpickle.loads(self.do(work, bench.progress, sorted(folders)))
        except TrialLost as lost:
            worker.mark_failed(bench, name, str(lost), began)
            raise
        if judged.outcome is not None and bench.kept.folder is not None:  # which a worker may have on its own disk only
            trial.keep(bench, f"trial {number}", judged.outcome)
        return judged

    def spread(self, function: Callable[[Any], Any], shards: Sequence[Any]) -> Iterator[tuple[Any, Any, str]]:
        """`service.shards.Spread` by the workers. Raises as `function` does, as far as it is a UserError."""
        pool = ThreadPoolExecutor(2 * self.at_once, thread_name_prefix="shard")  # so that no worker waits for its next
        try:
            waiting = {pool.submit(self._one, function, shard): shard for shard in shards}
            for done in as_completed(waiting):
                try:
                    yield waiting[done], done.result(), ""
                except TrialLost as lost:
                    yield waiting[done], None, str(lost)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _one(self, function: Callable[[Any], Any], shard: Any) -> Any:
        import cloudpickle

        folder = getattr(shard, "folder", None)
        work = worker.packed(cloudpickle.dumps, "", _shard_elsewhere, function, shard)
        return cloudpickle.loads(self.do(work, needs=[] if folder is None else [folder]))

    def do(self, work: bytes, progress: Any = None, needs: Sequence[Path] = ()) -> bytes:
        """Has a worker do a piece of work, as `Child.do`; waits for it.

        Args:
            work: as `worker.packed` makes it.
            progress: that is told what the work said, when it is done.
            needs: folders of data sets below the cache; a worker that lacks them is sent them.
        """
        from distributed import KilledWorker

        names, lost = [str(folder.relative_to(cache.root())) for folder in needs], 0
        while True:
            future = self.client.submit(
                _do, work, names, self.stall, self.devices, pure=False, resources=self.resources, retries=0
            )
            try:
                kind, answer, said = future.result()
            except KilledWorker as error:
                raise TrialLost(f"{error.allowed_failures + 1} workers died of it") from error
            except (CancelledError, OSError, TimeoutError) as error:
                raise Stopped(f"the cluster {self.scheduler or 'on this machine'} is gone ({error})") from error
            for how, words in said if progress is not None else ():
                progress.done(*words) if how == "done" else progress.console.print(*words, highlight=False)
            if kind != "missing":
                return _raised(kind, answer)
            address, missing = answer
            try:
                for name in missing:
                    self._send(address, name)
            except (OSError, TimeoutError) as error:  # that worker is gone; another one may have it, or be sent it
                lost += 1
                if lost == TRIES:
                    raise Stopped(f"{missing[0]} cannot be sent to the workers ({error})") from error

    def _send(self, address: str, name: str) -> None:
        """Sends a data set to a worker's cache, piece by piece."""
        token = uuid.uuid4().hex
        for part in STORED:
            size = (cache.root() / name / part).stat().st_size
            with open(cache.root() / name / part, "rb") as file:
                for place in range(0, size, PIECE):
                    piece, last = file.read(PIECE), place + PIECE >= size
                    self.client.run(_write, name, part, token, place, piece, last, workers=[address])

    def _found(self, distributed: Any) -> Any:
        try:
            client = distributed.Client(self.scheduler, timeout=20, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise UserError(
                f"scheduler={self.scheduler}: no Dask scheduler answers there ({str(error).splitlines()[0][:120]}); "
                "`dask scheduler` starts one, on port 8786"
            ) from error
        if not client.scheduler_info()["workers"]:
            self.console.print(f"waiting for a worker to join {self.scheduler}", highlight=False)
        client.wait_for_workers(1)
        return client

    def _begun(self, distributed: Any) -> Any:
        self.devices = gpus()
        processes = min(self.workers, len(self.devices) or self.workers)
        if processes < self.workers:
            self.console.print(f"{processes} GPUs, so {processes} trials are trained at once", highlight=False)
        return distributed.LocalCluster(
            n_workers=processes,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
            memory_limit=0,  # the trial's own process has the memory, and the system ends that one first
            silence_logs=logging.CRITICAL,
            resources={"GPU": 1} if self.devices else None,
        )


def gpus() -> tuple[str, ...]:
    """What CUDA_VISIBLE_DEVICES calls each GPU that TensorFlow sees here."""
    import tensorflow as tf

    seen = len(tf.config.list_physical_devices("GPU"))
    named = [each for each in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if each]
    return tuple(named[:seen] if named else map(str, range(seen)))


def at_once(options: Options) -> int:
    """Trainings that run at once, as far as that is known before they begin: one a worker, on this machine no more than
    it has GPUs, if it has any. A cluster is taken at its word."""
    workers = max(1, options.workers)
    return workers if options.scheduler else min(workers, len(gpus()) or workers)


def refuse_unreachable(options: Options) -> None:
    """Raises UserError for a cluster whose workers could not write to the store, or if it is open what is proposed."""
    if options.workers > 1 or options.scheduler:
        _distributed()
    if options.scheduler and not mlflow.get_tracking_uri().startswith(("http://", "https://")):
        raise UserError(
            f"scheduler={options.scheduler}: its workers cannot write to the tracking store of this machine; "
            "`make server` starts a server, and MLFLOW_TRACKING_URI=http://host:5000 names it"
        )
    if options.scheduler and not options.workers and options.tuner in DEPENDENT:
        raise UserError(
            f"tuner={options.tuner} proposes other trials where others are under way at once; say how many by "
            "workers=N beside scheduler"
        )


def _distributed() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise UserError(
            "workers and scheduler want Dask, which is not installed; .venv/bin/pip install -e '.[cluster]'"
        ) from error
    return distributed


def _raised(kind: str, answer: Any) -> bytes:
    if kind == "answer":
        return answer  # type: ignore[no-any-return]
    errors: dict[str, type[Exception]] = {"lost": TrialLost, "stopped": Stopped, "unwanted": Stopped}
    raise {**errors, "refused": UserError}.get(kind, RuntimeError)(answer)


def _do(work: bytes, needs: Sequence[str], stall: float, devices: Sequence[str]) -> tuple[str, Any, list[Any]]:
    """In a worker of Dask: has the process beside it do a piece of work; returns how it ended and what it said."""
    from distributed import get_worker

    own = get_worker()
    missing = [name for name in needs if not (cache.root() / name / STORED[-1]).exists()]
    if missing:
        return "missing", (own.address, missing), []
    said: list[Any] = []

    def tell(kind: str, *words: Any) -> None:
        if kind in ("done", "print"):
            said.append((kind, words))

    child = IDLE.pop() if IDLE else Child(_environment(own.name, devices))
    try:
        try:
            return "answer", child.do(work, tell, stall, _wanted(own)), said
        except Outdated:  # a worker outlasts changes of the code, which a new process imports
            return "answer", child.do(work, tell, stall, _wanted(own)), said
    except Outdated:
        return "stopped", f"{own.address} has another unetlab than this command; give both the same", said
    except TrialLost as lost:
        return "lost", str(lost), said
    except NotWanted as unwanted:
        return "unwanted", str(unwanted), said
    except Stopped as stopped:
        return "stopped", str(stopped), said
    except UserError as refused:
        return "refused", str(refused), said
    except RuntimeError as failed:
        return "failed", str(failed), said
    finally:
        IDLE.append(child)


def _shard_elsewhere(told: Any, root: Path, function: Callable[[Any], Any], shard: Any) -> Any:
    """Does a shard in the process beside a worker; `folder` of a shard, if it has one, is a data set in the cache.

    Raises as `function` does, and Stopped as `resume.stoppable`.
    """
    from unetlab.jobs.resume import stoppable

    if hasattr(shard, "folder"):
        shard = replace(shard, folder=cache.root() / shard.folder.relative_to(root))
    with stoppable():
        return function(shard)


def _environment(name: object, devices: Sequence[str]) -> dict[str, str]:
    """What the process beside a worker of this machine sees: the GPU of its number, if there are any."""
    return {"CUDA_VISIBLE_DEVICES": devices[int(str(name)) % len(devices)]} if devices else {}


def _wanted(own: Any) -> Callable[[], bool]:
    """Whether the task of this thread is still waited for: Dask cannot end a thread, so this one looks itself."""
    key = own.get_current_task()

    def wanted() -> bool:
        task = own.state.tasks.get(key)
        return task is not None and task.state != "cancelled"

    return wanted


def _write(name: str, part: str, token: str, place: int, piece: bytes, last: bool) -> None:
    """In a worker of Dask: writes a piece of a data set that is sent; the file appears with its last piece."""
    folder = cache.root() / name
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f".building-{token}-{part}"
    with open(os.open(beside, os.O_RDWR | os.O_CREAT, 0o644), "r+b") as file:
        file.seek(place)
        file.write(piece)
    if last:
        os.replace(beside, folder / part)
