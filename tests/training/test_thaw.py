"""An encoder that is frozen, and learns later, without a jump."""

import keras
import numpy as np
import pytest
from small_training import disks

from unetlab.models.encoders import ENCODERS
from unetlab.models.encoders.encoder import Encoder
from unetlab.models.pretrained import full_unet
from unetlab.training.thaw import LateAdam, Thaw


def _row():
    def build(input_shape, weights):
        x = inputs = keras.Input(input_shape)
        for number in (1, 2):
            x = keras.layers.Conv2D(8, 3, strides=2, padding="same", name=f"conv{number}")(x)
            x = keras.layers.ReLU(name=f"level{number}")(keras.layers.BatchNormalization()(x))
        return keras.Model(inputs, x)

    return Encoder("two levels", build, ("level1",), "level2", {"scale": 2.0, "offset": -1.0})


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setitem(ENCODERS, "small", _row())

    def build(**options):
        keras.utils.set_random_seed(0)
        given = {"encoder": "small", "weights": "given", "decoder_filters": 16, **options}
        model = full_unet((16, 16, 3), **given)
        model.compile(optimizer=LateAdam(1e-2), loss="binary_crossentropy", jit_compile=False)
        return model

    return build


class Watch(keras.callbacks.Callback):
    """Keeps the encoder's and the decoder's weights at the end of each epoch, and the loss of each step."""

    def on_train_begin(self, logs=None):
        self.encoder, self.decoder, self.normalised, self.losses = [self._read("conv1")], [], [], []

    def _read(self, name):
        return self.model.get_layer("encoder").get_layer(name).get_weights()[0]

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(logs["loss"])

    def on_epoch_end(self, epoch, logs=None):
        self.encoder.append(self._read("conv1"))
        layers = self.model.get_layer("encoder").layers
        self.normalised.append([layer.get_weights() for layer in layers if "normal" in layer.name])
        self.decoder.append(self.model.get_layer("probability").get_weights()[0])


def _fit(model, *callbacks, **options):
    images, masks = disks(16)
    watch = Watch()
    images = np.repeat(images, 3, axis=-1).astype(np.float32) / 255
    masks = masks.astype(np.float32)
    settings = {"batch_size": 4, "epochs": 6, "verbose": 0, "shuffle": False, **options}
    model.fit(images, masks, callbacks=[*callbacks, watch], **settings)
    return watch


def test_the_encoder_rests_before_and_learns_after(small):
    seen = _fit(small(), Thaw(3))
    moved = [np.abs(after - before).max() for before, after in zip(seen.encoder, seen.encoder[1:], strict=False)]
    assert moved[:3] == [0, 0, 0] and all(distance > 1e-4 for distance in moved[3:])
    for first, last in zip(seen.normalised[0], seen.normalised[-1], strict=True):
        assert all(np.array_equal(*pair) for pair in zip(first, last, strict=True))


def test_until_then_it_is_the_training_of_a_frozen_encoder(small):
    thawed, frozen = _fit(small(), Thaw(3)), _fit(small(), epochs=3)
    assert all(np.array_equal(*pair) for pair in zip(thawed.decoder, frozen.decoder, strict=False))


def test_the_optimizer_keeps_its_state_and_its_count(small):
    model = small()
    before = {}

    class Peek(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                before["moments"] = [np.abs(value.numpy()).sum() for value in self.model.optimizer._velocities]
                before["optimizer"] = self.model.optimizer

    _fit(model, Thaw(2), Peek(), epochs=3)
    assert model.optimizer is before["optimizer"] and int(model.optimizer.iterations) == 12
    late = model.optimizer.late
    assert len(late) == 4 and int(model.optimizer.begun) == 8  # two kernels, two biases
    assert all((moment == 0) == (place in late) for place, moment in enumerate(before["moments"]))
    assert all(np.abs(value.numpy()).sum() > 0 for value in model.optimizer._velocities)


def test_the_loss_does_not_jump(small):
    losses = _fit(small(), Thaw(8), epochs=10).losses  # Keras' loss of a step is the mean of its epoch so far
    before, after = losses[7 * 4 + 3], losses[8 * 4 : 10 * 4]
    assert max(after) < 1.2 * before


def test_late_variables_step_as_if_they_had_just_begun_and_slowly():
    early, late = keras.Variable([1.0]), keras.Variable([1.0, 1.0])
    optimizer = LateAdam(0.1)
    optimizer.build_late([early, late], [late], warmup=4)
    for _ in range(20):
        optimizer.apply([np.float32([1])], [early])
    optimizer.begin()
    at = []
    for _ in range(6):
        at.append(late.numpy())
        optimizer.apply([np.float32([1]), np.float32([2, -3])], [early, late])
    steps = np.diff(at, axis=0)
    np.testing.assert_allclose(steps[:, 0], [-0.025, -0.05, -0.075, -0.1, -0.1], rtol=1e-4)
    np.testing.assert_allclose(steps[:, 1], -steps[:, 0], rtol=1e-4)
    np.testing.assert_allclose(early.numpy(), [1 - 26 * 0.1], rtol=1e-4)
    optimizer.begin()
    assert int(optimizer.begun) == 20


@pytest.mark.parametrize("options", [{"train_encoder": True}, {"weights": None, "train_encoder": True}], ids=str)
def test_an_encoder_that_learns_anyway_is_trained_as_without(small, options):
    with_it, without = _fit(small(**options), Thaw(1), epochs=2), _fit(small(**options), epochs=2)
    assert np.array_equal(with_it.encoder[-1], without.encoder[-1])


def test_a_resumed_training_thaws_where_it_should(small):
    moved = np.diff(_fit(small(), Thaw(3), epochs=5, initial_epoch=4).encoder, axis=0)
    assert np.abs(moved).max() > 1e-4
    assert not np.diff(_fit(small(), Thaw(3), epochs=2, initial_epoch=1).encoder, axis=0).any()


def test_an_optimizer_that_has_begun_is_refused():
    optimizer = LateAdam(0.1)
    optimizer.build([keras.Variable([1.0])])
    with pytest.raises(ValueError, match="has begun already"):
        optimizer.build_late([], [], 1)
