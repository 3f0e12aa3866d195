"""A network whose step was traced before is taken again, and ends where a new one does."""

import keras
import numpy as np
import pytest
from small_training import RECIPE, disks, fit_disks

from unetlab.models.scratch import scratch_unet
from unetlab.training import fit as fits
from unetlab.training import traced
from unetlab.training.callbacks import TrainingFailed

SHORT = RECIPE.changed({"epochs": 2, "dropout": 0.3, "brightness": 0.1})


@pytest.fixture(autouse=True)
def _none_kept():
    traced.forget()
    yield
    traced.forget()


@pytest.fixture
def built(monkeypatch):
    """The recipes for which a network was compiled, and so traced."""
    seen, real = [], fits.compiled
    monkeypatch.setattr(fits, "compiled", lambda *told: seen.append(told[1]) or real(*told))
    return seen


def same(one, two):
    columns = [name for name in one.history if name != "seconds"]
    np.testing.assert_allclose(one.history[columns], two.history[columns], rtol=1e-5)
    for a, b in zip(one.model.get_weights(), two.model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


OTHERS = [{"learning_rate": 0.003}, {"batch_size": 3, "flips": "both"}, {"learning_rate": 0.003, "epochs": 3}]


@pytest.mark.parametrize(
    "others",
    [[{name: value for each in OTHERS for name, value in each.items()}], pytest.param(OTHERS, marks=pytest.mark.slow)],
    ids=["at once", "one by one"],
)
def test_trainings_whose_step_is_the_same_trace_once_and_end_where_new_networks_do(built, others):
    fit_disks(SHORT)
    again = [fit_disks(SHORT.changed(changes)) for changes in others]
    assert len(built) == 1
    for changes, found in zip(others, again, strict=True):
        traced.forget()
        same(found, fit_disks(SHORT.changed(changes)))
    assert len(built) == 1 + len(others)


@pytest.mark.slow  # six trainings
def test_what_is_traced_or_begins_otherwise_is_built_anew(built, untraced):
    fit_disks(SHORT.changed({"epochs": 1}))
    for changes, options in (
        ({"loss": "dice"}, {}),
        ({"dropout": 0.1}, {}),
        ({"schedule": "cosine"}, {}),
        ({}, {"seed": 2}),
        ({}, {"precision": "bfloat16"}),
    ):
        fit_disks(SHORT.changed({"epochs": 1, **changes}), **options)
    assert len(built) == 6 and len(traced._kept) == traced.KEPT


def test_keys_tell_apart_what_a_trace_holds():
    def key(seed=1, precision="float32", weights=None, **changes):
        return traced.key_of(scratch_unet, SHORT.changed(changes), weights, precision, seed)

    for schedule in ("constant", "cosine"):
        others = {"learning_rate": 0.1, "epochs": 9, "batch_size": 2, "rotation": 9.0, "patience": 3}
        assert key(schedule=schedule) == key(schedule=schedule, **others)
    assert key(thaw=1) is None
    for changes in (
        {"image_size": 32},
        {"channels": 3},
        {"loss": "focal"},
        {"loss_gamma": 1.0},
        {"objects": "border"},
        {"border_weight": 1.0},
        {"filters": 4},
        {"schedule": "cosine"},
    ):
        assert key(**changes) != key(), changes


@pytest.mark.slow  # three trainings
def test_a_network_whose_training_failed_is_not_taken_again(built, untraced):
    fit_disks(SHORT)
    images, masks = disks()
    with pytest.raises(TrainingFailed):
        fits.fit(
            scratch_unet,
            SHORT.changed({"learning_rate": float("nan")}),
            images,
            masks,
            np.arange(12),
            np.arange(12, 16),
            seed=1,
            precision="float32",
        )
    assert len(built) == 1 and not traced._kept
    fit_disks(SHORT)
    assert len(built) == 2


def test_a_cosine_is_traced_once_too_and_paced_or_not(built):
    first = SHORT.changed({"schedule": "cosine"})
    other = first.changed({"learning_rate": 0.003, "epochs": 3, "batch_size": 8})
    fit_disks(first)
    again = fit_disks(other, minutes=60)
    assert len(built) == 1
    traced.forget()
    same(again, fit_disks(other, minutes=60))
    assert len(built) == 2


def test_networks_that_are_large_together_are_not_all_kept(monkeypatch):
    monkeypatch.setattr(traced, "WEIGHTS", 1000)
    for number, weights in enumerate((400, 500, 300, 1100)):
        model = keras.Sequential([keras.Input((weights - 1,)), keras.layers.Dense(1)])
        traced.keep((number,), traced.begun(model, 0.1, (number,)))
    assert list(traced._kept) == [(1,), (2,)]  # the first had to go for the third, and the last is too large itself


@pytest.mark.parametrize("changes", [{}, {"thaw": 1}], ids=["", "an encoder that would thaw"])
def test_a_step_is_traced_once_in_a_training(monkeypatch, changes):
    """TensorFlow traces a function twice in which an optimiser or a metric makes its variables."""
    import tensorflow as tf

    asked, real = [], fits.losses.of_recipe

    def counting(*told):
        loss = real(*told)

        def counted(truth, answer):
            if tf.inside_function():
                asked.append(answer)
            return loss(truth, answer)

        return counted

    monkeypatch.setattr(fits.losses, "of_recipe", counting)
    fit_disks(SHORT.changed(changes))
    assert len(asked) == 2  # a step, and that of validation
