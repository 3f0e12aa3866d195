"""The served model, as MLflow runs it from this file: encoded images in, encoded masks out.

This file and pixels.py travel inside every logged model, which therefore loads without this repository.
"""

import json
from pathlib import Path
from typing import Any

import keras
import mlflow
import numpy as np
import pandas as pd
import tensorflow as tf
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel
from scipy import ndimage

try:
    import pixels  # the copy beside this file in a logged model
except ModuleNotFoundError:
    from unetlab import pixels

OWN_THRESHOLD = -1.0
"""The `threshold` that stands for the model's own."""

BATCH = 8


class Segmenter(PythonModel):
    """Finds the foreground of images of any size and mode."""

    def load_context(self, context: Any) -> None:
        """Loads the Keras file and how images are to be prepared for it, and traces the model."""
        self.settings = json.loads(Path(context.artifacts["settings"]).read_text())
        model = keras.saving.load_model(context.artifacts["model"], compile=False)
        size, channels = self.settings["image_size"], self.settings["channels"]
        shape = tf.TensorSpec((None, size, size, channels), tf.float32)
        # called as it is, a Keras model takes six times as long for one image
        self.model = tf.function(lambda images: model(images, training=False), input_signature=[shape])
        self.model(np.zeros((1, size, size, channels), np.float32))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Segments each row's image.

        Args:
            context: unused, the artifacts are loaded.
            model_input: one column `image`, the bytes of a PNG, JPEG, TIFF or BMP.
            params: `threshold` in [0, 1], or -1 for the model's own.

        Returns:
            Columns mask (PNG bytes of 0 and 255 at the image's own size), foreground_fraction (0 to 1) and
            object_count (connected components of the mask).

        Raises:
            MlflowException: for a row that is no image, naming the row, and for a threshold out of range.
        """
        threshold = _threshold((params or {}).get("threshold", OWN_THRESHOLD), self.settings["threshold"])
        images = [self._decode(row, data) for row, data in enumerate(model_input["image"])]
        rows = []
        for start in range(0, len(images), BATCH):
            chunk = images[start : start + BATCH]
            for image, probability in zip(chunk, self._probabilities(chunk), strict=True):
                rows.append(_answer(image, probability, threshold))
        return pd.DataFrame(rows, columns=["mask", "foreground_fraction", "object_count"])

    def _decode(self, row: int, data: bytes) -> np.ndarray:
        try:
            return pixels.decode(bytes(data))[0]
        except (pixels.PixelError, TypeError) as error:
            raise MlflowException(
                f"row {row}: {error}; send the bytes of a PNG, JPEG, TIFF or BMP file, in JSON as base64",
                error_code=INVALID_PARAMETER_VALUE,
            ) from None

    def _probabilities(self, images: list[np.ndarray]) -> np.ndarray:
        """float32 (n, s, s) of uint8 images of any size."""
        size, channels = self.settings["image_size"], self.settings["channels"]
        batch = np.stack([pixels.resize_image(pixels.fit_channels(image, channels), size, size) for image in images])
        return self.model(pixels.normalise(batch, self.settings["normalise"])).numpy()[..., 0]


def _threshold(asked: float, own: float | str) -> float | str:
    if asked == OWN_THRESHOLD:
        return own
    if 0 <= asked <= 1:
        return float(asked)
    raise MlflowException(
        f"threshold must lie in [0, 1], or be {OWN_THRESHOLD:g} for the model's own. Received: {asked}",
        error_code=INVALID_PARAMETER_VALUE,
    )


def _answer(image: np.ndarray, probability: np.ndarray, threshold: float | str) -> tuple[bytes, float, int]:
    cut = float(probability.mean()) if threshold == "mean" else threshold
    mask = pixels.resize_map(probability, *image.shape[:2]) > np.float32(cut)
    return pixels.encode_mask(mask), float(mask.mean()), int(ndimage.label(mask)[1])


mlflow.models.set_model(Segmenter())
