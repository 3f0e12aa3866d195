"""Weights for an encoder of `auto`: random ones in a file.

Which layers stay as they came, and so how long a step takes, hangs on whether weights were given, and not on what is in
them.
"""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

from unetlab.models.encoders import get_encoder

SIDE = 256


@functools.cache
def weights_for(network: str, encoder: str = "mobilenetv2") -> str | None:
    """The file for a network with a pretrained encoder that learns; None for others, which need none."""
    if network != "pretrained":
        return None
    folder = Path(tempfile.mkdtemp(prefix="unetlab-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    row = get_encoder(encoder)
    row.build((SIDE, SIDE, 3), None, **row.options).save_weights(folder / "encoder.weights.h5")
    return str(folder / "encoder.weights.h5")
