"""Reads a run from MLflow, checks it and tags it."""

from collections.abc import Sequence

from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from unetlab.errors import UserError
from unetlab.health.checks import CHECKS
from unetlab.health.finding import HealthFinding, RunData
from unetlab.tracking import read
from unetlab.tracking.read import SCORES, Record, children, find_one, json_artifact, table


def check_run(run: RunData) -> list[HealthFinding]:
    """All findings of a run, in the order of their codes; empty for a healthy one."""
    return [found for check in CHECKS if (found := check(run)) is not None]


def tags(findings: Sequence[HealthFinding]) -> dict[str, str]:
    """Tags of a run: `health` is "healthy" or its codes, `health/<code>` says what was found."""
    codes = " ".join(finding.code for finding in findings)
    return {"health": codes or "healthy", **{f"health/{f.code}": f"{f.title}: {f.explanation}"[:500] for f in findings}}


def examine(run_id: str) -> list[HealthFinding]:
    """Reads a setup run, finished or about to be, from MLflow, checks it and tags it.

    Raises UserError if there is no such run or it has no per-image scores.
    """
    record, client = find_one(run_id), MlflowClient()
    found = check_run(gather(record, _siblings(client, record)))
    for key, value in tags(found).items():
        client.set_tag(run_id, key, value)
    return found


def _siblings(client: MlflowClient, record: Record) -> list[Record]:
    """Finished runs of the same setup, data and budget in the same experiment, whatever their seed."""
    same = {name: record.tags.get(name) for name in ("setup", "dataset_digest", "labels", "encoder")}
    wanted = ["tags.role = 'search'", "attributes.status = 'FINISHED'"]
    wanted += [f"tags.{name} = '{value}'" for name, value in same.items() if value]
    experiment = client.get_run(record.run_id).info.experiment_id
    found = [read.record(run) for run in client.search_runs([experiment], " and ".join(wanted), max_results=100)]
    given = read.budget(record)
    return [each for each in found if all(given.get(name, own) == own for name, own in read.budget(each).items())]


def gather(record: Record, seeds: Sequence[Record] = ()) -> RunData:
    """What the checks want of a run, from MLflow; `seeds` are other runs of its setup on the same data."""
    scores = table(record, SCORES)
    if scores is None:
        raise UserError(f"{record.name} ({record.run_id}) has no {SCORES}; check finished runs of setups")
    below = children(record)
    finals = [run for run in below if run.data.tags.get("role") == "final"]
    validation = None
    if finals:
        validation = table(read.record(finals[-1]), "scores/validation.csv", ["id"])
    others = {}
    for other in seeds:
        own = table(other, SCORES, ["id", "native_dice"])
        if other.run_id != record.run_id and other.setup == record.setup and own is not None:
            name = other.params.get("seed", other.run_id[:6])
            split = other.tags.get("split_digest", "")
            others[name] = (split, own["id"].tolist(), own["native_dice"].to_numpy(float))
    return RunData(
        metrics=record.metrics,
        params=record.params,
        scores=scores,
        trials=table(record, "search/trials.csv"),
        space=json_artifact(record, "search/space.json"),
        validation_ids=[] if validation is None else validation["id"].tolist(),
        sides=table(record, "split.csv"),
        test_scorings=_scorings(record, below),
        seeds=others,
        split=record.tags.get("split_digest", ""),
    )


def _scorings(record: Record, below: Sequence[Run]) -> int:
    """Runs below that carry test scores, or points in the parent's history of them, whichever is more."""
    history = MlflowClient().get_metric_history(record.run_id, "test/native_dice")
    return max(sum("test/dice" in run.data.metrics for run in below), len(history), 1)
