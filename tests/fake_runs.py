"""Setup runs as a training leaves them in MLflow, without the training."""

import io
import json
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient

IDS = [f"image{i:03d}" for i in range(30)]


def score_table(dice: np.ndarray, ids: Sequence[str], pixels: int = 4096) -> pd.DataFrame:
    """A per-image table whose Dice at either size is about `dice`."""
    dice = np.clip(dice, 0.01, 0.99)
    truth = pixels // 4
    tp = np.round(truth * dice).astype(int)  # as many missed as falsely found: Dice is tp / truth
    missed = truth - tp
    exact = tp / truth
    table = pd.DataFrame({"id": list(ids), "tp": tp, "fp": missed, "fn": missed, "tn": pixels - truth - missed})
    columns = {
        "dice": exact,
        "iou": exact / (2 - exact),
        "accuracy": 1 - 2 * missed / pixels,
        "precision": exact,
        "recall": exact,
        "boundary_f1": np.clip(exact + 0.03, 0, 1),
        "native_dice": dice,
        "native_iou": dice / (2 - dice),
        "native_accuracy": 1 - (1 - dice) / 2,
        "native_boundary_f1": np.clip(dice + 0.03, 0, 1),
        "ap50": np.clip(dice - 0.2, 0, 1),
        "ap_dsb": np.clip(dice - 0.4, 0, 1),
        "count_true": 10,
        "count_predicted": 11,
        "count_error": 1,
        "otsu_dice": np.clip(exact - 0.1, 0, 1),
        "otsu_native_dice": np.clip(dice - 0.1, 0, 1),
        "constant_native_dice": 0.4,  # all foreground, a quarter of the pixels: 2 * 0.25 / 1.25
    }
    return table.assign(**columns)


def difficulty(n: int = len(IDS), seed: int = 0) -> np.ndarray:
    """Dice of n images as a segmenter has it: most near 0.9, a few far below."""
    return 0.97 - np.random.default_rng(seed).gamma(1.2, 0.06, n)


def log_setup_run(
    setup: str,
    dice: np.ndarray,
    *,
    ids: Sequence[str] = IDS,
    tags: Mapping[str, str] | None = None,
    params: Mapping[str, Any] | None = None,
    metrics: Mapping[str, float] | None = None,
    artifacts: Mapping[str, bytes] | None = None,
    seed: int = 0,
    finals: int = 1,
) -> str:
    """Writes a finished parent run with its final child, and returns the parent's id."""
    client = MlflowClient()
    experiment = client.get_experiment_by_name("unetlab").experiment_id
    table = score_table(dice, ids)
    means = {f"test/{name}": float(table[name].mean()) for name in ("dice", "native_dice", "accuracy", "ap_dsb")}
    figures = {
        **means,
        "test/images": len(ids),
        "val/native_dice": means["test/native_dice"],
        "val/dice": 0.9,
        "val/accuracy": 0.96,
        "val/loss": 0.1,
    }
    figures |= {"train/accuracy": 0.965, "train/loss": 0.09, "baseline/otsu_native_dice": 0.8, **(metrics or {})}
    shared = {"setup": setup, "dataset": "cells", "dataset_digest": "d1", "split_digest": "s1", **(tags or {})}
    chosen = {"data": "cells.zip", "trials": 1, "seed": seed, "best_learning_rate": 0.001, "best_image_size": 64}
    chosen |= dict(params or {})
    run = client.create_run(experiment, run_name=f"{setup} cells seed {seed}")
    _log(client, run.info.run_id, {**shared, "role": "search", "git_commit": "abc"}, figures, chosen)
    card = {"name": "cells", "digest": "d1", "images": 100, "sizes": {"64 x 64": 100}, "modes": {"uint8 grey": 100}}
    card |= {
        "modalities": {"grey on dark": 100},
        "foreground": [0.25, 0.1, 0.4],
        "objects": [10, 1, 40],
        "findings": [],
    }
    card["findings"] = []
    held = {"scores/test.csv": table.to_csv(index=False).encode(), "data_card.json": json.dumps(card).encode()}
    write_artifacts(run, {**held, **(artifacts or {})})
    for _ in range(finals):
        child = client.create_run(experiment, run_name=f"{setup} final", tags={"mlflow.parentRunId": run.info.run_id})
        cost = {"train/seconds": 60.0 + len(setup), "train/parameters": 1e6, "test/dice": means["test/dice"]}
        _log(client, child.info.run_id, {**shared, "role": "final"}, cost, {})
        client.set_terminated(child.info.run_id)
    client.set_terminated(run.info.run_id)
    return str(run.info.run_id)


def log_finished_run(model_id: str, dice: np.ndarray, ids: Sequence[str], **tags: str) -> str:
    """A setup's run as the training leaves it for the registry: a final model and its Dice on each test image."""
    with mlflow.start_run() as run:
        mlflow.set_tags({"setup": "tiny", "role": "search", "dataset_digest": "d1", "split_digest": "s1", **tags})
        mlflow.log_metrics({"test/native_dice": 0.875, "test/accuracy": 0.96, "test/images": len(dice)})
        mlflow.log_text(score_table(dice, ids).to_csv(index=False), "scores/test.csv")
        mlflow.set_tag("final_model", model_id)
    return str(run.info.run_id)


def log_many(n: int, images: int, seed: int = 0) -> None:
    """Writes n finished setup runs of so many images into the store as fast as it goes."""
    base = difficulty(images, seed)
    rng = np.random.default_rng(seed)
    ids = [f"image{i:05d}" for i in range(images)]
    for k in range(n):
        log_setup_run(f"setup-{k:05d}", base + rng.normal(0, 0.03, images) - 1e-5 * k, ids=ids, finals=0)


def write_artifacts(run: mlflow.entities.Run, contents: Mapping[str, bytes]) -> None:
    """Puts files where the run's artifacts lie."""
    root = Path(run.info.artifact_uri.removeprefix("file://"))
    for path, content in contents.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)


def trials_csv(**columns: Sequence[Any]) -> bytes:
    """search/trials.csv with the hyperparameters given, objectives in rising order."""
    n = len(next(iter(columns.values())))
    table = pd.DataFrame(
        {
            "number": range(n),
            "status": "COMPLETED",
            "objective": np.linspace(0.8, 0.9, n),
            "tuner_epochs": np.nan,
            **columns,
        }
    )
    out = io.StringIO()
    table.to_csv(out, index=False)
    return out.getvalue().encode()


def _log(client: MlflowClient, run_id: str, tags: Mapping, metrics: Mapping, params: Mapping) -> None:
    client.log_batch(
        run_id,
        [Metric(name, float(value), 0, 0) for name, value in metrics.items()],
        [Param(name, str(value)) for name, value in params.items()],
        [RunTag(name, str(value)) for name, value in tags.items()],
    )


def random_id() -> str:
    """A run id no run has."""
    return uuid.uuid4().hex
