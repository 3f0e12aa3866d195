"""What MLflow is told, and in which words: experiment, runs, inputs, epochs, figures."""

import json
import math
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import mlflow
import numpy as np
import pandas as pd
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from unetlab.errors import UserError

EXPERIMENT = "unetlab"
RANKED = "unetlab-dice"
"""View of the run table: the setups' runs alone, best Dice first."""

NESTED = "unetlab-searches"
"""View of the run table: newest first, trials below their search; the UI unfolds children only in that order."""

FLUSH_SECONDS = 2.0
DESCRIPTION = """U-Nets compared by unetlab. Each top-level run is a setup: it carries the scores of its final model on
the test split, and beside them the figures its source published. Unfold a run to see the trials of its search; the
Models page compares every trained model. Sort by test/native_dice, Dice at the images' own size: accuracy flatters a
model that finds little."""

COLUMNS = [
    "metrics.`baseline/otsu_native_dice`",
    "metrics.`published/val_accuracy`",
    "metrics.`test/accuracy`",
    "metrics.`test/native_dice`",
    "metrics.`val/accuracy`",
    "metrics.`val/native_dice`",
    "tags.`health`",
]
"""The UI sorts them by name, whatever order is given here, and at 1,600 pixels shows four before one has to scroll."""


def open_experiment() -> str:
    """Creates or finds the experiment, describes it and stores the run table's view; returns its id.

    It is that of the active run, if there is one; under `mlflow run` the one MLflow chose; otherwise
    MLFLOW_EXPERIMENT_NAME or "unetlab".

    Raises UserError if the tracking store cannot be reached.
    """
    client = MlflowClient()
    try:
        active = mlflow.active_run()
        if active is not None:
            experiment_id: str = active.info.experiment_id
        elif "MLFLOW_RUN_ID" in os.environ:
            experiment_id = client.get_run(os.environ["MLFLOW_RUN_ID"]).info.experiment_id
        else:
            experiment_id = mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)).experiment_id
        client.set_experiment_tag(experiment_id, "mlflow.note.content", DESCRIPTION)
        for view, state in _views().items():
            client.set_experiment_tag(experiment_id, f"mlflow.sharedViewState.{view}", json.dumps(state))
    except MlflowException as error:
        raise UserError(
            f"the tracking store {mlflow.get_tracking_uri()} does not answer: {str(error).splitlines()[0][:200]}; "
            "start it, or set MLFLOW_TRACKING_URI"
        ) from error
    return experiment_id


def _views() -> dict[str, dict[str, Any]]:
    common = {"selectedColumns": COLUMNS, "orderByAsc": False, "runsExpanded": {}}
    return {
        RANKED: {**common, "orderByKey": "metrics.`test/native_dice`", "searchFilter": "tags.role = 'search'"},
        NESTED: {**common, "orderByKey": "attributes.start_time"},
    }


def table_address(experiment_id: str, base: str, view: str = RANKED) -> str:
    """The page of the MLflow UI at `base` that opens the run table with Dice, accuracy and the published figures."""
    return f"{base}/#/experiments/{experiment_id}/runs?viewStateShareKey={view}&workflowType=machine_learning"


@contextmanager
def run(name: str, *, tags: Mapping[str, str], params: Mapping[str, Any]) -> Iterator[mlflow.ActiveRun]:
    """An MLflow run with the tags and params every run carries: a child of the active one, if there is one.

    At top level under `mlflow run` it is the run MLflow has made, renamed.
    """
    with mlflow.start_run(run_name=name, nested=True) as active:
        mlflow.set_tags({"mlflow.runName": name, "git_commit": git_commit(), **tags})
        # under `mlflow run` it holds what was typed, "5" for 5.0 and "all" for the names, and none may be changed
        held = active.data.params
        mlflow.log_params({key: _short(value) for key, value in params.items() if key not in held})
        yield active


def _short(value: Any) -> str:
    # as `mlflow run` logs the project's "true" and "false"
    return str(value).lower() if isinstance(value, bool) else str(value)[:500]


def git_commit() -> str:
    """The commit of the working directory, or "unknown" outside a repository."""
    try:
        answer = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return answer.stdout.strip() or "unknown"


def split_input(dataset_name: str, dataset_digest: str, side: str, n: int, split_digest: str) -> MetaDataset:
    """What MLflow shows as the data of one side of the split: its name, digest and number of images."""
    source = CodeDatasetSource(tags={"dataset": dataset_name, "images": str(n), "side": side, "split": split_digest})
    return MetaDataset(  # type: ignore[abstract]  # MLflow's own class leaves `profile` open
        source, name=f"{dataset_name}-{side}", digest=f"{dataset_digest[:8]}-{split_digest[:8]}"
    )


class EpochLogger(keras.callbacks.Callback):
    """Writes each epoch's metrics to MLflow as `epoch/...`, step = epoch, in batches every few seconds.

    Args:
        run_id: the run they belong to.
    """

    def __init__(self, run_id: str) -> None:
        super().__init__()
        self.run_id = run_id
        self.client = MlflowClient()
        self.waiting: list[Metric] = []
        self.flushed = time.monotonic()
        self.seconds = 0.0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        now = int(time.time() * 1000)
        self.waiting += [
            Metric(f"epoch/{name}", float(value), now, epoch + 1)
            for name, value in (logs or {}).items()
            if math.isfinite(value)
        ]
        if time.monotonic() - self.flushed > FLUSH_SECONDS:
            self.flush()

    def on_train_end(self, logs: Any = None) -> None:
        self.flush()

    def flush(self) -> None:
        """Sends what waits, at most 1,000 metrics a call; `seconds` adds up what that costs."""
        started = time.perf_counter()
        for start in range(0, len(self.waiting), 1000):
            self.client.log_batch(self.run_id, metrics=self.waiting[start : start + 1000])
        self.waiting.clear()
        self.flushed = time.monotonic()
        self.seconds += time.perf_counter() - started


def log_scores(prefix: str, scores: Mapping[str, float], model_id: str | None = None, dataset: Any = None) -> None:
    """Logs scores as `prefix/name` to the active run, and to the logged model if one is named."""
    metrics = {f"{prefix}/{name}": float(value) for name, value in scores.items() if np.isfinite(value)}
    mlflow.log_metrics(metrics, model_id=model_id, dataset=dataset)


def log_figure(figure: Any, path: str) -> None:
    """Logs a matplotlib figure as a PNG artifact."""
    mlflow.log_figure(figure, path, save_kwargs={"dpi": 110, "bbox_inches": "tight"})


def log_table(table: pd.DataFrame, path: str) -> None:
    """Logs a table as a CSV artifact."""
    mlflow.log_text(table.to_csv(index=False), path)


def log_bytes(content: bytes, path: str) -> None:
    """Logs bytes as an artifact."""
    with tempfile.TemporaryDirectory(prefix="unetlab-") as folder:
        local = Path(folder) / Path(path).name
        local.write_bytes(content)
        mlflow.log_artifact(str(local), str(Path(path).parent))


def local_store(uri: str) -> Path | None:
    """The file behind a SQLite tracking store, None for a server."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None
