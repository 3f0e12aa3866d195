"""Registering a run's final model."""

from pathlib import Path

import mlflow
import numpy as np
import pytest
from conftest import log_tiny
from fake_runs import log_finished_run
from mlflow.tracking import MlflowClient

from unetlab.errors import UserError
from unetlab.service.registry import register_run, rollback

IDS = [f"image{i:02d}" for i in range(40)]
HARD = 0.9 - np.random.default_rng(0).gamma(1.2, 0.06, len(IDS))
"""Dice of a champion, image by image."""


def finished_run(dice: np.ndarray = HARD, **tags: str) -> str:
    """A setup's run as the training leaves it, with a final model and its Dice on each test image."""
    return log_finished_run(log_tiny().model_id, dice, IDS, **tags)


def champion() -> str:
    return str(MlflowClient().get_model_version_by_alias("unetlab-tiny", "champion").version)


def test_a_version_carries_run_scores_and_digests_and_the_first_is_champion(store):
    run_id = finished_run()
    decision = register_run(run_id)
    assert decision.promoted and str(decision) == "unetlab-tiny version 1 is champion: there was no champion"
    version = MlflowClient().get_model_version_by_alias("unetlab-tiny", "champion")
    assert version.run_id == run_id
    wanted = {
        "run_id": run_id,
        "setup": "tiny",
        "dataset_digest": "d1",
        "split_digest": "s1",
        "test/native_dice": "0.8750",
        "test/accuracy": "0.9600",
        "gate": "promoted",
    }
    assert wanted.items() <= version.tags.items()
    assert "Test Dice 0.8750" in version.description
    assert mlflow.pyfunc.load_model("models:/unetlab-tiny@champion").metadata.model_id
    assert "challenger" not in MlflowClient().get_registered_model("unetlab-tiny").aliases


def test_a_worse_challenger_is_refused_a_better_one_promoted_and_a_rollback_restores(store):
    client = MlflowClient()
    register_run(finished_run())
    refused = register_run(finished_run(HARD - 0.03))
    assert not refused.promoted and champion() == "1"
    assert str(client.get_model_version_by_alias("unetlab-tiny", "challenger").version) == "2"
    kept = client.get_model_version("unetlab-tiny", "2")
    assert kept.tags["gate"] == "refused" and kept.tags["gate/champion"] == "1"
    assert float(kept.tags["gate/high"]) < 0 and kept.tags["gate/images"] == "40"
    assert "not shown to be better than version 1" in kept.description

    noise = np.random.default_rng(1).normal(0, 0.01, len(IDS))
    better = register_run(finished_run(HARD + 0.02 + noise))
    assert better.promoted and champion() == "3"
    model = mlflow.pyfunc.load_model("models:/unetlab-tiny@champion")
    assert client.get_model_version("unetlab-tiny", "3").source == f"models:/{model.metadata.model_id}"
    assert client.get_model_version("unetlab-tiny", "1").tags["replaced_by"] == "3"

    assert rollback("unetlab-tiny") == "unetlab-tiny: champion is version 1 again, version 3 no longer"
    assert champion() == "1"
    assert mlflow.pyfunc.load_model("models:/unetlab-tiny@champion").metadata.model_id != model.metadata.model_id
    with pytest.raises(UserError, match="nothing to go back to"):
        rollback("unetlab-tiny")


def test_an_equal_model_and_one_within_the_margin_stay_challengers(store):
    register_run(finished_run())
    assert not register_run(finished_run()).promoted
    noise = np.random.default_rng(1).normal(0, 0.005, len(IDS))
    assert not register_run(finished_run(HARD + 0.02 + noise), margin=0.05).promoted
    near = register_run(finished_run(HARD + 0.02 + noise), margin=0.0195)
    assert not near.promoted and float(near.figures["p"]) > 0.05 and float(near.figures["low"]) > 0
    assert register_run(finished_run(HARD + 0.02 + noise), margin=0.01).promoted


@pytest.mark.parametrize(("tag", "word"), [("dataset_digest", "data"), ("split_digest", "split")])
def test_scores_of_other_images_promote_nobody_and_say_why(store, tag, word):
    register_run(finished_run())
    decision = register_run(finished_run(HARD + 0.05, **{tag: "other"}))
    assert not decision.promoted and champion() == "1"
    assert f"its {word} (other) is not that of the champion" in decision.reason
    assert decision.reason in MlflowClient().get_model_version("unetlab-tiny", "2").description


def test_rollbacks_go_back_one_champion_at_a_time(store):
    client = MlflowClient()
    noise = np.random.default_rng(1).normal(0, 0.005, len(IDS))
    for step in range(3):
        assert register_run(finished_run(HARD + 0.02 * step + step * noise)).promoted
    rollback("unetlab-tiny")
    assert champion() == "2" and "replaced_by" not in client.get_model_version("unetlab-tiny", "2").tags
    client.delete_model_version("unetlab-tiny", "1")
    with pytest.raises(UserError, match="version 1, champion before version 2, is gone"):
        rollback("unetlab-tiny")
    assert champion() == "2"


def test_a_champion_without_scores_stays_and_the_version_says_why(store):
    standing = finished_run()
    register_run(standing)
    artifacts = MlflowClient().get_run(standing).info.artifact_uri.removeprefix("file://")
    (Path(artifacts) / "scores" / "test.csv").unlink()
    decision = register_run(finished_run(HARD + 0.05))
    assert not decision.promoted and champion() == "1"
    assert "has no scores/test.csv" in MlflowClient().get_model_version("unetlab-tiny", "2").description


def test_a_negative_margin_and_an_unknown_model_are_refused(store):
    with pytest.raises(UserError, match="margin must be 0 or more"):
        register_run(finished_run(), margin=-0.1)
    with pytest.raises(UserError, match="no registered model 'unetlab-lungs'; there are: none"):
        rollback("unetlab-lungs")


@pytest.mark.parametrize("run_id", ["0" * 32, "../etc", "nuclei"])
def test_no_such_run(run_id, store):
    with pytest.raises(UserError, match=f"^no run {run_id} in this tracking store"):
        register_run(run_id)


def test_a_run_that_goes_on_is_refused(store):
    run_id = finished_run()
    MlflowClient().update_run(run_id, status="RUNNING")
    with pytest.raises(UserError, match="is running, not finished"):
        register_run(run_id)


def test_a_run_without_a_final_model_names_its_parent(store):
    with mlflow.start_run() as parent, mlflow.start_run(nested=True) as child:
        mlflow.set_tags({"setup": "tiny", "role": "trial"})
    expected = rf"\(role trial, child of run {parent.info.run_id}\) has no final model"
    with pytest.raises(UserError, match=expected):
        register_run(child.info.run_id)
