"""What ends a training before its last epoch, and how its learning rate goes."""

import keras
import numpy as np
import pytest
from small_training import RECIPE, fit_disks

from unetlab.training import rates
from unetlab.training.callbacks import TrainingFailed
from unetlab.training.rates import Cosine, KeepPace, cosine


def test_training_stops_early(untraced):
    fitted = fit_disks(RECIPE.changed({"learning_rate": 0.0, "epochs": 30, "patience": 2}))
    assert len(fitted.history) == 3


def test_a_loss_that_is_not_finite_names_epoch_and_step(untraced):
    with pytest.raises(TrainingFailed, match=r"the loss became (nan|inf) in epoch \d+, step \d+"):
        fit_disks(RECIPE.changed({"learning_rate": 1e30}))


def test_cosine_warms_up_over_an_epoch_and_decays_to_nothing(untraced):
    found = fit_disks(RECIPE.changed({"schedule": "cosine"})).history["learning_rate"]
    assert found.max() == pytest.approx(1e-2, rel=0.1)
    assert found.iloc[-1] < 1e-3
    assert found.idxmax() == 0  # read at the epoch's end: the warm-up is just over


@pytest.mark.parametrize("epochs", [1, 2, 8, 30])
def test_a_cosine_of_few_epochs_still_comes_down(epochs):
    rate = cosine(RECIPE.changed({"epochs": epochs}), 80)
    found = [float(rate(step)) for step in range(80 * epochs)]
    assert int(np.argmax(found)) == min(80, 10 * epochs) and max(found) == pytest.approx(1e-2)
    assert found[-1] < 1e-4


def test_training_ends_when_its_minutes_are_over():
    fitted = fit_disks(RECIPE.changed({"epochs": 500}), minutes=2 / 60)
    assert 1 <= len(fitted.history) < 500 and fitted.seconds < 30


@pytest.mark.parametrize(
    ("minutes", "spent", "ahead"),
    [(10, 0, [0, 0, 0, 0]), (2, 0, [0, 0, 60, 60]), (2, 30, [0, 0, 75, 70]), (1, 0, [0, 0, 80, 70])],
    ids=["in time", "too slow", "too slow and begun before", "over soon"],
)
def test_a_training_slower_than_its_minutes_allow_moves_its_rate_on(monkeypatch, minutes, spent, ahead):
    """100 steps in ten epochs: the first takes a minute, for tracing, the others 20 seconds each, so 240 in all."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    decay, rate = (Cosine(1e-2, 90, 10) for _ in range(2))
    model.compile(keras.optimizers.SGD(rate), "mse")
    now = [1000.0]
    monkeypatch.setattr(rates.time, "perf_counter", lambda: now[0])
    pace = KeepPace(rate, steps=100, minutes=minutes, spent=spent)
    pace.set_model(model)
    pace.on_train_begin()
    for epoch, expected in enumerate(ahead):
        model.optimizer.iterations.assign(10 * epoch)
        pace.on_epoch_begin(epoch)
        assert float(rate.ahead.value) == pytest.approx(expected)
        assert float(model.optimizer.learning_rate) == pytest.approx(float(decay(10 * epoch + rate.ahead)), abs=1e-6)
        now[0] += 20 if epoch else 60


@pytest.mark.slow  # two trainings
def test_minutes_enough_change_nothing():
    recipe = RECIPE.changed({"schedule": "cosine"})
    fast, free = fit_disks(recipe, minutes=60).history, fit_disks(recipe).history
    np.testing.assert_allclose(fast["learning_rate"], free["learning_rate"], rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(fast["val_loss"], free["val_loss"], rtol=1e-2)  # the same sums in another order
