"""What MLflow is told, and in which words: experiment, runs, inputs, epochs, figures."""

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.meta_dataset import MetaDataset

from unetlab.errors import Stopped, redacted

OPEN: list[str] = []
"""Ids of the runs this process has begun and not ended, the outermost first."""


@contextmanager
def run(
    name: str, *, tags: Mapping[str, str], params: Mapping[str, Any], run_id: str | None = None, parent: str = ""
) -> Iterator[mlflow.ActiveRun]:
    """An MLflow run with the tags and params every run carries: a child of `parent`, else of the active one, if any.

    At top level under `mlflow run` it is the run MLflow has made, renamed. `run_id` names one to go on with. It ends
    FINISHED, or FAILED where something is raised, or KILLED where that means that it can go on later.
    """
    below = {"run_id": run_id} if run_id else {"parent_run_id": parent or None}
    name = redacted(name)
    # made with its tags at once: a kill leaves none that cannot be told what it is
    told = {key: redacted(value) for key, value in {"mlflow.runName": name, "git_commit": git_commit(), **tags}.items()}
    with mlflow.start_run(run_name=name, nested=True, tags=told, **below) as active, _marked(active.info.run_id):
        # under `mlflow run` it holds what was typed, "5" for 5.0 and "all" for the names, and none may be changed
        held = active.data.params
        mlflow.log_params({key: short(value) for key, value in params.items() if key not in held})
        yield active


@contextmanager
def _marked(run_id: str) -> Iterator[None]:
    OPEN.append(run_id)
    try:
        yield
    except (KeyboardInterrupt, Stopped):
        with contextlib.suppress(Exception):  # what stopped the work may keep this from MLflow too
            mlflow.end_run("KILLED")
        raise
    finally:
        OPEN.remove(run_id)


def short(value: Any) -> str:
    """A value as a param has it, without the passwords of addresses."""
    # as `mlflow run` logs the project's "true" and "false"
    return str(value).lower() if isinstance(value, bool) else redacted(str(value))[:500]


def _git(*asked: str) -> str:
    """What git says where unetlab lies. Raises OSError or SubprocessError where it says nothing."""
    folder = Path(__file__).parent
    done = subprocess.run(["git", *asked], cwd=folder, capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()


def git_commit() -> str:
    """The commit of unetlab, or "unknown" where it does not lie in its repository."""
    try:
        # one that is installed may lie in a repository of something else, which does not hold it
        _git("ls-files", "--error-unmatch", Path(__file__).name)
        return _git("rev-parse", "HEAD")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def split_input(dataset_name: str, dataset_digest: str, side: str, n: int, split_digest: str) -> MetaDataset:
    """What MLflow shows as the data of one side of the split: its name, digest and number of images."""
    source = CodeDatasetSource(tags={"dataset": dataset_name, "images": str(n), "side": side, "split": split_digest})
    return MetaDataset(  # type: ignore[abstract]  # MLflow's own class leaves `profile` open
        source, name=f"{dataset_name}-{side}", digest=f"{dataset_digest[:8]}-{split_digest[:8]}"
    )


def has_inputs(run_id: str) -> bool:
    """Whether the data of a run are logged; an attempt that was killed may not have come so far."""
    inputs = mlflow.get_run(run_id).inputs
    return inputs is not None and bool(inputs.dataset_inputs)


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
