"""What a killed command left, and when the same command goes on with it."""

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from unetlab.errors import Stopped, UserError
from unetlab.jobs import resume
from unetlab.tracking import write

TOLD = {"role": "search"}


@pytest.fixture
def experiment(store):
    mlflow.set_experiment("unetlab")
    return mlflow.get_experiment_by_name("unetlab").experiment_id


def test_a_plan_goes_on_in_the_run_it_had_until_that_is_finished(experiment):
    history, values = pd.DataFrame({"loss": [0.5]}), {"lr": 0.1}
    with pytest.raises(Stopped), resume.going_on(experiment, "k", "one", TOLD, {}) as kept:
        with write.run("t", tags={"training": "trial 0"}, params=values, parent=kept.parent) as trial:
            mlflow.log_metric("val/dice", 0.25)
        kept.finish("trial 0", {"run_id": trial.info.run_id}, history, [np.arange(3)])
        with write.run("f", tags={"training": "trial 1", "failed": "the loss became nan"}, params=values):
            mlflow.end_run("FAILED")
        with write.run("u", tags={"training": "trial 2"}, params=values) as under_way:
            raise Stopped("the disk is full")
    assert {mlflow.get_run(each).info.status for each in (kept.parent, under_way.info.run_id)} == {"KILLED"}
    with resume.going_on(experiment, "k", "one", TOLD, {}) as again:
        assert again.parent == kept.parent and again.again
        assert again.objective("trial 0", values, "val/dice") == 0.25
        about, frame, weights = again.finished("trial 0", values)
        assert about["run_id"] == trial.info.run_id and frame["loss"].tolist() == [0.5] and weights[0].sum() == 3
        with pytest.raises(resume.FailedBefore, match="the loss became nan"):
            again.objective("trial 1", values, "val/dice")
        assert again.unfinished("trial 2", values) == under_way.info.run_id
        with pytest.raises(Stopped, match=r"trial 2 .* had lr=0.1, and now would have lr=0.2: .* fresh=true"):
            again.unfinished("trial 2", {"lr": 0.2})
        second = resume.going_on(experiment, "k", "one", TOLD, {})
        with pytest.raises(UserError, match="'one', the same command, is being run by process"), second:
            pass
    with resume.going_on(experiment, "k", "one", TOLD, {}) as other:
        assert other.parent != kept.parent and not other.left and not other.again


def test_a_search_that_is_stopped_leaves_no_trial_of_its_workers_running(experiment):
    client = MlflowClient()
    with pytest.raises(Stopped), resume.going_on(experiment, "k", "one", TOLD, {}) as kept:
        other = client.create_run(experiment, tags={"mlflow.parentRunId": kept.parent, "training": "trial 1"})
        raise Stopped("the disk is full")
    assert client.get_run(other.info.run_id).info.status == "KILLED"


def test_fresh_begins_anew_and_another_plan_is_another_run(experiment):
    with pytest.raises(KeyboardInterrupt), resume.going_on(experiment, "k", "one", TOLD, {}) as kept:
        raise KeyboardInterrupt
    for key, fresh in (("other", False), ("k", True)):
        with resume.going_on(experiment, key, "one", TOLD, {}, fresh) as other:
            assert other.parent != kept.parent


def test_work_of_a_version_whose_words_meant_something_else_is_not_the_same(monkeypatch):
    now = resume.plan_key(recipe={"objects": "border"})
    assert now == resume.plan_key(recipe={"objects": "border"})
    monkeypatch.setattr(resume, "MEANING", resume.MEANING - 1)
    assert now != resume.plan_key(recipe={"objects": "border"})


def test_what_kill_9_left_running_is_killed_also_where_the_next_begins_anew(experiment):
    going, trial = resume.going_on(experiment, "k", "one", TOLD, {}), {"training": "trial 0"}
    with going as kept, write.run("t", tags=trial, params={}) as begun:
        pass
    left = [kept.parent, begun.info.run_id]
    for run_id in left:
        MlflowClient().update_run(run_id, status="RUNNING")
    with resume.going_on(experiment, "k", "one", TOLD, {}, fresh=True) as other:
        assert other.parent != kept.parent and not other.left
        assert [mlflow.get_run(run_id).info.status for run_id in left] == ["KILLED", "KILLED"]


def test_a_final_model_that_was_being_scored_is_not_trained_again(experiment):
    history, values = pd.DataFrame({"loss": [0.5]}), {"lr": 0.1}
    with pytest.raises(Stopped), resume.going_on(experiment, "k", "one", TOLD, {}) as kept:
        with write.run("f", tags={"training": "final"}, params=values, parent=kept.parent) as final:
            kept.finish("final", {"run_id": final.info.run_id}, history, [np.arange(3)])
        MlflowClient().update_run(final.info.run_id, status="RUNNING")  # as its scoring does
        raise Stopped("killed")
    with resume.going_on(experiment, "k", "one", TOLD, {}) as again:
        about, _, _ = again.finished("final", values)
        assert about["run_id"] == final.info.run_id
        assert mlflow.get_run(final.info.run_id).info.status == "FINISHED"


def test_a_run_that_is_killed_as_soon_as_it_is_made_is_known_by_its_tags(experiment, monkeypatch):
    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(mlflow, "log_params", killed)
        with resume.going_on(experiment, "k", "one", TOLD, {"seed": 1}):
            pass
    (run,) = resume.runs_where(experiment, "tags.plan = 'k'")
    with resume.going_on(experiment, "k", "one", TOLD, {"seed": 1}) as again:
        assert again.parent == run.info.run_id
    assert mlflow.get_run(run.info.run_id).data.params == {"seed": "1"}


STOPS = [
    (
        OSError(28, "No space left on device", "/a/scores.csv"),
        r"cannot write /a/scores.csv \(No space left on device\)",
    ),
    (PermissionError(13, "Permission denied", "/a/mlruns"), r"cannot write /a/mlruns \(Permission denied\)"),
    (MlflowException("API request to http://h/api failed with timeout"), "the tracking server does not answer"),
    (
        MlflowException("API request to endpoint /api/2.0/x failed with error code 401 != 200. Response body: 'no'"),
        r"the tracking server refuses \(401\): set MLFLOW_TRACKING_USERNAME and .*, on workers too",
    ),
    (MlflowException("(sqlite3.OperationalError) database or disk is full"), "the tracking store cannot be written"),
]


@pytest.mark.parametrize(("error", "said"), STOPS)
def test_what_is_no_fault_of_the_run_stops_it_wherever_it_is_and_even_if_mlflow_cannot_be_told(
    experiment, monkeypatch, error, said
):
    def refuse(*_, **__):
        raise error

    going = resume.going_on(experiment, "k", "one", TOLD, {})
    with monkeypatch.context() as patch, pytest.raises(Stopped, match=said), going as kept:
        patch.setattr(MlflowClient, "set_terminated", refuse)
        raise error
    assert mlflow.active_run() is None and mlflow.get_run(kept.parent).info.status == "RUNNING"
    with resume.going_on(experiment, "k", "one", TOLD, {}) as again:
        assert again.parent == kept.parent and again.again
    with pytest.raises(ValueError, match="a fault"), resume.going_on(experiment, "other", "one", TOLD, {}) as kept:
        raise ValueError("a fault")
    assert mlflow.get_run(kept.parent).info.status == "FAILED"
