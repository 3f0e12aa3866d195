"""One frame from pixels to what the page paints: a byte a pixel, and a line that says what was found."""

import time
from typing import Any

import numpy as np

from unetlab.inference.predict import Answer, Predictor

OUTLINE = 0x80
"""Bit of a plane's byte that is set at the edge of an object; the others are its class, 0 background."""

MOST_CLASSES = OUTLINE - 1


def segment(predictor: Predictor, image: np.ndarray, threshold: float | None) -> Answer:
    """The one call of the network, the same as scoring makes it: an image uint8 (h, w, 1 or 3) to its answer."""
    return predictor.answers([image], threshold)[0]


def plane_of(answer: Answer) -> np.ndarray:
    """uint8 (h, w): the class of each pixel, 1 where there is one foreground, and OUTLINE at the edge of an object."""
    classes = getattr(answer, "classes", None)  # answers of models logged before there were classes have no such field
    plane = (answer.mask if classes is None else classes).astype(np.uint8)
    plane[edges(answer.labels)] |= OUTLINE
    return plane


def edges(labels: np.ndarray) -> np.ndarray:
    """bool (h, w): pixels of an object, int (h, w), beside one that is not of it. An image's frame is no edge."""
    found = np.zeros(labels.shape, bool)
    for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        differ = labels[one] != labels[other]
        found[one] |= differ
        found[other] |= differ
    return found & (labels > 0)


def rgba(image: np.ndarray) -> np.ndarray:
    """uint8 (h, w, 1 or 3) as a canvas holds it: uint8 (h, w, 4), opaque."""
    out = np.full((*image.shape[:2], 4), 255, np.uint8)
    out[..., :3] = image
    return out


class Clock:
    """Milliseconds of the steps of an answer, by name."""

    def __init__(self) -> None:
        self.steps: dict[str, float] = {}
        self.last = time.perf_counter()

    def step(self, name: str) -> None:
        """Ends a step that began with the clock, or where the one before ended."""
        now = time.perf_counter()
        self.steps[name] = round((now - self.last) * 1000, 3)
        self.last = now


def said_of(answer: Answer, classes: int) -> dict[str, Any]:
    """What the page says of an answer in words: objects, of so many classes each, and the share of the foreground."""
    found = {"objects": int(answer.labels.max(initial=0)), "foreground": round(float(answer.mask.mean()), 6)}
    if not classes:
        return found
    assert answer.object_classes is not None
    return {**found, "by_class": np.bincount(answer.object_classes[1:], minlength=classes + 1)[1:].tolist()}
