"""ONNX: one file, which ONNX Runtime and most other runtimes read, from browsers to servers."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unetlab.service.exports.base import Format, Network, Shape, one_by_one


def write(model: Any, path: Path, shape: Shape, calibration: Sequence[np.ndarray] | None) -> None:
    """Float32 by Keras' own exporter; INT8 by ONNX Runtime from that: weights by channel, activations by image."""
    import tensorflow as tf

    spec = [tf.TensorSpec(shape, tf.float32, name="image")]
    if calibration is None:
        model.export(str(path), format="onnx", input_signature=spec, verbose=False)
        return
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # it ships no types
        def __init__(self, images: Sequence[np.ndarray]) -> None:
            self.images = iter(images)

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self.images, None)
            return None if image is None else {"image": image}

    with tempfile.TemporaryDirectory(prefix="unetlab-") as folder:
        plain, ready = (Path(folder) / name for name in ("plain.onnx", "ready.onnx"))
        model.export(str(plain), format="onnx", input_signature=spec, verbose=False)
        quant_pre_process(
            str(plain), str(ready), skip_symbolic_shape=True
        )  # which wants sympy, and is for transformers
        quantize_static(
            str(ready),
            str(path),
            Reader(calibration),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8,
        )


def open(path: Path, threads: int) -> Network:
    """The network in ONNX Runtime, whose threads do not wait for the next image by spinning: they would take the
    processor from whoever else is at work, such as the rival of a measurement."""
    import onnxruntime

    told = onnxruntime.SessionOptions()
    told.intra_op_num_threads, told.inter_op_num_threads = threads, 1
    told.log_severity_level = 3
    told.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(path), told, providers=["CPUExecutionProvider"])
    return one_by_one(lambda image: np.asarray(session.run(None, {"image": image})[0]))


ONNX = Format(
    name="onnx",
    file="model.onnx",
    extra="onnx",
    modules=("tf2onnx", "onnx", "onnxruntime"),
    int8=True,
    sizes=True,
    lacks=r"No Op registered for (\w+)",
    write=write,
    open=open,
)
