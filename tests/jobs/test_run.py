"""A whole small search: what MLflow holds afterwards."""

import dataclasses
import io
from types import SimpleNamespace

import keras
import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient
from PIL import Image
from rich.console import Console
from scipy.ndimage import gaussian_filter
from tiny_setup import ALL, QUIET, RECIPE, TINY, children_of, final_of

from unetlab.data import open_dataset
from unetlab.errors import UserError
from unetlab.health.finding import HealthFinding
from unetlab.images.otsu import otsu_mask
from unetlab.jobs import run as jobs_run
from unetlab.jobs import trial as jobs_trial
from unetlab.jobs.run import run_setup
from unetlab.models import NETWORKS, Network
from unetlab.options import Options
from unetlab.service.registry import register
from unetlab.tracking import outbox


def test_the_parent_carries_the_final_scores_beside_the_published_figures(searched):
    run = MlflowClient().get_run(searched.run_id)
    for side in ("val", "test"):
        assert {f"{side}/{name}" for name in ALL} <= set(run.data.metrics)
    assert run.data.metrics["published/val_accuracy"] == 0.9
    assert {"baseline/otsu_native_dice", "gain/over_otsu", "gain/over_reference", "test/dice_low"} <= set(
        run.data.metrics
    )
    assert run.data.metrics["test/dice_low"] <= run.data.metrics["test/dice"] <= run.data.metrics["test/dice_high"]
    assert len(run.data.metrics) < 65
    tags = run.data.tags
    assert (tags["setup"], tags["role"], tags["dataset"]) == ("tiny", "search", "cells")
    assert tags["dataset_digest"] and tags["split_digest"] and tags["git_commit"]
    assert {"trials", "seed", "best_learning_rate", "best_image_size"} <= set(run.data.params)
    contexts = [tag.value for entry in run.inputs.dataset_inputs for tag in entry.tags]
    assert sorted(contexts) == ["testing", "training", "validation"]


def test_artifacts_a_person_looks_for_are_there(searched):
    client = MlflowClient()
    final = final_of(searched.run_id)
    names = {a.path for a in client.list_artifacts(final.info.run_id)}
    assert {"curves.png", "predictions.png", "confusion.png", "reliability.png", "classification_report.txt"} <= names
    parent = {a.path for a in client.list_artifacts(searched.run_id)}
    assert {"data_card.json", "test_dice.png", "search", "scores"} <= parent
    trials = pd.read_csv(io.StringIO(mlflow.artifacts.load_text(f"runs:/{searched.run_id}/search/trials.csv")))
    assert trials["status"].tolist() == ["COMPLETED", "FAILED", "COMPLETED"]
    space = mlflow.artifacts.load_dict(f"runs:/{searched.run_id}/search/space.json")
    assert space == {"learning_rate": {"low": 1e-3, "high": 3e-2}}  # two sizes have no middle, losses no order


def test_the_run_table_has_its_view(searched):
    tags = MlflowClient().get_experiment(searched.experiment_id).tags
    for view in ("unetlab-dice", "unetlab-searches"):
        state = tags[f"mlflow.sharedViewState.{view}"]
        assert "metrics.`val/native_dice`" in state and "metrics.`test/native_dice`" in state
    assert '"orderByKey": "metrics.`val/native_dice`"' in tags["mlflow.sharedViewState.unetlab-dice"]
    assert "mlflow.note.content" in tags


def test_a_worthless_model_is_registered_and_no_champion(searched):
    said = str(register(searched.run_id))
    assert said.startswith("unetlab-tiny version 1 is challenger: no model becomes champion with H002 or H003 or H005")
    version = MlflowClient().get_model_version_by_alias("unetlab-tiny", "challenger")
    assert version.run_id == searched.run_id and "Test Dice" in version.description
    assert version.tags["split_digest"]
    trial = children_of(searched.run_id)[0].info.run_id
    with pytest.raises(UserError, match="has no final model"):
        register(trial)


def test_one_trial_trains_the_recipe_once_and_models_best_logs_one(store, pairs, light):
    options = Options(data=str(pairs), trials=1, models="best", epochs=1)
    summary = run_setup(TINY, options, QUIET)
    assert [child.data.tags["role"] for child in children_of(summary.run_id)] == ["final"]
    assert len(MlflowClient().search_logged_models([summary.experiment_id])) == 1


def _otsu_dice(pairs, run_id):
    """Mean Dice of Otsu's threshold against the given masks, over the test images of a run."""
    ids = pd.read_csv(mlflow.artifacts.download_artifacts(f"runs:/{run_id}/scores/test.csv"))["id"]
    data = open_dataset(str(pairs))
    dices = []
    for i in map(data.ids.index, ids):
        found, truth = otsu_mask(data.image(i)), data.labels(i) > 0
        dices.append(2 * (found & truth).sum() / (found.sum() + truth.sum()))
    return np.mean(dices)


