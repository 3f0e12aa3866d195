"""A trial as a search asks for it, here or in another process: where search and training meet."""

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import mlflow

from unetlab.data import Dataset, cache
from unetlab.errors import UserError
from unetlab.jobs import trial
from unetlab.jobs.bench import Bench
from unetlab.jobs.resume import params_of, trainings
from unetlab.search.rung import Rung
from unetlab.setup import Recipe
from unetlab.tracking import outbox


class Judged(NamedTuple):
    """What a search learns of a trial: its objective and its outcome, None where its weights are not kept."""

    objective: float
    outcome: trial.Outcome | None


def judge(bench: Bench, recipe: Recipe, name: str, number: int, rung: Rung | None = None) -> Judged:
    """Trains a trial of a search, unless it finished before. Raises as `trial.train` and `known` do."""
    if (before := known(bench, recipe, name, number)) is not None:
        return before
    outcome = trial.train(bench, recipe, name, "trial", {"trial": str(number)}, rung=rung)
    return Judged(float(outcome.val[bench.objective]), outcome)


def known(bench: Bench, recipe: Recipe, name: str, number: int) -> Judged | None:
    """A trial that finished in an earlier attempt; None for the reference trial without its weights, which are wanted
    too.

    Raises FailedBefore and Stopped as `Kept.objective` does.
    """
    params = params_of(recipe, bench.seed, bench.precision, bench.weights)
    if (done := bench.kept.finished(f"trial {number}", params)) is not None:
        outcome = trial.outcome_again(recipe, *done)
        judged = Judged(float(outcome.val[bench.objective]), outcome)
    else:
        before = bench.kept.objective(f"trial {number}", params, f"val/{bench.objective}")
        if not number or before is None:
            return None
        judged = Judged(before, None)
    bench.progress.done(f"{name}: done before, {judged.objective:.4f}")
    return judged


def judge_elsewhere(
    told: Any, root: Path, bench: Bench, recipe: Recipe, name: str, number: int, rung: Rung | None = None
) -> Judged:
    """`judge` in another process, maybe on another machine and maybe after another worker that was lost.

    Args:
        told: in place of the bench's progress.
        root: the cache folder that the bench's own folders lie below; here they are below this machine's.
    """
    _send_unsent()
    experiment = mlflow.get_run(bench.kept.parent).info.experiment_id
    dataset = _here(bench.dataset, root)
    truth = dataset if bench.truth is bench.dataset else _here(bench.truth, root)
    folder = None if bench.kept.folder is None else cache.root() / bench.kept.folder.relative_to(root)
    left = trainings(experiment, bench.kept.parent, f"trial {number}")
    kept = replace(bench.kept, folder=folder, left=left)
    here = replace(bench, dataset=dataset, truth=truth, kept=kept, progress=told)
    judged = judge(here, recipe, name, number, rung)
    if folder is not None and not folder.with_suffix(".lock").exists():  # this disk is not the one who asks has
        kept.forget(f"trial {number}")
    _send_unsent()
    return judged


def _send_unsent() -> None:
    """Sends what trials left on this machine's disk, which the command may not see. A server that is away is no reason
    to stop: the next trial sends it."""
    with contextlib.suppress(UserError):
        outbox.sync()


def _here(dataset: Dataset, root: Path) -> Dataset:
    return replace(dataset, folder=cache.root() / dataset.folder.relative_to(root))
