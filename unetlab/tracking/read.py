"""Runs read back from MLflow: what comparison, health checks and the report look at."""

import io
import json
import os
import re
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from unetlab.data import cache
from unetlab.errors import UserError
from unetlab.options import BUDGET, OPTIONS
from unetlab.tracking import store, ui
from unetlab.tracking.names import EXPERIMENT

SCORES = "scores/test.csv"

SIDES = "split.csv"

ROLES = ("search", "evaluation")
"""Of runs that carry test scores image by image: a setup's, and a model's on other data."""

THREADS = 8

PAGE = 1000

TRUE = ("true", "1", "yes", "on", "t", "y")
"""What the command line takes for true."""


@dataclass(frozen=True)
class Record:
    """A finished setup run, or an evaluation, as MLflow holds it.

    Args:
        run_id: of the run that carries the scores: a setup's top-level run, or an evaluation.
        name: as the UI shows it.
        started: milliseconds since 1970.
        tags, metrics, params: without MLflow's own tags.
        artifacts: where its artifacts lie, a URI or path.
        sides: images on each side of the split, by "train", "validation", "test"; empty where it was not logged.
    """

    run_id: str
    name: str
    started: int
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    params: Mapping[str, str]
    artifacts: str
    sides: Mapping[str, int] = field(default_factory=dict)

    @property
    def setup(self) -> str:
        """Name of the setup."""
        return self.tags.get("setup", self.name)


def find(runs: Sequence[str] = (), experiment: str | None = None, where: str | None = None) -> list[Record]:
    """Finished setup runs and evaluations, oldest first.

    Args:
        runs: run ids; all must be finished setup runs or evaluations. If given, the others are not looked at.
        experiment: name or id. Defaults to MLFLOW_EXPERIMENT_NAME, under `mlflow run` to the one that MLflow logs to,
            then to the one of unetlab's in which a run began last.
        where: an MLflow filter such as "tags.dataset = 'dsb2018'". Of an experiment setup runs are taken, and
            evaluations where the filter speaks of roles: "tags.role = 'evaluation'".

    Raises UserError for an id or experiment that does not exist, a filter MLflow does not understand, and a run that is
    neither a finished setup run nor a finished evaluation.
    """
    store.make_whole()  # which says at once where there is no writing; MLflow tries for minutes
    client = store.client()
    if runs:
        found = [_get(client, run_id) for run_id in dict.fromkeys(runs)]
        for run in found:
            _refuse_unfinished(run)
    else:
        found = _search(client, _experiment_id(client, experiment), where)
    return sorted((record(run) for run in found), key=lambda each: (each.started, each.name))


def find_one(run_id: str) -> Record:
    """A run by its id, finished or not. Raises UserError if there is none."""
    return record(_get(store.client(), run_id))


def _get(client: MlflowClient, run_id: str) -> Run:
    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise UserError(f"no run {run_id!r} in {mlflow.get_tracking_uri()}; copy an id from the MLflow UI") from error


def _refuse_unfinished(run: Run) -> None:
    role, status = run.data.tags.get("role"), run.info.status
    if role not in ROLES or status != "FINISHED":
        raise UserError(
            f"{run.info.run_name} ({run.info.run_id}) is {status} with role {role}; "
            "give finished runs of setups, the top level of the UI's table, or evaluations"
        )


def _experiment_id(client: MlflowClient, experiment: str | None) -> str:
    told = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME")
    if not told and (run := os.environ.get("MLFLOW_RUN_ID")):
        return str(client.get_run(run).info.experiment_id)
    if not told and (newest := ui.newest_experiment()):
        return newest
    name = told or EXPERIMENT
    found = client.get_experiment_by_name(name)
    if found is None and name.isdigit():
        found = next((e for e in client.search_experiments() if e.experiment_id == name), None)
    if found is None:
        known = ", ".join(sorted(e.name for e in client.search_experiments())[:10])
        raise UserError(f"no experiment {name!r} in {mlflow.get_tracking_uri()}; there are: {known}")
    return str(found.experiment_id)


