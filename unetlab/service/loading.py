"""A model by its address: loaded, and what is known of it."""

import contextlib
import functools
import sys
import zipfile
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.pyfunc import PyFuncModel
from mlflow.tracking import MlflowClient

from unetlab.errors import UserError
from unetlab.images import codecs
from unetlab.inference.objects import instances
from unetlab.inference.package import COPY
from unetlab.tracking import store

ADVICE = "the Models page of `make ui` lists what there is, for example models:/unetlab-nuclei@champion"


def load(model: str) -> PyFuncModel:
    """A model by its address. Raises UserError if it cannot be loaded or unetlab did not make it."""
    _refuse_pickles(model, described(model))
    _forget_copies()
    try:
        segmenter = mlflow.pyfunc.load_model(model)
    except (MlflowException, OSError, ValueError, zipfile.BadZipFile) as error:  # the last two of a damaged Keras file
        raise _not_loaded(model, error) from error
    schema = segmenter.metadata.get_input_schema()
    if schema is None or schema.input_names() != ["image"]:
        raise UserError(f"model={model} takes no encoded images, so unetlab did not make it; {ADVICE}")
    return segmenter


def _forget_copies() -> None:
    """Has a model be served by its own copy of unetlab: Python would take that of the model loaded before, which its
    instances keep."""
    for name in [name for name in sys.modules if name.split(".")[0] == COPY]:
        del sys.modules[name]


def described(model: str) -> Model:
    """What MLflow stores with a model, by its address. Raises UserError if it cannot be read."""
    try:
        return Model.load(model)
    except (MlflowException, OSError) as error:
        raise _not_loaded(model, error) from error


def _not_loaded(model: str, error: Exception) -> UserError:
    reason = (str(error) or repr(error)).splitlines()[0][:160]
    return UserError(f"model={model} cannot be loaded ({reason}); {_advice(model)}")


def _advice(model: str) -> str:
    """What to give instead: the newest version of a registered model that has no such alias or version."""
    name = model.removeprefix("models:/").partition("@")[0].partition("/")[0]
    with contextlib.suppress(MlflowException):
        if model.startswith("models:/") and (versions := _versions(name)):
            newest = f"models:/{name}/{max(versions)}"
            return ADVICE if newest == model else f"its newest version is {newest}"
    return ADVICE


def _versions(name: str) -> list[int]:
    quoted = name.replace("'", "''")
    return [int(each.version) for each in MlflowClient().search_model_versions(f"name = '{quoted}'")]


def _refuse_pickles(model: str, about: Model) -> None:
    """Raises UserError for a model that is not code beside a Keras file, as unetlab logs it, before it is loaded: that
    would unpickle it, and a pickle runs what it likes."""
    loader = about.flavors.get("python_function", {})
    if loader.get("loader_module") != "mlflow.pyfunc.loaders.code_model" or not loader.get("model_code_path"):
        raise UserError(f"model={model} would be unpickled, so unetlab did not make it; log it from a run of unetlab")


@functools.lru_cache(maxsize=1)
def loaded(model: str, store: str, identity: str) -> PyFuncModel:
    """A model, loaded once for all shards that one process does; again where another lies at its address now. Raises
    UserError if that is not the one of that `identity_of`."""
    found = load(model)
    if identity_of(found) != identity:
        raise UserError(f"model={model} is another now than when the work began; give the same command again")
    return found


def identity_of(segmenter: PyFuncModel) -> str:
    """What no other model is called, wherever it lies."""
    metadata = getattr(segmenter, "metadata", None)
    return str(getattr(metadata, "model_id", None) or getattr(metadata, "model_uuid", None))


def pinned(model: str) -> str:
    """The address of the version that an alias or "latest" stands for now, any other address as it is: they may move
    between one look and the next. One that stands for nothing stays as it is, for `load` to tell."""
    if not model.startswith("models:/"):
        return model
    address, client = model.removeprefix("models:/"), store.client()
    name, alias = address.partition("@")[::2]
    with contextlib.suppress(MlflowException):
        if alias:
            return f"models:/{name}/{client.get_model_version_by_alias(name, alias).version}"
        if address.endswith("/latest"):
            name = address.removesuffix("/latest")
            versions = _versions(name)
            return f"models:/{name}/{max(versions)}" if versions else model
    return model


def class_names(metadata: Model) -> tuple[str, ...]:
    """Names of the classes that a model tells apart, without background, from what MLflow stores with it; none where it
    finds one mask."""
    return tuple((metadata.metadata or {}).get("classes", ()))


def learnt_channels(metadata: Model) -> str:
    """The `channels` that a model learnt from, "" for files as they come; of older models nothing is known."""
    return str((metadata.metadata or {}).get("channels", ""))


def same_channels(one: str, other: str) -> bool:
    """Whether two choices of channels are the same, however blanks are set."""
    return "".join(one.split()) == "".join(other.split())


def other_channels(metadata: Model, channels: str) -> list[str]:
    """The line that says so, where a model learnt from certain channels and nothing says which to read now."""
    learnt = learnt_channels(metadata)
    if not learnt or channels:
        return []
    how = "files of several channels are read as they come, which it has not seen"
    return [f"the model learnt from channels={learnt}, and none are told now: {how}; give channels={learnt} for those"]


def in_words(classes: Sequence[str]) -> str:
    """What a model does that has these `class_names`: the rest of a sentence that it begins."""
    return f"tells {', '.join(classes)} apart" if classes else "finds one mask"


def predictor_of(segmenter: PyFuncModel) -> Any:
    """What a model predicts large images with; None of one that an older version logged."""
    try:
        predictor = segmenter.unwrap_python_model().predictor
    except (AttributeError, MlflowException):
        return None
    return predictor if hasattr(predictor, "native_bands") else None


def code_of(predictor: type) -> dict[str, Any]:
    """The names of the module that a class of predictors is of: of a logged model its own copy of unetlab, in which a
    recipe's words mean what they meant when it was logged."""
    return predictor.native_bands.__globals__  # type: ignore[attr-defined, no-any-return]


def answered(
    segmenter: PyFuncModel, images: Iterable[np.ndarray], params: Mapping[str, float] | None = None
) -> list[dict[Hashable, Any]]:
    """What a model answers of images, uint8 (h, w, 1 or 3), encoded as it is served them: a row each."""
    frame = pd.DataFrame({"image": [codecs.encode_image(image) for image in images]})
    if frame.empty:
        return []
    return pd.DataFrame(segmenter.predict(frame, params=dict(params or {}))).to_dict("records")


def labels_of(answer: Mapping[Hashable, Any]) -> np.ndarray:
    """The objects of a served answer, int32 (h, w); of a model that tells none apart the components of its mask."""
    if "labels" in answer:
        return codecs.decode_labels(answer["labels"])
    return instances(codecs.decode_mask(answer["mask"]), None, "components", 0.5)
