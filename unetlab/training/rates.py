"""How the learning rate goes over a training."""

import time
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from unetlab.setup import Recipe


class Cosine(keras.optimizers.schedules.CosineDecay):
    """Linear warm-up, then cosine decay to 0; its numbers are variables, so that a step that was traced with one such
    schedule serves trainings of other rates and lengths, and one can be moved on while it runs.

    Args:
        rate: the highest.
        steps: of the decay.
        warm: steps of the warm-up before it, from a hundredth of the rate.

    Attributes:
        ahead: steps by which it is further on than the training.
    """

    NUMBERS = ("initial_learning_rate", "decay_steps", "warmup_target", "warmup_steps", "ahead")

    def __init__(self, rate: float, steps: int, warm: int) -> None:
        told = dict(zip(self.NUMBERS, (rate / 100, steps, rate, warm, 0.0), strict=True))
        variables = {name: keras.Variable(value, trainable=False, dtype="float32") for name, value in told.items()}
        self.ahead = variables.pop("ahead")
        super().__init__(**variables)

    def __call__(self, step: Any) -> Any:
        return super().__call__(ops.cast(step, "float32") + self.ahead)

    def become(self, other: "Cosine") -> None:
        """Takes the numbers of another."""
        for name in self.NUMBERS:
            getattr(self, name).assign(getattr(other, name))


def constant(recipe: Recipe, steps: int) -> float:
    """The recipe's own learning rate throughout."""
    return recipe.learning_rate


def cosine(recipe: Recipe, steps: int) -> Cosine:
    """Linear warm-up from a hundredth of the recipe's learning rate, over one epoch, or over an eighth of all steps if
    that is less; then cosine decay to 0."""
    every = recipe.epochs * steps
    warm = max(1, min(steps, every // 8))
    return Cosine(recipe.learning_rate, max(1, every - warm), warm)


SCHEDULES: dict[str, Callable[[Recipe, int], Any]] = {"constant": constant, "cosine": cosine}
"""A recipe names one of these: from it and the steps an epoch to what Keras takes as a learning rate."""


class KeepPace(keras.callbacks.Callback):
    """Moves a schedule on where the training is slower than its minutes allow.

    A rate that is still high when the time is up leaves a worse network than fewer steps with the whole decay do. What
    the pace is shows after two epochs, of which the first, whose first step traces the network, tells nothing; a
    training that will end in time at that pace is not touched.

    Args:
        rate: the schedule.
        steps: that it is made for.
        minutes: that the training has at most.
        spent: seconds of them that have gone already.
    """

    def __init__(self, rate: Cosine, steps: int, minutes: float, spent: float = 0.0) -> None:
        super().__init__()
        self.rate, self.steps, self.seconds, self.spent = rate, steps, 60 * minutes, spent

    def on_train_begin(self, logs: Any = None) -> None:
        self.until = time.perf_counter() + self.seconds - self.spent
        self.begun = False
        self.first: tuple[float, int] | None = None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        now, done = time.perf_counter(), int(ops.convert_to_numpy(self.model.optimizer.iterations))
        if self.first is not None:
            began, before = self.first
            possible = (done - before) * max(0.0, self.until - now) / (now - began)
            self.rate.ahead.assign(max(0.0, self.steps - done - possible))
        elif self.begun:
            self.first = now, done
        self.begun = True
