"""Several setups on one data set with the same splits and the same budget, then their comparison."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import mlflow
from mlflow.tracking import MlflowClient
from rich.console import Console

from experiments import load_setup
from unetlab.comparison import compare, report
from unetlab.data import open_dataset
from unetlab.errors import UserError
from unetlab.jobs.early import refuse_numbers
from unetlab.jobs.resume import alone, end, runs_where, stand_aside, stoppable
from unetlab.jobs.run import Summary, look, run_setup
from unetlab.options import JOBS, PLACES, Options, command
from unetlab.setup import Setup
from unetlab.tracking import ui, write


@dataclass(frozen=True)
class Plan:
    """What a showdown is: two of one plan and the same images on one store are one, the second goes on with the first.

    Args:
        setups: names, at least two.
        told: what every setup is told; data "synthetic" is the nuclei twin for all.
        repeats: different splits; the first has `told.seed`, the next ones count up.
    """

    setups: tuple[str, ...]
    told: Options
    repeats: int

    def values(self) -> dict[str, Any]:
        """Its values by the names of the command's options."""
        all_told = {**asdict(self.told), "setups": ",".join(self.setups), "repeats": self.repeats}
        return {option.name: all_told[option.name] for option in JOBS["showdown"]}

    def key(self, digest: str) -> str:
        """Tells plans on images of this digest apart, 12 hex digits; where the images lie and the code do not count."""
        values = {o.name: self.values()[o.name] for o in JOBS["showdown"] if o.repeated and o.name not in PLACES}
        told = values | {"data": digest}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]

    def command(self) -> str:
        """What runs it, or goes on with it."""
        return command("showdown", JOBS["showdown"], self.values())

    def options(self, repeat: int) -> Options:
        """What each setup is told in a repeat."""
        data = "synthetic-nuclei" if self.told.data == "synthetic" else self.told.data
        return replace(self.told, data=data, seed=self.told.seed + repeat, twin_seed=self.told.seed)


@stoppable()
def showdown(
    plan: Plan, console: Console | None = None, load: Callable[[str], Setup] = load_setup
) -> tuple[compare.Comparison, str]:
    """Runs what is not finished yet of a plan, compares it all, and logs the report.

    The runs are children of one run of role "showdown"; a setup that finished in an earlier attempt is not run again,
    as long as its recipe and the images are the same. Runs an earlier attempt left going when it was killed are marked
    KILLED.

    Returns:
        The comparison and the id of the showdown's run, which holds report.html.

    Raises:
        UserError: as `run_setup` and `compare` do; what finished stays, and the same plan goes on from there. Also
            if another process runs the same plan, and before anything is trained for a single test image.
    """
    console = console or Console(stderr=True)
    first = plan.options(0)
    for name in plan.setups:  # not after hours of the others
        refuse_numbers(load(name), first)
    if plan.repeats == 1:
        _refuse_one_image(load(plan.setups[0]), first)
    key = plan.key(open_dataset(first.data, plan.told.seed, **first.reading()).digest)
    experiment = ui.open_experiment()
    with alone(experiment, key, "showdown"), _parent(plan, key, experiment) as parent:
        ids = _run_all(plan, key, parent, console, load)
        comparison = compare.compare(ids)
        for path, content in report.files(comparison).items():
            mlflow.log_text(content, path)
        mlflow.set_tags({"best": " ".join(comparison.best)[:5000], "mlflow.note.content": comparison.conclusion()})
        return comparison, parent


def _refuse_one_image(setup: Setup, told: Options) -> None:
    """Raises UserError where the split leaves a single test image, on which nothing can be compared. All setups have
    the same; what is found of the images is told when they are run."""
    images = look(setup, told, Console(quiet=True))
    if len(images.sides.test) < 2:
        raise UserError(
            f"{len(images.sides.test)} of the {len(images.dataset)} images is for test, and a comparison on one split "
            "needs two or more; give more images, or repeats=2, which compares splits"
        )


def _run_all(plan: Plan, key: str, parent: str, console: Console, load: Callable[[str], Setup]) -> list[str]:
    """Runs the parts, of which `run_setup` knows those of this showdown that finished before; returns the ids of their
    runs."""
    parts = [(name, repeat) for repeat in range(plan.repeats) for name in plan.setups]
    started, ids, ran = time.monotonic(), [], 0
    for number, (name, repeat) in enumerate(parts, start=1):
        minutes, rest = (time.monotonic() - started) / 60, len(parts) - number + 1
        left = f", {minutes:.0f} min so far, about {minutes / ran * rest:.0f} min left" if ran else ""
        console.rule(f"{number} of {len(parts)}: {name}, split {repeat + 1} of {plan.repeats}{left}")
        tags = {"showdown": key, "showdown_run": parent, "part": f"{name} {repeat}", "command": plan.command()}
        tags |= {"repeat": str(repeat)} if plan.repeats > 1 else {}
        began = 1000 * time.time()
        setup, told = load(name), plan.options(repeat)
        if setup.adapts:  # which decides itself how many trainings its minutes hold
            told = replace(told, trials=1)
        summary: Summary = run_setup(setup, told, console, tags)
        console.print(summary.headline(), highlight=False)
        ids.append(summary.run_id)
        ran += (MlflowClient().get_run(summary.run_id).info.end_time or 0) > began  # else it was done before
    return ids


@contextmanager
def _parent(plan: Plan, key: str, experiment: str) -> Iterator[str]:
    """The showdown's run, an earlier one of the same plan if there is one."""
    _end_killed(key, experiment)
    earlier = [] if plan.told.fresh else runs_where(experiment, f"tags.role = 'showdown' and tags.plan = '{key}'")
    name = f"showdown {len(plan.setups)} setups, {plan.repeats} splits, {plan.told.data.rstrip('/').split('/')[-1]}"
    if earlier:
        run_id = earlier[0].info.run_id
        stand_aside(run_id)
        with write.run(name, tags={}, params={}, run_id=run_id):
            yield run_id
        return
    with write.run(name, tags={"role": "showdown", "plan": key}, params=plan.values()) as active:
        yield active.info.run_id


def _end_killed(key: str, experiment: str) -> None:
    """Marks what killed attempts left RUNNING: showdowns, and parts of those that were ended without them."""
    for tag in ("plan", "showdown"):
        for run in runs_where(experiment, f"tags.{tag} = '{key}' and attributes.status = 'RUNNING'"):
            end(experiment, run)
