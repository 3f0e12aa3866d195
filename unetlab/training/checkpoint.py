"""The state of a training after each epoch on disk, so that one that was killed goes on where it was.

Whatever Keras draws on is in it: weights, the state of dropout's generators, the optimiser with its step and its
learning rate, the best weights and the patience of early stopping, the epochs' metrics. Batches are drawn from seed and
epoch. A training that goes on thus ends where an undisturbed one does.
"""

import contextlib
import json
import os
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from unetlab.errors import Stopped
from unetlab.training.rates import Cosine

MOST_OF_THE_TIME = 0.1
"""Share of a training's time that saving may take; where it would take more, some epochs are not saved."""


def write_whole(path: Path, write: Any) -> None:
    """Writes a file that is there whole or not at all, even if the power fails: `write` is given the open file.

    Raises Stopped if the disk is full or the folder cannot be written; what was there before stays.
    """
    beside = path.with_name(f".{path.name}.writing")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(beside, "wb") as out:
            write(out)
            out.flush()
            os.fsync(out.fileno())
        os.replace(beside, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the new name, too
        finally:
            os.close(folder)
    except OSError as error:
        raise Stopped(
            f"cannot write {path} ({error.strerror}); make room there, or set UNETLAB_CACHE to a folder that has it"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def save_arrays(path: Path, about: Mapping[str, Any], arrays: Sequence[np.ndarray]) -> None:
    """Writes arrays and what they are, JSON, as one .npz that is there whole or not at all."""
    named: dict[str, Any] = {f"a{number}": array for number, array in enumerate(arrays)}
    write_whole(path, lambda out: np.savez(out, about=np.array(json.dumps(dict(about))), **named))


def load_arrays(path: Path) -> tuple[dict[str, Any], list[np.ndarray]] | None:
    """What `save_arrays` wrote, None if nothing readable is there. Nothing is unpickled."""
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as stored:
            about = json.loads(str(stored["about"]))
            return about, [stored[f"a{number}"] for number in range(len(stored.files) - 1)]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # none yet, or damaged on the disk
        return None


class Checkpoint(keras.callbacks.Callback):
    """Saves the state after each epoch, and takes up a saved one. It has to come after all other callbacks.

    Args:
        path: of the file; None keeps the history only.
        identity: what the training is of, such as its hyperparameters; a state of another is not taken up.

    Attributes:
        history: each metric's value an epoch, those of the epochs before included.
        seconds: that the training took until the state that was taken up.
        epoch: epochs done in that state.
    """

    def __init__(self, path: Path | None = None, identity: str = "") -> None:
        super().__init__()
        self.path, self.identity = path, identity
        self.history: dict[str, list[float]] = {}
        self.seconds, self.epoch = 0.0, 0
        self.taken_up: tuple[dict[str, Any], list[np.ndarray]] | None = None
        self.cost, self.saved = 0.0, float("-inf")

    def begin(
        self, model: keras.Model, best: keras.callbacks.EarlyStopping, batches: Any, epochs: int, rate: Any = None
    ) -> int:
        """Looks for a saved state, and turns the batches to its epoch; `rate` is a `Cosine`, or anything else.

        Returns the epoch to begin with, from 0; `epochs` if nothing is left to train.
        """
        self.best, self.epochs, self.rate = best, epochs, rate
        found = None if self.path is None else load_arrays(self.path)
        if found is None or found[0].get("identity") != self.identity or not _fits(model, *found):
            return 0
        about, self.taken_up = found[0], found
        self.history, self.seconds, self.epoch = about["history"], about["seconds"], about["epoch"]
        for _ in range(self.epoch):
            batches.on_epoch_end()
        return epochs if about["stopped"] else self.epoch

    def on_train_begin(self, logs: Any = None) -> None:
        self.started = time.perf_counter()
        if self.taken_up is not None:
            self._restore(*self.taken_up)
            self.taken_up = None

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(float(value))
        now = time.perf_counter()
        last = bool(self.model.stop_training) or epoch + 1 == self.epochs
        if self.path is not None and (last or now - self.saved > self.cost / MOST_OF_THE_TIME):
            self._save(epoch + 1, self.seconds + now - self.started)
            self.saved = time.perf_counter()
            self.cost = self.saved - now

    def _save(self, epoch: int, seconds: float) -> None:
        arrays = [keras.ops.convert_to_numpy(variable) for variable in _variables(self.model)]
        now_best = self.best.best_epoch == epoch - 1  # the weights are the best ones, written once
        about = {
            "identity": self.identity,
            "epoch": epoch,
            "seconds": seconds,
            "stopped": bool(self.model.stop_training),
            "history": self.history,
            "variables": len(arrays),
            "best": None if self.best.best is None else float(self.best.best),
            "best_epoch": self.best.best_epoch,
            "wait": self.best.wait,
            "stopped_epoch": self.best.stopped_epoch,
            "best_is_last": now_best,
            "ahead": float(self.rate.ahead.value) if isinstance(self.rate, Cosine) else 0.0,
        }
        assert self.path is not None
        best = [] if now_best or self.best.best_weights is None else self.best.best_weights
        save_arrays(self.path, about, [*arrays, *best])

    def _restore(self, about: Mapping[str, Any], arrays: Sequence[np.ndarray]) -> None:
        variables = _variables(self.model)
        if [tuple(variable.shape) for variable in variables] != [each.shape for each in arrays[: len(variables)]]:
            raise Stopped(f"{self.path} was saved by another version of the code; fresh=true begins anew")
        for variable, array in zip(variables, arrays, strict=False):
            variable.assign(array)
        if isinstance(self.rate, Cosine):
            self.rate.ahead.assign(about.get("ahead", 0.0))
        best = self.best
        best.best, best.best_epoch, best.wait = about["best"], about["best_epoch"], about["wait"]
        best.stopped_epoch = about["stopped_epoch"]
        kept = list(arrays[about["variables"] :])
        best.best_weights = self.model.get_weights() if about["best_is_last"] else kept or None


def _variables(model: keras.Model) -> list[Any]:
    """Of the model, the generators of its dropout among them, and of the optimiser."""
    if not model.optimizer.built:  # one that lets variables learn late has built itself
        model.optimizer.build(model.trainable_variables)
    return [*_state(model), *model.optimizer.variables]


def _state(model: keras.Model) -> list[Any]:
    """The model's own, in an order that does not depend on what of it is frozen."""
    metrics = {id(variable) for variable in model.metrics_variables}
    return [variable for variable in model.variables if id(variable) not in metrics]


def _fits(model: keras.Model, about: Mapping[str, Any], arrays: Sequence[np.ndarray]) -> bool:
    """Whether a state is of a model built like this one; another version of the code may build another."""
    shapes = [tuple(variable.shape) for variable in _state(model)]
    return shapes == [array.shape for array in arrays[: len(shapes)]]
