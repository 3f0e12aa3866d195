"""Several setups on one data set with the same splits and the same budget, then their comparison."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import mlflow
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from rich.console import Console

from unetlab import compare, report, tracking
from unetlab.errors import UserError
from unetlab.options import Options
from unetlab.run import Summary, run_setup
from unetlab.setup import SETUPS, Setup, load_setup


@dataclass(frozen=True)
class Plan:
    """What a showdown is: two of the same plan on the same store are one, the second goes on with the first.

    Args:
        setups: names, at least two.
        data: as every setup takes it; "synthetic" is the nuclei twin for all.
        trials: of each search.
        minutes: of each search, and of each training in it; 0 for no limit.
        epochs: of every training; 0 as published.
        repeats: different splits; the first has `seed`, the next ones count up.
        seed, tuner, precision, encoder_weights, split: as every setup takes them.
    """

    setups: tuple[str, ...]
    data: str = "synthetic"
    trials: int = 1
    minutes: float = 0.0
    epochs: int = 0
    repeats: int = 3
    seed: int = 0
    tuner: str = "random"
    precision: str = "auto"
    encoder_weights: str = "auto"
    split: str = "random"

    def key(self) -> str:
        """Tells one plan from another, 12 hex digits."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]

    def options(self, repeat: int) -> Options:
        """What each setup is told in a repeat."""
        return Options(
            data="synthetic-nuclei" if self.data == "synthetic" else self.data,
            trials=self.trials,
            tuner=self.tuner,
            epochs=self.epochs,
            seed=self.seed + repeat,
            precision=self.precision,
            encoder_weights=self.encoder_weights,
            models="best",
            split=self.split,
            minutes=self.minutes,
            twin_seed=self.seed,
        )


def setups_named(text: str) -> tuple[str, ...]:
    """The setups of a comma-separated list, or all.

    Raises UserError for an unknown name, and for fewer than two.
    """
    names = tuple(SETUPS) if text == "all" else tuple(dict.fromkeys(n.strip() for n in text.split(",") if n.strip()))
    for name in names:
        if name not in SETUPS:
            raise UserError(f"setups must be `all` or names out of {', '.join(SETUPS)}. Received: {name!r}")
    if len(names) < 2:
        raise UserError(f"a showdown needs two setups or more, such as nuclei,nuclei-scratch. Received: {text!r}")
    return names


def showdown(
    plan: Plan, console: Console | None = None, load: Callable[[str], Setup] = load_setup
) -> tuple[compare.Comparison, str]:
    """Runs what is not finished yet of a plan, compares it all, and logs the report.

    The runs are children of one run of role "showdown"; a setup that finished in an earlier attempt is not run again.

    Returns:
        The comparison and the id of the showdown's run, which holds report.html.

    Raises:
        UserError: as `run_setup` and `compare` do; what finished stays, and the same plan goes on from there.
    """
    console = console or Console(stderr=True)
    experiment = tracking.open_experiment()
    total = len(plan.setups) * plan.repeats
    with _parent(plan, experiment) as parent:
        done = _finished(plan, experiment)
        number = 0
        for repeat in range(plan.repeats):
            for name in plan.setups:
                number += 1
                if (name, repeat) in done:
                    console.print(f"{number} of {total}: {name}, split {repeat + 1}: done before", highlight=False)
                    continue
                console.rule(f"{number} of {total}: {name}, split {repeat + 1} of {plan.repeats}")
                done[name, repeat] = _run(plan, load(name), repeat, console)
        ids = [done[name, repeat] for repeat in range(plan.repeats) for name in plan.setups]
        comparison = compare.compare(ids)
        for path, content in report.files(comparison).items():
            mlflow.log_text(content, path)
        mlflow.set_tags({"best": " ".join(comparison.best)[:5000], "mlflow.note.content": comparison.conclusion()})
        return comparison, parent


@contextmanager
def _parent(plan: Plan, experiment: str) -> Iterator[str]:
    """The showdown's run, an earlier one of the same plan if there is one."""
    earlier = _search(experiment, f"tags.role = 'showdown' and tags.plan = '{plan.key()}'")
    name = f"showdown {len(plan.setups)} setups, {plan.repeats} splits, {plan.data.rstrip('/').split('/')[-1]}"
    if earlier:
        with mlflow.start_run(run_id=earlier[0].info.run_id) as active:
            yield active.info.run_id
        return
    params = {key: ",".join(value) if isinstance(value, tuple) else value for key, value in asdict(plan).items()}
    with tracking.run(name, tags={"role": "showdown", "plan": plan.key()}, params=params) as active:
        yield active.info.run_id


def _run(plan: Plan, setup: Setup, repeat: int, console: Console) -> str:
    tags = {"showdown": plan.key(), "part": f"{setup.name} {repeat}"}
    tags |= {"repeat": str(repeat)} if plan.repeats > 1 else {}
    summary: Summary = run_setup(setup, plan.options(repeat), console, tags)
    console.print(summary.headline(), highlight=False)
    return summary.run_id


def _finished(plan: Plan, experiment: str) -> dict[tuple[str, int], str]:
    """Setup and repeat to the run that finished it."""
    found = _search(
        experiment, f"tags.role = 'search' and tags.showdown = '{plan.key()}' and attributes.status = 'FINISHED'"
    )
    parts: Mapping[str, str] = {run.data.tags["part"]: run.info.run_id for run in found}
    wanted = {f"{name} {repeat}": (name, repeat) for name in plan.setups for repeat in range(plan.repeats)}
    return {wanted[part]: run_id for part, run_id in parts.items() if part in wanted}


def _search(experiment: str, where: str) -> Sequence[Run]:
    return list(MlflowClient().search_runs([experiment], where, max_results=1000))
