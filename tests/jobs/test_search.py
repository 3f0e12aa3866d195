"""A search: what it keeps, what it searches by, and what it judges."""

import dataclasses
import io
import types

import mlflow
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from rich.console import Console
from tiny_setup import QUIET, RECIPE, TINY, children_of, final_of, space_of_three

from unetlab.data import cache
from unetlab.errors import Stopped, UserError
from unetlab.jobs import final, judge, resume, search, trial, worker
from unetlab.jobs.run import run_setup
from unetlab.metrics import membranes
from unetlab.options import Options
from unetlab.search.rung import Rung
from unetlab.training import fit


@pytest.mark.slow  # three trainings
def test_membranes_are_searched_by_v_rand_and_cut_where_validation_says(store, pairs, light, monkeypatch):
    seen = []
    real = membranes.best_cut
    monkeypatch.setattr(membranes, "best_cut", lambda maps, truths: seen.append(real(maps, truths)) or seen[-1])
    setup = dataclasses.replace(TINY, membranes=True)
    summary = run_setup(setup, Options(data=str(pairs), trials=2, models="best"), QUIET)
    children = children_of(summary.run_id)
    assert len(seen) == len(children) == 2  # a cut is chosen once a training, on validation, and never on test
    trials = pd.read_csv(mlflow.artifacts.download_artifacts(f"runs:/{summary.run_id}/search/trials.csv"))
    assert trials["objective"].tolist() == pytest.approx([c.data.metrics["val/native_v_rand"] for c in children[:2]])
    table = pd.read_csv(mlflow.artifacts.download_artifacts(f"runs:/{summary.run_id}/scores/test.csv"))
    columns = {f"{rival}native_v_rand" for rival in ("", "otsu_", "constant_", "reference_")}
    assert columns <= set(table) and summary.figures["test/native_v_rand"] == pytest.approx(
        table["native_v_rand"].mean()
    )
    assert "V_rand" in summary.headline() and summary.figures["val/best_threshold"] == seen[-1]


def test_hyperband_trains_what_it_judged_and_says_when_it_judges_none(store, pairs, light, monkeypatch):
    def short_ones_lead(bench, recipe, name, role, tags, rung=None):
        epochs = rung.epochs if rung else recipe.epochs
        return types.SimpleNamespace(val={"native_dice": 1.0 / epochs}, epochs=epochs)

    def told(bench, outcome):
        raise UserError(f"{outcome.epochs} epochs")

    def space(hp, recipe):
        space_of_three(hp, recipe)
        hp.Choice("epochs", [9, 30], default=recipe.epochs)

    monkeypatch.setattr(trial, "train", short_ones_lead)
    monkeypatch.setattr(trial, "as_final", told)
    said = Console(file=io.StringIO(), width=300)
    setup = dataclasses.replace(TINY, recipe=RECIPE.changed({"epochs": 9}), space=space)
    with pytest.raises(UserError, match="^9 epochs$"):  # and neither 1, which led, nor 30, which nothing was judged by
        run_setup(setup, Options(data=str(pairs), trials=5, tuner="hyperband"), said)
    assert "after 13 trials; give trials=14 or more" in said.file.getvalue()
    with pytest.raises(UserError, match="epochs$"):
        run_setup(setup, Options(data=str(pairs), trials=3, tuner="grid"), said)
    assert "the grid has 88 points; the 3 trials are spread over it" in said.file.getvalue()


