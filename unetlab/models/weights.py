"""Where an encoder's weights come from, settled before anything slow happens."""

import logging
import os
import warnings
from collections.abc import Iterable
from pathlib import Path

import keras

from unetlab.errors import UserError
from unetlab.models import NETWORKS
from unetlab.models.encoders import get_encoder
from unetlab.setup import Setup

log = logging.getLogger(__name__)


def resolve_weights(choice: str, setup: Setup) -> str | None:
    """Turns `encoder_weights` into what the model builder takes, having tried to load it.

    Args:
        choice: "auto" (ImageNet if it is cached or can be fetched, else none, said loudly), "imagenet", "none", or the
            path of a Keras weights file without top. A package that brings them is as good as a cache.
        setup: its network and image size are tried.

    Returns:
        "imagenet", the path, or None for random weights and for setups without a pretrained encoder.

    Raises:
        UserError: if "imagenet" cannot be had, the file does not exist or belongs to another model, or the recipe names
            an encoder that there is not.
    """
    path = Path(os.path.expanduser(choice))
    if choice not in ("auto", "imagenet", "none") and not path.is_file():
        raise UserError(f"encoder_weights: no file {path}; allowed are auto, imagenet, none, or a weights file's path")
    network = NETWORKS[setup.network]
    if network.encoder is None:
        return None
    encoder = network.encoder(setup.recipe.model)
    if choice == "none":
        return None
    if choice in ("auto", "imagenet"):
        return _imagenet(choice, setup)
    try:
        _try(setup, str(path))
    except Exception as error:  # Keras and h5py raise many types for a file that does not fit
        raise UserError(
            f"encoder_weights: {path} does not fit the encoder of {setup.name} ({encoder.words}): {_reason(error)}"
        ) from error
    return str(path.resolve())


def encoders_at_hand(names: Iterable[str]) -> tuple[str, ...]:
    """Those of some encoders whose ImageNet weights are cached, installed, or now fetched, in the order given.

    A search or a configuration that may choose among encoders asks this first.
    """
    found = []
    for name in names:
        row = get_encoder(name)
        try:
            row.build((2 * row.stride, 2 * row.stride, 3), "imagenet", **row.options)
            found.append(name)
        except Exception as error:  # as in _imagenet
            log.warning("no ImageNet weights of %s: %s", name, _reason(error))
    keras.backend.clear_session()
    return tuple(found)


def _imagenet(choice: str, setup: Setup) -> str | None:
    try:
        _try(setup, "imagenet")
    except Exception as error:  # URLError, HTTPError, a wrong hash, a full disk: all mean the same to the user
        said = _reason(error)
        if not isinstance(error, UserError):  # which says itself what to do
            said = f"the weights are not cached and could not be fetched ({said})"
        if choice == "imagenet":
            way_out = "give the path of a weights file, or use encoder_weights=none"
            raise UserError(f"encoder_weights=imagenet: {said}; connect once, {way_out}") from error
        log.warning(
            "NO IMAGENET WEIGHTS: %s. The encoder starts from random weights and is trained too; expect lower scores "
            "than with them.",
            said,
        )
        return None
    return "imagenet"


def _reason(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if isinstance(error, UserError) else lines[0][:160] if lines else type(error).__name__


def _try(setup: Setup, weights: str) -> None:
    shape = (setup.recipe.image_size, setup.recipe.image_size, setup.recipe.channels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a file that does not fit Keras has a warning for every layer
        NETWORKS[setup.network].build(input_shape=shape, weights=weights, **setup.recipe.model)
    keras.backend.clear_session()
