"""Self-training: a network corrects the labels it was taught where it is sure, and teaches the next."""

from collections.abc import Iterable

import keras
import numpy as np

from unetlab.data import Dataset, cache, targets
from unetlab.data.classes import UNKNOWN, from_mask, rather_foreground
from unetlab.data.unmapped import Unmapped
from unetlab.inference.predict import Maps, Predictor
from unetlab.metrics.table import score_native
from unetlab.setup import Recipe

SURE = 0.8
"""A round teaches foreground above this probability and background below 1 - SURE; elsewhere the made label stays."""


def label_dice(labels: Dataset, truth: Dataset, rows: np.ndarray) -> np.ndarray:
    """Dice of made labels against the truth at native size, float64 (len(rows),).

    What the makers are unsure of counts as what most of them say: a network has to beat their vote, not their doubts.
    """

    def made(i: int, height: int, width: int) -> np.ndarray:
        return rather_foreground(labels.labels(int(rows[i]))) & truth.known(int(rows[i]))

    table = score_native(made, lambda i: truth.objects(int(rows[i])), len(rows))
    return table["native_dice"].to_numpy(np.float64)


def label_figures(labels: Dataset, truth: Dataset | None) -> dict[str, float]:
    """What is known of made labels: `label/known`, the share of pixels that have one, and against the truth, where
    there is one, `label/dice`, the mean over all images."""
    share = [float(labels.known(i).mean()) for i in range(len(labels))]
    figures = {"label/known": float(np.mean(share))}
    if truth is not None:
        figures["label/dice"] = float(label_dice(labels, truth, np.arange(len(labels))).mean())
    return figures


def missing_class(masks: Iterable[np.ndarray]) -> str:
    """ "foreground" or "background" if no mask, uint8 (h, w, k) of 0, 1 and UNKNOWN first, has a pixel of it, else "":
    nothing can be learnt from such masks."""
    there = set().union(*(np.unique(mask[..., 0]).tolist() for mask in masks))
    return next((name for value, name in ((1, "foreground"), (0, "background")) if value not in there), "")


def corrected_masks(
    model: keras.Model, recipe: Recipe, dataset: Dataset, rows: np.ndarray
) -> list[np.ndarray] | np.ndarray:
    """Masks for a self-training round: the model's own where it is sure, the made labels elsewhere.

    Leaving out what it is not sure of instead would lose most of the foreground to a model that was trained for a few
    epochs, and with it what the next could learn.

    Masks of several classes are given by people, so what they say stays: only a pixel that they leave unknown gets its
    likeliest class, where that has a probability above SURE.

    Args:
        model: trained on the made labels.
        recipe: its recipe.
        dataset: the made labels.
        rows: the images to label anew, those trained on; all others keep their made labels.

    Returns:
        uint8 (n, s, s, k), in patches n of (h, w, k), the first channel of 0, 1 (or the index of a class) and UNKNOWN.
    """
    data = dataset.fitted(recipe)
    predictor = Predictor(model, recipe)
    taught = [np.array(mask) for mask in data.masks]
    if recipe.classes:
        for row in rows:  # one by one: the probabilities of many classes are many
            _complete(taught[row][..., 0], predictor.maps(Unmapped(data.images), np.array([row])))
    else:
        for row, sure in zip(rows, predictor.maps(Unmapped(data.images), rows, cache.root()).mask, strict=True):
            mask = taught[row][..., 0]
            mask[sure > SURE], mask[sure < 1 - SURE] = 1, 0
            if taught[row].shape[-1] > 1:  # what the network learns of objects is of the mask as it is now
                labels = from_mask(mask)
                for channel, name in enumerate(targets.names(recipe), start=1):
                    taught[row][..., channel] = targets.TARGETS[name](labels)
    return taught if recipe.view == "patches" else np.stack(taught)


def _complete(mask: np.ndarray, maps: Maps) -> None:
    """Writes the likeliest class into the unknown pixels of a mask (h, w) where the network is sure of it."""
    assert maps.classes is not None
    said = maps.classes[0]
    taken = (mask == UNKNOWN) & (said.max(axis=-1) > SURE)
    mask[taken] = said.argmax(axis=-1)[taken]


def has_unknown(dataset: Dataset, rows: np.ndarray) -> bool:
    """Whether the masks of some images leave pixels unknown."""
    return any(not dataset.known(int(row)).all() for row in rows)
