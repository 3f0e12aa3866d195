"""The search: reference first, failures survived, nothing left on disk."""

import tempfile
import time

import keras_tuner
import numpy as np
import pytest
import scipy.optimize

from unetlab.errors import Stopped
from unetlab.search import hyperband
from unetlab.search.keras_tuner import grid_size, search, spread, trials_to_a_promotion
from unetlab.search.trials import trained_in_full


@pytest.fixture(autouse=True)
def _short_climbs(monkeypatch):
    """ "bayesian" climbs from fifty points for each proposal, which takes seconds; two steps of each do here."""
    climb = scipy.optimize.minimize

    def climb_shortly(*told, **options):
        return climb(*told, **options, options={"maxiter": 2})

    monkeypatch.setattr(scipy.optimize, "minimize", climb_shortly)


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
        assert all(rung == (1, None) for _, rung in seen[1:])


def test_epochs_as_a_hyperparameter_are_told_apart_from_hyperband_s():
    space = _space()
    space.Choice("epochs", [10, 30], default=10)
    table = search(space, lambda number, *_: float(number), tuner="hyperband", trials=6, epochs=9, seed=0)
    assert set(table["epochs"]) == {10, 30}
    assert np.isnan(table["tuner_epochs"][0]) and set(table["tuner_epochs"][1:]) == {1}


def test_hyperband_promotes_the_better_half_to_more_epochs():
    epochs = []

    def evaluate(number, values, asked):
        epochs.append(asked and asked.epochs)
        return -abs(np.log10(values["learning_rate"]) + 3)

    search(_space(), evaluate, tuner="hyperband", trials=40, epochs=3, seed=0)
    assert {None, 1, 3} == set(epochs)


@pytest.mark.parametrize("epochs", [3, 9, 10])
def test_only_trials_trained_in_full_win(epochs):
    asked = []

    def evaluate(number, values, rung):
        given = rung and rung.epochs
        asked.append(given)
        return 0.9 if given is not None and given < epochs else 0.5 + number / 1000

    table = search(_space(), evaluate, tuner="hyperband", trials=30, epochs=epochs, seed=0)
    full = trained_in_full(table)
    assert len(full) >= 2 and full["number"].tolist() == [i for i, e in enumerate(asked) if e in (None, epochs)]
    assert full["objective"].max() < 0.9 == table["objective"].max()  # what leads after few epochs is out
    assert asked.index(epochs) + 1 == trials_to_a_promotion(epochs)  # the second trial in full
    few = search(_space(), evaluate, tuner="hyperband", trials=3, epochs=9, seed=0)
    assert trained_in_full(few)["number"].tolist() == [0]
    failed = few.assign(status=["FAILED", "COMPLETED", "COMPLETED"])
    assert trained_in_full(failed)["number"].tolist() == [1, 2]


def test_a_grid_longer_than_the_trials_is_tried_all_over():
    space = keras_tuner.HyperParameters()
    space.Choice("loss", ["bce", "dice", "focal"], default="dice")
    space.Choice("filters", [8, 16, 32, 64], default=16)
    space.Boolean("quarter_turns", default=True)
    assert grid_size(space) == 24
    first = {"loss": "dice", "filters": 16, "quarter_turns": True}
    for trials in (2, 3, 13, 23):
        table = search(space, lambda *_: 0.5, tuner="grid", trials=trials, epochs=1, seed=0)
        assert len(table) == trials and not table.duplicated(list(first)).any()
        assert table.loc[0, list(first)].to_dict() == first
        if trials == 13:
            counts = [table[name][1:].value_counts() for name in first]
            assert all(each.max() - each.min() <= 3 for each in counts), counts
            assert [len(each) for each in counts] == [3, 4, 2]
    assert spread(space, 13, 0) == spread(space, 13, 0) != spread(space, 13, 1)
    whole = search(space, lambda *_: 0.5, tuner="grid", trials=24, epochs=1, seed=0)
    assert len(whole) == 24 and not whole.duplicated(list(first)).any()


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
    def slow(number, values, epochs):
        time.sleep(0.2)
        return 0.5

    table = search(_space(), slow, tuner="random", trials=20, epochs=1, seed=0, minutes=0.3 / 60)
    assert 1 <= len(table) <= 3


def _slow_where_odd(number, values, epochs):
    time.sleep(0.03 * (number % 3))
    if number == 4:
        raise RuntimeError("out of luck")
    return float(np.log10(values["learning_rate"]) + (values["loss"] == "dice"))


@pytest.mark.parametrize("tuner", ["random", "grid"])
def test_random_and_grid_propose_the_same_whatever_runs_at_once(tuner):
    tables = [search(_space(), _slow_where_odd, tuner=tuner, trials=9, epochs=9, seed=0, at_once=n) for n in (1, 2, 5)]
    assert tables[0].equals(tables[1]) and tables[0].equals(tables[2]) and len(tables[0]) == 9


