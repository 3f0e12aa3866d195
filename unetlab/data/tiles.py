"""Tiles of one field: borders that continue each other, as against mirrored borders, which do so by chance alone."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from unetlab.data.likeness import Look, continues, edge_key, facing

LEAST = 0.8
"""Score of a seam below which nothing is joined, whatever mirrored borders say."""

BY_CHANCE = 0.05
"""Seams of mirrored borders that may reach a score, as a share of the seams that reach it."""

STEP = 1.1
"""The step across a seam is about as large as the steps beside it; what is more than this counts against it."""

COST = 0.25
"""Of a step above STEP, off the correlation."""

SIGMAS = 2.0
"""A seam must lie so far above what its borders, with so little in them, have by chance."""

NEIGHBOURS = 5
"""Borders that each is compared with."""

SIDES = ((1, 0), (3, 2))
"""Right to left, bottom to top."""


class Tile(NamedTuple):
    """Two images that may continue each other.

    Args:
        first, second: their rows.
        sides: the side of the first, and that of the second, as `Look.edges` numbers them.
        score: how well they do, 1 at best.
    """

    first: int
    second: int
    sides: tuple[int, int]
    score: float


def seams(looks: Sequence[Look], rows: Sequence[int], apart: Callable[[int, int], bool]) -> tuple[list[Tile], float]:
    """Pairs of images with borders that may continue each other, the best first, and the score to join them from.

    How many seams arise by chance depends on what a data set shows and grows with the square of its images, so it is
    counted: the same borders are compared mirrored as well, which has the same chances and continues nothing. The
    score is the lowest that mirrored seams reach at most BY_CHANCE as often, 2 if none is.

    Args:
        looks: of all images.
        rows: images to compare.
        apart: whether two rows are to be compared; those of one scene already need not be.
    """
    real, chance = (
        sorted(
            (
                Tile(i, j, sides, _score(looks, i, j, sides, mirrored))
                for sides in SIDES
                for i, j in near(looks, rows, sides, mirrored)
                if apart(i, j)
            ),
            key=lambda tile: -tile.score,
        )
        for mirrored in (False, True)
    )
    scores = np.array([tile.score for tile in real if tile.score >= LEAST])
    against = np.sort([tile.score for tile in chance])
    reached = len(against) - np.searchsorted(against, scores)
    fits = scores[reached <= BY_CHANCE * np.arange(1, len(scores) + 1)]
    return real, float(fits.min(initial=2.0))


def _score(looks: Sequence[Look], first: int, second: int, sides: tuple[int, int], mirrored: bool) -> float:
    seam = continues(*facing(looks[first], looks[second], sides, mirrored))
    return seam.detail - COST * max(0.0, seam.step - STEP) if seam.sigmas >= SIGMAS else 0.0


def near(
    looks: Sequence[Look], rows: Sequence[int], sides: tuple[int, int], mirrored: bool = False
) -> Iterator[tuple[int, int]]:
    """Borders of one length whose details may correlate by LEAST, the second's read backwards if `mirrored`."""
    keyed: list[dict[int, list[tuple[int, np.ndarray]]]] = [defaultdict(list), defaultdict(list)]
    for side, held in zip(sides, keyed, strict=True):
        for row in rows:
            edge = looks[row].edges[side]
            if (key := edge_key(edge)) is not None:
                held[edge.shape[1]].append((row, key))
    for length in sorted(keyed[0].keys() & keyed[1].keys()):
        ours, theirs = ([row for row, _ in held[length]] for held in keyed)
        queries, points = (np.stack([key for _, key in held[length]]) for held in keyed)
        if mirrored:  # a cosine transform of a line read backwards has every other sign changed
            points = points * (-1.0) ** np.arange(points.shape[1])
        k = min(NEIGHBOURS, len(points))
        _, found = cKDTree(points).query(queries, k=k, distance_upper_bound=np.sqrt(2 - 2 * LEAST), workers=-1)
        for query, point in np.argwhere(found.reshape(len(queries), k) < len(points)):
            i, j = ours[query], theirs[found.reshape(len(queries), k)[query, point]]
            if i != j:
                yield i, j
