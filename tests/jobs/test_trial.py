"""Trials: children of their search, seeds, what is served, and one that fails."""

import dataclasses
from types import SimpleNamespace

import mlflow
import numpy as np
import pytest
from mlflow.tracking import MlflowClient
from tiny_setup import ALL, QUIET, TINY, children_of

from unetlab.errors import UserError
from unetlab.jobs import trial
from unetlab.jobs.run import run_setup
from unetlab.metrics import thresholds
from unetlab.options import Options
from unetlab.training import callbacks, fit


def test_trials_are_children_and_a_failed_one_keeps_its_traceback(searched):
    children = children_of(searched.run_id)
    assert sorted(c.data.tags["role"] for c in children) == ["final", "trial", "trial"]  # the best one is the final
    assert [c.info.status for c in children] == ["FINISHED", "FAILED", "FINISHED"]
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
        tested = [name for name in child.data.metrics if name.startswith("test/")]
        assert bool(tested) == (child.data.tags["role"] == "final")


def test_every_trial_failing_is_said_in_one_line(store, pairs, light, monkeypatch):
    def fails(*_, **__):
        raise callbacks.TrainingFailed("the loss became nan in epoch 1, step 1")

    monkeypatch.setattr(fit, "fit", fails)
    with pytest.raises(UserError, match="every trial failed"):
        run_setup(TINY, Options(data=str(pairs), trials=2), QUIET)
    assert mlflow.search_runs(search_all_experiments=True)["status"].eq("FAILED").all()


@pytest.mark.slow  # two runs
def test_the_same_seed_gives_the_same_scores(store, pairs, light):
    options = Options(data=str(pairs), trials=1, seed=3, precision="float32")
    one, two = (run_setup(TINY, options, QUIET).figures for _ in range(2))
    keys = [key for key in one if key.startswith(("val/", "test/")) and key != "test/ms_per_image"]  # a wall time
    assert all(np.isclose(one[key], two[key]) for key in keys)


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


@pytest.mark.slow  # traces an encoder of 53 layers
def test_without_weights_every_trial_trains_the_encoder(store, pairs, light, monkeypatch):
    from experiments import load_setup

    nuclei, begun = load_setup("nuclei"), []
    recipe = nuclei.recipe.changed({"image_size": 32, "decoder_filters": 16})

    def trained(bench, recipe, name, role, tags, rung=None):
        begun.append(recipe.model["train_encoder"])
        return SimpleNamespace(val={"native_dice": 0.5})

    def told(bench, outcome):
        raise UserError("enough")

    def space(hp, recipe):
        hp.Boolean("train_encoder", default=recipe.model["train_encoder"])
        hp.Choice("loss", ["bce", "dice", "focal"], default=recipe.loss)

    small = dataclasses.replace(nuclei, recipe=recipe, space=space)
    options = Options(data=str(pairs), trials=2, epochs=1, encoder_weights="none", models="best")
    monkeypatch.setattr(trial, "train", trained)
    monkeypatch.setattr(trial, "as_final", told)
    with pytest.raises(UserError, match="enough"):
        run_setup(small, options, QUIET)
    assert begun == [True, True]
    assert mlflow.search_runs(experiment_names=["unetlab"])["tags.encoder"].tolist() == ["random, trained"]


@pytest.mark.slow  # two runs
def test_the_threshold_that_is_best_on_validation_is_served_on_request(store, pairs, light, monkeypatch):
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
    assert children_of(best.run_id)[-1].data.params["served_threshold"] == "0.15"
