"""Batches that are there when an epoch begins, and how long training waited for those that were not."""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import keras
import tensorflow as tf
from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter

FIRST = 2
"""Batches that Keras looks at for their shapes before it trains, and asks for again."""

AHEAD = 3
"""Batches made, or being made, before they are asked for."""


class Ahead(keras.utils.PyDataset):
    """The batches of another, made ahead in a thread of their own, those that begin an epoch while the epoch before is
    validated.

    Keras has TensorFlow ask for batches ahead, but by threads that the training step keeps busy, so that on few cores
    most batches are made while no step runs; and it begins each epoch with none. The first ones of all are made while
    the network is traced, and once.

    Args:
        batches: indexed from any thread; what an index gives depends on it and the epoch alone.

    Attributes:
        ready: when each batch of this epoch was handed over, by its index.
    """

    def __init__(self, batches: keras.utils.PyDataset) -> None:
        super().__init__(workers=1)
        self.batches = batches
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._begin()

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Any:
        self._make(index)
        found = self.made[index].result()
        self.ready[index] = time.perf_counter()
        for past in [each for each in self.made if FIRST <= each < index]:
            del self.made[past]
        return found

    def on_epoch_end(self) -> None:
        for each in self.made.values():
            each.cancel()
        self.batches.on_epoch_end()
        self._begin()

    def close(self) -> None:
        """Ends the thread."""
        self.pool.shutdown(cancel_futures=True)

    def _begin(self) -> None:
        self.ready: dict[int, float] = {}
        self.made: dict[int, Future[Any]] = {}
        self._make(0)

    def _make(self, first: int) -> None:
        """Has the thread make a batch and those after it, unless it did."""
        for index in range(first, min(first + AHEAD, len(self.batches))):
            if index not in self.made:
                self.made[index] = self.pool.submit(self.batches.__getitem__, index)


class Untuned(PyDatasetAdapter):
    """A PyDataset for `fit`, without TensorFlow's tuning of how many batches are fetched: its thread sleeps up to a
    minute between looks, and the end of an epoch waits until it wakes."""

    def get_tf_dataset(self) -> tf.data.Dataset:
        """Batches of an epoch."""
        options = tf.data.Options()
        options.autotune.enabled = False
        return super().get_tf_dataset().with_options(options)


class Waiting(keras.callbacks.Callback):
    """Adds up how long steps waited for their batches: from the end of one step until the next one's batch was there.

    The first step of all is left out, whose batch waits for the network to be traced, and so is the first after it is
    traced anew on the way, as where moments are held.

    Args:
        batches: those that are trained on.

    Attributes:
        seconds: that steps waited.
        steps: seconds of all steps but those, waiting included, without what comes between epochs.
        validation: seconds of all passes over the validation images.
    """

    def __init__(self, batches: Ahead) -> None:
        super().__init__()
        self.batches = batches
        self.seconds = self.steps = self.validation = self.began = 0.0
        self.free: float | None = None
        self.step: Any = None

    @property
    def share(self) -> float:
        """Of the steps' time."""
        return self.seconds / self.steps if self.steps else 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.free = time.perf_counter()

    def on_test_begin(self, logs: Any = None) -> None:
        self.began = time.perf_counter()

    def on_test_end(self, logs: Any = None) -> None:
        self.validation += time.perf_counter() - self.began

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        now, step = time.perf_counter(), self.model.train_function
        if step is self.step and self.free is not None:
            self.seconds += max(0.0, self.batches.ready[batch] - self.free)
            self.steps += now - self.free
        self.free, self.step = now, step
