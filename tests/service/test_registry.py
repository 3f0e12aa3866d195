"""Registering a run's final model."""

from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from conftest import log_tiny
from fake_runs import log_finished_run, score_table
from mlflow.tracking import MlflowClient

from unetlab.errors import UserError
from unetlab.service import pairing, registry
from unetlab.service.registry import register_run, rollback

IDS = [f"image{i:02d}" for i in range(40)]
HARD = 0.9 - np.random.default_rng(0).gamma(1.2, 0.06, len(IDS))
"""Dice of a champion, image by image."""


def finished_run(dice: np.ndarray = HARD, **tags: str) -> str:
    """A setup's run as the training leaves it, with a final model and its Dice on each test image."""
    return log_finished_run(log_tiny().model_id, dice, IDS, **tags)


def champion() -> str:
    return str(MlflowClient().get_model_version_by_alias("unetlab-tiny", "champion").version)


def test_the_champion_s_own_run_spends_no_attempt_of_those_who_come_later(store):
    first = finished_run()
    assert register_run(first).promoted
    again = register_run(first)
    assert not again.promoted and champion() == "1" and "it is version 1, the champion, itself" in again.reason
    assert register_run(finished_run(HARD - 0.03)).figures["attempt"] == "1"


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
    assert kept.tags["gate"] == "refused" and kept.tags["gate/champion"] == "1" and kept.tags["gate/attempt"] == "1"
    assert float(kept.tags["gate/high"]) < 0 and kept.tags["gate/images"] == "40"
    assert "not shown to be better than version 1" in kept.description

    noise = np.random.default_rng(1).normal(0, 0.01, len(IDS))
    better = register_run(finished_run(HARD + 0.02 + noise))
    assert better.promoted and champion() == "3"
    model = mlflow.pyfunc.load_model("models:/unetlab-tiny@champion")
    assert client.get_model_version("unetlab-tiny", "3").source == f"models:/{model.metadata.model_id}"
    assert client.get_model_version("unetlab-tiny", "1").tags["replaced_by"] == "3"

    said = rollback("unetlab-tiny")
    assert said.startswith("unetlab-tiny: champion is version 1 again, version 3 no longer; a server that was started")
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
    assert not register_run(finished_run(HARD + 0.008 + noise)).promoted  # seeds differ by as much
    better = register_run(finished_run(HARD + 0.02 + noise))
    assert better.promoted and better.figures["attempt"] == "5" and better.figures["margin"] == "0.01"


def crowned_meanwhile(monkeypatch, *others: str) -> None:
    """Each time a challenger is paired with the champion another version becomes champion, as long as there are any."""
    real, left = pairing.pair, list(others)

    def pair(*told):
        if left:
            MlflowClient().set_registered_model_alias("unetlab-tiny", "champion", left.pop(0))
        return real(*told)

    monkeypatch.setattr(pairing, "pair", pair)


def test_a_challenger_meets_the_champion_that_was_named_while_it_was_compared(store, monkeypatch):
    client = MlflowClient()
    noise = np.random.default_rng(1).normal(0, 0.005, len(IDS))
    for dice in (HARD, HARD - 0.01):
        register_run(finished_run(dice))
    crowned_meanwhile(monkeypatch, "2")
    decision = register_run(finished_run(HARD + 0.03 + noise))
    assert decision.promoted and decision.figures["champion"] == "2" and "better than version 2" in decision.reason
    assert client.get_model_version("unetlab-tiny", "3").tags["previous_champion"] == "2"
    assert client.get_model_version("unetlab-tiny", "2").tags["replaced_by"] == "3"
    assert "replaced_by" not in client.get_model_version("unetlab-tiny", "1").tags


def test_a_champion_that_changes_all_the_time_stays(store, monkeypatch):
    noise = np.random.default_rng(1).normal(0, 0.005, len(IDS))
    for dice in (HARD, HARD - 0.01):
        register_run(finished_run(dice))
    crowned_meanwhile(monkeypatch, *["2", "1"] * 5)
    decision = register_run(finished_run(HARD + 0.03 + noise))
    assert not decision.promoted and decision.gate == "refused" and champion() in "12"
    assert "the champion changed 3 times while it was compared; register it again" in decision.reason


