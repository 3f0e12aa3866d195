"""What ends a training before its last epoch, and how its learning rate goes."""

import pytest
from small_training import RECIPE, fit_disks

from unetlab.training.callbacks import TrainingFailed


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


def test_training_ends_when_its_minutes_are_over():
    fitted = fit_disks(RECIPE.changed({"epochs": 500}), minutes=2 / 60)
    assert 1 <= len(fitted.history) < 500 and fitted.seconds < 30
