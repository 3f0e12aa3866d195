"""The network of a logged model: its Keras file, what it takes, and the same network for other sizes."""

import copy
import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import mlflow
import numpy as np
import tensorflow as tf
from mlflow.models import Model

from unetlab.errors import UserError
from unetlab.inference.package import SETTINGS
from unetlab.inference.predict import Predictor
from unetlab.inference.tiles import TILE
from unetlab.service.exports.base import Format, Network, Shape
from unetlab.setup import Recipe

LEAST = 64
"""The smallest side of tiles that overlap by multiples of `images.view.ALIGN`."""


@dataclass(frozen=True)
class Trained:
    """A logged model without its service.

    Args:
        file: where its Keras file lies.
        model: float32, uncompiled.
        recipe: the values of `inference.package.SETTINGS`, as `Predictor` takes them.
        predictor: the class that prepares images for it and makes masks and objects of what it says.
    """

    file: Path
    model: keras.Model
    recipe: SimpleNamespace
    predictor: type[Predictor] = Predictor

    def shape(self, row: Format) -> Shape:
        """What its file in a format takes, one image at a time. In the view whole that is the recipe's square. In
        patches a side is any multiple of ALIGN, or where a format wants one size for good the recipe's crop."""
        side, channels = self.recipe.image_size, self.recipe.channels
        if self.recipe.view == "patches":
            free = None if row.sizes else max(side, LEAST)
            return 1, free, free, channels
        return 1, side, side, channels


def trained(address: str, predictor: type[Predictor] = Predictor) -> Trained:
    """The network of a model that `load` takes, with the class of its own predictor. Raises UserError where its folder
    is not as unetlab logs it."""
    folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=address))
    try:
        held = Model.load(str(folder)).flavors["python_function"]["artifacts"]
        file, settings = (folder / held[name]["path"] for name in ("model", "settings"))
        told = json.loads(settings.read_text())
        model = keras.saving.load_model(file, compile=False)
    except (KeyError, OSError, ValueError) as error:
        reason = (str(error) or repr(error)).splitlines()[0][:160]
        raise UserError(f"model={address} holds no network as unetlab logs it ({reason}); train it anew") from error
    return Trained(file, model, completed(told), predictor)


def completed(settings: Mapping[str, Any]) -> SimpleNamespace:
    """A logged model's settings, with the defaults of those that came after it."""
    before = {each.name: each.default for each in fields(Recipe) if each.name in SETTINGS}
    known = {name: value for name, value in before.items() if value is not MISSING}
    return SimpleNamespace(**{**known, **settings})


def tiled_as(recipe: SimpleNamespace, shape: Shape) -> tuple[SimpleNamespace, int]:
    """The recipe and the side of tiles by which `Predictor` asks a network that takes images of a shape."""
    if recipe.view != "patches" or shape[1] is None:
        return recipe, TILE
    return SimpleNamespace(**{**vars(recipe), "image_size": shape[1]}), shape[1]


def traced(model: keras.Model, shape: Shape) -> Network:
    """A Keras model as the served model calls it: traced, for any number of images."""
    spec = tf.TensorSpec((None, *shape[1:]), tf.float32)
    call = tf.function(lambda images: model(images, training=False), input_signature=[spec])
    return lambda images: np.asarray(call(images))


def any_size(model: keras.Model) -> keras.Model:
    """The same network for images of any size that its halvings divide. Where a layer wants one size, it or the first
    use of it raises ValueError."""
    config = copy.deepcopy(model.get_config())
    _free(config)
    free = type(model).from_config(config)
    free.set_weights(model.get_weights())
    return free


def _free(config: Any) -> None:
    """Takes height and width out of every input of a configuration, in place."""
    if isinstance(config, dict):
        if config.get("class_name") == "InputLayer":
            images, _, _, channels = config["config"]["batch_shape"]
            config["config"]["batch_shape"] = (images, None, None, channels)
        for value in config.values():
            _free(value)
    elif isinstance(config, (list, tuple)):
        for value in config:
            _free(value)
