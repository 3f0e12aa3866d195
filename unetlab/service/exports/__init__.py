"""Trained networks as files of other runtimes: a table of formats, and what is measured of what they hold."""

from unetlab.service.exports.base import Format
from unetlab.service.exports.litert import LITERT
from unetlab.service.exports.onnx import ONNX
from unetlab.service.exports.openvino import OPENVINO
from unetlab.service.exports.saved_model import SAVED_MODEL

FORMATS: dict[str, Format] = {row.name: row for row in (LITERT, ONNX, OPENVINO, SAVED_MODEL)}
"""Every format by its name; `EXPORTS` of `unetlab.options` names the same."""
