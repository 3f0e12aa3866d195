"""Losses and training metrics over classes: masks of class indices, probabilities of a softmax, background first.

`y_true` is (n, h, w, k), its first channel the index of a class or UNKNOWN, which counts in no loss and no metric;
`y_pred` is (n, h, w, 1 + classes). One value an image comes out, shape (n,).
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from unetlab.data.classes import UNKNOWN

SMOOTH = 1e-5
"""As in the losses of one mask."""

SOFTENED = 0.5
"""Pixels of a class weigh its share of the training pixels to the power of minus this: at 1 all classes would weigh the
same, however few pixels tell of one, at 0 all pixels."""

MOST_WEIGHT = 20.0
"""No class's pixels weigh more beside those of the commonest."""

Tensor = Any


def class_weights(masks: Iterable[np.ndarray], classes: int) -> np.ndarray:
    """What a pixel of each class weighs in the cross-entropies, float32 (1 + classes,).

    The share of the class among all known pixels to the power of -SOFTENED, cut at MOST_WEIGHT times the least, over
    their mean, so that an average pixel weighs 1. A class that no mask holds weighs 0.

    Args:
        masks: uint8 (h, w, k) each, those that are learnt.
        classes: foreground classes.
    """
    pixels = np.zeros(1 + classes)
    for mask in masks:
        pixels += np.bincount(np.asarray(mask[..., 0]).ravel(), minlength=UNKNOWN + 1)[: 1 + classes]
    there = pixels > 0
    if not there.any():
        return np.ones(1 + classes, np.float32)
    share = pixels / pixels.sum()
    weights = np.zeros(1 + classes)
    weights[there] = share[there] ** -SOFTENED
    weights = np.minimum(weights, MOST_WEIGHT * weights[there].min())
    return np.asarray(weights / (weights * share).sum(), np.float32)


class Pixels(NamedTuple):
    """A batch: target one-hot and 0 where nobody knows, found alike the probabilities, both float32 (n, h, w, c), and
    known, 1 or 0, (n, h, w, 1)."""

    target: Tensor
    found: Tensor
    known: Tensor


def pixels_of(y_true: Tensor, y_pred: Tensor) -> Pixels:
    """Masks and predictions as the functions below take them."""
    index = ops.cast(y_true[..., 0], "int32")
    known = ops.cast(index < UNKNOWN, "float32")[..., None]
    # one_hot gives zeros for an index beyond the classes
    return Pixels(ops.one_hot(index, y_pred.shape[-1], dtype="float32"), ops.cast(y_pred, "float32"), known)


def accuracy(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """The training metric `accuracy`: share of each image's known pixels whose most likely class is theirs."""
    target, found, known = pixels_of(y_true, y_pred)
    right = ops.equal(ops.argmax(found, axis=-1), ops.argmax(target, axis=-1))[..., None]
    return _mean(ops.cast(right, "float32"), known)


def dice(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """The training metric `dice`: mean of the soft Dice of the foreground classes that an image shows; of an image
    without any the soft Dice of all of them as one, which is 1 if nothing is found."""
    target, found, known = pixels_of(y_true, y_pred)
    each, there = _soft_dice(target[..., 1:], found[..., 1:] * known)
    whole, _ = _soft_dice(1.0 - target[..., :1] - (1.0 - known), (1.0 - found[..., :1]) * known)
    mean = ops.sum(each * there, axis=-1) / ops.maximum(ops.sum(there, axis=-1), 1.0)
    return ops.where(ops.sum(there, axis=-1) > 0, mean, whole[..., 0])


def cross_entropy(y_true: Tensor, y_pred: Tensor, weights: np.ndarray, gamma: float = 0.0) -> Tensor:
    """Cross-entropy over classes, each pixel weighted by its class: the mean of each image's known pixels.

    With `gamma` the focal loss, https://arxiv.org/abs/1708.02002: times (1 - probability of the truth) ** gamma.
    """
    target, found, known = pixels_of(y_true, y_pred)
    entropy = ops.categorical_crossentropy(target, found)[..., None]
    entropy = entropy * ops.sum(target * ops.convert_to_tensor(weights), axis=-1, keepdims=True)
    if gamma:
        entropy = entropy * (1.0 - ops.sum(target * found, axis=-1, keepdims=True)) ** gamma
    return _mean(entropy, known)


def one_by_one(of: Callable[[Tensor, Tensor], Tensor], y_true: Tensor, y_pred: Tensor) -> Tensor:
    """A loss of one mask over classes: its mean over the classes that an image shows, each taken for the foreground.

    Background is among them, or what is found where nothing is would cost nothing.
    """
    target, found, known = pixels_of(y_true, y_pred)
    masks, maps = _apart(target + UNKNOWN * (1.0 - known)), _apart(found)
    each = ops.reshape(of(masks, maps), (-1, y_pred.shape[-1]))
    there = ops.cast(ops.sum(target, axis=(1, 2)) > 0, "float32")
    return ops.sum(each * there, axis=-1) / ops.maximum(ops.sum(there, axis=-1), 1.0)


def _apart(stack: Tensor) -> Tensor:
    """(n, h, w, c) as images of one channel, (n c, h, w, 1)."""
    moved = ops.transpose(stack, (0, 3, 1, 2))
    shape = ops.shape(moved)
    return ops.reshape(moved, (-1, shape[2], shape[3], 1))


def _soft_dice(target: Tensor, found: Tensor) -> tuple[Tensor, Tensor]:
    """Soft Dice of each image and channel, (n, c), and 1 where the target has any of it."""
    area = ops.sum(target, axis=(1, 2))
    overlap = ops.sum(target * found, axis=(1, 2))
    value = (2.0 * overlap + SMOOTH) / (area + ops.sum(found, axis=(1, 2)) + SMOOTH)
    return value, ops.cast(area > 0, "float32")


def _mean(values: Tensor, known: Tensor) -> Tensor:
    return ops.sum(values * known, axis=(1, 2, 3)) / ops.maximum(ops.sum(known, axis=(1, 2, 3)), 1.0)
