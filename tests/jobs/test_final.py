"""The final model: scored on test once, beside rivals that learn nothing, and timed as served."""

import io
from types import SimpleNamespace

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient
from PIL import Image
from tiny_setup import QUIET, TINY, final_of

from unetlab.data import open_dataset
from unetlab.data.classes import UNKNOWN
from unetlab.data.dataset import FittedDataset
from unetlab.inference.predict import Maps
from unetlab.jobs import mask_scores
from unetlab.jobs.run import run_setup
from unetlab.options import Options


def test_only_the_final_model_is_scored_on_test_and_once(searched):
    final = final_of(searched.run_id)
    assert len(MlflowClient().get_metric_history(final.info.run_id, "test/dice")) == 1
    table = pd.read_csv(io.StringIO(mlflow.artifacts.load_text(f"runs:/{searched.run_id}/scores/test.csv")))
    assert len(table) == int(searched.figures["test/images"])
    assert table["dice"].mean() == pytest.approx(final.data.metrics["test/dice"])
    assert {"otsu_dice", "otsu_native_dice", "reference_dice", "reference_native_dice"} <= set(table)


def test_models_are_linked_to_run_data_and_scores(searched):
    client = MlflowClient()
    model = client.get_logged_model(searched.model_id)
    assert model.source_run_id == final_of(searched.run_id).info.run_id
    metrics = {metric.key: metric for metric in model.metrics}
    assert {"val/dice", "val/accuracy", "test/dice", "test/accuracy"} <= set(metrics)
    assert metrics["test/dice"].dataset_name == "cells-test"
    experiment = client.get_run(searched.run_id).info.experiment_id
    assert len(client.search_logged_models([experiment])) == 2  # two trials, the better of which is the final one


def test_a_constant_answer_and_otsu_s_polarity_are_settled_on_the_training_masks(store, pairs, light):
    for path in (pairs / "masks").iterdir():  # foreground is all but the cells, and the larger side
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    summary = run_setup(TINY, Options(data=str(pairs), trials=1, models="best"), QUIET)
    run = MlflowClient().get_run(summary.run_id)
    table = pd.read_csv(mlflow.artifacts.download_artifacts(f"runs:/{summary.run_id}/scores/test.csv"))
    assert (run.data.tags["otsu_polarity"], run.data.tags["constant_answer"]) == ("dark", "foreground")
    assert mlflow.get_logged_model(summary.model_id).tags["otsu_polarity"] == "dark"
    assert run.data.metrics["baseline/otsu_native_dice"] > 0.95
    share = [(data_labels > 0).mean() for data_labels in _test_labels(pairs, table["id"])]
    assert table["constant_native_dice"].tolist() == pytest.approx([2 * each / (1 + each) for each in share])
    assert run.data.metrics["baseline/constant_native_dice"] == pytest.approx(table["constant_native_dice"].mean())
    assert {"gain/over_constant", "gain/over_constant_low", "gain/over_constant_high"} <= set(run.data.metrics)


def _test_labels(folder, ids):
    data = open_dataset(str(folder))
    return [data.labels(data.ids.index(each)) for each in ids]


def test_the_time_of_an_answer_is_that_of_the_model_as_served(store, pairs, light, monkeypatch):
    loaded, real = [], mlflow.pyfunc.load_model
    monkeypatch.setattr(mlflow.pyfunc, "load_model", lambda uri: loaded.append(uri) or real(uri))
    summary = run_setup(TINY, Options(data=str(pairs), trials=1, models="best", epochs=1), QUIET)
    assert loaded == [f"models:/{summary.model_id}"] and summary.figures["test/ms_per_image"] > 0


def test_what_is_found_is_drawn_as_it_is_and_unknown_ground_is_told():
    masks = np.zeros((3, 4, 4, 1), np.uint8)
    masks[2, :, 2:] = UNKNOWN
    truth = SimpleNamespace(fitted=lambda recipe: FittedDataset(masks, masks))
    bench = SimpleNamespace(truth=truth, split=SimpleNamespace(test=np.array([0, 2])))
    tested = SimpleNamespace(maps=Maps(np.full((2, 4, 4), 0.9, np.float32)))
    found = mask_scores.found_masks(tested, TINY.recipe)
    assert found[0].all() and found[1].all()
    assert mask_scores.known_ground(bench, TINY.recipe, 0).all()
    assert np.array_equal(mask_scores.known_ground(bench, TINY.recipe, 1), np.tile([True, True, False, False], (4, 1)))
