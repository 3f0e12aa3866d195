"""What a killed command left, and how the same command goes on with it: its run, its trainings, their saved states."""

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import requests
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from rich.console import Console

from unetlab.data import cache
from unetlab.errors import Stopped, UserError
from unetlab.setup import Recipe
from unetlab.tracking import outbox, store, write
from unetlab.tracking.lock import Lock
from unetlab.training.checkpoint import Checkpoint, load_arrays, save_arrays

MEANING = 3
"""Counted up when what a recipe says comes to mean another network, other levels of grey or other objects: what an
older version left, or had done, is then not the same work."""

UNFINISHED = ("RUNNING", "KILLED", "FAILED")

NO_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG)
"""A full disk or quota, a read-only file system or folder, a limit on the size of files."""


class FailedBefore(UserError):
    """A training that failed in an earlier attempt; the message has its reason and the way out."""


@dataclass(frozen=True)
class Left:
    """A training of an earlier attempt, as its MLflow run has it."""

    run_id: str
    status: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Kept:
    """What is kept of a run for the case that it is killed.

    Args:
        parent: id of the run, "" for a training that belongs to none.
        folder: of the saved states; None where nothing is saved.
        left: trainings of earlier attempts by their names, such as "trial 3" and "final".
        again: whether an earlier attempt began the run.
    """

    parent: str = ""
    folder: Path | None = None
    left: Mapping[str, Left] = field(default_factory=dict)
    again: bool = False

    def objective(self, training: str, params: Mapping[str, Any], metric: str) -> float | None:
        """The score of a training that finished before, None if there is none.

        Raises FailedBefore with its reason if it failed, Stopped if it had other values than these.
        """
        left = self._same(training, params)
        if left is None:
            return None
        if left.status == "FAILED":
            raise _failed_before(training, left)
        return left.metrics.get(metric) if left.status == "FINISHED" else None

    def unfinished(self, training: str, params: Mapping[str, Any]) -> str | None:
        """The run of a training that was under way, to go on with. Raises as `objective` does."""
        left = self._same(training, params)
        if left is not None and left.status == "FAILED":
            raise _failed_before(training, left)
        if left is not None and left.status == "FINISHED":  # its weights are lost, with the folder they lay in
            MlflowClient().set_tag(left.run_id, "role", "replaced")
            return None
        return None if left is None else left.run_id

    def checkpoint(self, training: str, params: Mapping[str, Any]) -> Checkpoint:
        """Where the state of a training is saved, and what an earlier attempt saved."""
        if self.folder is None:
            return Checkpoint()
        said = {name: write.short(value) for name, value in params.items()}
        return Checkpoint(self._path(training, "state"), json.dumps(said, sort_keys=True))

    def hand_on(self, past: str, training: str) -> None:
        """Gives the saved state of a training to another, which goes on with it, unless that has one of its own."""
        if self.folder is not None and not self._path(training, "state").exists():
            with contextlib.suppress(FileNotFoundError):  # saved on another machine's disk: the other begins anew
                os.replace(self._path(past, "state"), self._path(training, "state"))

    def finish(
        self, training: str, about: Mapping[str, Any], history: pd.DataFrame, weights: Sequence[np.ndarray]
    ) -> None:
        """Saves what a finished training found."""
        if self.folder is not None:
            columns = {name: [float(value) for value in history[name]] for name in history}
            save_arrays(self._path(training, "done"), {**about, "history": columns}, weights)

    def forget(self, training: str) -> None:
        """Removes what `finish` saved of a training whose weights nobody asks for again."""
        if self.folder is not None:
            self._path(training, "done").unlink(missing_ok=True)

    def forget_state(self, training: str) -> None:
        """Removes the state of a training whose run has ended; until then a kill would want it."""
        if self.folder is not None:
            self._path(training, "state").unlink(missing_ok=True)

    def finished(
        self, training: str, params: Mapping[str, Any]
    ) -> tuple[dict[str, Any], pd.DataFrame, list[np.ndarray]] | None:
        """What `finish` saved, None if the training did not finish before. Raises Stopped as `objective` does.

        A run that was open again when the command was killed, since the final model is scored in it, is ended.
        """
        left = self._same(training, params)
        if left is None or left.status == "FAILED" or self.folder is None:
            return None
        found = load_arrays(self._path(training, "done"))
        if found is None or found[0].get("run_id") != left.run_id:
            return None
        about, weights = found
        if left.status != "FINISHED":
            MlflowClient().set_terminated(left.run_id, "FINISHED")
        return about, pd.DataFrame(about["history"]), weights

    def _same(self, training: str, params: Mapping[str, Any]) -> Left | None:
        left = self.left.get(training)
        for name, value in params.items():
            if left is not None and left.params.get(name, write.short(value)) != write.short(value):
                raise Stopped(
                    f"{training} of run {self.parent} had {name}={left.params[name]}, and now would have "
                    f"{name}={write.short(value)}: the code or the search space changed in between; fresh=true begins "
                    "a run of its own"
                )
        return left

    def _path(self, training: str, kind: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{training.replace(' ', '-')}.{kind}.npz"


def _failed_before(training: str, left: Left) -> FailedBefore:
    reason = left.tags.get("failed", "no reason is on record")
    return FailedBefore(f"{training} failed in an earlier attempt ({reason}); fresh=true tries again")


def training_name(role: str, tags: Mapping[str, str]) -> str:
    """What tells a training apart from the others of its run: "trial 3", "round 1" or "final"."""
    for kind in ("trial", "round"):
        if kind in tags:
            return f"{kind} {tags[kind]}"
    return role


def params_of(recipe: Recipe, seed: int, precision: str, weights: str | None) -> dict[str, Any]:
    """What a training is of, as its run's params say it."""
    return {**recipe.flat(), "seed": seed, "precision": precision, "encoder_weights": weights}


def interrupted_by(error: BaseException | None) -> Stopped | None:
    """What kept a training from going on that is not its fault, such as a full disk; None for everything else."""
    while error is not None:
        text = str(error)
        if isinstance(error, OSError) and error.errno in NO_WRITING:
            barred = error.errno in (errno.EROFS, errno.EACCES)
            way = "check its permissions" if barred else "make room"
            return Stopped(f"cannot write {error.filename or ''} ({error.strerror}); {way}, then the same command")
        if any(said in text for said in ("disk is full", "readonly database", "disk I/O error")):
            return Stopped(f"the tracking store cannot be written ({text.splitlines()[0][:120]}); make room there")
        if (refused := re.search(r"API request to .* failed with error code (401|403)\b", text)) is not None:
            return Stopped(
                f"the tracking server refuses ({refused[1]}): set MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD, on workers too"
            )
        if isinstance(error, requests.exceptions.ConnectionError) or "API request to" in text and "failed with" in text:
            return Stopped(f"the tracking server does not answer ({text.splitlines()[0][:120]}); nothing is lost")
        error = error.__cause__ or error.__context__
    return None


@contextmanager
def stoppable() -> Iterator[None]:
    """What keeps the work in it from going on, and is not its fault, is raised as Stopped; see `interrupted_by`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if (stopped := interrupted_by(error)) is not None:
            raise stopped from error
        raise


def tell_unsent(console: Console, metrics: int) -> None:
    """Says that metrics wait on disk, if any do."""
    if metrics:
        console.print(
            f"the tracking server does not answer: {metrics} metrics wait in {outbox.folder()}; they are sent "
            "when this command ends, by the next run, or by `python -m unetlab sync`",
            highlight=False,
        )


def plan_key(**plan: Any) -> str:
    """Tells plans apart, 16 hex digits: what is equal in all of these is one and the same work."""
    return hashlib.sha256(json.dumps([MEANING, plan], sort_keys=True, default=str).encode()).hexdigest()[:16]


@contextmanager
def going_on(
    experiment: str, key: str, name: str, tags: Mapping[str, str], params: Mapping[str, Any], fresh: bool = False
) -> Iterator[Kept]:
    """The run of a plan: the one an earlier attempt left unfinished, unless `fresh`, else a new one.

    What an earlier attempt left RUNNING is marked KILLED. Raises UserError if another process runs the same plan,
    Stopped if the disk is full or the tracking server away.
    """
    with alone(experiment, key, name) as folder, stoppable():
        earlier = unfinished_run(experiment, key)
        if earlier is not None:
            end(experiment, earlier)
        if earlier is None or fresh:
            shutil.rmtree(folder, ignore_errors=True)
            new = write.run(name, tags={**tags, "plan": key}, params=params)
            with new as active, _ended_below(experiment, active.info.run_id), stoppable():
                yield Kept(active.info.run_id, folder)
        else:
            run_id = earlier.info.run_id
            stand_aside(run_id)
            same = write.run(name, tags=tags, params=params, run_id=run_id)
            with same, _ended_below(experiment, run_id), stoppable():
                yield Kept(run_id, folder, trainings(experiment, run_id), again=True)
        shutil.rmtree(folder, ignore_errors=True)  # it finished


@contextmanager
def _ended_below(experiment: str, run_id: str) -> Iterator[None]:
    """Where one of several workers is stopped, the others end in the middle of their trials: none stays RUNNING."""
    try:
        yield
    except Stopped:
        with contextlib.suppress(Exception):  # what stopped the work may keep this from MLflow too
            end_below(experiment, run_id)
        raise


@contextmanager
def alone(experiment: str, key: str, name: str) -> Iterator[Path]:
    """Keeps other processes of this cache from the plan `key` meanwhile; gives the folder of its saved states.

    Raises UserError if another process runs the same plan, Stopped where there is no writing.
    """
    folder = cache.root() / "unfinished" / plan_key(store=store.named(), experiment=experiment, key=key)
    with Lock(folder.with_suffix(".lock"), f"{name!r}, the same command,").take() as held:
        yield folder
        held.done()


def unfinished_run(experiment: str, key: str) -> Run | None:
    """The newest run of a plan, if it did not finish."""
    found = runs_where(experiment, f"tags.plan = '{key}'")
    return found[0] if found and found[0].info.status in UNFINISHED else None


def finished_run(experiment: str, key: str) -> Run | None:
    """The newest run of a plan, if it finished."""
    found = runs_where(experiment, f"tags.plan = '{key}'")
    return found[0] if found and found[0].info.status == "FINISHED" else None


def trainings(experiment: str, parent: str, name: str = "") -> dict[str, Left]:
    """The trainings below a run by name, or the one of that name, the newest of each."""
    found = {}
    where = f"tags.`mlflow.parentRunId` = '{parent}'" + (f" and tags.training = '{name}'" if name else "")
    for run in reversed(runs_where(experiment, where)):
        if "training" in run.data.tags:
            data = run.data
            left = Left(run.info.run_id, run.info.status, data.params, data.metrics, data.tags)
            found[data.tags["training"]] = left if left.status != "RUNNING" else replace(left, status="KILLED")
    return found


def end(experiment: str, run: Run) -> None:
    """Marks a run and what is below it KILLED where it is RUNNING, so that the UI shows no work that nobody does."""
    end_below(experiment, run.info.run_id)
    if run.info.status == "RUNNING":
        MlflowClient().set_terminated(run.info.run_id, "KILLED")


def end_below(experiment: str, parent: str) -> None:
    """Marks what is RUNNING below a run KILLED."""
    for run in runs_where(experiment, f"tags.`mlflow.parentRunId` = '{parent}' and attributes.status = 'RUNNING'"):
        end(experiment, run)


def stand_aside(run_id: str) -> None:
    """Under `mlflow run` MLflow has made a run for this attempt too; it only says where the work goes on.

    Left in the environment, the next run to begin would be taken for it.
    """
    made = os.environ.pop("MLFLOW_RUN_ID", None)
    if made:
        client = MlflowClient()
        client.update_run(made, name="resumed")
        client.set_tag(made, "role", "resumed")
        client.set_tag(made, "mlflow.note.content", f"Went on with run {run_id}, which holds the report.")
        client.set_terminated(made, "FINISHED")


def runs_where(experiment: str, where: str) -> Sequence[Run]:
    """All runs of an experiment that MLflow's filter lets through, the newest first."""
    client, found, page = MlflowClient(), [], None
    while True:
        part = client.search_runs([experiment], where, max_results=1000, page_token=page)
        found += list(part)
        page = part.token
        if not page:
            return found