def _search(client: MlflowClient, experiment_id: str, where: str | None) -> list[Run]:
    roles = "" if where and re.search(r"\brole\b", where) else "tags.role = 'search' and "
    wanted = f"{roles}attributes.status = 'FINISHED'" + (f" and {where}" if where else "")
    found: list[Run] = []
    token = None
    while True:
        try:
            page = client.search_runs([experiment_id], wanted, max_results=PAGE, page_token=token)
        except MlflowException as error:
            if error.error_code not in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST"):
                raise
            raise UserError(
                f"MLflow does not understand the filter {where!r}: {str(error).splitlines()[0][:200]}; "
                "one it does: tags.dataset = 'dsb2018'"
            ) from error
        found += [run for run in page if run.data.tags.get("role") in ROLES]
        token = page.token
        if not token:
            return found


def record(run: Run) -> Record:
    """What is read of an MLflow run."""
    sides = {}
    for given in run.inputs.dataset_inputs if run.inputs else []:
        tags = json.loads(given.dataset.source).get("tags") or {}
        if {"side", "images"} <= set(tags):
            sides[tags["side"]] = int(tags["images"])
    return Record(
        run_id=run.info.run_id,
        name=run.info.run_name,
        started=run.info.start_time,
        tags={key: value for key, value in run.data.tags.items() if not key.startswith("mlflow.")},
        metrics=dict(run.data.metrics),
        params=dict(run.data.params),
        artifacts=run.info.artifact_uri,
        sides=sides,
    )


def budget(of: Record) -> dict[str, str]:
    """What a setup was given, by the names of BUDGET: as it was resolved where a tag says so, such as a precision of
    "auto", else as it was asked for, however that was typed. Runs of versions without an option lack its name, which
    says nothing of them."""
    known = {name: of.tags.get(name, of.params.get(name)) for name in BUDGET}
    encoder = of.tags.get("encoder", "weights file")  # a file goes by its name
    known["encoder_weights"] = {"none": None, "weights file": known.get("encoder_weights")}.get(encoder, encoder)
    return {name: _as_taken(name, value) for name, value in known.items() if value is not None}


def _as_taken(name: str, value: str) -> str:
    """The value of an option as a command logs it; `mlflow run` logs what was typed, "30" for 30.0, "True" for true."""
    kind = OPTIONS[name].kind
    if kind is bool:
        return str(value.strip().lower() in TRUE).lower()
    try:
        return f"{float(value):.12g}" if kind is str else str(kind(value))
    except ValueError:  # a word
        return value


def children(parent: Record) -> list[Run]:
    """The MLflow runs below a setup run: its trials and its final training, oldest first."""
    client = MlflowClient()
    experiment = client.get_run(parent.run_id).info.experiment_id
    where = f"tags.`mlflow.parentRunId` = '{parent.run_id}'"
    return list(client.search_runs([experiment], where, max_results=PAGE, order_by=["attributes.start_time ASC"]))


def artifact(of: Record, path: str) -> bytes | None:
    """An artifact's bytes, None where the run has none of that name.

    A file beside a local store is read where it lies; one from a server is kept in the cache, since the runs asked for
    are finished and do not change.
    """
    local = local_folder(of.artifacts)
    if local is not None:
        file = local / path
        return file.read_bytes() if file.is_file() else None
    kept = cache.root() / "runs" / of.run_id / path
    if not kept.is_file():
        listed = MlflowClient().list_artifacts(of.run_id, os.path.dirname(path))
        if path not in {entry.path for entry in listed}:
            return None
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetching-", dir=kept.parent) as scratch:
            Path(MlflowClient().download_artifacts(of.run_id, path, scratch)).replace(kept)
    return kept.read_bytes()


