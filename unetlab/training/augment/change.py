"""What a change of training images is."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from unetlab.setup import Recipe

Pair = tuple[np.ndarray, np.ndarray]
"""An image, uint8 (s, s, c), and its mask, (s, s, k) of any whole numbers: a mask with what is learnt beside it."""


class Change(NamedTuple):
    """A row of CHANGES.

    Args:
        switches: the recipe's fields that turn it on, by any of them being other than its default.
        of: called as of(image, mask, recipe, rng), all its luck from `rng`; it never writes into what it is given.
    """

    switches: tuple[str, ...]
    of: Callable[[np.ndarray, np.ndarray, Recipe, np.random.Generator], Pair]


def factor(most: float, rng: np.random.Generator) -> float:
    """A random number between 1 / (1 + most) and 1 + most, log-uniform: halving is as likely as doubling."""
    return float(np.exp(rng.uniform(-1, 1) * np.log1p(most)))
