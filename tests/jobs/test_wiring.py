"""What a run learns from, chooses by and says: the parts are tested where they are, here is that they are joined."""

import types

import numpy as np
import pytest
from conftest import write_pairs
from tiny_setup import QUIET, RECIPE, TINY, final_of

from unetlab.data import open_dataset
from unetlab.jobs import final, interrupt, judge, refit, run, self_training, trial, worker
from unetlab.jobs.run import run_setup
from unetlab.metrics import intervals, thresholds
from unetlab.options import Options
from unetlab.tracking import read
from unetlab.training import fit


def test_a_run_learns_from_train_stops_by_validation_and_counts_scenes(store, tmp_path, light, monkeypatch):
    folder = write_pairs(tmp_path / "cells", n=24)
    names = sorted(path.stem for path in (folder / "images").iterdir())
    pairs = [f"{name},{i // 2}" for i, name in enumerate(names)]
    (folder / "groups.csv").write_text("\n".join(["id,group", *pairs, ""]))
    seen, real = [], fit.fit
    monkeypatch.setattr(fit, "fit", lambda *told, **more: seen.append(told[4:6]) or real(*told, **more))
    monkeypatch.setattr(thresholds, "best_threshold", lambda *_: 0.15)
    told = Options(data=str(folder), trials=1, models="best", precision="float32", threshold="validation")
    summary = run_setup(TINY, told, QUIET)
    record, ids = read.find_one(summary.run_id), open_dataset(str(folder)).ids
    sides, table = read.table(record, "split.csv").set_index("id"), read.table(record)

    on = {side: set(sides.index[sides["side"] == side]) for side in ("train", "validation", "test")}
    ((train, validation),) = seen
    assert {ids[i] for i in train} == on["train"] and {ids[i] for i in validation} == on["validation"]
    assert set(table["id"]) == on["test"]
    scenes = sides["group"].reindex(table["id"]).to_numpy()
    assert sides["group"].nunique() == 12
    assert summary.figures["test/scenes"] == len(set(scenes)) < len(table)
    gain = intervals.paired_interval(table["native_dice"], table["otsu_native_dice"], scenes)
    assert summary.figures["gain/over_otsu"] == pytest.approx(gain.mean)
    assert final_of(summary.run_id).data.params["served_threshold"] == "0.15"


def test_rounds_learn_what_the_round_before_made(monkeypatch):
    seen, taught = [], [np.array([[[0], [1]]], np.uint8)]
    data, sides = types.SimpleNamespace(name="x"), types.SimpleNamespace(train=[0])
    monkeypatch.setattr(trial, "model_of", lambda *_: None)
    monkeypatch.setattr(trial, "train", lambda *told: seen.append(told[5:]) or "outcome")
    monkeypatch.setattr(self_training, "corrected_masks", lambda *_: taught)
    final.fit_final(types.SimpleNamespace(setup=TINY, dataset=data, split=sides), RECIPE, 1)
    assert seen == [(), (taught,)]


def test_trials_are_judged_by_what_ranks(monkeypatch):
    val = {"native_dice": 0.9, "native_v_rand": 0.3}
    monkeypatch.setattr(judge, "known", lambda *_: None)
    monkeypatch.setattr(trial, "train", lambda *_, **__: types.SimpleNamespace(val=val))
    bench = types.SimpleNamespace(objective="native_v_rand")
    assert judge.judge(bench, RECIPE, "trial", 1).objective == 0.3


def test_rivals_are_settled_on_training_masks():
    full, empty = np.ones((8, 8), np.uint8), np.zeros((8, 8), np.uint8)
    data = types.SimpleNamespace(learnt_classes=0, objects=lambda i: full if i < 3 else empty, known=lambda i: full > 0)
    sides = types.SimpleNamespace(train=np.arange(3), validation=np.array([3]), test=np.array([4, 5]))
    assert run._rivals(data, sides, False).constant == "foreground"


def test_a_trial_that_takes_no_step_is_lost():
    child, said, asked = worker.Child(), [("start", "t", 3)], []

    def poll(_):
        asked.append(1)
        assert len(asked) < 50, "waits for ever"
        return bool(said)

    child.pipe = types.SimpleNamespace(poll=poll, recv=lambda: said.pop())
    with pytest.raises(worker.TrialLost, match="it hung"):
        child._watch(lambda *_: None, 1e-9, lambda: True)


def test_refit_learns_validation_too(monkeypatch):
    class Enough(Exception):
        pass

    def fit_logged(*_, **told):
        rows.append(told["rows"].tolist())
        raise Enough

    rows, kept = [], types.SimpleNamespace(forget_state=lambda _: None)
    sides = types.SimpleNamespace(train=np.array([0, 3]), validation=np.array([1]))
    before = types.SimpleNamespace(history={"val_loss": np.array([1.0])}, recipe=RECIPE, run_id="r")
    monkeypatch.setattr(trial, "fit_logged", fit_logged)
    monkeypatch.setattr(trial, "in_run", lambda *told: told[-1](None))
    with pytest.raises(Enough):
        refit.refit(types.SimpleNamespace(setup=TINY, split=sides, kept=kept), before)
    assert rows == [[0, 1, 3]]


def test_an_interruption_marks_runs_killed(monkeypatch):
    told = []
    monkeypatch.setattr(interrupt, "_mark_killed", lambda: told.append("killed"))
    monkeypatch.setattr(interrupt.os, "_exit", told.append)
    monkeypatch.setattr(worker, "ENDING", types.SimpleNamespace(set=lambda: None))
    interrupt._end(2, "the same command")
    assert told == ["killed", 130]