def test_the_best_trial_s_model_is_the_final_one_and_nothing_is_trained_again(store, pairs, light, monkeypatch):
    fits, scorings = [], []
    real_fit, real_score = fit.fit, trial.score_predicted
    monkeypatch.setattr(
        fit, "fit", lambda build, recipe, *a, **k: fits.append(recipe) or real_fit(build, recipe, *a, **k)
    )

    def scored(bench, maps, recipe, rows, *rest):
        scorings.append("test" if rows is bench.split.test else "validation")
        return real_score(bench, maps, recipe, rows, *rest)

    monkeypatch.setattr(trial, "score_predicted", scored)
    options = Options(data=str(pairs), trials=3, seed=1, models="best", precision="float32")
    summary = run_setup(TINY, options, QUIET)
    assert len(fits) == 3 and scorings.count("validation") == 3
    children, best = children_of(summary.run_id), final_of(summary.run_id)
    assert len(children) == 3 and best.data.metrics["val/native_dice"] == max(
        child.data.metrics["val/native_dice"] for child in children
    )
    client = mlflow.MlflowClient()
    (model,) = client.search_logged_models([summary.experiment_id])
    assert model.source_run_id == best.info.run_id and model.tags["role"] == "final"
    assert {"val/native_dice", "test/native_dice"} <= {metric.key for metric in model.metrics}
    # what it replaces: the best recipe trained once more, from the same seed, by itself
    recipe = fits[int(best.data.tags["trial"])]
    alone = run_setup(dataclasses.replace(TINY, recipe=recipe), dataclasses.replace(options, trials=1), QUIET)
    for name in ("val/native_dice", "val/auc", "test/native_dice", "test/auc", "train/loss", "val/loss"):
        assert summary.figures[name] == pytest.approx(alone.figures[name], abs=1e-6), name


def test_of_a_search_the_reference_and_the_best_so_far_are_kept(tmp_path):
    bench = types.SimpleNamespace(kept=resume.Kept("run", tmp_path))
    kept = search._Kept(bench, epochs=9)
    order = [(3, 0.9, 3), (0, 0.5, None), (1, 0.4, 9), (2, 0.7, 9), (4, 0.7, 9), (5, float("nan"), 9), (6, 0.95, 1)]
    for number, objective, epochs in order:
        (tmp_path / f"trial-{number}.done.npz").touch()
        kept.add(number, judge.Judged(objective, object()), None if epochs is None else Rung(epochs, None))
        assert len(kept.outcomes) <= 2
        assert {path.name for path in tmp_path.iterdir()} == {f"trial-{k}.done.npz" for k in kept.outcomes}
    assert set(kept.outcomes) == {0, 2}  # 3 and 6 were trained for less, 4 is no better than 2
    kept.add(7, judge.Judged(0.8, object()), None)
    kept.add(8, judge.Judged(0.99, None), None)  # of an earlier attempt, its weights are gone
    assert set(kept.outcomes) == {0, 7}


AWAY = "API request to http://h/api/2.0/mlflow/runs/get failed with exception HTTPConnectionPool"


@pytest.mark.parametrize("error", [MlflowException(AWAY), RuntimeError(f"MlflowException: {AWAY}")])
def test_a_server_that_goes_away_between_two_trials_stops_the_search_and_fails_no_trial(
    store, pairs, light, monkeypatch, error
):
    def away(*_):
        raise error  # here, or in the process of the trials, which hands on its words

    monkeypatch.setattr(worker.Workers, "judge", away)
    with pytest.raises(Stopped, match="the tracking server does not answer"):
        run_setup(TINY, Options(data=str(pairs), trials=2, precision="float32"), QUIET)
    (run,) = mlflow.MlflowClient().search_runs(["1"])
    assert run.info.status == "KILLED"


@pytest.mark.parametrize("lost", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_run_that_was_stopped_while_its_final_model_was_scored_goes_on(store, pairs, light, monkeypatch, lost):
    options = Options(data=str(pairs), trials=2, seed=1, models="best", precision="float32")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):

        def killed(*_):
            raise KeyboardInterrupt

        patch.setattr(final, "_log_pictures", killed)
        run_setup(TINY, options, QUIET)
    left = list((cache.root() / "unfinished").glob("*/trial-*.done.npz"))
    assert left
    for path in left if lost else ():
        path.unlink()
    fits, real = [], fit.fit
    monkeypatch.setattr(fit, "fit", lambda *a, **told: fits.append(a[1]) or real(*a, **told))
    summary = run_setup(TINY, options, QUIET)
    assert bool(fits) == lost  # without the weights that were kept the model can only be trained again
    finals = [child for child in children_of(summary.run_id) if child.data.tags["role"] == "final"]
    assert {child.info.status for child in children_of(summary.run_id)} == {"FINISHED"}
    assert summary.figures["test/native_dice"] == finals[-1].data.metrics["test/native_dice"]
    if not lost:
        assert len(finals) == 1 and len(mlflow.MlflowClient().search_logged_models([summary.experiment_id])) == 1


