"""The search: reference first, failures survived, nothing left on disk."""

import tempfile

import keras_tuner
import numpy as np
import pytest

from unetlab.search.keras_tuner import search


def _space():
    space = keras_tuner.HyperParameters()
    space.Float("learning_rate", 1e-4, 1e-2, sampling="log", default=1e-3)
    space.Choice("loss", ["bce", "dice", "focal"], default="dice")
    space.Boolean("quarter_turns", default=False)
    return space


REFERENCE = {"learning_rate": 1e-3, "loss": "dice", "quarter_turns": False}


@pytest.mark.parametrize("tuner", ["random", "bayesian", "hyperband", "grid"])
def test_the_first_trial_is_the_reference_and_trials_differ(tuner):
    seen = []

    def evaluate(number, values, epochs):
        seen.append((values, epochs))
        return float(number)

    table = search(_space(), evaluate, tuner=tuner, trials=6, epochs=9, seed=0)
    assert seen[0] == (REFERENCE, None)
    assert len({tuple(values.items()) for values, _ in seen}) == 6
    assert table["number"].tolist() == list(range(6))
    assert table["objective"].tolist() == [0, 1, 2, 3, 4, 5]
    if tuner == "hyperband":
        assert all(epochs == 1 for _, epochs in seen[1:])


def test_epochs_as_a_hyperparameter_are_told_apart_from_hyperband_s():
    space = _space()
    space.Choice("epochs", [10, 30], default=10)
    table = search(space, lambda number, *_: float(number), tuner="hyperband", trials=6, epochs=9, seed=0)
    assert set(table["epochs"]) == {10, 30}
    assert np.isnan(table["tuner_epochs"][0]) and set(table["tuner_epochs"][1:]) == {1}


def test_hyperband_promotes_the_better_half_to_more_epochs():
    epochs = []

    def evaluate(number, values, asked):
        epochs.append(asked)
        return -abs(np.log10(values["learning_rate"]) + 3)

    search(_space(), evaluate, tuner="hyperband", trials=40, epochs=3, seed=0)
    assert {None, 1, 3} == set(epochs)


def test_failed_trials_do_not_end_the_search():
    def evaluate(number, values, epochs):
        if number in (1, 2, 3, 4):
            raise RuntimeError("out of luck")
        return 0.5

    table = search(_space(), evaluate, tuner="random", trials=7, epochs=1, seed=0)
    assert table["status"].tolist() == ["COMPLETED", *["FAILED"] * 4, "COMPLETED", "COMPLETED"]
    assert table["objective"].isna().sum() == 4


def test_nothing_stays_on_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    search(_space(), lambda *_: 0.1, tuner="random", trials=2, epochs=1, seed=0)
    assert not list(tmp_path.iterdir())


def test_no_trial_begins_once_the_minutes_are_over():
    import time

    def slow(number, values, epochs):
        time.sleep(0.2)
        return 0.5

    table = search(_space(), slow, tuner="random", trials=20, epochs=1, seed=0, minutes=0.3 / 60)
    assert 1 <= len(table) <= 3
