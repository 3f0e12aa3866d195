"""Logging a trained model to MLflow as something that can be served."""

import importlib.metadata
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import mlflow
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.models.model import ModelInfo
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import Array

HERE = Path(__file__).parent
COPY = "unetlab_served"

TRAVELS = ("images", "inference")
"""Packages that a logged model holds a copy of, as COPY: what served it once serves it for good, whatever
version of unetlab is installed beside it."""


SETTINGS = (
    *("image_size", "channels", "normalise", "threshold", "view", "scale", "tta"),
    *("objects", "seeds", "least_object", "confidence", "classes"),
)
"""What a served model keeps: all of its recipe that turns an image into a mask and objects, and `classes`: the names of
the classes it tells apart, without background; none where it finds one mask."""

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

PARAMS = ParamSchema(
    [
        ParamSpec("threshold", DataType.double, -1.0),
        ParamSpec("channels", DataType.string, ""),
        ParamSpec("pages", DataType.string, "all"),
    ]
)


def _signature(*more: ColSpec) -> ModelSignature:
    """Of a model that answers `more` besides mask and objects."""
    answered = [
        ColSpec(DataType.binary, "mask"),
        ColSpec(DataType.double, "foreground_fraction"),
        ColSpec(DataType.long, "object_count"),
        ColSpec(DataType.binary, "labels"),
    ]
    return ModelSignature(Schema([ColSpec(DataType.binary, "image")]), Schema([*answered, *more]), PARAMS)


SIGNATURE = _signature()
"""Of a model of one mask."""

CLASS_SIGNATURE = _signature(
    ColSpec(DataType.binary, "classes"),
    ColSpec(Array(DataType.string), "class_names"),
    ColSpec(Array(DataType.long), "object_classes"),
)
"""Of a model of classes."""


def settings_of(recipe: Any, classes: Sequence[str] = ()) -> dict[str, Any]:
    """The values of SETTINGS of a recipe and the names of its classes, without background; none for one mask."""
    own = {name: getattr(recipe, name) for name in SETTINGS if name != "classes"}
    return {**own, "classes": list(classes)}


def log_segmenter(
    model: keras.Model,
    *,
    name: str,
    settings: Mapping[str, Any],
    example: bytes,
    tags: Mapping[str, str],
    channels: str = "",
) -> ModelInfo:
    """Logs a model to the active run as a models-from-code pyfunc around a Keras file; nothing is pickled.

    Args:
        model: uncompiled and float32, so that the file holds no optimiser and runs on any processor.
        name: what MLflow lists it as.
        settings: the values of SETTINGS, which `Predictor` takes.
        example: the bytes of an image, logged as input example.
        tags: of the logged model.
        channels: of the files that made an image in training, as it was asked for.

    Returns:
        MLflow's description of the model; `model_id` links scores to it.
    """
    with tempfile.TemporaryDirectory() as folder:
        keras_file, settings_file = Path(folder) / "model.keras", Path(folder) / "settings.json"
        model.save(keras_file)
        settings_file.write_text(json.dumps(dict(settings)))
        code = Path(folder) / COPY
        code.mkdir()
        (code / "__init__.py").touch()
        for package in TRAVELS:
            shutil.copytree(
                HERE.parent / package, code / package, ignore=shutil.ignore_patterns("__pycache__", "package.py")
            )
        metadata: dict[str, Any] = {"classes": list(settings["classes"])} if settings["classes"] else {}
        metadata |= {"channels": channels} if channels else {}
        return mlflow.pyfunc.log_model(
            name=name,
            python_model=str(HERE / "segmenter.py"),
            artifacts={"model": str(keras_file), "settings": str(settings_file)},
            code_paths=[str(code)],
            signature=CLASS_SIGNATURE if settings["classes"] else SIGNATURE,
            input_example=pd.DataFrame({"image": [example]}),
            pip_requirements=requirements(),
            params={key: str(value) for key, value in settings.items()},
            tags=dict(tags),
            metadata=metadata or None,
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
