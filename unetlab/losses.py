"""Losses and training metrics: masks and probabilities of shape (n, h, w, 1), a mean over the batch out."""

import keras
from keras import ops

SMOOTH = 1e-5
"""Keeps the soft Dice of two empty masks at 1."""


def soft_dice(y_true, y_pred):
    """Soft Dice of each image, shape (n,), in [0, 1]: (2 sum(tp) + s) / (sum(t) + sum(p) + s).

    Source: Milletari et al. 2016, V-Net, https://arxiv.org/abs/1606.04797, without the squares.
    """
    y_true = ops.cast(y_true, "float32")
    y_pred = ops.cast(y_pred, "float32")
    overlap = ops.sum(y_true * y_pred, axis=(1, 2, 3))
    total = ops.sum(y_true, axis=(1, 2, 3)) + ops.sum(y_pred, axis=(1, 2, 3))
    return (2.0 * overlap + SMOOTH) / (total + SMOOTH)


def dice(y_true, y_pred):
    """The training metric `dice`: mean soft Dice of the batch's images."""
    return ops.mean(soft_dice(y_true, y_pred))


def _dice_loss(y_true, y_pred):
    return 1.0 - soft_dice(y_true, y_pred)


def _bce_dice(y_true, y_pred):
    bce = ops.mean(keras.losses.binary_crossentropy(y_true, y_pred), axis=(1, 2))
    return bce + _dice_loss(y_true, y_pred)


def get_loss(name: str):
    """The loss a recipe names: "bce", "dice", "bce_dice" (their sum) or "focal" (Lin et al. 2017, gamma 2)."""
    return {
        "bce": keras.losses.BinaryCrossentropy(),
        "dice": _dice_loss,
        "bce_dice": _bce_dice,
        "focal": keras.losses.BinaryFocalCrossentropy(gamma=2.0),
    }[name]
