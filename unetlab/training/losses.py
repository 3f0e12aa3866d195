"""Losses and training metrics: masks and probabilities of shape (n, h, w, 1); one value an image out, shape (n,).

What they are over several classes stands in `class_losses`. A mask pixel of UNKNOWN is one that nobody knows (label
makers disagree on it): it counts in no loss and no metric.
"""

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from unetlab.data.classes import UNKNOWN
from unetlab.data.targets import HEADS
from unetlab.setup import Recipe
from unetlab.training import class_losses
from unetlab.training.class_losses import SMOOTH

RARE = {"border": 9.0, "distance": 0.0}
"""By head, how much more its positive pixels count. Borders are so few that all of them missed would cost little."""

Tensor = Any
"""A mask or a prediction as Keras hands it over: a NumPy array or a tensor, in a graph or not."""


def mask_of(y: Tensor) -> Tensor:
    """The first channel, (n, h, w, 1), where a network has a head or masks have more to learn from."""
    return y if y.shape[-1] == 1 else y[..., :1]


def soft_dice(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Soft Dice of each image, in [0, 1]: (2 sum(tp) + s) / (sum(t) + sum(p) + s).

    Source: Milletari et al. 2016, V-Net, https://arxiv.org/abs/1606.04797, without the squares.
    """
    target, known = _known(y_true)
    found = ops.cast(y_pred, "float32") * known
    overlap = ops.sum(target * found, axis=(1, 2, 3))
    total = ops.sum(target, axis=(1, 2, 3)) + ops.sum(found, axis=(1, 2, 3))
    return (2.0 * overlap + SMOOTH) / (total + SMOOTH)


def dice(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """The training metric `dice`: soft Dice of each image."""
    return soft_dice(mask_of(y_true), mask_of(y_pred))


def accuracy(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """The training metric `accuracy`: share of each image's known pixels on the right side of 0.5."""
    target, known = _known(mask_of(y_true))
    right = ops.cast(ops.equal(ops.cast(mask_of(y_pred), "float32") > 0.5, target > 0.5), "float32")
    return _mean(right, known)


def bce(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Binary cross-entropy: the mean of each image's known pixels."""
    target, known = _known(y_true)
    return _mean(keras.losses.binary_crossentropy(target, y_pred)[..., None], known)


def focal(y_true: Tensor, y_pred: Tensor, gamma: float) -> Tensor:
    """Focal loss, https://arxiv.org/abs/1708.02002: cross-entropy times (1 - probability of the truth) ** gamma."""
    target, known = _known(y_true)
    return _mean(keras.losses.binary_focal_crossentropy(target, y_pred, gamma=gamma)[..., None], known)


def dice_loss(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """1 - soft Dice."""
    return 1.0 - soft_dice(y_true, y_pred)


def bce_dice(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """The sum of `bce` and `dice_loss`."""
    return bce(y_true, y_pred) + dice_loss(y_true, y_pred)


def tversky(y_true: Tensor, y_pred: Tensor, alpha: float, beta: float) -> Tensor:
    """1 - soft Tversky index, (tp + s/2) / (tp + alpha fp + beta fn + s/2): what is found but not there costs alpha,
    what is there but not found costs beta. With both at one half it is `dice_loss`.

    Source: Salehi et al. 2017, https://arxiv.org/abs/1706.05721, whose best weights the defaults are.
    """
    target, known = _known(y_true)
    found = ops.cast(y_pred, "float32") * known
    overlap = ops.sum(target * found, axis=(1, 2, 3))
    false = ops.sum((1.0 - target) * found, axis=(1, 2, 3))
    missed = ops.sum(target * (known - found), axis=(1, 2, 3))
    return 1.0 - (overlap + SMOOTH / 2) / (overlap + alpha * false + beta * missed + SMOOTH / 2)


class Loss(NamedTuple):
    """A row of LOSSES.

    Args:
        of: called as of(y_true, y_pred, **options); one value an image out, shape (n,).
        options: each option's default. A recipe sets them in `loss_options`, a search space by the names
            `loss_<option>`.
        of_classes: its form over classes, called as of_classes(y_true, y_pred, weights, **options) with the weight of
            each class; None for `of` of each class by itself, as `class_losses.one_by_one` has it.
    """

    of: Callable[..., Tensor]
    options: Mapping[str, float] = MappingProxyType({})
    of_classes: Callable[..., Tensor] | None = None


def _entropy_and_dice(y_true: Tensor, y_pred: Tensor, weights: np.ndarray) -> Tensor:
    return class_losses.cross_entropy(y_true, y_pred, weights) + class_losses.one_by_one(dice_loss, y_true, y_pred)


LOSSES: dict[str, Loss] = {
    "bce": Loss(bce, of_classes=class_losses.cross_entropy),
    "dice": Loss(dice_loss),
    "bce_dice": Loss(bce_dice, of_classes=_entropy_and_dice),
    "focal": Loss(focal, {"gamma": 2.0}, class_losses.cross_entropy),
    "tversky": Loss(tversky, {"alpha": 0.3, "beta": 0.7}),
}
"""A recipe names one of these."""


def get_loss(name: str, options: Mapping[str, float] = MappingProxyType({})) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of that name in LOSSES with its options set.

    Options of other losses are left out, so that one search space can hold several losses and the options of each.
    """
    loss, taken = LOSSES[name], _options(name, options)
    return functools.partial(loss.of, **taken) if taken else loss.of


def _options(name: str, given: Mapping[str, float]) -> dict[str, float]:
    return {option: given.get(option, default) for option, default in LOSSES[name].options.items()}


def metrics_of(recipe: Recipe) -> list[Callable[[Tensor, Tensor], Tensor]]:
    """The training metrics `accuracy` and `dice` of a recipe."""
    return [class_losses.accuracy, class_losses.dice] if recipe.classes else [accuracy, dice]


def of_recipe(recipe: Recipe, weights: np.ndarray | None = None) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of a recipe: its named loss of the mask, plus the cross-entropy of the head where there is one, its
    positive pixels weighted by 1 + RARE, plus `border_weight` times the cross-entropy of the mask where two
    objects nearly touch.

    `y_true` is (n, h, w, k): the mask, the head's target where there is a head, the gaps' weight where they have one,
    both in [0, 1]. Cross-entropy takes targets between 0 and 1, and is least where the network says the same.

    Where the recipe tells classes apart, `y_true` and `y_pred` are as `class_losses` has them, and `weights`, float32
    (1 + classes,), are those of the classes in the cross-entropies; None weighs all alike.
    """
    if recipe.classes:
        return _over_classes(recipe, np.ones(1 + recipe.classes, np.float32) if weights is None else weights)
    named = get_loss(recipe.loss, recipe.loss_options)
    head, gaps = recipe.objects in HEADS, recipe.border_weight > 0
    if not head and not gaps:
        return named

    def total(y_true: Tensor, y_pred: Tensor) -> Tensor:
        mask, found = y_true[..., :1], mask_of(y_pred)
        value = named(mask, found)
        _, known = _known(mask)
        if head:
            target = y_true[..., 1:2]
            entropy = keras.losses.binary_crossentropy(target, y_pred[..., 1:2])[..., None]
            value = value + _mean(entropy * (1.0 + RARE[recipe.objects] * target), known)
        if gaps:
            weight = known * y_true[..., -1:]
            entropy = keras.losses.binary_crossentropy(mask * known, found)[..., None]
            # weighted, but a mean over all known pixels as the plain cross-entropy is
            value = value + recipe.border_weight * _mean(entropy * weight, known)
        return value

    return total


def _over_classes(recipe: Recipe, weights: np.ndarray) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of a recipe that tells classes apart."""
    loss, options = LOSSES[recipe.loss], _options(recipe.loss, recipe.loss_options)
    if loss.of_classes is None:
        named = functools.partial(class_losses.one_by_one, get_loss(recipe.loss, recipe.loss_options))
    else:
        named = functools.partial(loss.of_classes, weights=weights, **options)
    if not recipe.border_weight:
        return named

    def total(y_true: Tensor, y_pred: Tensor) -> Tensor:
        target, found, known = class_losses.pixels_of(y_true, y_pred)
        entropy = ops.categorical_crossentropy(target, found)[..., None]
        return named(y_true, y_pred) + recipe.border_weight * _mean(entropy * y_true[..., -1:], known)

    return total


def _known(y_true: Tensor) -> tuple[Tensor, Tensor]:
    """The mask with unknown pixels as 0, and 1 where it is known, both float32."""
    y_true = ops.cast(y_true, "float32")
    known = ops.cast(y_true < UNKNOWN - 0.5, "float32")
    return y_true * known, known


def _mean(values: Tensor, known: Tensor) -> Tensor:
    """Mean of each image's known pixels; 0 where none is known."""
    return ops.sum(values * known, axis=(1, 2, 3)) / ops.maximum(ops.sum(known, axis=(1, 2, 3)), 1.0)
