"""What a scored model leaves: its run, its table, and masks as the served model answers."""

import io

import matplotlib.image
import mlflow
import numpy as np
import pandas as pd
import pytest
from conftest import write_pairs
from mlflow.tracking import MlflowClient
from PIL import Image
from taught_models import taught, tiny

from unetlab.data import cache, open_dataset
from unetlab.errors import UserError
from unetlab.jobs.evaluate import evaluate
from unetlab.service import mask_scoring, pages, scoring
from unetlab.service.shards import in_turn
from unetlab.tracking import read, thumbnails


def test_a_model_of_three_channels_on_grey_data_leaves_a_run_that_holds_all(store, pairs):
    model = taught(write_pairs(pairs.parent / "others", seed=3))
    found = evaluate(model, str(pairs))
    run = read.find_one(found.run_id)
    wanted = {"role": "evaluation", "setup": "tiny", "dataset": "pairs", "seen_images": "0"}
    assert wanted.items() <= run.tags.items() and run.tags["final_model"] == model.removeprefix("models:/")
    assert MlflowClient().get_run(run.tags["evaluated_run"]).data.tags["role"] == "search"
    assert run.tags["dataset_digest"] == open_dataset(str(pairs)).digest and run.sides == {"test": 12}

    table = read.table(run)
    assert list(table["id"]) == list(open_dataset(str(pairs)).ids)
    assert {"native_iou", "native_boundary_f1", "ap50", "ap_dsb", "count_true", "count_error", "tp"} <= set(table)
    assert run.metrics["test/native_dice"] == pytest.approx(table["native_dice"].mean())
    assert run.metrics["test/native_dice_low"] < run.metrics["test/native_dice"] < run.metrics["test/native_dice_high"]
    gain = (table["native_dice"] - table["otsu_native_dice"]).mean()
    assert run.metrics["gain/over_otsu"] == pytest.approx(gain) and "gain/over_constant_low" in run.metrics
    counts = table[["tp", "fp", "fn", "tn"]]
    assert (counts.sum(axis=1) == 1600).all()
    assert np.allclose(2 * table["tp"] / (2 * table["tp"] + table["fp"] + table["fn"]), table["native_dice"])

    assert [*read.table(run, "split.csv")] == ["id", "side", "group", "sha"]
    album = thumbnails.unpack(read.artifact(run, thumbnails.PATH))
    assert album.ids == tuple(table["id"]) and album.masks.shape == (12, 160, 160) and album.truth.any()
    for name in ("predictions.png", "test_dice.png", "confusion.png"):
        assert matplotlib.image.imread(io.BytesIO(read.artifact(run, name))).std() > 0.05
    assert read.json_artifact(run, "data_card.json")["images"] == 12
    assert "health" in run.tags and run.tags["command"].startswith("mlflow run . -e evaluate")
    assert "Otsu" in found.headline() and "12 images of 12 scenes" in found.headline()


def test_an_interval_of_scores_ends_at_one():
    table = pd.DataFrame({"id": list("abc"), "native_dice": [0.99, 0.98, 1.0], "otsu_native_dice": 0.5})
    table = table.assign(constant_native_dice=0.2, tp=1, fp=0, fn=0, tn=1)
    sheet = scoring.Sheet(table, b"", None)
    found = scoring.summarise(sheet, np.arange(3))
    assert found["test/native_dice_low"] < 0.99 < found["test/native_dice_high"] == 1
    assert found["gain/over_otsu_high"] > found["gain/over_otsu"] > 0


def test_it_is_scored_as_the_served_model_answers(store, pairs):
    model = tiny()
    table = read.table(read.find_one(evaluate(model, str(pairs)).run_id)).set_index("id")
    served = mlflow.pyfunc.load_model(model)
    path = pairs / "images" / "cell05.png"
    answer = served.predict(pd.DataFrame({"image": [path.read_bytes()]}))["mask"][0]
    mask = np.asarray(Image.open(io.BytesIO(answer))) > 0
    truth = np.asarray(Image.open(pairs / "masks" / "cell05.png")) > 0
    assert table["native_dice"]["cell05"] == pytest.approx(2 * (mask & truth).sum() / (mask.sum() + truth.sum()))


def test_a_killed_evaluation_goes_on_and_scores_each_image_once(store, pairs, monkeypatch):
    monkeypatch.setattr(scoring, "SHARD", 5)
    model, scored = tiny(), []

    def some(count):
        def spread(function, shards):
            for shard in shards[:count]:
                scored.append(shard.rows)
                yield shard, function(shard), ""
            if count < len(shards):
                raise KeyboardInterrupt

        return spread

    with pytest.raises(KeyboardInterrupt):
        evaluate(model, str(pairs), spread=some(2))
    found = evaluate(model, str(pairs), spread=some(9))
    assert scored == [(0, 1, 2, 3, 4), (5, 6, 7, 8, 9), (10, 11)]
    whole = evaluate(model, str(pairs))
    assert found.figures == whole.figures
    one, two = (read.table(read.find_one(each.run_id)) for each in (found, whole))
    pd.testing.assert_frame_equal(one, two)
    assert not list((cache.root() / "scored").iterdir())


def test_the_same_evaluation_begun_twice_is_refused_before_it_has_a_run(store, pairs):
    model, met = tiny(), []

    def meanwhile(function, shards):
        runs = len(mlflow.search_runs())
        with pytest.raises(UserError, match="^'evaluate .* on pairs', the same command, is being run by process"):
            evaluate(model, str(pairs))
        met.append(len(mlflow.search_runs()) - runs)
        yield from in_turn(function, shards)

    found = evaluate(model, str(pairs), spread=meanwhile)
    assert met == [0] and read.find_one(found.run_id).metrics["test/images"] == 12
    assert not list((cache.root() / "scored").iterdir())


def test_large_images_are_sent_a_few_at_a_time_and_change_nothing(store, pairs, monkeypatch):
    model, sent = tiny(), []
    real = mask_scoring.score_some
    monkeypatch.setattr(mask_scoring, "score_some", lambda *told: sent.append(len(told[2])) or real(*told))
    whole = evaluate(model, str(pairs))
    monkeypatch.setattr(pages, "BATCH_PIXELS", 40 * 40 * 5)
    found = evaluate(model, str(pairs))
    assert sent == [8, 4, 5, 5, 2] and found.figures == whole.figures


def test_of_many_images_some_get_thumbnails(store, pairs, monkeypatch):
    monkeypatch.setattr(thumbnails, "MOST", 5)
    run = read.find_one(evaluate(tiny(), str(pairs)).run_id)
    assert thumbnails.unpack(read.artifact(run, thumbnails.PATH)).ids == tuple(read.table(run)["id"][::3])
