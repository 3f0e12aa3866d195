"""One training: a recipe, arrays and a seed in; a float32 model and its history out."""

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from tensorflow.python.framework import ops as tensorflow_ops

from unetlab.data.targets import HEADS, names
from unetlab.data.unmapped import Unmapped
from unetlab.setup import Recipe
from unetlab.training import class_losses, losses, traced
from unetlab.training.adam import OnePassAdam
from unetlab.training.ahead import Ahead, Untuned, Waiting
from unetlab.training.batches import batches_of
from unetlab.training.callbacks import EpochClock, HoldMoments, StopAfter, StopWhenNotFinite
from unetlab.training.checkpoint import Checkpoint
from unetlab.training.fused import fused, served_weights
from unetlab.training.precision import POLICIES
from unetlab.training.rates import SCHEDULES, Cosine, KeepPace
from unetlab.training.thaw import LateAdam, Thaw


@dataclass(frozen=True)
class Fitted:
    """What a training leaves.

    Args:
        model: uncompiled, float32, with the weights of the best epoch: the model that is scored and served.
        history: one row an epoch: epoch, loss, accuracy, dice, the same with val_, learning_rate, seconds.
        best_epoch: 1-based epoch of the lowest validation loss.
        seconds: wall time of training.
        steps: of these, what training steps took, without the first, which traces, and without validation.
        waiting: share of the steps' time that they waited for their batches.
        validation: seconds, of the whole, of passes over the validation images.
        weights: of each class in the cross-entropies of the loss, background first, as `class_weights` has it; None of
            one mask.
        parameters: of the network as it was trained, those that stayed frozen too.
    """

    model: keras.Model
    history: pd.DataFrame
    best_epoch: int
    seconds: float
    steps: float = 0.0
    waiting: float = 0.0
    validation: float = 0.0
    weights: np.ndarray | None = None
    parameters: int = 0


def fit(
    build: Callable[..., keras.Model],
    recipe: Recipe,
    images: Sequence[np.ndarray] | np.ndarray,
    masks: Sequence[np.ndarray] | np.ndarray,
    train: np.ndarray,
    validation: np.ndarray,
    *,
    seed: int,
    precision: str,
    weights: str | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    minutes: float = 0.0,
    checkpoint: Checkpoint | None = None,
    until: int = 0,
) -> Fitted:
    """Trains a model as its recipe says.

    Args:
        build: the setup's model builder.
        images: uint8 (n, s, s, c) at the recipe's size; in patches n of (h, w, c) at its scale.
        masks: uint8 alike, with the channels of `data.dataset.FittedDataset`.
        train: indices to learn from.
        validation: indices whose loss picks the best epoch.
        seed: of weights, shuffling, augmentation and dropout.
        precision: "float32" or "bfloat16".
        weights: of a pretrained encoder, as the builder takes them.
        callbacks: called after the clock, with loss, accuracy, dice, learning_rate, seconds and their val_ kin.
        minutes: after which training ends with the best epoch so far; 0 for no limit.
        checkpoint: saves the state of each epoch, and has the one that training goes on from, if any.
        until: epochs after which training pauses, within a schedule of all the recipe's; 0 for all of them.

    Raises:
        TrainingFailed: if the loss is not finite.
    """
    forget_models()
    checkpoint = checkpoint or Checkpoint()
    keras.utils.set_random_seed(seed)
    keras.mixed_precision.set_global_policy(POLICIES[precision])
    ahead: Ahead | None = None
    try:
        batches = batches_of(images, masks, train, recipe, seed, training=True)
        learnt = map(Unmapped(masks).__getitem__, train)
        weighted = class_losses.class_weights(learnt, recipe.classes) if recipe.classes else None
        rate = SCHEDULES[recipe.schedule](recipe, len(batches))
        key = traced.key_of(build, recipe, weights, precision, seed, weighted)
        known = traced.taken(key, rate)
        if known is None:
            known = traced.begun(compiled(build, recipe, weights, rate, weighted), rate, key)
        model, rate = known.model, known.rate
        best = keras.callbacks.EarlyStopping(
            monitor="val_loss", mode="min", patience=recipe.patience or recipe.epochs, restore_best_weights=True
        )
        epochs = min(until or recipe.epochs, recipe.epochs)
        first = checkpoint.begin(model, best, batches, epochs, rate)
        started = time.perf_counter() - checkpoint.seconds
        ahead = Ahead(batches)
        waiting = Waiting(ahead)
        model.fit(
            Untuned(ahead),
            validation_data=Untuned(batches_of(images, masks, validation, recipe, seed, training=False)),
            epochs=epochs,
            initial_epoch=first,
            shuffle=False,  # Batches does it, from the seed and the epoch alone; Keras goes by what was drawn before
            verbose=0,
            callbacks=[
                waiting,
                *_watching(recipe, rate, len(batches), minutes, checkpoint),
                *callbacks,
                best,
                checkpoint,
            ],
        )
        seconds = time.perf_counter() - started
        found, parameters = served_weights(model), int(model.count_params())
        traced.keep(key, known)
    finally:
        keras.mixed_precision.set_global_policy("float32")
        if ahead is not None:
            ahead.close()
    table = pd.DataFrame(checkpoint.history)
    table.insert(0, "epoch", np.arange(1, len(table) + 1))
    served = rebuild(build, recipe, found)
    best_epoch = int(table["val_loss"].argmin()) + 1
    took = seconds, waiting.steps, waiting.share, waiting.validation
    return Fitted(served, table, best_epoch, *took, weighted, parameters)