@pytest.mark.slow  # three trainings
def test_refit_learns_the_validation_images_too_and_claims_nothing_by_them(store, pairs, light, monkeypatch):
    learnt, fits = [], jobs_trial.fit.fit

    def noted(build, recipe, images, masks, train, validation, **rest):
        learnt.append((sorted(train), recipe.epochs, rest["minutes"]))
        return fits(build, recipe, images, masks, train, validation, **rest)

    monkeypatch.setattr(jobs_trial.fit, "fit", noted)
    options = Options(data=str(pairs), trials=2, models="best", epochs=2, refit=True, minutes=9.0)
    summary = run_setup(TINY, options, QUIET)
    final = final_of(summary.run_id)
    before = mlflow.get_run(final.data.tags["refit_of"])
    sides = pd.read_csv(io.StringIO(mlflow.artifacts.load_text(f"runs:/{summary.run_id}/split.csv")))
    both = int((sides["side"] != "test").sum())
    (*_, (rows, epochs, minutes)) = learnt
    assert learnt[0][2] > 0 == minutes and "gain/over_reference" not in summary.figures
    assert len(learnt) == 3 and len(rows) == both > len(learnt[0][0]) and not set(learnt[0][0]) - set(rows)
    assert epochs == before.data.metrics["train/best_epoch"]
    assert not [name for name in final.data.metrics if name.startswith(("val/", "epoch/val_"))]
    assert "epoch/loss" in final.data.metrics and "epoch/val_loss" in before.data.metrics
    told = mlflow.get_run(summary.run_id).data
    assert told.metrics["val/native_dice"] == before.data.metrics["val/native_dice"]
    assert told.tags["final_model"] == summary.model_id and summary.figures["test/native_dice"] >= 0
    with pytest.raises(UserError, match="refit=true with rounds=1"):
        run_setup(TINY, Options(data=str(pairs), labels="otsu", rounds=1, refit=True), QUIET)


def test_metrics_that_a_training_could_not_send_are_sent_when_the_run_ends(store, pairs, light, monkeypatch):
    """As where the server was away while it trained, and is back."""
    monkeypatch.setattr(outbox.Outbox, "_send", lambda self: None)
    console = Console(file=io.StringIO(), width=200)
    summary = run_setup(TINY, Options(data=str(pairs), trials=1, seed=1, precision="float32"), console)
    assert "metrics wait in" in console.file.getvalue()
    (child,) = children_of(summary.run_id)
    history = MlflowClient().get_metric_history(child.info.run_id, "epoch/loss")
    assert [metric.step for metric in history] == [1, 2]
    assert not list(outbox.folder().glob("*"))


def test_made_labels_teach_and_truth_only_scores(store, pairs, untraced):
    options = Options(data=str(pairs), trials=1, labels="consensus", rounds=1, models="best")
    summary = run_setup(dataclasses.replace(TINY, published_report="published table"), options, QUIET)
    run = MlflowClient().get_run(summary.run_id)
    assert run.data.metrics["label/dice"] > 0.9 and 0.9 < run.data.metrics["label/known"] <= 1
    assert {"baseline/labels_native_dice", "gain/over_labels", "gain/over_labels_low"} <= set(run.data.metrics)
    assert run.data.tags["scored_against"] == "masks" and run.data.tags["labels"] == "consensus"
    assert run.data.metrics["baseline/otsu_native_dice"] == pytest.approx(_otsu_dice(pairs, summary.run_id))
    children = children_of(summary.run_id)
    assert [child.data.tags["role"] for child in children] == ["round", "final"]
    report = mlflow.artifacts.load_text(f"runs:/{children[-1].info.run_id}/classification_report.txt")
    assert "published table" in report and "macro avg" in report
    plain = jobs_run.look(TINY, Options(data=str(pairs)), QUIET)
    assert run.data.tags["dataset_digest"] == plain.dataset.digest
    assert run.data.tags["split_digest"] == plain.sides.digest


def _all_background(input_shape, weights=None, **model):
    inputs = keras.Input(input_shape)
    dark = keras.initializers.Constant(-5.0)
    found = keras.layers.Conv2D(1, 1, activation="sigmoid", kernel_initializer="zeros", bias_initializer=dark)
    return keras.Model(inputs, found(inputs))


def test_a_network_that_finds_no_foreground_teaches_no_round_and_is_final_itself(store, pairs, light, monkeypatch):
    recipe = dataclasses.replace(RECIPE, epochs=1, learning_rate=1e-9)
    monkeypatch.setitem(NETWORKS, "nothing", Network(_all_background, lambda model: 4))
    unlearning = dataclasses.replace(TINY, network="nothing", recipe=recipe)
    console = Console(file=io.StringIO(), width=200)
    options = Options(data=str(pairs), trials=1, labels="otsu", rounds=2, models="best")
    summary = run_setup(unlearning, options, console)
    assert "round 1: left out" in console.file.getvalue()
    (final,) = children_of(summary.run_id)
    assert final.data.tags["role"] == "final"
    model = mlflow.get_logged_model(summary.model_id)
    assert model.tags["role"] == "final" and model.source_run_id == final.info.run_id


