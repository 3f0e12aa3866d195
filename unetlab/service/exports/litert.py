"""LiteRT, once TensorFlow Lite: one file, for phones and small boards, and fast on processors."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unetlab.service.exports.base import Format, Network, Shape, one_by_one


def write(model: Any, path: Path, shape: Shape, calibration: Sequence[np.ndarray] | None) -> None:
    """Only LiteRT's own operations are taken: those it borrows from TensorFlow want a runtime that few have."""
    import tensorflow as tf

    kinds = [tf.lite.OpsSet.TFLITE_BUILTINS]
    told: dict[str, Any] = {}
    if calibration is not None:
        kinds.insert(0, tf.lite.OpsSet.TFLITE_BUILTINS_INT8)
        told = {
            "optimizations": [tf.lite.Optimize.DEFAULT],
            "representative_dataset": lambda: ([image] for image in calibration),
        }
    spec = [tf.TensorSpec(shape, tf.float32, name="image")]
    told["target_spec"] = {"supported_ops": kinds}
    model.export(str(path), format="litert", input_signature=spec, verbose=False, **told)


def open(path: Path, threads: int) -> Network:
    """The network, by XNNPACK, which LiteRT brings along."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=threads)
    interpreter.allocate_tensors()
    taken, given = (each()[0]["index"] for each in (interpreter.get_input_details, interpreter.get_output_details))

    def run(image: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(taken, image)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(given))

    return one_by_one(run)


LITERT = Format(
    name="litert",
    file="model.tflite",
    extra="litert",
    modules=("ai_edge_litert",),
    int8=True,
    sizes=False,  # the converter loses how many channels there are where pixels are repeated in images of any size
    lacks=r"'tf\.(\w+)' op is neither a custom op nor a flex op",
    write=write,
    open=open,
)
