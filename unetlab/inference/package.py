"""Logging a trained model to MLflow as something that can be served."""

import importlib.metadata
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import mlflow
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.models.model import ModelInfo
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

HERE = Path(__file__).parent
TRAVELS = ("images", "inference")
"""Packages that a logged model holds a copy of, as `unetlab_served`: what served it once serves it for good, whatever
version of unetlab is installed beside it."""


SETTINGS = (
    *("image_size", "channels", "normalise", "threshold", "view", "scale", "tta"),
    *("objects", "seeds", "least_object"),
)
"""What of a recipe a served model keeps: all that turns an image into a mask and objects."""

NEEDED = (
    "mlflow",
    "tensorflow",
    "keras",
    "numpy",
    "pandas",
    "scipy",
    "scikit-image",
    "pillow",
    "tifffile",
    "imagecodecs",
)

SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec(DataType.binary, "image")]),
    outputs=Schema(
        [
            ColSpec(DataType.binary, "mask"),
            ColSpec(DataType.double, "foreground_fraction"),
            ColSpec(DataType.long, "object_count"),
            ColSpec(DataType.binary, "labels"),
        ]
    ),
    params=ParamSchema(
        [
            ParamSpec("threshold", DataType.double, -1.0),
            ParamSpec("channels", DataType.string, ""),
            ParamSpec("pages", DataType.string, "all"),
        ]
    ),
)


def log_segmenter(
    model: keras.Model,
    *,
    name: str,
    settings: Mapping[str, Any],
    example: bytes,
    tags: Mapping[str, str],
) -> ModelInfo:
    """Logs a model to the active run as a models-from-code pyfunc around a Keras file; nothing is pickled.

    Args:
        model: uncompiled and float32, so that the file holds no optimiser and runs on any processor.
        name: what MLflow lists it as.
        settings: the values of SETTINGS, which `Predictor` takes.
        example: the bytes of an image, logged as input example.
        tags: of the logged model.

    Returns:
        MLflow's description of the model; `model_id` links scores to it.
    """
    with tempfile.TemporaryDirectory() as folder:
        keras_file, settings_file = Path(folder) / "model.keras", Path(folder) / "settings.json"
        model.save(keras_file)
        settings_file.write_text(json.dumps(dict(settings)))
        code = Path(folder) / "unetlab_served"
        code.mkdir()
        (code / "__init__.py").touch()
        for package in TRAVELS:
            shutil.copytree(
                HERE.parent / package, code / package, ignore=shutil.ignore_patterns("__pycache__", "package.py")
            )
        return mlflow.pyfunc.log_model(
            name=name,
            python_model=str(HERE / "segmenter.py"),
            artifacts={"model": str(keras_file), "settings": str(settings_file)},
            code_paths=[str(code)],
            signature=SIGNATURE,
            input_example=pd.DataFrame({"image": [example]}),
            pip_requirements=requirements(),
            params={key: str(value) for key, value in settings.items()},
            tags=dict(tags),
        )


def requirements() -> list[str]:
    """The packages a served model needs, at the versions that trained it."""
    return [f"{package}=={_version(package)}" for package in NEEDED]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        # TensorFlow comes under several names (tensorflow-cpu, tensorflow-macos)
        return importlib.metadata.version(f"{package}-cpu")