@pytest.mark.parametrize(("tuner", "trials"), [("bayesian", 7), ("hyperband", 14)])
def test_what_the_others_propose_depends_on_how_many_run_at_once_and_not_on_which_is_faster(tuner, trials):
    told = {"tuner": tuner, "trials": trials, "epochs": 3, "seed": 3}

    def by_the_clock(delay):
        def evaluate(number, values, epochs):
            time.sleep(delay(number))
            return _slow_where_odd(0, values, epochs)

        return search(_space(), evaluate, **told, at_once=3)

    first = by_the_clock(lambda number: 0.02 * (number % 3))
    assert first.equals(by_the_clock(lambda number: 0.02 * (number % 2 == 0)))
    assert not first.equals(search(_space(), _slow_where_odd, **told))


def test_as_many_are_evaluated_at_once_as_was_said_and_a_stop_ends_them_all():
    running, most = set(), []

    def evaluate(number, values, epochs):
        running.add(number)
        time.sleep(0.05)
        most.append(len(running))
        running.discard(number)
        if number == 6:
            raise Stopped("the disk is full")
        return 0.5

    with pytest.raises(Stopped, match="the disk is full"):
        search(_space(), evaluate, tuner="random", trials=30, epochs=9, seed=0, at_once=3)
    assert max(most) == 3 and len(most) < 12


@pytest.mark.parametrize("at_once", [1, 4])
def test_how_long_hyperband_takes_to_train_one_in_full(at_once):
    asked = []
    search(
        _space(),
        lambda number, values, rung: asked.append((number, rung and rung.epochs)) or 0.1 * number,
        **{"tuner": "hyperband", "trials": 40, "epochs": 9, "seed": 0, "at_once": at_once},
    )
    assert trials_to_a_promotion(9, at_once) == min(number for number, given in asked if number and given == 9) + 1


def _rungs(evaluate, epochs=9, trials=60, tuner="hyperband"):
    """Each trial's rung by its number, and the table."""
    rungs = {}

    def noted(number, values, rung):
        rungs[number] = rung
        return evaluate(number, values, rung)

    return rungs, search(_space(), noted, tuner=tuner, trials=trials, epochs=epochs, seed=0)


def _by_rate(number, values, rung):
    return -abs(np.log10(values["learning_rate"]) + 3)


def test_a_promoted_trial_says_which_one_it_goes_on_with_and_has_its_values():
    rungs, table = _rungs(_by_rate)
    promoted = {number: rung for number, rung in rungs.items() if rung and rung.past is not None}
    assert promoted and all(rung.epochs > rungs[rung.past].epochs for rung in promoted.values())
    same = table.set_index("number")[list(REFERENCE)]
    assert all(same.loc[number].equals(same.loc[rung.past]) for number, rung in promoted.items())
    assert len({rung.past for rung in promoted.values()}) == len(promoted)  # no one is promoted twice


def test_without_failures_hyperband_proposes_what_keras_tuner_does(monkeypatch):
    ours = _rungs(_by_rate)
    monkeypatch.setattr(hyperband.Hyperband, "_promoted", lambda *_: None)
    theirs = _rungs(_by_rate)
    assert ours[0] == theirs[0] and ours[1].equals(theirs[1])


@pytest.mark.parametrize("failing", [0.2, 0.5, 0.8])
def test_failed_trials_cost_hyperband_no_promotions(failing, monkeypatch):
    def evaluate(number, values, rung):
        if rung and np.random.default_rng(number).random() < failing:
            raise RuntimeError("out of luck")
        return _by_rate(number, values, rung)

    def promotions():
        rungs, table = _rungs(evaluate)
        done = set(table.loc[table["status"] == "COMPLETED", "number"])
        rounds = [number for number, rung in rungs.items() if rung and rung.past is not None]
        assert all(rungs[number].past in done for number in rounds)  # a failed trial is never gone on with
        return len(rounds), sum(rungs[number].epochs == 9 for number in done if rungs[number])

    ours = promotions()
    monkeypatch.setattr(hyperband.Hyperband, "_promoted", lambda *_: None)
    theirs = promotions()
    assert ours[0] > theirs[0] and ours[1] >= theirs[1]


def test_a_small_space_is_tried_and_its_best_are_promoted_nevertheless():
    space = keras_tuner.HyperParameters()
    space.Choice("filters", [4, 8, 16, 32], default=8)
    rungs = {}

    def evaluate(number, values, rung):
        rungs[number] = (values["filters"], rung and rung.epochs)
        return float(values["filters"])

    table = search(space, evaluate, tuner="hyperband", trials=40, epochs=27, seed=0)
    assert {filters for filters, _ in rungs.values()} == {4, 8, 16, 32}
    assert (32, 27) in rungs.values() and len(table) < 40  # the best is trained in full, and the search ends


@pytest.mark.parametrize("tuner", ["random", "bayesian"])
def test_neighbouring_seeds_propose_points_of_their_own(tuner):
    """KerasTuner draws each hyperparameter by the next seed, so that those of one space are so many seeds apart."""

    def points(seed):
        space = keras_tuner.HyperParameters()
        for k in range(3):
            space.Float(f"x{k}", 0.0, 1.0)
        table = search(space, lambda *_: 0.5, tuner=tuner, trials=7, epochs=1, seed=seed)
        return {tuple(row) for row in table[["x0", "x1", "x2"]].iloc[1:].round(9).to_numpy()}

    first = points(0)
    assert len(first) == 6 and points(0) == first
    assert not any(first & points(seed) for seed in range(1, 7))
