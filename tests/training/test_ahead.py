"""Batches that are there when an epoch begins, and the time that training waits for others."""

import threading
import time
import types

import keras
import numpy as np
import pytest
from small_training import RECIPE, disks, fit_disks

from unetlab.training.ahead import Ahead, Untuned, Waiting
from unetlab.training.batches import Batches


class Noted(keras.utils.PyDataset):
    """Batches of an epoch that say which they are; `made` are those that were, in order."""

    def __init__(self, several=3):
        super().__init__()
        self.several, self.epoch, self.made = several, 0, []

    def __len__(self):
        return self.several

    def __getitem__(self, index):
        assert threading.current_thread().name.startswith("batches")
        self.made.append((self.epoch, index))
        return self.epoch, index

    def on_epoch_end(self):
        self.epoch += 1


def test_batches_are_made_once_and_are_what_they_would_be():
    noted = Noted()
    ahead = Ahead(noted)
    assert [ahead[i] for i in (0, 1)] == [(0, 0), (0, 1)]  # as Keras asks for shapes
    assert [ahead[i] for i in range(3)] == [(0, 0), (0, 1), (0, 2)]
    ahead.on_epoch_end()
    assert [ahead[i] for i in range(3)] == [(1, 0), (1, 1), (1, 2)]
    ahead.close()
    assert noted.made == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]


def test_some_batches_and_no_more_are_there_before_they_are_asked_for():
    def settled():
        time.sleep(0.3)
        return [index for _, index in noted.made]

    noted = Noted(9)
    ahead = Ahead(noted)
    assert settled() == [0, 1, 2]
    ahead[0], ahead[1]  # what Keras asks for twice is kept
    assert settled() == [0, 1, 2, 3]
    ahead[0], ahead[4]
    assert settled() == [0, 1, 2, 3, 4, 5, 6] and set(ahead.made) == {0, 1, 4, 5, 6}
    ahead.on_epoch_end()
    assert ahead[8] == (1, 8)
    ahead.close()


def test_augmented_batches_are_the_same_to_the_last_pixel():
    images, masks = disks()
    recipe = RECIPE.changed({"rotation": 20.0, "brightness": 0.2, "flips": "both"})
    plain, other = (Batches(images, masks, np.arange(16), recipe, seed=3, training=True) for _ in range(2))
    ahead = Ahead(other)
    for _ in range(3):
        for i in range(len(plain)):
            assert all(np.array_equal(a, b) for a, b in zip(plain[i], ahead[i], strict=True))
        plain.on_epoch_end()
        ahead.on_epoch_end()
    ahead.close()


def test_an_error_of_a_batch_made_ahead_reaches_the_training():
    class Broken(Noted):
        def __getitem__(self, index):
            raise OSError("no such image")

    ahead = Ahead(Broken())
    with pytest.raises(OSError, match="no such image"):
        ahead[0]
    ahead.close()


def test_batches_are_given_in_order_by_a_dataset_that_nothing_tunes():
    images, masks = disks()
    batches = Batches(images, masks, np.arange(16), RECIPE, seed=3, training=True)
    dataset = Untuned(batches).get_tf_dataset()
    assert not dataset.options().autotune.enabled
    found = list(dataset.as_numpy_iterator())
    assert len(found) == len(batches) == 4
    assert all(np.array_equal(one[k], batches[i][k]) for i, one in enumerate(found) for k in (0, 1))


def test_waiting_is_the_share_of_the_steps_time_that_no_batch_was_there(monkeypatch):
    clock, batches = types.SimpleNamespace(now=0.0), types.SimpleNamespace(ready={})
    monkeypatch.setattr("unetlab.training.ahead.time", types.SimpleNamespace(perf_counter=lambda: clock.now))
    waiting = Waiting(batches)
    waiting.set_model(types.SimpleNamespace(train_function="a step"))

    def stepped(batch, ready, end):
        batches.ready[batch], clock.now = ready, end
        waiting.on_train_batch_end(batch)

    waiting.on_epoch_begin(0)
    stepped(0, ready=50, end=60)  # traced meanwhile
    stepped(1, ready=55, end=70)  # was there
    stepped(2, ready=74, end=84)  # 4 of 14 seconds late
    clock.now = 100
    waiting.on_epoch_begin(1)
    stepped(0, ready=101, end=111)
    assert (waiting.seconds, waiting.steps, waiting.share) == (5, 35, pytest.approx(1 / 7))
    waiting.model.train_function = "another, traced anew"
    stepped(1, ready=150, end=200)
    assert waiting.steps == 35
    stepped(2, ready=195, end=210)
    assert (waiting.seconds, waiting.steps) == (5, 45)
    assert Waiting(batches).share == 0


def test_a_training_says_how_long_it_waited_and_leaves_no_thread():
    fitted = fit_disks(RECIPE.changed({"epochs": 2}))
    assert 0 <= fitted.waiting < 1
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]
