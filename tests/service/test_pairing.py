"""A champion and a challenger that were tested on different images."""

import mlflow
import numpy as np
import pandas as pd
import pytest
import small_classes
from conftest import log_tiny, write_pairs
from fake_runs import score_table
from mlflow.tracking import MlflowClient

from unetlab.data import open_dataset
from unetlab.service.registry import register_run
from unetlab.tracking import read


def trained(data, test: slice, dice: float, known: bool = True, fold: int = 1, **changes) -> str:
    """A finished run on a folder whose test side is a slice of its images, with so much Dice on each, in scenes of
    `fold` images; its final model finds what is bright, with `changes` as `log_tiny` takes them."""
    dataset = open_dataset(str(data))
    rows = np.arange(len(dataset))
    side = np.full(len(rows), "train", dtype=object)
    side[test] = "test"
    sides = pd.DataFrame({"id": dataset.ids, "side": side, "group": rows // fold, "sha": dataset.sha})
    rng = np.random.default_rng(test.start)
    table = score_table(dice + rng.normal(0, 0.001, len(rows[test])), list(sides["id"][test]))
    with mlflow.start_run() as run:
        tags = {"setup": "tiny", "role": "search", "dataset": dataset.name, "dataset_digest": dataset.digest}
        mlflow.set_tags({**tags, "split_digest": f"split{test.start}"})
        channels = changes.get("learnt_channels", "")
        mlflow.log_params({"data": str(data), "seed": 0, "twin_seed": None, "channels": channels})
        mlflow.log_metrics({"test/native_dice": dice, "test/images": len(table)})
        mlflow.log_text(table.to_csv(index=False), "scores/test.csv")
        mlflow.log_text((sides if known else sides.drop(columns="sha")).to_csv(index=False), "split.csv")
        model = log_tiny(nested=True, **changes)
        mlflow.set_tag("final_model", model.model_id)
    return str(run.info.run_id)


def test_the_champion_is_scored_on_the_challengers_images_less_those_it_was_trained_on(store, pairs):
    standing = trained(pairs, slice(0, 4), 0.9)
    register_run(standing)
    more = write_pairs(pairs.parent / "more", 30, seed=1)  # what they name cell00 is another image
    run_id = trained(more, slice(0, 15), 0.999)
    before = MlflowClient().get_run(run_id).info
    decision = register_run(run_id)
    evaluation = read.find_one(decision.figures["evaluation"])
    table = read.table(evaluation)
    assert evaluation.tags["role"] == "evaluation" and evaluation.tags["evaluated_run"] == standing
    assert len(table) == 15 and evaluation.tags["split_digest"] == "split0"
    own = read.table(read.find_one(run_id)).set_index("id")["native_dice"]
    gain = (own - table.set_index("id")["native_dice"]).mean()
    assert float(decision.figures["difference"]) == pytest.approx(gain, abs=1e-4)
    assert "was tested on other images, so it was scored on these in run" in decision.reason
    assert decision.promoted is bool(gain > 0.01)
    inside = MlflowClient().get_run(evaluation.run_id)
    assert inside.data.tags["mlflow.parentRunId"] == run_id
    after = MlflowClient().get_run(run_id).info
    assert (after.status, after.end_time) == (before.status, before.end_time)  # a finished run is not opened again


def test_images_that_the_champion_saw_and_their_scenes_are_left_out(store, pairs):
    register_run(trained(pairs, slice(0, 7), 0.9))  # trained on 7 to 11
    decision = register_run(trained(pairs, slice(2, 10), 0.95, fold=2))  # 7, 8 and 9 were seen, and 6 is of 7's scene
    assert decision.figures["images"] == "4" and "less 4 that it was trained or validated on" in decision.reason
    assert "with 2 scenes p cannot fall below 0.5" in decision.reason


def test_a_champion_of_other_channels_is_not_scored_on_what_it_never_learnt(store, pairs):
    register_run(trained(pairs, slice(0, 6), 0.9, learnt_channels="2"))
    more = write_pairs(pairs.parent / "more", 30, seed=1)
    decision = register_run(trained(more, slice(0, 15), 0.999, learnt_channels="1"))
    assert not decision.promoted
    assert "it learnt from channels=1 and version 1, the champion, from channels=2" in str(decision)
    accepted = register_run(trained(more, slice(0, 15), 0.999), accept=True, reason="the other stain")
    assert accepted.promoted and "from channels=all and version 1" in str(accepted)


def test_where_nothing_is_left_the_reason_says_so(store, pairs):
    register_run(trained(pairs, slice(0, 5), 0.9))
    decision = register_run(trained(pairs, slice(5, 12), 0.95))
    assert not decision.promoted and "but 0 of 7 images are left, less 7 that it was trained" in decision.reason
    assert decision.figures == {"champion": "1"}
    accepted = register_run(trained(pairs, slice(5, 12), 0.95), accept=True, reason="new data")
    assert accepted.promoted and accepted.gate == "accepted" and "accepted by a person: version 1" in accepted.reason


@pytest.mark.parametrize("accept", [{}, {"accept": True, "reason": "looked at it"}])
def test_a_worse_challenger_of_one_image_that_is_left_is_not_crowned_by_a_person_s_word(store, pairs, accept):
    register_run(trained(pairs, slice(0, 7), 0.9))  # trained on 7 to 11
    decision = register_run(trained(pairs, slice(6, 12), 0.6), **accept)
    assert not decision.promoted and decision.gate == "refused" and decision.figures["images"] == "1"
    assert float(decision.figures["difference"]) < 0 and float(decision.figures["p"]) == 1
    assert ("is not accepted either" in decision.reason) is bool(accept)


def test_two_that_were_tested_on_the_same_one_image_are_compared(store, pairs):
    register_run(trained(pairs, slice(0, 1), 0.8))
    decision = register_run(trained(pairs, slice(0, 1), 0.7), accept=True, reason="we need one today")
    assert not decision.promoted and float(decision.figures["difference"]) == pytest.approx(-0.1, abs=1e-4)
    assert register_run(trained(pairs, slice(0, 1), 0.9), accept=True, reason="we need one today").gate == "accepted"


def test_a_champion_whose_run_says_nothing_of_its_images_is_named(store, pairs):
    register_run(trained(pairs, slice(0, 5), 0.9, known=False))
    more = write_pairs(pairs.parent / "more", 12, seed=1)
    decision = register_run(trained(more, slice(2, 9), 0.95))
    assert decision.figures["images"] == "7" and "does not say which of them it has seen" in decision.reason


def test_data_that_are_gone_or_changed_say_so(store, pairs):
    register_run(trained(pairs, slice(0, 5), 0.9))
    more = write_pairs(pairs.parent / "more", 12, seed=1)
    run_id = trained(more, slice(2, 9), 0.95)
    for path in sorted(more.rglob("cell03.png")):
        path.unlink()
    decision = register_run(run_id)
    assert not decision.promoted and "is no longer what the challenger was tested on" in decision.reason
    more.rename(pairs.parent / "moved")
    decision = register_run(run_id)
    assert not decision.promoted and f"no folder or zip at {more}" in decision.reason


def test_a_champion_of_classes_is_scored_by_class_on_the_challengers_images(store, tmp_path):
    names = list(small_classes.NAMES)
    register_run(trained(small_classes.write_classes(tmp_path / "cells"), slice(0, 4), 0.9, classes=names))
    more = small_classes.write_classes(tmp_path / "more", n=24, seed=1)
    decision = register_run(trained(more, slice(0, 12), 0.99, classes=names))
    evaluation = read.find_one(decision.figures["evaluation"])
    table = read.table(evaluation)
    assert evaluation.tags["classes"] == "cell, mitosis, debris" and len(table) == 12
    assert table["native_dice"].mean() < table["union_native_dice"].mean()  # all that is bright is called a cell
    assert table["native_dice/mitosis"].dropna().eq(0).all() and decision.promoted


def test_a_champion_of_objects_is_scored_for_membranes_where_the_challenger_is_ranked_by_them(store, pairs):
    """As where `auto` takes one data set for objects and the next for membranes: all its models have one name."""
    register_run(trained(pairs, slice(0, 4), 0.9))
    more = write_pairs(pairs.parent / "more", 30, seed=1)
    run_id = trained(more, slice(0, 15), 0.99)
    client = MlflowClient()
    client.set_tag(run_id, "ranked_by", "native_v_rand")
    table = read.table(read.find_one(run_id)).assign(native_v_rand=0.9, native_v_info=0.9)
    client.log_text(run_id, table.to_csv(index=False), "scores/test.csv")
    decision = register_run(run_id)
    assert decision.figures["metric"] == "native_v_rand" and decision.figures["images"] == "15"
