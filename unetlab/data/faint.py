"""Tiles of one field whose borders hold little: a few grey levels, most of them noise, and yet the same field.

Noise keeps the correlation of such borders low, so it tells nothing. What tells is that nothing changes at the seam:
the step across it, its noise averaged out along the border, is no larger than the step beside it, and the level goes
on. Among borders that pass, the correlation is ranked by how far it lies above chance.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.fft import dct
from scipy.ndimage import gaussian_filter1d
from scipy.spatial import cKDTree

from unetlab.data.likeness import EDGE_TERMS, Look, detail, facing, rms, sigmas
from unetlab.data.tiles import NEIGHBOURS, SIDES, Tile

LEAST = 2.0
"""Standard errors above chance below which nothing is joined, whatever mirrored borders say."""

BY_CHANCE = 0.1
"""Seams of mirrored borders that may reach a score, one more than there are, as a share of the seams that reach it. So
that less than ten such seams are believed in no data set: by luck alone the best of few is a true one half the time."""

ALONG = (2, 4)
"""Pixels along the border (standard deviations) over which noise is averaged."""

QUIET = 0.05
"""Grey levels (root mean square) that a smoothed border must vary by, and that a smoothed step counts as at least."""

STEP = 1.15
"""Most that the step across the seam may be over the steps beside it."""

LEVEL = 3.0
"""Standard errors by which the mean step across the seam may miss the mean of the steps beside it."""


def seams(looks: Sequence[Look], rows: Sequence[int], known: Sequence[Tile]) -> tuple[list[Tile], float]:
    """Pairs of images with faint borders that continue each other, the best first, and the score to join them from.

    A border is continued by one image at most: those of `known` seams are left out, and of the others only pairs
    remain of which each is the other's best. Mirrored borders, treated alike, say what arises by chance (the rule is
    that of knockoffs: Barber and Candes, 2015).

    Args:
        looks: of all images.
        rows: images to compare.
        known: seams that were found already.

    Returns:
        The seams, scored in standard errors above chance, and the lowest score that is believed, inf if none is.
    """
    used = {end for tile in known for end in ((tile.first, tile.sides[0]), (tile.second, tile.sides[1]))}
    real, chance = (_best(list(_scored(looks, rows, used, mirrored))) for mirrored in (False, True))
    scores = np.array([tile.score for tile in real])
    against = np.sort([tile.score for tile in chance])
    reached = len(against) - np.searchsorted(against, scores)
    fits = scores[(scores >= LEAST) & (reached + 1 <= BY_CHANCE * np.arange(1, len(scores) + 1))]
    return real, float(fits.min(initial=np.inf))


def _scored(looks: Sequence[Look], rows: Sequence[int], used: set[tuple[int, int]], mirrored: bool) -> Iterator[Tile]:
    for sides in SIDES:
        free = [[row for row in rows if (row, side) not in used] for side in sides]
        for i, j in _near(looks, free[0], free[1], sides, mirrored):
            score = _score(*facing(looks[i], looks[j], sides, mirrored))
            if score > 0:
                yield Tile(i, j, sides, score)


def _near(
    looks: Sequence[Look], first: Sequence[int], second: Sequence[int], sides: tuple[int, int], mirrored: bool
) -> Iterator[tuple[int, int]]:
    """Borders of one length whose grey levels, coarsely, lie nearest."""
    held: list[dict[int, list[int]]] = [defaultdict(list), defaultdict(list)]
    for each, rows, side in zip(held, (first, second), sides, strict=True):
        for row in rows:
            if looks[row].edges[side].shape[1] >= EDGE_TERMS:
                each[looks[row].edges[side].shape[1]].append(row)
    for length in sorted(held[0].keys() & held[1].keys()):
        ours, theirs = held[0][length], held[1][length]
        queries, points = (
            np.stack([_coarse(looks[row], side) for row in group])
            for group, side in ((ours, sides[0]), (theirs, sides[1]))
        )
        if mirrored:  # a cosine transform of a line read backwards has every other sign changed
            points = points * (-1.0) ** np.arange(EDGE_TERMS)
        k = min(NEIGHBOURS, len(points))
        found = cKDTree(points).query(queries, k=k, workers=-1)[1].reshape(len(queries), k)
        for query, rank in np.ndindex(found.shape):
            if ours[query] != theirs[found[query, rank]]:
                yield ours[query], theirs[found[query, rank]]


def _coarse(look: Look, side: int) -> np.ndarray:
    """The first cosine terms of a border's levels; where these are of the image's own range, of how they vary."""
    line = look.edges[side][0].astype(np.float64)
    if look.own_range:
        line = (line - line.mean()) / max(float(line.std()), QUIET)
    return np.asarray(dct(line, norm="ortho")[:EDGE_TERMS])


def _score(one: np.ndarray, other: np.ndarray) -> float:
    """Standard errors above chance of two borders, (2, length) each, that go on in each other; else 0."""
    (a, inside_a), (b, inside_b) = one.astype(np.float64), other.astype(np.float64)
    across, before, behind = b - a, a - inside_a, inside_b - b
    missed = across - (before + behind) / 2
    if abs(missed.mean()) > LEVEL * missed.std() / np.sqrt(len(missed)):
        return 0.0
    for along in ALONG:
        steps = [rms(gaussian_filter1d(line, along)) for line in (across, before, behind)]
        if steps[0] > STEP * max((steps[1] + steps[2]) / 2, QUIET):
            return 0.0
    smooth = (gaussian_filter1d((a + inside_a) / 2, ALONG[0]), gaussian_filter1d((b + inside_b) / 2, ALONG[0]))
    return sigmas(*(detail(line, floor=QUIET) for line in smooth))


def _best(tiles: Sequence[Tile]) -> list[Tile]:
    """Those of which each border is the other's best, the best first."""
    best: dict[tuple[int, int], Tile] = {}
    ordered = sorted(tiles, key=lambda tile: -tile.score)
    for tile in ordered:
        for end in ((tile.first, tile.sides[0]), (tile.second, tile.sides[1])):
            best.setdefault(end, tile)
    ends = [((tile.first, tile.sides[0]), (tile.second, tile.sides[1]), tile) for tile in ordered]
    return [tile for one, other, tile in ends if best[one] is tile and best[other] is tile]
