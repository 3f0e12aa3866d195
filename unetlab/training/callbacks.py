"""What watches a training: its clock, its limits, and the loss that must stay finite."""

import math
import time
from collections.abc import Callable
from typing import Any

import keras

from unetlab.training.fused import hold_moments


class TrainingFailed(RuntimeError):
    """Training cannot go on; the message names the epoch and the step."""


class StopWhenNotFinite(keras.callbacks.Callback):
    """Ends the training at the first loss that is NaN or infinite.

    Raises TrainingFailed with the epoch and the step, both counted from 1.
    """

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if logs and not math.isfinite(logs["loss"]):
            raise TrainingFailed(f"the loss became {logs['loss']} in epoch {self.epoch + 1}, step {batch + 1}")


class HoldMoments(keras.callbacks.Callback):
    """Has batch normalisations keep their moments from a share of a training on, from its second epoch at the earliest.

    Those of a batch of a few patches are far from those of another, and a network is served with a mean of the last
    ones: what it learnt from the one it is asked with the other. From here on it learns with what it is served with.

    Args:
        share: of the epochs, in which moments follow the batches.
        epochs: that are planned.
        ahead: how many epochs the rate is further on than the training, which will have so many less.
    """

    def __init__(self, share: float, epochs: int, ahead: Callable[[], float] = lambda: 0.0) -> None:
        super().__init__()
        self.share, self.epochs, self.ahead = share, epochs, ahead
        self.waiting = True

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self.waiting and epoch and epoch >= round(self.share * (self.epochs - self.ahead())):
            self.waiting = False
            if hold_moments(self.model):
                self.model.make_train_function(force=True)


class StopAfter(keras.callbacks.Callback):
    """Ends the training after so many minutes, in the middle of an epoch if need be; its validation still runs.

    0 minutes set no limit; `spent` seconds of them have gone already.
    """

    def __init__(self, minutes: float, spent: float = 0.0) -> None:
        super().__init__()
        self.end = time.perf_counter() + 60 * (minutes or math.inf) - spent

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if time.perf_counter() > self.end:
            self.model.stop_training = True


class EpochClock(keras.callbacks.Callback):
    """Adds `learning_rate` and `seconds` to each epoch's logs, for the callbacks after it."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        logs["seconds"] = time.perf_counter() - self.started