def _watching(
    recipe: Recipe, rate: Any, steps: int, minutes: float, checkpoint: Checkpoint
) -> list[keras.callbacks.Callback]:
    """What changes a training on its way or ends it, and its clock."""
    spent = checkpoint.seconds
    pace = [KeepPace(rate, recipe.epochs * steps, minutes, spent)] if minutes and isinstance(rate, Cosine) else []
    thaw = [Thaw(recipe.thaw)] if recipe.thaw else []
    ahead = (lambda: float(keras.ops.convert_to_numpy(rate.ahead)) / steps) if isinstance(rate, Cosine) else lambda: 0.0
    hold = [HoldMoments(recipe.held, recipe.epochs, ahead)] if recipe.held else []
    return [*pace, *thaw, *hold, StopWhenNotFinite(), StopAfter(minutes, spent), EpochClock()]


def compiled(
    build: Callable[..., keras.Model],
    recipe: Recipe,
    weights: str | None,
    rate: Any,
    weighted: np.ndarray | None = None,
) -> keras.Model:
    """The network as it is trained; `rate` is a learning rate or its schedule, `weighted` the weights of classes as
    `losses.of_recipe` takes them."""
    shape = (recipe.image_size, recipe.image_size, recipe.channels)
    model = fused(build(input_shape=shape, weights=weights, **heads_of(recipe), **recipe.model))
    adam = LateAdam if recipe.thaw else OnePassAdam
    model.compile(
        optimizer=adam(rate),
        loss=losses.of_recipe(recipe, weighted),
        metrics=losses.metrics_of(recipe),
        jit_compile=bool(tf.config.list_physical_devices("GPU")),  # XLA halves the speed on processors
    )
    _have_variables(model, recipe)
    return model


def _have_variables(model: keras.Model, recipe: Recipe) -> None:
    """Makes those of the optimiser and of the metrics, which Keras would make in the first step: TensorFlow traces a
    function that makes variables twice."""
    if not recipe.thaw:  # `Thaw` makes its own
        model.optimizer.build(model.trainable_variables)
    masks = np.zeros((1, recipe.image_size, recipe.image_size, 1 + len(names(recipe))), np.float32)
    answer = np.full((*masks.shape[:-1], model.output_shape[-1]), 0.5, np.float32)
    model.compute_loss(y=masks, y_pred=answer)
    model.compute_metrics(None, masks, answer)
    model.reset_metrics()


def seconds_a_step(
    build: Callable[..., keras.Model], recipe: Recipe, precision: str, weights: str | None = None, steps: int = 4
) -> float:
    """Wall time of a training step of a recipe on this machine, the least of `steps` after the first, which traces:
    whatever else the machine does can only add to it.

    Measured on noise: what an image shows does not change how long it takes. Which weights an encoder has does, since
    those of ImageNet leave less to learn.
    """
    forget_models()
    keras.mixed_precision.set_global_policy(POLICIES[precision])
    try:
        model = compiled(build, recipe.changed({"thaw": 0}), weights, recipe.learning_rate)
        rng = np.random.default_rng(0)
        shape = (recipe.batch_size, recipe.image_size, recipe.image_size)
        images = rng.random((*shape, recipe.channels), np.float32)
        masks = rng.integers(0, 1 + max(1, recipe.classes), (*shape, 1 + len(names(recipe)))).astype(np.float32)
        took = []
        for _ in range(steps + 1):
            started = time.perf_counter()
            model.train_on_batch(images, masks)
            took.append(time.perf_counter() - started)
    finally:
        keras.mixed_precision.set_global_policy("float32")
        forget_models()
    return min(took[1:])


def rebuild(build: Callable[..., keras.Model], recipe: Recipe, weights: list[np.ndarray]) -> keras.Model:
    """The same network uncompiled and in float32, without optimiser state: what is scored is what is served.

    In patches it takes images of any size, sides multiples of `images.view.ALIGN`.
    """
    side = None if recipe.view == "patches" else recipe.image_size
    model = build(input_shape=(side, side, recipe.channels), weights=None, **heads_of(recipe), **recipe.model)
    model.set_weights(weights)
    return model


def heads_of(recipe: Recipe) -> dict[str, int]:
    """What a builder is told of classes or heads: nothing where the recipe has none."""
    if recipe.classes:
        return {"classes": recipe.classes}
    return {"heads": 1} if recipe.objects in HEADS else {}


def forget_models() -> None:
    """Frees graphs and weights of earlier trainings, which otherwise pile up over a search."""
    keras.backend.clear_session()
    # TensorFlow registers a gradient for each traced custom gradient and never forgets one; each holds its whole graph
    registered = tensorflow_ops.gradient_registry._registry
    for name in [name for name in registered if name.startswith("CustomGradient-")]:
        del registered[name]
    gc.collect()
