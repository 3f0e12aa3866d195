"""Reads a run from MLflow, checks it and tags it."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from mlflow.entities import Run, ViewType
from mlflow.tracking import MlflowClient

from unetlab.errors import UserError
from unetlab.health.checks import CHECKS, ranked_by
from unetlab.health.finding import HealthFinding, RunData
from unetlab.tracking import read
from unetlab.tracking.read import PAGE, SCORES, Record, children, find_one, json_artifact, table

MOST_PEERS = 5
"""Other runs whose scores are read to see how far equal models scatter."""


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
    found = check_run(gather(record, siblings(record)))
    for key, value in tags(found).items():
        client.set_tag(run_id, key, value)
    return found


def siblings(record: Record) -> list[Record]:
    """Finished runs of the same setup, data and budget in the same experiment, whatever their seed; of an evaluation
    none, since runs that learnt from its images say nothing of its model's seeds."""
    if record.tags.get("role") == "evaluation":
        return []
    client = MlflowClient()
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
    tested = _tested_alike(record)
    peers = [each for each in tested if each.tags.get("classes") == record.tags.get("classes")]
    others = {}
    column = ranked_by(scores)
    for other in seeds:
        own = table(other, SCORES, ["id", column])
        if other.run_id != record.run_id and other.setup == record.setup and own is not None and column in own:
            name = other.params.get("seed", other.run_id[:6])
            split = other.tags.get("split_digest", "")
            others[name] = (split, own["id"].tolist(), own[column].to_numpy(float))
    return RunData(
        metrics=record.metrics,
        params=record.params,
        scores=scores,
        trials=table(record, "search/trials.csv"),
        space=json_artifact(record, "search/space.json"),
        validation_ids=[] if validation is None else validation["id"].tolist(),
        sides=table(record, "split.csv"),
        test_scorings=_scorings(record, below, tested),
        peers=_peers(scores, peers),
        seeds=others,
        split=record.tags.get("split_digest", ""),
        seen=_seen(record.tags.get("seen_images", "")),
        against=record.tags.get("scored_against", "masks"),
    )


def _seen(tag: str) -> str:
    """What the tag of an evaluation says of images that its model has seen; "" of none, and where nobody knows."""
    return tag if tag[:1].isdigit() and tag != "0" else ""


def _scorings(record: Record, below: Sequence[Run], others: Sequence[Record]) -> int:
    """How often the test split was scored: by this run as often as final runs below carry test scores, or its own
    history does, whichever is more, and once by each other model."""
    history = MlflowClient().get_metric_history(record.run_id, "test/native_dice")
    finals = [run for run in below if run.data.tags.get("role") == "final"]
    return max(sum("test/dice" in run.data.metrics for run in finals), len(history), 1) + len(others)


def _tested_alike(record: Record) -> list[Record]:
    """A run each of the other models of the store with scores of the same test split of the same data."""
    models: dict[str, Record] = {}
    for each in _scored_alike(record):
        models.setdefault(each.tags.get("final_model", each.run_id), each)
    models.pop(record.tags.get("final_model", ""), None)  # its own, scored again
    return list(models.values())


def _scored_alike(record: Record) -> list[Record]:
    """Other runs of the store with scores of the same test split of the same data, by their digests: of all setups and
    experiments, deleted ones too, since those scores have been looked at as well."""
    same = {name: record.tags.get(name, "") for name in ("dataset_digest", "split_digest")}
    if not all(same.values()):
        return []
    client = MlflowClient()
    wanted = " and ".join(f"tags.{name} = '{value}'" for name, value in same.items())
    wanted += " and metrics.`test/native_dice` >= 0"
    experiments = [each.experiment_id for each in client.search_experiments(ViewType.ALL)]
    found: list[Record] = []
    token = None
    while True:
        page = client.search_runs(experiments, wanted, ViewType.ALL, max_results=PAGE, page_token=token)
        there = [run for run in page if run.data.tags.get("role") in read.ROLES]
        found += [read.record(run) for run in there if run.info.run_id != record.run_id]
        token = page.token
        if not token:
            return found


def _peers(scores: pd.DataFrame, others: Sequence[Record]) -> np.ndarray | None:
    """Dice of some of them on the images of `scores`, in that order."""
    found = []
    for other in others[:MOST_PEERS]:
        own = table(other, SCORES, ["id", "native_dice"])
        if own is not None and set(own["id"]) == set(scores["id"]) and own["id"].is_unique:
            found.append(own.set_index("id")["native_dice"].reindex(scores["id"]).to_numpy(float))
    return np.array(found) if found else None