@pytest.mark.parametrize("tag", ["dataset_digest", "split_digest"])
def test_a_challenger_whose_data_cannot_be_had_again_promotes_nobody_and_says_why(store, tag):
    register_run(finished_run())
    decision = register_run(finished_run(HARD + 0.05, **{tag: "other"}))
    assert not decision.promoted and champion() == "1"
    assert "does not say which data it was tested on, so the champion cannot be scored" in decision.reason
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
    assert (
        "has no native_dice of each image in scores/test.csv"
        in MlflowClient().get_model_version("unetlab-tiny", "2").description
    )


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


def barred_run(code: str) -> str:
    """A run that is no better than one answer for every pixel, or than Otsu's threshold, or tested on what it saw."""
    run_id = finished_run()
    if code == "H005":
        sides = pd.DataFrame({"id": [*IDS, "other"], "side": ["test"] * len(IDS) + ["train"], "group": 0})
        with mlflow.start_run(run_id=run_id):
            mlflow.log_text(sides.to_csv(index=False), "split.csv")
        return run_id
    table = score_table(HARD, IDS)
    rival = "otsu_native_dice" if code == "H003" else "constant_native_dice"
    with mlflow.start_run(run_id=run_id):
        mlflow.log_text(table.assign(**{rival: table["native_dice"] + 0.01}).to_csv(index=False), "scores/test.csv")
    return run_id


@pytest.mark.parametrize("code", ["H002", "H003", "H005"])
def test_nobody_becomes_champion_with_a_barring_code_not_even_the_first_nor_by_accept(store, code):
    for extra in ({}, {"accept": True, "reason": "we need one today"}):
        decision = register_run(barred_run(code), **extra)
        assert not decision.promoted and decision.gate == "refused"
        assert f"no model becomes champion with H002 or H003 or H005, and it has {code} " in decision.reason
    model = MlflowClient().get_registered_model("unetlab-tiny")
    assert "champion" not in model.aliases and str(model.aliases["challenger"]) == "2"
    kept = MlflowClient().get_model_version("unetlab-tiny", "1")
    assert kept.tags["gate"] == "refused" and code in kept.tags["health"].split() and code in kept.description
    assert register_run(finished_run()).promoted  # and a sound one does


def test_a_model_of_small_objects_whose_accuracy_is_that_of_background_may_be_champion(store):
    run_id = finished_run()
    table = score_table(HARD, IDS)
    with mlflow.start_run(run_id=run_id):  # half of what it marks is wrong
        mlflow.log_text(
            table.assign(fp=table["tp"], tn=table["tn"] - table["tp"]).to_csv(index=False), "scores/test.csv"
        )
    assert register_run(run_id).promoted
    assert "H002" in MlflowClient().get_model_version("unetlab-tiny", "1").tags["health"]


def test_a_first_run_without_scores_is_no_champion(store):
    run_id = finished_run()
    artifacts = MlflowClient().get_run(run_id).info.artifact_uri.removeprefix("file://")
    (Path(artifacts) / "scores" / "test.csv").unlink()
    decision = register_run(run_id)
    assert not decision.promoted and "without its scores nobody knows" in decision.reason


def few_run(dice: list[float]) -> str:
    """A run tested on four sections, shown better than its rivals."""
    return log_finished_run(log_tiny().model_id, np.array(dice), IDS[: len(dice)])


def test_four_sections_allow_no_verdict_and_a_person_decides(store):
    client = MlflowClient()
    register_run(few_run([0.8, 0.7, 0.75, 0.72]))
    better = [0.85, 0.76, 0.8, 0.77]
    decision = register_run(few_run(better))
    assert not decision.promoted and float(decision.figures["p"]) == 0.125
    assert "with 4 scenes p cannot fall below 0.125, 7 would allow a verdict" in decision.reason
    assert "accept=true with a reason lets a person decide" in decision.reason
    within = register_run(few_run(better), margin=0.1, accept=True, reason="looked at all four")
    assert not within.promoted and "it is not accepted either, since its mean is not above 0.1" in within.reason
    accepted = register_run(few_run(better), accept=True, reason="looked at all four")
    assert accepted.promoted and champion() == "4"
    tags = client.get_model_version_by_alias("unetlab-tiny", "champion").tags
    assert tags["gate"] == "accepted" and tags["gate/reason"] == "looked at all four"
    assert tags["gate/scenes"] == "4" and tags["previous_champion"] == "1"


@pytest.mark.parametrize("wrong", [{"accept": True}, {"accept": True, "reason": " "}, {"reason": "for no reason"}])
def test_accept_wants_a_reason_and_a_reason_accept(store, wrong):
    with pytest.raises(UserError, match="accept=true wants a reason"):
        register_run(finished_run(), **wrong)
    assert not MlflowClient().search_registered_models()