def test_a_search_that_had_ended_is_not_gone_on_with_after_its_best_was_tested(store, pairs, light, monkeypatch):
    options = Options(data=str(pairs), trials=9, minutes=1e-6, seed=1, models="best", precision="float32")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(final, "_log_pictures", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        run_setup(TINY, options, QUIET)
    monkeypatch.setattr(search, "_minutes_left", lambda *_: 60.0)  # as where what is between trials took the time
    monkeypatch.setattr(fit, "fit", lambda *_, **told: pytest.fail("trained"))
    summary = run_setup(TINY, options, QUIET)
    assert len([child for child in children_of(summary.run_id) if "trial" in child.data.tags]) == 1


@pytest.mark.slow  # a search of Hyperband, and its winner once more
def test_a_promoted_trial_goes_on_where_the_other_paused_and_ends_where_an_undisturbed_one_does(store, pairs, light):
    recipe = RECIPE.changed({"epochs": 3, "dropout": 0.2, "brightness": 0.1, "schedule": "cosine"})
    setup = dataclasses.replace(TINY, recipe=recipe)
    options = Options(data=str(pairs), trials=5, tuner="hyperband", seed=1, models="best", precision="float32")
    summary = run_setup(setup, options, QUIET)
    by_name = {child.data.tags["training"]: child for child in children_of(summary.run_id)}
    promoted = by_name["trial 4"]
    paused = by_name[promoted.data.tags["goes_on_with"]]
    assert (paused.data.tags["until_epoch"], promoted.data.tags["until_epoch"]) == ("1", "3")
    changed = {name: promoted.data.params[name] for name in ("image_size", "learning_rate", "loss")}
    values = {**changed, "image_size": int(changed["image_size"]), "learning_rate": float(changed["learning_rate"])}
    whole = dataclasses.replace(setup, recipe=recipe.changed(values))
    alone = run_setup(whole, dataclasses.replace(options, trials=1), QUIET)
    (undisturbed,) = children_of(alone.run_id)
    for name in ("val/native_dice", "val/auc", "train/best_epoch"):
        assert promoted.data.metrics[name] == pytest.approx(undisturbed.data.metrics[name], abs=1e-6), name

    def losses(run):
        points = mlflow.MlflowClient().get_metric_history(run.info.run_id, "epoch/loss")
        return [point.value for point in sorted(points, key=lambda point: point.step)]

    assert losses(promoted) == pytest.approx(losses(undisturbed), abs=1e-6) and len(losses(promoted)) == 3
    assert losses(paused) == losses(promoted)[:1]


def test_what_is_told_may_be_none_of_the_choices_of_the_space():
    def space(hp, recipe):
        hp.Choice("epochs", [10, 30], default=recipe.epochs)
        hp.Choice("filters", [8, 16], default=recipe.model["filters"])

    recipe = RECIPE.changed({"epochs": 10, "filters": 8})
    setup = dataclasses.replace(TINY, recipe=recipe, space=space, on_twin={"filters": 2})
    bench = types.SimpleNamespace(setup=setup, weights=None)
    told = Options(data="folder", epochs=2)
    assert [hp.name for hp in search._space(bench, recipe.changed({"epochs": 2}), told).space] == ["filters"]
    twin = recipe.changed({"epochs": 2, "filters": 2})
    assert not search._space(bench, twin, dataclasses.replace(told, data="synthetic")).space


def test_what_earlier_attempts_took_is_no_time_any_more():
    left = {
        "trial 0": types.SimpleNamespace(
            metrics={"train/whole_seconds": 20.0, "train/seconds": 50.0}, tags={}
        ),  # went on
        "trial 1": types.SimpleNamespace(metrics={}, tags={}),  # killed
        "trial 2": types.SimpleNamespace(
            metrics={"train/whole_seconds": 10.0, "train/seconds": 50.0}, tags={"goes_on_with": "trial 0"}
        ),
        "final": types.SimpleNamespace(metrics={"train/whole_seconds": 600.0}, tags={}),
    }
    bench = types.SimpleNamespace(kept=types.SimpleNamespace(left=left))
    minutes = [search._minutes_left(bench, Options(data="", minutes=each), 1) for each in (0.0, 3.0, 0.5)]
    assert minutes == [0.0, 2.0, pytest.approx(0, abs=1e-3)] and minutes[2] > 0  # 0 would be no limit
    assert search._minutes_left(bench, Options(data="", minutes=3.0), 2) == 2.5
