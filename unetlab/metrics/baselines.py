"""What a model has to beat: Otsu's threshold, and one answer for every pixel."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from unetlab.images.otsu import POLARITIES, otsu_mask

MOST_IMAGES = 200
"""So many training images at most, evenly spread, settle the rivals: the choice is one of three."""

CONSTANTS = ("background", "foreground")


@dataclass(frozen=True)
class Rivals:
    """What needs no training: settled once a data set on the training masks, then the same for every image.

    Args:
        polarity: which side of Otsu's threshold is foreground, one of `images.otsu.POLARITIES`.
        constant: what the constant rival calls every pixel, one of CONSTANTS.
    """

    polarity: str = "smaller"
    constant: str = "foreground"

    def tags(self) -> dict[str, str]:
        """As runs and models carry them, so that the same rivals meet a model on other data."""
        return {"otsu_polarity": self.polarity, "constant_answer": self.constant}


def otsu_polarity(images: Iterable[np.ndarray], labels: Iterable[np.ndarray]) -> str:
    """The side of Otsu's threshold that has the best mean Dice at native size; of equals the first of POLARITIES.

    Args:
        images: uint8 (h, w, 1 or 3) each, of the training side.
        labels: (h, w) each, above 0 on foreground.
    """
    dice = [
        [dice_of(otsu_mask(image, polarity), truth > 0) for polarity in POLARITIES]
        for image, truth in zip(images, labels, strict=True)
    ]
    return POLARITIES[int(np.mean(dice, axis=0).argmax())]


def constant_answer(labels: Iterable[np.ndarray]) -> str:
    """Whether all background or all foreground has the better mean Dice on the training labels, (h, w) each.

    Two empty masks score 1, so all background wins where more images are empty than foreground covers.
    """
    dice = [[dice_of(constant_mask(answer, truth.shape), truth > 0) for answer in CONSTANTS] for truth in labels]
    return CONSTANTS[int(np.mean(dice, axis=0).argmax())]


def constant_mask(answer: str, shape: tuple[int, ...]) -> np.ndarray:
    """One of CONSTANTS for every pixel, bool of that shape."""
    return np.full(shape, answer == "foreground")


def few(rows: Sequence[int] | np.ndarray) -> list[int]:
    """MOST_IMAGES of the rows at most, evenly spread."""
    places = np.linspace(0, len(rows) - 1, min(MOST_IMAGES, len(rows))).round().astype(int)
    return [int(rows[place]) for place in places]


def dice_of(found: np.ndarray, truth: np.ndarray) -> float:
    """Dice of two bool masks of one shape; 1 if both are empty."""
    total = np.count_nonzero(found) + np.count_nonzero(truth)
    return 2 * np.count_nonzero(found & truth) / total if total else 1.0
