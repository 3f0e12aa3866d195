"""How an image meets a network: squeezed whole to its square, or at a working scale."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from . import geometry

VIEWS = ("whole", "patches")
"""whole: images squeezed to the network's square. patches: training on crops of image_size at a working scale,
prediction in tiles."""

ALIGN = 32
"""In patches the sides of what a network sees are multiples of it; no network here halves more than five times."""


class Viewed(Protocol):
    """What a view wants of a recipe, or of a logged model's settings."""

    @property
    def view(self) -> str: ...
    @property
    def image_size(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def scale(self) -> float: ...


def size_of(size: Sequence[int], recipe: Viewed) -> tuple[int, int]:
    """Height and width at which the network works on an image of that height and width."""
    if recipe.view == "whole":
        return recipe.image_size, recipe.image_size
    height, width = (max(1, round(side * recipe.scale)) for side in size)
    return height, width


def fitted(image: np.ndarray, recipe: Viewed) -> np.ndarray:
    """An image uint8 (h, w, 1 or 3) at the network's size and channels, uint8."""
    return geometry.resize_image(geometry.fit_channels(image, recipe.channels), *size_of(image.shape[:2], recipe))


def mirrored(length: int, to: int) -> np.ndarray:
    """Indices int (to,) that continue 0 .. length - 1 by mirroring at the far edge, as often as it takes."""
    return np.pad(np.arange(length), (0, max(0, to - length)), mode="symmetric")[: max(length, to)]


def padded_side(length: int, least: int) -> int:
    """The side that a network sees for one of `length` pixels: a multiple of ALIGN, and `least` at least."""
    return -(-max(length, least) // ALIGN) * ALIGN
