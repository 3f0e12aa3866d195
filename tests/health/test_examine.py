"""Runs in MLflow are gathered, checked and tagged."""

import mlflow
import pytest
from fake_runs import IDS, difficulty, log_setup_run, trials_csv

from unetlab.errors import UserError
from unetlab.health import examine
from unetlab.health.examine import check_run
from unetlab.tracking.read import find, find_one


def test_h007_counts_scorings_of_a_split_in_all_experiments_by_evaluations_and_by_deleted_runs(store):
    client = mlflow.MlflowClient()
    first = log_setup_run("a", difficulty())
    assert examine.gather(find_one(first)).test_scorings == 1
    log_setup_run("b", difficulty(), tags={"split_digest": "other"})
    log_setup_run("b", difficulty(), tags={"dataset_digest": "other"})
    assert examine.gather(find_one(first)).test_scorings == 1
    gone = log_setup_run("b", difficulty())
    client.delete_run(gone)
    elsewhere = client.create_experiment("elsewhere")
    same = {"dataset_digest": "d1", "split_digest": "s1"}
    for role in ("evaluation", "trial"):  # a trial is not scored on test, whatever it is called
        run = client.create_run(elsewhere, tags={**same, "role": role})
        client.log_metric(run.info.run_id, "test/native_dice", 0.9)
    client.create_run(elsewhere, tags={**same, "role": "search"})  # has not come to its test split
    data = examine.gather(find_one(first))
    assert data.test_scorings == 3 and data.peers.shape == (1, 30)
    (finding,) = examine.examine(first)
    assert finding.code == "H007" and "3 models were scored" in finding.explanation


def test_h007_counts_a_model_once_however_often_it_was_scored(store):
    client = mlflow.MlflowClient()
    first = log_setup_run("a", difficulty(), tags={"final_model": "m-1"})
    again = [log_setup_run("a", difficulty(), tags={"final_model": model}) for model in ("m-1", "m-2", "m-2")]
    for run_id in again:
        client.set_tag(run_id, "role", "evaluation")
    data = examine.gather(find_one(first))
    assert data.test_scorings == 2 and data.peers.shape == (1, 30)
    assert [examine.gather(find_one(run_id)).test_scorings for run_id in again] == [2, 2, 2]
    log_setup_run("b", difficulty())  # does not say which model is its own
    assert examine.gather(find_one(first)).test_scorings == 3


def test_a_run_in_mlflow_is_checked_and_tagged(store):
    trials = trials_csv(learning_rate=[1e-4, 1e-3, 1e-2], loss=["bce", "dice", "bce"])
    run_id = log_setup_run("a", difficulty(), artifacts={"search/trials.csv": trials}, finals=2)
    findings = examine.examine(run_id)
    assert [finding.code for finding in findings] == ["H004", "H007"]
    tags = mlflow.MlflowClient().get_run(run_id).data.tags
    assert tags["health"] == "H004 H007" and tags["health/H004"].startswith("best value at the edge")


def test_a_healthy_run_in_mlflow_is_tagged_healthy_and_other_seeds_are_read(store):
    first = log_setup_run("a", difficulty(), seed=0)
    log_setup_run("b", difficulty() - 0.1, seed=1, tags={"split_digest": "s2"})
    assert examine.examine(first) == []
    assert mlflow.MlflowClient().get_run(first).data.tags["health"] == "healthy"
    second = log_setup_run("a", difficulty() - 0.1, seed=1)
    assert [finding.code for finding in examine.examine(second)] == ["H007", "H008"]
    record = find_one(first)
    assert [finding.code for finding in check_run(examine.gather(record, find()))] == ["H007", "H008"]


def test_a_run_without_scores_is_one_line(store):
    client = mlflow.MlflowClient()
    run = client.create_run(client.get_experiment_by_name("unetlab").experiment_id, run_name="bare")
    with pytest.raises(UserError, match=r"bare .* has no scores/test.csv"):
        examine.examine(run.info.run_id)


def test_the_fake_runs_have_as_many_images_as_ids(store):
    assert len(examine.gather(find_one(log_setup_run("a", difficulty()))).scores) == len(IDS)


def test_an_evaluation_says_what_its_model_has_seen_and_nothing_of_seeds(store):
    for seed, shift in ((0, 0.0), (1, 0.3)):
        log_setup_run("nuclei", difficulty() - shift, seed=seed)
    run_id = log_setup_run("nuclei", difficulty() - 0.3, tags={"seen_images": "3 of 30"}, seed=2)
    mlflow.MlflowClient().set_tag(run_id, "role", "evaluation")
    codes = {finding.code: finding for finding in examine.examine(run_id)}
    assert "3 of 30 of these images" in codes["H005"].explanation and "H008" not in codes
    for said in ("0", "unknown: the model's run does not say"):
        mlflow.MlflowClient().set_tag(run_id, "seen_images", said)
        assert "H005" not in {finding.code for finding in examine.examine(run_id)}
