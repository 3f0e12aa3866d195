"""A whole run in patches, from images to a served model: touching objects, symmetries, self-training."""

import dataclasses
import io

import mlflow
import numpy as np
import pytest
from mlflow.tracking import MlflowClient
from PIL import Image
from rich.console import Console
from tiny_setup import QUIET, RECIPE, TINY, children_of

from unetlab.inference.package import SETTINGS
from unetlab.jobs import evaluate as evaluation
from unetlab.jobs.run import run_setup
from unetlab.metrics import thresholds
from unetlab.options import Options

OPTIONS = Options(
    data="", trials=1, models="best", seed=1, precision="float32", view="patches", objects="border", tta="4", scale="1"
)
PATCHED = dataclasses.replace(
    TINY, recipe=RECIPE.changed({"epochs": 8, "draws": 32, "learning_rate": 2e-2, "filters": 8, "depth": 1})
)


def touching(folder, n=16, apart=False):
    """images/ and masks/ of several sizes, each with two or three bright discs of which two touch."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for i in range(n):
        height, width = [(40, 60), (30, 50), (64, 64), (25, 90)][i % 4]
        y, x = np.mgrid[:height, :width]
        labels = np.zeros((height, width), np.uint8)
        for number, middle in enumerate((8, 26, width - 7) if apart else (12, 23, width - 9), start=1):
            labels[(y - height // 2) ** 2 + (x - middle) ** 2 < 36] = number
        image = np.clip((labels > 0) * 150 + rng.normal(40, 10, labels.shape), 0, 255).astype(np.uint8)
        Image.fromarray(image).save(folder / "images" / f"{i:02d}.png")
        Image.fromarray(labels).save(folder / "masks" / f"{i:02d}.png")
    return folder


def told(data, **changes):
    return dataclasses.replace(OPTIONS, data=str(data), masks="objects", groups="off", **changes)


@pytest.fixture
def patched(store, tmp_path, monkeypatch):
    """A run in patches with borders and symmetries, which is to be rather sure of an object, and its data."""
    monkeypatch.setattr(thresholds, "CONFIDENCES", (0.8,))
    data = touching(tmp_path / "cells")
    return run_setup(PATCHED, told(data), QUIET), data


def test_a_run_in_patches_is_scored_as_evaluate_scores_its_model(patched):
    summary, data = patched
    final = children_of(summary.run_id)[-1]
    figures = summary.figures
    assert {"gain/of_tta", "gain/of_tta_low", "gain/of_tta_high"} <= set(figures)
    assert figures["gain/of_tta_low"] <= figures["gain/of_tta"] <= figures["gain/of_tta_high"]
    artifacts = {each.path for each in MlflowClient().list_artifacts(final.info.run_id)}
    assert {"objects.png", "predictions.png"} <= artifacts
    assert {"ap50", "ap_dsb", "pq", "count_error"} <= {
        name.removeprefix("test/") for name in figures if name.startswith("test/")
    }
    params = MlflowClient().get_run(summary.run_id).data.params
    assert params["best_view"] == "patches" and params["best_tta"] == "4"
    assert params["best_objects"] in ("components", "watershed", "border")
    assert final.data.params["served_objects"] == params["best_objects"]
    served = mlflow.pyfunc.load_model(f"models:/{summary.model_id}").unwrap_python_model().predictor.recipe
    assert set(SETTINGS) == set(vars(served))
    assert (served.view, served.objects, served.tta) == ("patches", params["best_objects"], 4)

    own = _table(summary.run_id).set_index("id")
    found = evaluation.evaluate(
        f"models:/{summary.model_id}",
        str(data),
        allow_seen=True,
        reading={"masks": "objects", "channels": "", "pages": "all"},
        groups="off",
        console=QUIET,
    )
    again = _table(found.run_id).set_index("id").loc[own.index]
    assert own["native_dice"].mean() > 0.5  # it has learnt something
    for name in ("native_dice", "native_iou", "ap50", "ap_dsb", "pq", "f1_50", "f1_70", "count_error"):
        np.testing.assert_allclose(again[name], own[name], atol=1e-6, err_msg=name)


def _table(run_id):
    import pandas as pd

    return pd.read_csv(io.StringIO(mlflow.artifacts.load_text(f"runs:/{run_id}/scores/test.csv")), dtype={"id": str})


@pytest.mark.slow  # three rounds
def test_self_training_goes_on_in_patches(store, tmp_path, light):
    data = touching(tmp_path / "cells")
    options = told(data, labels="otsu", rounds=1, objects="recipe", tta="recipe")
    summary = run_setup(PATCHED, options, QUIET)
    children = children_of(summary.run_id)
    assert [child.data.tags["role"] for child in children] == ["round", "final"]
    assert summary.figures["test/native_dice"] > 0.5
    assert {"baseline/labels_native_dice", "gain/over_labels"} <= set(summary.figures)
    assert "gain/of_tta" not in summary.figures


def test_borders_between_objects_that_never_touch_work_and_are_called_pointless(store, tmp_path, light):
    console = Console(file=io.StringIO(), width=200)
    summary = run_setup(PATCHED, told(touching(tmp_path / "cells", 12, apart=True), epochs=1, tta="recipe"), console)
    assert "objects=border is pointless here: no two objects touch" in console.file.getvalue()
    assert np.isfinite(summary.figures["test/ap50"])
