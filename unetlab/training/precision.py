"""Which number format training computes in."""

from pathlib import Path

import tensorflow as tf

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


def resolve_precision(choice: str) -> str:
    """Turns `precision` into "float32" or "bfloat16"; "auto" takes bfloat16 where the hardware has it.

    bfloat16 means Keras' mixed policy: weights and the output layer stay in float32.
    """
    if choice != "auto":
        return choice
    return "bfloat16" if _has_bfloat16() else "float32"


def _has_bfloat16() -> bool:
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0))
        return bool(capability >= (8, 0))
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text() if cpuinfo.exists() else ""
    return "amx_bf16" in flags or "avx512_bf16" in flags
