"""What ends a training before its last epoch, and how its learning rate goes."""

import keras
import numpy as np
import pytest
from small_training import RECIPE, fit_disks

from unetlab.training.callbacks import TrainingFailed
from unetlab.training.rates import Cosine, KeepPace, cosine


def test_training_stops_early(untraced):
    fitted = fit_disks(RECIPE.changed({"learning_rate": 0.0, "epochs": 30, "patience": 2}))
    assert len(fitted.history) == 3


def test_a_loss_that_is_not_finite_names_epoch_and_step(untraced):
    with pytest.raises(TrainingFailed, match=r"the loss became (nan|inf) in epoch \d+, step \d+"):
        fit_disks(RECIPE.changed({"learning_rate": 1e30}))


def test_cosine_warms_up_over_an_epoch_and_decays_to_nothing(untraced):
    rates = fit_disks(RECIPE.changed({"schedule": "cosine"})).history["learning_rate"]
    assert rates.max() == pytest.approx(1e-2, rel=0.1)
    assert rates.iloc[-1] < 1e-3
    assert rates.idxmax() == 0  # read at the epoch's end: the warm-up is just over


@pytest.mark.parametrize("epochs", [1, 2, 8, 30])
def test_a_cosine_of_few_epochs_still_comes_down(epochs):
    rate = cosine(RECIPE.changed({"epochs": epochs}), 80)
    rates = [float(rate(step)) for step in range(80 * epochs)]
    assert int(np.argmax(rates)) == min(80, 10 * epochs) and max(rates) == pytest.approx(1e-2)
    assert rates[-1] < 1e-4


def test_training_ends_when_its_minutes_are_over():
    fitted = fit_disks(RECIPE.changed({"epochs": 500}), minutes=2 / 60)
    assert 1 <= len(fitted.history) < 500 and fitted.seconds < 30


@pytest.mark.parametrize(("spent", "ahead"), [(0, 0), (5, 0), (30, 40), (90, 90)])
def test_a_training_slower_than_its_minutes_allow_moves_its_rate_on(spent, ahead):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    decay, rate = (Cosine(1e-2, 90, 10) for _ in range(2))
    model.compile(keras.optimizers.SGD(rate), "mse")
    model.optimizer.iterations.assign(10)
    pace = KeepPace(rate, steps=100, minutes=1, spent=spent)
    pace.set_model(model)
    pace.on_train_begin()
    pace.on_epoch_begin(1)
    assert float(rate.ahead.value) == pytest.approx(ahead, abs=1)
    assert float(model.optimizer.learning_rate) == pytest.approx(float(decay(10 + ahead)), abs=2e-4)


@pytest.mark.slow  # two trainings
def test_minutes_enough_change_nothing():
    recipe = RECIPE.changed({"schedule": "cosine"})
    fast, free = fit_disks(recipe, minutes=60).history, fit_disks(recipe).history
    np.testing.assert_allclose(fast["learning_rate"], free["learning_rate"], rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(fast["val_loss"], free["val_loss"], rtol=1e-2)  # the same sums in another order
