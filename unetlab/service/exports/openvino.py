"""OpenVINO: a file of structure beside one of weights, for Intel's processors and graphics."""

import functools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unetlab.service.exports.base import Format, Network, Shape, one_by_one, without_telemetry


def write(model: Any, path: Path, shape: Shape, calibration: Sequence[np.ndarray] | None) -> None:
    """Float32 by Keras' own exporter; INT8 by NNCF from that."""
    without_telemetry()
    import tensorflow as tf

    spec = [tf.TensorSpec(shape, tf.float32, name="image")]
    if calibration is None:
        model.export(str(path), format="openvino", input_signature=spec, verbose=False)
        return
    import logging

    import nncf
    import openvino

    nncf.set_log_level(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="unetlab-") as folder:
        plain = Path(folder) / "plain.xml"
        model.export(str(plain), format="openvino", input_signature=spec, verbose=False)
        found = nncf.quantize(
            openvino.Core().read_model(str(plain)),
            nncf.Dataset(list(calibration)),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(calibration),
        )
        openvino.save_model(found, str(path), compress_to_fp16=False)


def open(path: Path, threads: int) -> Network:
    """The network, compiled for each size that it meets; what is not INT8 stays float32, where OpenVINO would take
    bfloat16 on processors that have it."""
    without_telemetry()
    import openvino

    core = openvino.Core()
    told = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }

    @functools.lru_cache(maxsize=8)
    def compiled(shape: tuple[int, ...]) -> Any:
        network = core.read_model(str(path))
        if network.is_dynamic():
            network.reshape(list(shape))  # several times as fast as one for any size
        return core.compile_model(network, "CPU", told)

    return one_by_one(lambda image: np.array(compiled(image.shape)(image)[0]))


OPENVINO = Format(
    name="openvino",
    file="model.xml",
    extra="openvino",
    modules=("openvino", "nncf"),
    int8=True,
    sizes=True,
    lacks=r"No conversion rule found for operations: ([\w, ]+)",
    write=write,
    open=open,
)
