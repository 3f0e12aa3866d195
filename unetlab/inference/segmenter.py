"""The served model, as MLflow runs it from this file: encoded images in, encoded masks out.

This file, `images` and `predict.py` travel inside every logged model, which therefore loads without this repository.
"""

import json
from collections.abc import Sequence
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
    from unetlab_served.images import codecs, palette, view
    from unetlab_served.inference import guard
    from unetlab_served.inference.predict import Answer, Predictor, Threshold, most_pixels
except ModuleNotFoundError:
    from unetlab.images import codecs, palette, view
    from unetlab.inference import guard
    from unetlab.inference.predict import Answer, Predictor, Threshold, most_pixels

OWN_THRESHOLD = -1.0
"""The `threshold` that stands for the model's own."""

BATCH = 8

COLUMNS = ("mask", "foreground_fraction", "object_count", "labels")
"""Of an answer."""

CLASS_COLUMNS = (*COLUMNS, "classes", "class_names", "object_classes")
"""Of an answer of a model of classes."""


class Segmenter(PythonModel):
    """Finds the foreground of images of any size and mode."""

    def load_context(self, context: Any) -> None:
        """Loads the Keras file and how images are to be prepared for it, and traces the model.

        In MLflow's scoring server it puts a guard before it and counts pixels, as `guard.LIMITS` says.

        Raises MlflowException for a view that this code does not know, and for limits that are none.
        """
        self.most: int | None = None
        if guard.serving():
            guard.install()
            self.most = guard.limit("UNETLAB_MAX_PIXELS")
        recipe = SimpleNamespace(**json.loads(Path(context.artifacts["settings"]).read_text()))
        if recipe.view not in view.VIEWS:
            raise MlflowException(
                f"the model looks at images in a view {recipe.view!r}, and this code knows {', '.join(view.VIEWS)}",
                error_code=INVALID_PARAMETER_VALUE,
            )
        model = keras.saving.load_model(context.artifacts["model"], compile=False)
        size, channels = recipe.image_size, recipe.channels
        side = None if recipe.view == "patches" else size  # patches are seen in tiles of several sizes
        shape = tf.TensorSpec((None, side, side, channels), tf.float32)
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
            Columns mask (PNG bytes of 0 and 255 at the image's own size), foreground_fraction (0 to 1), object_count
            and labels (PNG bytes of 16 bits, of more than 65,535 objects a TIFF of 32: 0 is background, each object has
            a number of its own, and what is a speck or less sure than the model asks for has none). A model of classes
            answers besides: classes (PNG bytes of 8 bits with a palette: each pixel is the index of its likeliest
            class, 0 background), class_names (by index, "background" first) and object_classes (the index of each
            object's class, by its number in `labels`, 0 first for background). Its mask is where classes are not 0.

        Raises:
            MlflowException: for a row that is no image, or a stack of several pages since a row has one answer, naming
                the row; for more pixels than a server takes in a request; for a threshold out of range; and for one
                given to a model of classes, to which none applies.
        """
        asked = params or {}
        threshold = _threshold(asked.get("threshold", OWN_THRESHOLD))
        names = self.predictor.recipe.classes
        if names and threshold is not None:
            raise MlflowException(
                "a model of classes answers the likeliest class of each pixel, to which no threshold applies; leave "
                "threshold out",
                error_code=INVALID_PARAMETER_VALUE,
            )
        choice = asked.get("channels", ""), asked.get("pages", "all")
        recipe, images, left = self.predictor.recipe, [], self.most
        look = recipe.image_size**2
        for row, data in enumerate(model_input["image"]):
            # however small, an image costs a look of the network's, but the first is always looked at
            most = left if row == 0 or left is None or left >= look else 0
            images.append(_decode(row, data, *choice, recipe, most))
            if left is not None:
                left -= max(most_pixels(images[-1].shape[:2], recipe), look)
        rows = []
        for start in range(0, len(images), BATCH):
            chunk = images[start : start + BATCH]
            for found in self.predictor.answers(chunk, threshold):
                rows.append((*_answer(found), *(_of_classes(found, names) if names else ())))
        return pd.DataFrame(rows, columns=list(CLASS_COLUMNS if names else COLUMNS))


def _decode(row: int, data: bytes, channels: str, pages: str, recipe: Any, left: int | None) -> np.ndarray:
    try:
        with codecs.open_pages(bytes(memoryview(data)), channels, pages) as opened:
            # samples and bits beyond those of a colour image of 16 bits count as pixels
            if left is not None and max(1, most_pixels(opened.size, recipe), opened.weight // 8) > left:
                many = "the images of the request have more pixels than this server takes"
                raise codecs.PixelError(f"{many} ({guard.limit('UNETLAB_MAX_PIXELS'):,}); send fewer, or in tiles")
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


def _answer(found: Answer) -> tuple[bytes, float, int, bytes]:
    count = int(found.labels.max(initial=0))
    several = count > codecs.MOST_LABELS  # than a PNG holds
    labels = codecs.encode_wide_labels(found.labels) if several else codecs.encode_labels(found.labels)
    return codecs.encode_mask(found.mask), float(found.mask.mean()), count, labels


def _of_classes(found: Answer, names: Sequence[str]) -> tuple[bytes, list[str], list[int]]:
    """What a model of classes answers besides."""
    assert found.classes is not None and found.object_classes is not None
    drawn = codecs.encode_classes(found.classes, palette.colours(len(names)))
    return drawn, ["background", *names], found.object_classes.tolist()


mlflow.models.set_model(Segmenter())
