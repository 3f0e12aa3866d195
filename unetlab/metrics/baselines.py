"""What a model has to beat: Otsu's threshold, and one answer for every pixel."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from unetlab.images.otsu import POLARITIES, otsu_mask
from unetlab.metrics import classes

MOST_IMAGES = 200
"""So many training images at most, evenly spread, settle the rivals: the choice is one of three."""

CONSTANTS = ("background", "foreground")

EVERYWHERE: Iterable[np.ndarray] = itertools.repeat(np.ones((), bool))
"""Where labels are known, if nothing else is said."""


@dataclass(frozen=True)
class Rivals:
    """What needs no training: settled once a data set on the training masks, then the same for every image.

    Args:
        polarity: which side of Otsu's threshold is foreground, one of `images.otsu.POLARITIES`.
        constant: what the constant rival calls every pixel, one of CONSTANTS, or the name of a class.
        otsu_class: of several classes, the name of the one that Otsu's foreground is taken for; else "".
    """

    polarity: str = "smaller"
    constant: str = "foreground"
    otsu_class: str = ""

    def tags(self) -> dict[str, str]:
        """As runs and models carry them, so that the same rivals meet a model on other data."""
        told = {"otsu_polarity": self.polarity, "constant_answer": self.constant}
        return told | ({"otsu_class": self.otsu_class} if self.otsu_class else {})


def otsu_polarity(
    images: Iterable[np.ndarray], labels: Iterable[np.ndarray], known: Iterable[np.ndarray] = EVERYWHERE
) -> str:
    """The side of Otsu's threshold that has the best mean Dice at native size; of equals the first of POLARITIES.

    Args:
        images: uint8 (h, w, 1 or 3) each, of the training side.
        labels: (h, w) each, above 0 on foreground.
        known: where labels are known, bool (h, w) each; what is found elsewhere counts nowhere, as in scores.
    """
    dice = [
        [dice_of(otsu_mask(image, polarity) & there, truth > 0) for polarity in POLARITIES]
        for image, truth, there in zip(images, labels, known, strict=False)
    ]
    return POLARITIES[int(np.mean(dice, axis=0).argmax())]


def constant_answer(labels: Iterable[np.ndarray], known: Iterable[np.ndarray] = EVERYWHERE) -> str:
    """Whether all background or all foreground has the better mean Dice on the training labels, (h, w) each, where they
    are `known`, bool alike.

    Two empty masks score 1, so all background wins where more images are empty than foreground covers.
    """
    dice = [
        [dice_of(constant_mask(answer, truth.shape) & there, truth > 0) for answer in CONSTANTS]
        for truth, there in zip(labels, known, strict=False)
    ]
    return CONSTANTS[int(np.mean(dice, axis=0).argmax())]


def constant_mask(answer: str, shape: tuple[int, ...]) -> np.ndarray:
    """One of CONSTANTS for every pixel, bool of that shape."""
    return np.full(shape, answer == "foreground")


def class_rivals(
    images: Iterable[np.ndarray],
    truths: Iterable[np.ndarray],
    names: Sequence[str],
    known: Iterable[np.ndarray] = EVERYWHERE,
) -> Rivals:
    """The rivals of several classes: of one class for every pixel, and of Otsu's foreground taken for one class, those
    with the best mean over images of the mean Dice of the classes there; of equals the first.

    Args:
        images: uint8 (h, w, 1 or 3) each, of the training side.
        truths: index maps uint8 (h, w) each, 0 background and unknown.
        names: of all classes, background first.
        known: where labels are known, bool (h, w) each.
    """
    k, sides = len(names) - 1, []
    constant = []
    for image, truth, there in zip(images, truths, known, strict=False):
        constant.append([classes.dice_of(np.full(truth.shape, n, np.uint8) * there, truth, k) for n in range(k + 1)])
        masks = [otsu_mask(image, polarity) & there for polarity in POLARITIES]
        sides.append([[classes.dice_of(mask * np.uint8(kind), truth, k) for kind in range(1, k + 1)] for mask in masks])
    polarity, kind = divmod(int(np.mean(sides, axis=0).argmax()), k)
    best = int(np.mean(constant, axis=0).argmax())
    return Rivals(POLARITIES[polarity], names[best], names[1 + kind])


def few(rows: Sequence[int] | np.ndarray) -> list[int]:
    """MOST_IMAGES of the rows at most, evenly spread."""
    places = np.linspace(0, len(rows) - 1, min(MOST_IMAGES, len(rows))).round().astype(int)
    return [int(rows[place]) for place in places]


def dice_of(found: np.ndarray, truth: np.ndarray) -> float:
    """Dice of two bool masks of one shape; 1 if both are empty."""
    total = np.count_nonzero(found) + np.count_nonzero(truth)
    return 2 * np.count_nonzero(found & truth) / total if total else 1.0