def local_folder(uri: str) -> Path | None:
    """Where the artifacts of an address lie on this machine; None where they lie elsewhere."""
    parsed = urllib.parse.urlparse(uri)
    if parsed.scheme == "file":
        return Path(urllib.request.url2pathname(parsed.path))
    return Path(uri) if not parsed.scheme or len(parsed.scheme) == 1 else None  # C: is a drive, no scheme


def table(of: Record, path: str = SCORES, columns: Sequence[str] | None = None) -> pd.DataFrame | None:
    """A CSV artifact, None where there is none; of `columns` those it has."""
    content = artifact(of, path)
    if content is None:
        return None
    wanted = None if columns is None else (lambda name: name in set(columns))
    return pd.read_csv(io.BytesIO(content), usecols=wanted, dtype={"id": str}, keep_default_na=False, na_values=[""])


def scenes(of: Record) -> dict[str, str]:
    """The scene of each image of a run, by id; empty where the run does not say."""
    found = table(of, SIDES, ["id", "group"])
    if found is None or not {"id", "group"} <= set(found):
        return {}
    return dict(zip(found["id"], found["group"].astype(str), strict=True))


def json_artifact(of: Record, path: str) -> Any:
    """A JSON artifact, None where there is none."""
    content = artifact(of, path)
    return None if content is None else json.loads(content)


def score_arrays(records: Sequence[Record], metrics: Sequence[str]) -> tuple[list[str], dict[str, np.ndarray]]:
    """The per-image scores of runs on the same images: ids, and metric to float64 (runs, images).

    A metric that some run lacks is left out.

    Raises UserError if a run has no table, or not the images of the first.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        rows = list(pool.map(lambda each: _scores(each, metrics), records))
    ids = rows[0][0]
    order = {image: i for i, image in enumerate(ids)}
    shared = [name for name in metrics if all(name in row[1] for row in rows)]
    arrays = {name: np.empty((len(records), len(ids))) for name in shared}
    for k, (own, values) in enumerate(rows):
        if own != ids:
            if len(own) != len(ids) or set(own) != set(ids):
                odd = next(iter(set(own) ^ set(ids)), "one twice")
                raise UserError(
                    f"{records[k].name} ({records[k].run_id}) was scored on {len(own)} images, {records[0].name} "
                    f"({records[0].run_id}) on {len(ids)}; not in both: {odd}. Compare runs on the same test images"
                )
            place = [order[image] for image in own]
        for name in shared:
            if own == ids:
                arrays[name][k] = values[name]
            else:
                arrays[name][k, place] = values[name]
    return ids, arrays


def class_arrays(records: Sequence[Record], ids: Sequence[str], score: str) -> dict[str, np.ndarray]:
    """The columns `<score>/<class>` of runs that tell the same classes apart: column to float64 (runs, images), in the
    order of `ids`.

    NaN where the class is neither in the truth nor in the run's answer. Classes that are nowhere are left out.
    """
    tables = [found.set_index("id") for of in records if (found := table(of)) is not None]
    columns = dict.fromkeys(name for found in tables for name in found if name.startswith(f"{score}/"))
    arrays = {}
    for column in columns:
        rows = [found.get(column, pd.Series(dtype=float)).reindex(list(ids)).to_numpy(np.float64) for found in tables]
        values = np.stack(rows)
        if not np.isnan(values).all():
            arrays[column] = values
    return arrays


def _scores(of: Record, metrics: Sequence[str]) -> tuple[list[str], dict[str, np.ndarray]]:
    found = table(of, columns=["id", *metrics])
    if found is None or "id" not in found:
        raise UserError(f"{of.name} ({of.run_id}) has no {SCORES}; it was not made by this version, run it again")
    values = {name: found[name].to_numpy(np.float64) for name in metrics if name in found}
    return found["id"].tolist(), {name: column for name, column in values.items() if np.isfinite(column).all()}
