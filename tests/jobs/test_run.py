"""A whole small search: what MLflow holds afterwards."""

import dataclasses
import io
import types

import keras
import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient
from PIL import Image
from rich.console import Console

from unetlab.data import open_dataset
from unetlab.errors import UserError
from unetlab.images.otsu import otsu_mask
from unetlab.jobs import trial
from unetlab.jobs.check import run_check
from unetlab.jobs.run import run_setup
from unetlab.metrics import membranes, thresholds
from unetlab.models import NETWORKS, Network
from unetlab.options import Options
from unetlab.service.registry import register
from unetlab.setup import Recipe, Setup
from unetlab.training import callbacks, fit

RECIPE = Recipe(image_size=32, channels=1, epochs=2, batch_size=4, learning_rate=1e-2, model={"filters": 2, "depth": 2})


def _space(hp, recipe):
    hp.Choice("image_size", [32, 64], default=recipe.image_size)
    hp.Float("learning_rate", 1e-3, 3e-2, sampling="log", default=recipe.learning_rate)
    hp.Choice("loss", ["bce", "dice"], default=recipe.loss)


TINY = Setup(name="tiny", network="scratch", recipe=RECIPE, space=_space, published={"val_accuracy": 0.9})
QUIET = Console(file=io.StringIO())
ALL = {"dice", "iou", "accuracy", "precision", "recall", "f1", "boundary_f1", "auc", "ece"} | {
    "native_dice",
    "native_iou",
    "ap50",
    "ap_dsb",
    "count_error",
}


def _children(run_id: str) -> list:
    client = MlflowClient()
    experiment = client.get_run(run_id).info.experiment_id
    return client.search_runs([experiment], f"tags.mlflow.parentRunId = '{run_id}'", order_by=["start_time ASC"])


