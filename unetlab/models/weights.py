"""Where an encoder's weights come from, settled before anything slow happens."""

import logging
import warnings
from pathlib import Path

import keras

from unetlab.errors import UserError
from unetlab.models import NETWORKS
from unetlab.setup import Setup

log = logging.getLogger(__name__)


def resolve_weights(choice: str, setup: Setup) -> str | None:
    """Turns `encoder_weights` into what the model builder takes, having tried to load it.

    Args:
        choice: "auto" (ImageNet if it is cached or can be fetched, else none, said loudly), "imagenet", "none", or the
            path of a Keras weights file without top.
        setup: its network and image size are tried.

    Returns:
        "imagenet", the path, or None for random weights and for setups without a pretrained encoder.

    Raises:
        UserError: if "imagenet" cannot be had, or the file does not exist or belongs to another model.
    """
    path = Path(choice).expanduser()
    if choice not in ("auto", "imagenet", "none") and not path.is_file():
        raise UserError(f"encoder_weights: no file {path}; allowed are auto, imagenet, none, or a weights file's path")
    encoder = NETWORKS[setup.network].encoder
    if encoder is None or choice == "none":
        return None
    if choice in ("auto", "imagenet"):
        return _imagenet(choice, setup)
    try:
        _try(setup, str(path))
    except Exception as error:  # Keras and h5py raise many types for a file that does not fit
        reason = str(error).splitlines()[0][:160]
        raise UserError(
            f"encoder_weights: {path} does not fit the encoder of {setup.name} ({encoder.words}): {reason}"
        ) from error
    return str(path.resolve())


def _imagenet(choice: str, setup: Setup) -> str | None:
    try:
        _try(setup, "imagenet")
    except Exception as error:  # URLError, HTTPError, a wrong hash, a full disk: all mean the same to the user
        reason = str(error).splitlines()[0][:160]
        if choice == "imagenet":
            raise UserError(
                f"encoder_weights=imagenet: the weights are not cached and could not be fetched ({reason}); "
                "connect once, give the path of a weights file, or use encoder_weights=none"
            ) from error
        log.warning(
            "NO IMAGENET WEIGHTS: they are not cached and could not be fetched (%s). The encoder starts from random "
            "weights and is trained too; expect lower scores than the published ones.",
            reason,
        )
        return None
    return "imagenet"


def _try(setup: Setup, weights: str) -> None:
    shape = (setup.recipe.image_size, setup.recipe.image_size, setup.recipe.channels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a file that does not fit Keras has a warning for every layer
        NETWORKS[setup.network].build(input_shape=shape, weights=weights, **setup.recipe.model)
    keras.backend.clear_session()