def test_images_without_masks_train_on_made_labels_and_nowhere_else(store, pairs, light):
    import shutil

    shutil.rmtree(pairs / "masks")
    with pytest.raises(UserError, match="no masks.*labels=consensus"):
        run_setup(TINY, Options(data=str(pairs), trials=1), QUIET)
    summary = run_setup(TINY, Options(data=str(pairs), trials=2, labels="otsu", rounds=0, models="best"), QUIET)
    run = MlflowClient().get_run(summary.run_id)
    assert run.data.tags["scored_against"] == "labels by otsu" and "label/dice" not in run.data.metrics


def test_a_headline_has_an_interval_where_there_is_one():
    figures = {"test/native_dice": 0.9, "test/images": 1.0, "test/scenes": 1.0, "baseline/otsu_native_dice": 0.8}
    figures["test/accuracy"] = 0.95
    said = jobs_run.Summary("r", "1", "m", figures, "tiny").headline()
    assert said.startswith("tiny: test Dice 0.9000 at native size (1 images in 1 scenes; Otsu 0.8000), ")
    ends = {"test/native_dice_low": 0.85, "test/native_dice_high": 0.95}
    assert "(95 % 0.8500 to 0.9500, 1 images" in jobs_run.Summary("r", "1", "m", figures | ends, "tiny").headline()


def test_brackets_in_findings_and_decisions_are_no_markup(store, monkeypatch):
    said = io.StringIO()
    finding = HealthFinding("H001", "title", "image [b] is odd", "look at [i]", {})
    monkeypatch.setattr(jobs_run.examine, "examine", lambda run_id: [finding])
    monkeypatch.setattr(jobs_run, "register", lambda run_id: "version 1: a [b] reason")
    final = SimpleNamespace(served=RECIPE, model_id="m-1")
    with mlflow.start_run() as run:
        jobs_run._end(run.info.run_id, {}, final, Options(register=True), Console(file=said, width=200))
    assert said.getvalue() == "H001 title: image [b] is odd look at [i]\nversion 1: a [b] reason\n"


def test_flat_images_have_nothing_to_label(store, pairs):
    for grey, path in enumerate((pairs / "images").iterdir()):
        Image.new("L", (40, 40), 90 + grey).save(path)
    with pytest.raises(UserError, match="one flat colour"):
        run_setup(TINY, Options(data=str(pairs), trials=1, labels="kmeans"), QUIET)


def test_block_splits_and_membranes_are_scored(store, pairs, light):
    setup = dataclasses.replace(TINY, membranes=True)
    summary = run_setup(setup, Options(data=str(pairs), trials=1, split="blocks", models="best"), QUIET)
    assert {"test/native_v_rand", "test/native_v_info", "baseline/constant_native_v_rand"} <= set(summary.figures)
    assert summary.figures["test/images"] == 2


def test_sections_that_look_like_copies_are_split_by_blocks_and_are_one_scene_in_every_test(store, tmp_path, light):
    folder, noise = tmp_path / "stack", np.random.default_rng(0)
    kept = gaussian_filter(noise.normal(size=(64, 64)), 3)
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for k in range(24):
        kept = 0.99 * kept + 0.14 * gaussian_filter(noise.normal(size=(64, 64)), 3)  # a slow walk
        grey = np.clip(128 + 400 * kept, 0, 255).astype(np.uint8)
        Image.fromarray(grey).save(folder / "images" / f"section{k:02d}.png")
        Image.fromarray((grey > 128).astype(np.uint8) * 255).save(folder / "masks" / f"section{k:02d}.png")
    told = Options(data=str(folder), split="blocks", epochs=1)
    images = jobs_run.look(TINY, told, QUIET)
    assert len(set(images.card.groups)) < 5 and {pair.kind for pair in images.card.scenes.joined} >= {"copy"}
    sides = images.sides.train, images.sides.validation, images.sides.test
    assert sum(map(len, sides)) == 22  # none is left out as a copy
    summary = run_setup(TINY, told, QUIET)
    assert summary.figures["test/images"] == 4
    assert summary.figures["test/scenes"] == len(set(images.card.groups[images.sides.test])) < 3
    assert "H005" not in mlflow.get_run(summary.run_id).data.tags["health"]  # though blocks part its scene


def test_blocks_that_part_a_group_that_was_told_are_refused(store, pairs, light):
    names = sorted(path.stem for path in (pairs / "images").iterdir())
    for group, refused in ((lambda i: 0 if i < 8 else i, True), (lambda i: i, False)):
        lines = [f"{name},{group(i)}" for i, name in enumerate(names)]
        (pairs / "groups.csv").write_text("\n".join(["id,group", *lines, ""]))
        told = Options(data=str(pairs), split="blocks", epochs=1)
        if refused:
            with pytest.raises(UserError, match="split=blocks parts a group of groups.csv.*split=random"):
                run_setup(TINY, told, QUIET)
        else:
            assert run_setup(TINY, told, QUIET).figures["test/scenes"] > 1
