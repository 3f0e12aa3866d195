"""Test-time augmentation: the mean of what a network says of an image in several of its symmetries."""

import numpy as np

from .tiles import Network

SYMMETRIES: dict[int, tuple[tuple[bool, bool, bool], ...]] = {
    0: ((False, False, False),),
    4: tuple((False, down, across) for down in (False, True) for across in (False, True)),
    8: tuple((turn, down, across) for turn in (False, True) for down in (False, True) for across in (False, True)),
}
"""Which symmetries of the image are seen, by the recipe's `tta`, each whether it is transposed, then mirrored down and
across. 0: the image as it is. 4: its mirror images. 8: those of its transpose too, all symmetries of a square."""


def turn(stack: np.ndarray, symmetry: tuple[bool, bool, bool]) -> np.ndarray:
    """(..., h, w, c) in one of its symmetries."""
    transposed, down, across = symmetry
    out = np.swapaxes(stack, -3, -2) if transposed else stack
    out = np.flip(out, -3) if down else out
    return np.flip(out, -2) if across else out


def turn_back(stack: np.ndarray, symmetry: tuple[bool, bool, bool]) -> np.ndarray:
    """Undoes `turn`."""
    transposed, down, across = symmetry
    out = np.flip(stack, -2) if across else stack
    out = np.flip(out, -3) if down else out
    return np.swapaxes(out, -3, -2) if transposed else out


def with_symmetries(network: Network, tta: int) -> Network:
    """The network's mean answer over so many symmetries of what it sees, each turned back."""
    if not tta:
        return network

    def mean(images: np.ndarray) -> np.ndarray:
        each = [turn_back(network(np.ascontiguousarray(turn(images, s))), s) for s in SYMMETRIES[tta]]
        return np.asarray(sum(each[1:], each[0].astype(np.float32)) / len(each))

    return mean
