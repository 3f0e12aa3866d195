"""A whole run of auto, from images that nothing was tuned on to a served model."""

import dataclasses
import re
import shutil

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient
from PIL import Image
from tiny_setup import QUIET, children_of, final_of

from experiments import load_setup
from unetlab.errors import UserError
from unetlab.inference.package import SETTINGS
from unetlab.jobs import epochs
from unetlab.jobs.run import run_setup
from unetlab.options import Options


def touching(folder, n=14):
    """images/ and masks/ of 40x60 pixels with three pairs of bright discs that touch."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    y, x = np.mgrid[:40, :60]
    for i in range(n):
        labels = np.zeros((40, 60), np.uint8)
        for pair, (top, left) in enumerate(zip(rng.integers(7, 33, 3), (10, 30, 50), strict=True)):
            for k in (0, 1):
                labels[(y - top - 10 * k + 5) ** 2 + (x - left) ** 2 < 30] = 1 + 2 * pair + k
        image = np.clip((labels > 0) * 150 + rng.normal(40, 10, labels.shape), 0, 255).astype(np.uint8)
        Image.fromarray(image).save(folder / "images" / f"{i:02d}.png")
        Image.fromarray(labels).save(folder / "masks" / f"{i:02d}.png")
    return folder


def test_auto_trains_what_it_says_and_ends_with_a_model_that_is_scored(store, tmp_path, light, monkeypatch):
    monkeypatch.setattr(epochs, "seconds_a_step", lambda *_: (1.5, ""))  # of which few fit, on whatever machine
    data = str(touching(tmp_path / "cells"))
    told = Options(data=data, masks="objects", groups="off", minutes=0.2, encoder_weights="none", precision="float32")
    summary = run_setup(load_setup("auto"), told, QUIET)
    table = pd.read_csv(mlflow.artifacts.download_artifacts(f"runs:/{summary.run_id}/configuration.csv"))
    said = table.set_index("what")
    assert not said.index.has_duplicates and said["chosen"].str.len().all() and (said["why"].str.len() > 10).all()
    logged, trained = MlflowClient().get_run(summary.run_id).data, final_of(summary.run_id).data.params
    assert trained["view"] == "patches" and logged.params["encoder_weights"] == "none"
    patch, batch, scale = (re.match(r"\D*([\d.]+)", said.loc[what, "chosen"])[1] for what in ("view", "batch", "scale"))
    assert (trained["image_size"], trained["batch_size"], float(trained["scale"])) == (patch, batch, float(scale))
    assert said.loc["training", "chosen"] == f"{trained['epochs']} epochs of {trained['draws']} patches"
    assert said.loc["smallest object", "chosen"] == f"{trained['least_object']} pixels"
    assert said.loc["network", "chosen"].startswith("U-Net of 16") and trained["filters"] == "16"
    assert said.loc["loss", "chosen"] == "cross-entropy and Dice" and trained["loss"] == "bce_dice"
    assert said.loc["objects", "chosen"].startswith("borders learnt") and trained["objects"] == "border"
    assert said.loc["mirror images and turns", "chosen"] == "all eight" and trained["flips"] == "both"
    assert said.loc["split", "chosen"].startswith("whole scenes") and logged.params["split"] == "random"

    wanted = {"test/native_dice", "test/ap50", "test/dice", "val/native_dice", "baseline/otsu_native_dice"}
    assert wanted <= set(summary.figures) and np.isfinite([summary.figures[name] for name in wanted]).all()
    assert all(logged.metrics[name] == pytest.approx(summary.figures[name]) for name in wanted)
    served = mlflow.pyfunc.load_model(f"models:/{summary.model_id}").unwrap_python_model().predictor.recipe
    of_one_mask = set(SETTINGS) - {"classes"}
    assert {each: str(getattr(served, each)) for each in of_one_mask} == {
        each: logged.params[f"best_{each}"] for each in of_one_mask
    }


def test_auto_learns_from_images_without_masks_and_lets_made_labels_choose_no_parting(
    store, tmp_path, light, monkeypatch
):
    monkeypatch.setattr(epochs, "seconds_a_step", lambda *_: (1.5, ""))
    data = touching(tmp_path / "cells")
    shutil.rmtree(data / "masks")
    told = Options(data=str(data), groups="off", minutes=0.3, encoder_weights="none", precision="float32")
    with pytest.raises(UserError, match="train on made labels: auto or pseudo-label with labels=consensus"):
        run_setup(load_setup("auto"), told, QUIET)
    summary = run_setup(load_setup("auto"), dataclasses.replace(told, labels="otsu", rounds=1), QUIET)
    logged, children = MlflowClient().get_run(summary.run_id).data, children_of(summary.run_id)
    assert logged.tags["scored_against"] == "labels by otsu"
    assert [child.data.tags["role"] for child in children] == ["round", "final"]
    for child in children:
        assert child.data.params["objects"] == "watershed" and "served_objects" not in child.data.params
    assert (logged.params["best_objects"], logged.params["best_seeds"]) == ("watershed", "0.0")
