"""Batch normalisations that keep their moments from an epoch on, while their scale and offset learn."""

import keras
import numpy as np
import pytest
from small_training import RECIPE, disks

from unetlab.training import callbacks, traced
from unetlab.training.callbacks import HoldMoments
from unetlab.training.checkpoint import Checkpoint
from unetlab.training.fit import fit

HELD = RECIPE.changed({"held": 0.5})


def build(input_shape, weights=None, filters=4, depth=1, frozen=False):
    x = inputs = keras.Input(input_shape)
    normalise = keras.layers.BatchNormalization(momentum=0.5, trainable=not frozen, name="normalise")
    x = keras.layers.ReLU()(normalise(keras.layers.Conv2D(filters, 3, padding="same")(x)))
    return keras.Model(inputs, keras.layers.Conv2D(depth, 1, activation="sigmoid", dtype="float32")(x))


class Watch(keras.callbacks.Callback):
    """Scale, offset and moments at the end of each epoch."""

    def __init__(self):
        super().__init__()
        self.found = []

    def on_epoch_end(self, epoch, logs=None):
        self.found.append(self.model.get_layer("normalise").get_weights())

    def moved(self, which):
        """Of each epoch but the first whether it moved gamma (0), beta (1), mean (2) or variance (3)."""
        values = [each[which] for each in self.found]
        return [not np.array_equal(one, other) for one, other in zip(values, values[1:], strict=False)]


def trained(recipe, **options):
    watch, (images, masks) = Watch(), disks()
    told = {"seed": 0, "precision": "float32", "callbacks": [watch], **options}
    return watch, fit(build, recipe, images, masks, np.arange(12), np.arange(12, 16), **told)


def test_moments_stay_from_the_middle_on_and_all_else_learns():
    watch, fitted = trained(HELD)
    assert len(fitted.history) == 6 and all(watch.moved(0)) and all(watch.moved(1))
    assert watch.moved(2) == watch.moved(3) == [True, True, False, False, False]
    still = HELD.changed({"held": 0.0})
    assert all(trained(still)[0].moved(2))


def test_the_loss_of_training_is_then_the_one_that_is_served():
    images, masks = disks()
    seen = []

    class Compare(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            batch = images[:4].astype(np.float32) / 255
            learning, served = (np.asarray(self.model(batch, training=on)) for on in (True, False))
            seen.append(float(np.abs(learning - served).max()))

    trained(HELD, callbacks=[Compare()])
    assert min(seen[:3]) > 1e-3 and max(seen[3:]) == 0


def test_normalisations_that_do_not_learn_stay_and_a_network_without_any_is_traced_once():
    watch, _ = trained(HELD.changed({"frozen": True}))
    assert not any(watch.moved(2))
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(loss="mse")
    hold = HoldMoments(0.5, 2)
    model.fit(np.zeros((4, 4)), np.zeros(4), epochs=1, verbose=0)
    step = model.train_function
    hold.set_model(model)
    hold.on_epoch_begin(1)
    assert model.train_function is step


def test_a_training_cannot_begin_with_a_step_that_was_traced_for_held_moments():
    told = (build, HELD, None, "float32", 0)
    assert traced.key_of(*told) is None


@pytest.mark.parametrize("epochs", [1, 2])
def test_trainings_of_an_epoch_or_two_follow_their_batches_first(epochs):
    watch, _ = trained(HELD.changed({"epochs": epochs}))
    assert not np.array_equal(watch.found[0][2], np.zeros(4))


def test_a_training_that_goes_on_after_the_middle_holds_them_too(tmp_path):
    class Kill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 4:
                raise KeyboardInterrupt

    path = tmp_path / "it.npz"
    with pytest.raises(KeyboardInterrupt):
        trained(HELD, checkpoint=Checkpoint(path, "it"), callbacks=[Kill()])
    watch, resumed = trained(HELD, checkpoint=Checkpoint(path, "it"))
    undisturbed = trained(HELD)[1]
    assert watch.moved(2) == [False] and all(watch.moved(0))
    assert resumed.history["loss"].tolist() == pytest.approx(undisturbed.history["loss"].tolist(), rel=1e-5)


@pytest.mark.parametrize(("planned", "in_time"), [(20, 10), (40, 20), (40, 30), (40, 36), (10, 10)])
def test_a_training_that_its_minutes_shorten_holds_them_in_its_own_middle(monkeypatch, planned, in_time):
    held = []
    monkeypatch.setattr(callbacks, "hold_moments", held.append)
    ahead = iter([0.0, *9 * [float(planned - in_time)]])  # which shows after two epochs
    hold = HoldMoments(0.5, planned, lambda: next(ahead, float(planned - in_time)))
    for epoch in range(in_time):
        assert bool(held) == (epoch > in_time // 2)
        hold.on_epoch_begin(epoch)
    assert len(held) == 1
