"""What an exported network loses: its answers beside Keras' on the test images of the model's run."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pandas as pd

from unetlab.errors import UserError
from unetlab.images import view
from unetlab.inference.predict import Predictor
from unetlab.metrics import classes
from unetlab.metrics.baselines import dice_of
from unetlab.metrics.intervals import paired_interval
from unetlab.service.exports.base import Network, Shape
from unetlab.service.exports.network import LEAST, Trained, tiled_as, traced
from unetlab.service.own import Own

CALIBRATION = 100
"""Training images, at most, that say which values the activations of an INT8 network have."""

CALIBRATION_PIXELS = 100 * 256 * 256
"""Pixels of them together, at most."""

BATCH = 8


@dataclass(frozen=True)
class Loss:
    """What an export loses.

    Args:
        table: a row a test image: id, dice of the exported network and keras_dice, at the image's own size; of classes
            the means over those that are there.
        mean: Dice that is lost, keras_dice less dice, over the images.
        low, high: of it, 95 % over scenes; NaN for one scene.
        largest: difference of any probability.
        scenes: how many.
    """

    table: pd.DataFrame
    mean: float
    low: float
    high: float
    largest: float
    scenes: int

    @property
    def worst(self) -> float:
        """The loss that is not ruled out: the interval's upper end, or the mean where there is none."""
        return self.mean if np.isnan(self.high) else self.high

    def __str__(self) -> str:
        between = "" if np.isnan(self.high) else f" (95 % {self.low:+.4f} to {self.high:+.4f})"
        return f"{self.mean:+.4f}{between} on {len(self.table)} test images of {self.scenes} scenes"


def calibration_images(trained: Trained, own: Own, shape: Shape) -> list[np.ndarray]:
    """Inputs of the network from training images spread over the run's, float32 (1, h, w, c) each: squares as they are,
    or of patches one tile an image, as `Predictor` prepares them.

    Raises UserError where there are none.
    """
    if not len(own.train):
        raise UserError(
            "precision=int8 wants images to calibrate on, and none of these are training images of the model's run; "
            "give its data, or precision=float32"
        )
    height, width = (side or max(trained.recipe.image_size, LEAST) for side in shape[1:3])
    most = max(1, min(CALIBRATION, len(own.train), CALIBRATION_PIXELS // (height * width)))
    rows = own.train[np.linspace(0, len(own.train) - 1, most).round().astype(int)]
    recipe, tile = tiled_as(trained.recipe, (1, height, width, shape[3]))
    recipe = SimpleNamespace(**{**vars(recipe), "tta": 0})
    found = []
    for row in rows:
        met: list[np.ndarray] = []

        def note(images: np.ndarray, met: list[np.ndarray] = met) -> np.ndarray:
            met.extend(images)
            return np.zeros((*images.shape[:3], 1), np.float32)

        trained.predictor(note, recipe, tile).maps([view.fitted(own.dataset.image(int(row)), recipe)])
        found.append(met[len(met) // 2][None])
    return found


def loss(trained: Trained, network: Network, shape: Shape, own: Own) -> Loss:
    """Dice of an exported network and of Keras' on each test image of the model's run, at the image's own size."""
    keras_network = traced(trained.model, tuple(trained.model.input_shape))
    largest = 0.0

    def noted(images: np.ndarray) -> np.ndarray:
        nonlocal largest
        answer = network(images)
        largest = float(np.maximum(largest, np.abs(answer - keras_network(images)).max()))  # NaN stays NaN
        return answer

    table = pd.DataFrame(
        {
            "id": [own.dataset.ids[row] for row in own.test],
            "dice": _dice(trained.predictor(noted, *tiled_as(_plain(trained), shape)), own),
            "keras_dice": _dice(trained.predictor(keras_network, _plain(trained)), own),
        }
    )
    found = paired_interval(table["keras_dice"], table["dice"], own.scenes)
    scenes = len(table) if own.scenes is None else len(np.unique(own.scenes))
    return Loss(table, found.mean, found.low, found.high, largest, scenes)


def _plain(trained: Trained) -> SimpleNamespace:
    """The recipe without what parts and drops objects, which takes time and changes no mask."""
    return SimpleNamespace(**{**vars(trained.recipe), "objects": "components", "seeds": 0.0, "confidence": 0.0})


def _dice(predictor: Predictor, own: Own) -> list[float]:
    """Of each test image; of a model of classes the mean over the classes that are there."""
    named = predictor.recipe.classes
    names = [] if isinstance(named, int) else list(named)
    if not set(names) <= set(own.dataset.classes):
        raise UserError(
            f"the model tells {', '.join(names)} apart and the masks show {', '.join(own.dataset.classes[1:])}; give "
            "the images of its run with the masks that it was trained on"
        )
    index = np.array([0, *(own.dataset.classes.index(name) for name in names)], np.uint8)
    found = []
    for start in range(0, len(own.test), BATCH):
        rows = [int(row) for row in own.test[start : start + BATCH]]
        for row, answer in zip(rows, predictor.answers([own.dataset.image(row) for row in rows]), strict=True):
            known = own.dataset.known(row)
            if answer.classes is None:
                found.append(dice_of(answer.mask & known, own.dataset.objects(row) > 0))
            else:
                truth = own.dataset.class_map(row) * known
                found.append(classes.dice_of(index[answer.classes] * known, truth, len(own.dataset.classes) - 1))
    return found