def test_challengers_of_one_champion_are_judged_ever_more_strictly_and_a_new_champion_starts_anew(store):
    client = MlflowClient()
    register_run(finished_run())
    levels = [float(register_run(finished_run(HARD - 0.01)).figures["level"]) for _ in range(3)]
    assert levels == [0.0304, 0.007599, 0.003377]
    client.delete_model_version("unetlab-tiny", "3")  # an attempt does not come back by deleting it
    noise = np.random.default_rng(1).normal(0, 0.005, len(IDS))
    assert register_run(finished_run(HARD + 0.03 + noise)).figures["attempt"] == "4"
    assert champion() == "5" and register_run(finished_run(HARD)).figures["attempt"] == "1"
    rollback("unetlab-tiny")
    assert register_run(finished_run(HARD)).figures["attempt"] == "5"


def test_a_challenger_that_is_tried_again_keeps_its_level_and_takes_none_of_others(store):
    client = MlflowClient()
    register_run(finished_run())
    one, two = finished_run(HARD - 0.01), finished_run(HARD - 0.02)
    attempts = [register_run(run_id).figures["attempt"] for run_id in (one, one, two, one, two)]
    assert attempts == ["1", "1", "2", "1", "2"]
    client.set_model_version_tag("unetlab-tiny", "1", "challengers", "7")  # as older versions counted them
    third = finished_run(HARD - 0.03)
    assert [register_run(run_id).figures["attempt"] for run_id in (third, one, third)] == ["8", "9", "8"]
    tried = client.get_model_version("unetlab-tiny", "1").tags["challengers"].split()
    models = [client.get_run(run_id).data.tags["final_model"] for run_id in (third, one)]
    assert tried == ["9", *models]


def test_of_very_many_challengers_the_first_are_only_counted(store, monkeypatch):
    monkeypatch.setattr(registry, "MOST_TRIED", 2)
    register_run(finished_run())
    runs = [finished_run(HARD - 0.01) for _ in range(3)]
    assert [register_run(run_id).figures["attempt"] for run_id in (*runs, runs[2], runs[1], runs[0])] == list("123324")


def test_of_one_image_no_interval_is_told(store):
    register_run(few_run([0.8]))
    decision = register_run(few_run([0.9]))
    told = [MlflowClient().get_model_version("unetlab-tiny", version).description for version in "12"]
    assert "Test Dice 0.8750 at native size (1 images)." in told[0] and "nan" not in "".join(told)
    assert "Dice +0.1000 (p 1.0000 where challenger 1 needs" in decision.reason and decision.reason in told[1]
    assert not {"low", "high"} & set(decision.figures)


def test_frames_of_one_scene_are_one_witness(store):
    """Forty images, all of four scenes: p is that of four."""
    client = MlflowClient()
    register_run(finished_run())
    noise = np.random.default_rng(1).normal(0, 0.005, len(IDS))
    run_id = finished_run(HARD + 0.03 + noise)
    sides = pd.DataFrame({"id": IDS, "side": "test", "group": np.arange(len(IDS)) // 10})
    with mlflow.start_run(run_id=run_id):
        mlflow.log_text(sides.to_csv(index=False), "split.csv")
    decision = register_run(run_id)
    assert not decision.promoted and "on 40 test images of 4 scenes" in decision.reason
    assert client.get_model_version("unetlab-tiny", "2").tags["gate/scenes"] == "4"


def test_a_model_that_was_scored_against_made_labels_is_a_person_s_to_decide(store):
    told = {"scored_against": "labels by consensus"}
    refused = register_run(finished_run(**told))
    assert not refused.promoted and "scored against labels by consensus" in refused.reason
    tags = MlflowClient().get_model_version("unetlab-tiny", "1").tags
    assert tags["gate"] == "refused" and tags["scored_against"] == "labels by consensus"
    accepted = register_run(finished_run(**told), accept=True, reason="looked at a hundred masks")
    assert accepted.promoted and accepted.reason.startswith("accepted by a person: it was scored against")
    assert not register_run(finished_run(HARD + 0.08, **told)).promoted and champion() == "2"
    better = register_run(finished_run(HARD + 0.08, **told), accept=True, reason="looked at these too")
    tags = MlflowClient().get_model_version("unetlab-tiny", "4").tags
    assert better.promoted and (tags["gate"], tags["gate/reason"]) == ("accepted", "looked at these too")
    assert "labels by consensus" in better.reason and "better than version 2" in better.reason
