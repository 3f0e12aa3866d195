"""The served model, as MLflow runs it from this file: encoded images in, encoded masks out.

This file, `images` and `predict.py` travel inside every logged model, which therefore loads without this repository.
"""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import mlflow
import numpy as np
import pandas as pd
import tensorflow as tf
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel

try:  # the copies beside this file in a logged model
    from unetlab_served.images import codecs, regions
    from unetlab_served.inference.predict import Predictor, Threshold
except ModuleNotFoundError:
    from unetlab.images import codecs, regions
    from unetlab.inference.predict import Predictor, Threshold

OWN_THRESHOLD = -1.0
"""The `threshold` that stands for the model's own."""

BATCH = 8


class Segmenter(PythonModel):
    """Finds the foreground of images of any size and mode."""

    def load_context(self, context: Any) -> None:
        """Loads the Keras file and how images are to be prepared for it, and traces the model."""
        recipe = SimpleNamespace(**json.loads(Path(context.artifacts["settings"]).read_text()))
        model = keras.saving.load_model(context.artifacts["model"], compile=False)
        size, channels = recipe.image_size, recipe.channels
        shape = tf.TensorSpec((None, size, size, channels), tf.float32)
        # called as it is, a Keras model takes six times as long for one image
        traced = tf.function(lambda images: model(images, training=False), input_signature=[shape])
        traced(np.zeros((1, size, size, channels), np.float32))
        self.predictor = Predictor(traced, recipe)

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Segments each row's image.

        Args:
            context: unused, the artifacts are loaded.
            model_input: one column `image`, the bytes of a PNG, JPEG, TIFF or BMP.
            params: `threshold` in [0, 1], or -1 for the model's own; `channels` ("1" or "1,2,3") and `pages` (one,
                such as "3"), counted from 1, for files that hold more than one grey or colour image.

        Returns:
            Columns mask (PNG bytes of 0 and 255 at the image's own size), foreground_fraction (0 to 1) and
            object_count (connected components of the mask).

        Raises:
            MlflowException: for a row that is no image, or a stack of several pages since a row has one answer, naming
                the row; and for a threshold out of range.
        """
        asked = params or {}
        threshold = _threshold(asked.get("threshold", OWN_THRESHOLD))
        choice = asked.get("channels", ""), asked.get("pages", "all")
        images = [_decode(row, data, *choice) for row, data in enumerate(model_input["image"])]
        rows = []
        for start in range(0, len(images), BATCH):
            chunk = images[start : start + BATCH]
            rows += [_answer(mask) for mask in self.predictor.masks(chunk, threshold)]
        return pd.DataFrame(rows, columns=["mask", "foreground_fraction", "object_count"])


def _decode(row: int, data: bytes, channels: str, pages: str) -> np.ndarray:
    try:
        with codecs.open_pages(bytes(data), channels, pages) as opened:
            if opened.count > 1:
                many = f"a stack of {opened.count} pages, and a row has one answer"
                raise codecs.PixelError(f"{many}; send each page as a row, or name one, such as pages=1")
            return codecs.image_of(opened, 0)
    except (codecs.PixelError, TypeError) as error:
        raise MlflowException(
            f"row {row}: {error}; send the bytes of a PNG, JPEG, TIFF or BMP file, in JSON as base64",
            error_code=INVALID_PARAMETER_VALUE,
        ) from None


def _threshold(asked: float) -> Threshold | None:
    """The threshold asked for; None for the model's own."""
    if asked == OWN_THRESHOLD:
        return None
    if 0 <= asked <= 1:
        return float(asked)
    raise MlflowException(
        f"threshold must lie in [0, 1], or be {OWN_THRESHOLD:g} for the model's own. Received: {asked}",
        error_code=INVALID_PARAMETER_VALUE,
    )


def _answer(mask: np.ndarray) -> tuple[bytes, float, int]:
    return codecs.encode_mask(mask), float(mask.mean()), int(regions.components(mask).max())


mlflow.models.set_model(Segmenter())