@pytest.fixture(scope="module")
def searched(tmp_path_factory, migrated):
    """A finished search of three trials of which one fails; shared by the tests below."""
    import shutil

    from conftest import write_pairs

    folder = tmp_path_factory.mktemp("searched")
    shutil.copy(migrated, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
        real, calls = fit.fit, []

        def fails_once(*args, **kwargs):
            calls.append(args[1])
            if len(calls) == 2:
                raise callbacks.TrainingFailed("the loss became nan in epoch 1, step 2")
            return real(*args, **kwargs)

        patch.setattr(fit, "fit", fails_once)
        data = write_pairs(folder / "cells", n=24)
        summary = run_setup(TINY, Options(data=str(data), trials=3, seed=1), QUIET)
        yield summary
    mlflow.set_tracking_uri(None)


def test_the_parent_carries_the_final_scores_beside_the_published_figures(searched):
    run = MlflowClient().get_run(searched.run_id)
    for side in ("val", "test"):
        assert {f"{side}/{name}" for name in ALL} <= set(run.data.metrics)
    assert run.data.metrics["published/val_accuracy"] == 0.9
    assert {"baseline/otsu_native_dice", "gain/over_otsu", "gain/over_reference", "test/dice_low"} <= set(
        run.data.metrics
    )
    assert run.data.metrics["test/dice_low"] <= run.data.metrics["test/dice"] <= run.data.metrics["test/dice_high"]
    assert len(run.data.metrics) < 60
    tags = run.data.tags
    assert (tags["setup"], tags["role"], tags["dataset"]) == ("tiny", "search", "cells")
    assert tags["dataset_digest"] and tags["split_digest"] and tags["git_commit"]
    assert {"trials", "seed", "best_learning_rate", "best_image_size"} <= set(run.data.params)
    contexts = [tag.value for entry in run.inputs.dataset_inputs for tag in entry.tags]
    assert sorted(contexts) == ["testing", "training", "validation"]


def test_trials_are_children_and_a_failed_one_keeps_its_traceback(searched):
    children = _children(searched.run_id)
    assert [c.data.tags["role"] for c in children] == ["trial", "trial", "trial", "final"]
    assert [c.info.status for c in children] == ["FINISHED", "FAILED", "FINISHED", "FINISHED"]
    reference = children[0]
    assert reference.info.run_name == "trial 00 reference"
    assert {k: reference.data.params[k] for k in ("image_size", "learning_rate", "loss", "epochs", "filters")} == {
        "image_size": "32",
        "learning_rate": "0.01",
        "loss": "bce",
        "epochs": "2",
        "filters": "2",
    }
    text = mlflow.artifacts.load_text(f"runs:/{children[1].info.run_id}/traceback.txt")
    assert "TrainingFailed: the loss became nan in epoch 1, step 2" in text
    for child in (children[0], children[2]):
        assert {"epoch/loss", "epoch/val_dice", "epoch/learning_rate", "epoch/seconds"} <= set(child.data.metrics)
        history = MlflowClient().get_metric_history(child.info.run_id, "epoch/loss")
        assert [point.step for point in history] == [1, 2]
        assert {f"val/{name}" for name in ALL} <= set(child.data.metrics)
        assert not [name for name in child.data.metrics if name.startswith("test/")]


def test_only_the_final_model_is_scored_on_test_and_once(searched):
    final = _children(searched.run_id)[-1]
    assert len(MlflowClient().get_metric_history(final.info.run_id, "test/dice")) == 1
    table = pd.read_csv(io.StringIO(mlflow.artifacts.load_text(f"runs:/{searched.run_id}/scores/test.csv")))
    assert len(table) == int(searched.figures["test/images"])
    assert table["dice"].mean() == pytest.approx(final.data.metrics["test/dice"])
    assert {"otsu_dice", "otsu_native_dice", "reference_dice", "reference_native_dice"} <= set(table)


def test_artifacts_a_person_looks_for_are_there(searched):
    client = MlflowClient()
    final = _children(searched.run_id)[-1]
    names = {a.path for a in client.list_artifacts(final.info.run_id)}
    assert {"curves.png", "predictions.png", "confusion.png", "reliability.png", "classification_report.txt"} <= names
    parent = {a.path for a in client.list_artifacts(searched.run_id)}
    assert {"data_card.json", "test_dice.png", "search", "scores"} <= parent
    trials = pd.read_csv(io.StringIO(mlflow.artifacts.load_text(f"runs:/{searched.run_id}/search/trials.csv")))
    assert trials["status"].tolist() == ["COMPLETED", "FAILED", "COMPLETED"]
    space = mlflow.artifacts.load_dict(f"runs:/{searched.run_id}/search/space.json")
    assert space == {"learning_rate": {"low": 1e-3, "high": 3e-2}}  # two sizes have no middle, losses no order


def test_models_are_linked_to_run_data_and_scores(searched):
    client = MlflowClient()
    model = client.get_logged_model(searched.model_id)
    assert model.source_run_id == _children(searched.run_id)[-1].info.run_id
    metrics = {metric.key: metric for metric in model.metrics}
    assert {"val/dice", "val/accuracy", "test/dice", "test/accuracy"} <= set(metrics)
    assert metrics["test/dice"].dataset_name == "cells-test"
    experiment = client.get_run(searched.run_id).info.experiment_id
    assert len(client.search_logged_models([experiment])) == 3  # two trials and the final one


def test_the_run_table_has_its_view(searched):
    tags = MlflowClient().get_experiment(searched.experiment_id).tags
    for view in ("unetlab-dice", "unetlab-searches"):
        state = tags[f"mlflow.sharedViewState.{view}"]
        assert "metrics.`val/native_dice`" in state and "metrics.`test/native_dice`" in state
    assert '"orderByKey": "metrics.`val/native_dice`"' in tags["mlflow.sharedViewState.unetlab-dice"]
    assert "mlflow.note.content" in tags


def test_a_worthless_model_is_registered_and_no_champion(searched):
    said = str(register(searched.run_id))
    assert said.startswith("unetlab-tiny version 1 is challenger: no model becomes champion with H002 or H003")
    version = MlflowClient().get_model_version_by_alias("unetlab-tiny", "challenger")
    assert version.run_id == searched.run_id and "Test Dice" in version.description
    assert version.tags["split_digest"]
    trial = _children(searched.run_id)[0].info.run_id
    with pytest.raises(UserError, match="has no final model"):
        register(trial)


def test_one_trial_trains_the_recipe_once_and_models_best_logs_one(store, pairs):
    options = Options(data=str(pairs), trials=1, models="best", epochs=1)
    summary = run_setup(TINY, options, QUIET)
    assert [child.data.tags["role"] for child in _children(summary.run_id)] == ["final"]
    assert len(MlflowClient().search_logged_models([summary.experiment_id])) == 1


def test_every_trial_failing_is_said_in_one_line(store, pairs, monkeypatch):
    def fails(*_, **__):
        raise callbacks.TrainingFailed("the loss became nan in epoch 1, step 1")

    monkeypatch.setattr(fit, "fit", fails)
    with pytest.raises(UserError, match="every trial failed"):
        run_setup(TINY, Options(data=str(pairs), trials=2), QUIET)
    assert mlflow.search_runs(search_all_experiments=True)["status"].eq("FAILED").all()


def test_the_same_seed_gives_the_same_scores(store, pairs):
    options = Options(data=str(pairs), trials=1, seed=3, precision="float32")
    one, two = (run_setup(TINY, options, QUIET).figures for _ in range(2))
    keys = [key for key in one if key.startswith(("val/", "test/")) and key != "test/ms_per_image"]  # a wall time
    assert all(np.isclose(one[key], two[key]) for key in keys)


def test_check_logs_a_data_card(store, pairs, capsys):
    card = run_check(Options(data=str(pairs)))
    assert "12 images" in capsys.readouterr().out
    runs = mlflow.search_runs(search_all_experiments=True)
    assert runs.loc[0, "tags.role"] == "check"
    logged = mlflow.artifacts.load_dict(f"runs:/{runs.loc[0, 'run_id']}/data_card.json")
    assert logged["images"] == 12 and logged["digest"] == card.digest


@pytest.mark.slow
def test_memory_does_not_grow_over_trials(store, pairs):
    import resource

    def peak() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    options = Options(data=str(pairs), trials=4, epochs=1, models="best")
    run_setup(TINY, options, QUIET)
    before = peak()
    run_setup(TINY, dataclasses.replace(options, trials=30, seed=1), QUIET)
    assert peak() - before < 150_000  # KiB; a graph kept for each trial would be 600,000


def test_without_weights_every_trial_trains_the_encoder(store, pairs):
    from experiments import load_setup

    nuclei = load_setup("nuclei")
    recipe = nuclei.recipe.changed({"image_size": 32, "decoder_filters": 16})

    def space(hp, recipe):
        hp.Boolean("train_encoder", default=recipe.model["train_encoder"])
        hp.Choice("loss", ["bce", "dice", "focal"], default=recipe.loss)

    small = dataclasses.replace(nuclei, recipe=recipe, space=space)
    options = Options(data=str(pairs), trials=2, epochs=1, encoder_weights="none", models="best")
    summary = run_setup(small, options, QUIET)
    assert {child.data.params["train_encoder"] for child in _children(summary.run_id)} == {"true"}
    assert MlflowClient().get_run(summary.run_id).data.tags["encoder"] == "random, trained"


def _otsu_dice(pairs, run_id):
    """Mean Dice of Otsu's threshold against the given masks, over the test images of a run."""
    ids = pd.read_csv(mlflow.artifacts.download_artifacts(f"runs:/{run_id}/scores/test.csv"))["id"]
    data = open_dataset(str(pairs))
    dices = []
    for i in map(data.ids.index, ids):
        found, truth = otsu_mask(data.image(i)), data.labels(i) > 0
        dices.append(2 * (found & truth).sum() / (found.sum() + truth.sum()))
    return np.mean(dices)


def test_made_labels_teach_and_truth_only_scores(store, pairs):
    options = Options(data=str(pairs), trials=1, labels="consensus", rounds=1, models="best")
    summary = run_setup(dataclasses.replace(TINY, published_report="published table"), options, QUIET)
    run = MlflowClient().get_run(summary.run_id)
    assert run.data.metrics["label/dice"] > 0.9 and 0.9 < run.data.metrics["label/known"] <= 1
    assert {"baseline/labels_native_dice", "gain/over_labels", "gain/over_labels_low"} <= set(run.data.metrics)
    assert run.data.tags["scored_against"] == "masks" and run.data.tags["labels"] == "consensus"
    assert run.data.metrics["baseline/otsu_native_dice"] == pytest.approx(_otsu_dice(pairs, summary.run_id))
    children = _children(summary.run_id)
    assert [child.data.tags["role"] for child in children] == ["round", "final"]
    report = mlflow.artifacts.load_text(f"runs:/{children[-1].info.run_id}/classification_report.txt")
    assert "published table" in report and "macro avg" in report
    plain = run_setup(TINY, Options(data=str(pairs), trials=1, models="best"), QUIET)
    same = MlflowClient().get_run(plain.run_id).data.tags
    assert all(same[key] == run.data.tags[key] for key in ("dataset_digest", "split_digest"))


def _all_background(input_shape, weights=None, **model):
    inputs = keras.Input(input_shape)
    dark = keras.initializers.Constant(-5.0)
    found = keras.layers.Conv2D(1, 1, activation="sigmoid", kernel_initializer="zeros", bias_initializer=dark)
    return keras.Model(inputs, found(inputs))


def test_a_network_that_finds_no_foreground_teaches_no_round_and_is_final_itself(store, pairs, monkeypatch):
    recipe = dataclasses.replace(RECIPE, epochs=1, learning_rate=1e-9)
    monkeypatch.setitem(NETWORKS, "nothing", Network(_all_background, lambda model: 4))
    unlearning = dataclasses.replace(TINY, network="nothing", recipe=recipe)
    console = Console(file=io.StringIO(), width=200)
    options = Options(data=str(pairs), trials=1, labels="otsu", rounds=2, models="best")
    summary = run_setup(unlearning, options, console)
    assert "round 1: left out" in console.file.getvalue()
    (final,) = _children(summary.run_id)
    assert final.data.tags["role"] == "final"
    model = mlflow.get_logged_model(summary.model_id)
    assert model.tags["role"] == "final" and model.source_run_id == final.info.run_id


def test_images_without_masks_train_on_made_labels_and_nowhere_else(store, pairs):
    import shutil

    shutil.rmtree(pairs / "masks")
    with pytest.raises(UserError, match="no masks.*labels=consensus"):
        run_setup(TINY, Options(data=str(pairs), trials=1), QUIET)
    summary = run_setup(TINY, Options(data=str(pairs), trials=2, labels="otsu", rounds=0, models="best"), QUIET)
    run = MlflowClient().get_run(summary.run_id)
    assert run.data.tags["scored_against"] == "labels by otsu" and "label/dice" not in run.data.metrics


def test_flat_images_have_nothing_to_label(store, pairs):
    for grey, path in enumerate((pairs / "images").iterdir()):
        Image.new("L", (40, 40), 90 + grey).save(path)
    with pytest.raises(UserError, match="one flat colour"):
        run_setup(TINY, Options(data=str(pairs), trials=1, labels="kmeans"), QUIET)


def test_block_splits_and_membranes_are_scored(store, pairs):
    setup = dataclasses.replace(TINY, membranes=True)
    summary = run_setup(setup, Options(data=str(pairs), trials=1, split="blocks", models="best"), QUIET)
    assert {"test/native_v_rand", "test/native_v_info", "baseline/constant_native_v_rand"} <= set(summary.figures)
    assert summary.figures["test/images"] == 2


def test_membranes_are_searched_by_v_rand_and_cut_where_validation_says(store, pairs, monkeypatch):
    seen = []
    real = membranes.best_cut
    monkeypatch.setattr(membranes, "best_cut", lambda maps, truths: seen.append(real(maps, truths)) or seen[-1])
    setup = dataclasses.replace(TINY, membranes=True)
    summary = run_setup(setup, Options(data=str(pairs), trials=2, models="best"), QUIET)
    children = _children(summary.run_id)
    assert len(seen) == len(children) == 3  # a cut is chosen once a training, on validation, and never on test
    trials = pd.read_csv(mlflow.artifacts.download_artifacts(f"runs:/{summary.run_id}/search/trials.csv"))
    assert trials["objective"].tolist() == pytest.approx([c.data.metrics["val/native_v_rand"] for c in children[:2]])
    table = pd.read_csv(mlflow.artifacts.download_artifacts(f"runs:/{summary.run_id}/scores/test.csv"))
    columns = {f"{rival}native_v_rand" for rival in ("", "otsu_", "constant_", "reference_")}
    assert columns <= set(table) and summary.figures["test/native_v_rand"] == pytest.approx(
        table["native_v_rand"].mean()
    )
    assert "V_rand" in summary.headline() and summary.figures["val/best_threshold"] == seen[-1]


def test_a_constant_answer_and_otsu_s_polarity_are_settled_on_the_training_masks(store, pairs):
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


def test_the_threshold_that_is_best_on_validation_is_served_on_request(store, pairs, monkeypatch):
    monkeypatch.setattr(thresholds, "best_threshold", lambda *_: 0.15)
    options = Options(data=str(pairs), trials=1, models="best", seed=1, precision="float32")
    own, best = (
        run_setup(TINY, dataclasses.replace(options, threshold=how), QUIET) for how in ("recipe", "validation")
    )
    assert "test/native_dice_at_recipe_threshold" not in own.figures
    assert best.figures["test/native_dice"] == pytest.approx(own.figures["test/native_dice_at_best_threshold"])
    assert best.figures["test/native_dice_at_recipe_threshold"] == pytest.approx(own.figures["test/native_dice"])
    models = [mlflow.pyfunc.load_model(f"models:/{each.model_id}").unwrap_python_model() for each in (own, best)]
    assert [model.predictor.recipe.threshold for model in models] == [0.5, 0.15]
    assert mlflow.get_logged_model(best.model_id).params["served_threshold"] == "0.15"
    assert MlflowClient().get_run(best.run_id).data.params["best_threshold"] == "0.15"
    assert _children(best.run_id)[-1].data.params["served_threshold"] == "0.15"


def test_the_time_of_an_answer_is_that_of_the_model_as_served(store, pairs, monkeypatch):
    loaded, real = [], mlflow.pyfunc.load_model
    monkeypatch.setattr(mlflow.pyfunc, "load_model", lambda uri: loaded.append(uri) or real(uri))
    summary = run_setup(TINY, Options(data=str(pairs), trials=1, models="best", epochs=1), QUIET)
    assert loaded == [f"models:/{summary.model_id}"] and summary.figures["test/ms_per_image"] > 0


def test_hyperband_trains_what_it_judged_and_says_when_it_judges_none(store, pairs, monkeypatch):
    def short_ones_lead(bench, recipe, name, role, *_):
        if role == "trial":
            return types.SimpleNamespace(val={"native_dice": 1.0 / recipe.epochs}, recipe=recipe)
        raise UserError(f"{recipe.epochs} epochs")

    def space(hp, recipe):
        _space(hp, recipe)
        hp.Choice("epochs", [9, 30], default=recipe.epochs)

    monkeypatch.setattr(trial, "train", short_ones_lead)
    said = Console(file=io.StringIO(), width=300)
    setup = dataclasses.replace(TINY, recipe=RECIPE.changed({"epochs": 9}), space=space)
    with pytest.raises(UserError, match="^9 epochs$"):  # and neither 1, which led, nor 30, which nothing was judged by
        run_setup(setup, Options(data=str(pairs), trials=5, tuner="hyperband"), said)
    assert "after 13 trials; give trials=14 or more" in said.file.getvalue()
    with pytest.raises(UserError, match="epochs$"):
        run_setup(setup, Options(data=str(pairs), trials=3, tuner="grid"), said)
    assert "the grid has 88 points; the 3 trials are spread over it" in said.file.getvalue()
