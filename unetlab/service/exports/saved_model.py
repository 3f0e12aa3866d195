"""TensorFlow's SavedModel: a folder, for TensorFlow Serving and whoever has TensorFlow and no Keras."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unetlab.service.exports.base import Format, Network, Shape, one_by_one


def write(model: Any, path: Path, shape: Shape, calibration: Sequence[np.ndarray] | None) -> None:
    """By Keras' own exporter."""
    import tensorflow as tf

    spec = [tf.TensorSpec(shape, tf.float32, name="image")]
    model.export(str(path), format="tf_saved_model", input_signature=spec, verbose=False)


def open(path: Path, threads: int) -> Network:
    """The network; TensorFlow's threads are settled once a process, before its first computation, and not here."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))  # held by the function, since it owns the weights
    return one_by_one(lambda image: np.asarray(loaded.serve(image)))


SAVED_MODEL = Format(
    name="saved_model",
    file="saved_model",
    extra="",
    modules=(),
    int8=False,  # Keras quantises no convolutions, and what TensorFlow has for that is no public part of it
    sizes=True,
    lacks=r"(?!)",  # it holds whatever TensorFlow has
    write=write,
    open=open,
)
