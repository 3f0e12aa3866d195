"""Losses and training metrics: masks and probabilities of shape (n, h, w, 1); one value an image out, shape (n,).

A mask pixel of UNKNOWN is one that nobody knows (label makers disagree on it): it counts in no loss and no metric.
"""

import keras
from keras import ops

from unetlab.data.classes import UNKNOWN

SMOOTH = 1e-5
"""Keeps the soft Dice of two empty masks at 1."""


def soft_dice(y_true, y_pred):
    """Soft Dice of each image, in [0, 1]: (2 sum(tp) + s) / (sum(t) + sum(p) + s).

    Source: Milletari et al. 2016, V-Net, https://arxiv.org/abs/1606.04797, without the squares.
    """
    target, known = _known(y_true)
    found = ops.cast(y_pred, "float32") * known
    overlap = ops.sum(target * found, axis=(1, 2, 3))
    total = ops.sum(target, axis=(1, 2, 3)) + ops.sum(found, axis=(1, 2, 3))
    return (2.0 * overlap + SMOOTH) / (total + SMOOTH)


def dice(y_true, y_pred):
    """The training metric `dice`: soft Dice of each image."""
    return soft_dice(y_true, y_pred)


def accuracy(y_true, y_pred):
    """The training metric `accuracy`: share of each image's known pixels on the right side of 0.5."""
    target, known = _known(y_true)
    right = ops.cast(ops.equal(ops.cast(y_pred, "float32") > 0.5, target > 0.5), "float32")
    return _mean(right, known)


def get_loss(name: str):
    """The loss a recipe names: "bce", "dice", "bce_dice" (their sum) or "focal" (Lin et al. 2017, gamma 2)."""
    return {"bce": _bce, "dice": _dice_loss, "bce_dice": _bce_dice, "focal": _focal}[name]


def _known(y_true):
    """The mask with unknown pixels as 0, and 1 where it is known, both float32."""
    y_true = ops.cast(y_true, "float32")
    known = ops.cast(y_true < UNKNOWN - 0.5, "float32")
    return y_true * known, known


def _mean(values, known):
    """Mean of each image's known pixels; 0 where none is known."""
    return ops.sum(values * known, axis=(1, 2, 3)) / ops.maximum(ops.sum(known, axis=(1, 2, 3)), 1.0)


def _bce(y_true, y_pred):
    target, known = _known(y_true)
    return _mean(keras.losses.binary_crossentropy(target, y_pred)[..., None], known)


def _focal(y_true, y_pred):
    target, known = _known(y_true)
    return _mean(keras.losses.binary_focal_crossentropy(target, y_pred, gamma=2.0)[..., None], known)


def _dice_loss(y_true, y_pred):
    return 1.0 - soft_dice(y_true, y_pred)


def _bce_dice(y_true, y_pred):
    return _bce(y_true, y_pred) + _dice_loss(y_true, y_pred)
