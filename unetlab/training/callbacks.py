"""What watches a training: its clock, its limits, and the loss that must stay finite."""

import math
import time
from typing import Any

import keras
from keras import ops

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
    """Has batch normalisations keep their moments after so many epochs.

    Those of a batch of a few patches are far from those of another, and a network is served with a mean of the last
    ones: what it learnt from the one it is asked with the other. From here on it learns with what it is served with.

    Args:
        epochs: that moments follow the batches, at least 1.
    """

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self.epochs = max(1, epochs)
        self.waiting = True

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self.waiting and epoch >= self.epochs:
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


class Paced(keras.optimizers.schedules.LearningRateSchedule):
    """Another schedule, `ahead` steps further on."""

    def __init__(self, schedule: keras.optimizers.schedules.LearningRateSchedule) -> None:
        self.schedule = schedule
        self.ahead = keras.Variable(0.0, trainable=False, dtype="float32", name="ahead")

    def __call__(self, step: Any) -> Any:
        return self.schedule(ops.cast(step, "float32") + self.ahead)


class KeepPace(keras.callbacks.Callback):
    """Moves a schedule on where the training is slower than its minutes allow.

    A rate that is still high when the time is up leaves a worse network than fewer steps with the whole decay do. A
    training that keeps its pace is not touched.

    Args:
        rate: the schedule.
        steps: that it is made for.
        minutes: that the training has at most.
        spent: seconds of them that have gone already.
    """

    def __init__(self, rate: Paced, steps: int, minutes: float, spent: float = 0.0) -> None:
        super().__init__()
        self.rate, self.steps, self.seconds = rate, steps, 60 * minutes
        self.started = time.perf_counter() - spent

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        due = self.steps * min(1.0, (time.perf_counter() - self.started) / self.seconds)
        done = int(ops.convert_to_numpy(self.model.optimizer.iterations))
        self.rate.ahead.assign(max(0.0, due - done))


class EpochClock(keras.callbacks.Callback):
    """Adds `learning_rate` and `seconds` to each epoch's logs, for the callbacks after it."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        logs["seconds"] = time.perf_counter() - self.started
