"""Images whose textures lie near each other, as they are, or turned by quarters and flipped as augmentation does it."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.spatial import cKDTree

from unetlab.data.likeness import TEXTURE_TERMS, Look, correlation, texture_key

NEIGHBOURS = 5
"""Images that each is compared with: what the index says lies nearest."""

DIMENSIONS = 16
"""Of the index of images."""

TURNED = 3
"""Images that each is compared with once it is turned, for each way to turn it."""

NEAR = 0.5
"""Distance of keys up to which one texture may be the other turned; saved as a poor JPEG besides, it lies at 0.4."""

Symmetry = tuple[bool, ...]
"""Whether rows and columns are exchanged, then whether rows, and whether columns, are read backwards."""

SYMMETRIES: tuple[Symmetry, ...] = tuple(each for each in itertools.product((False, True), repeat=3) if any(each))
"""All ways but one to lay a square on itself."""


class _Index:
    """Keys of the textures that have one, and a tree of their first principal components."""

    def __init__(self, looks: Sequence[Look], rows: Sequence[int]) -> None:
        keyed = [(row, key) for row in rows if (key := texture_key(looks[row].texture)) is not None]
        self.rows = [row for row, _ in keyed]
        if len(keyed) > 1:
            self.keys = np.stack([key for _, key in keyed])
            self.axes = np.linalg.eigh(self.keys.T @ self.keys)[1][:, ::-1][:, :DIMENSIONS]
            self.tree = cKDTree(self.keys @ self.axes)

    def __len__(self) -> int:
        return len(self.rows)


def textures(looks: Sequence[Look], rows: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Pairs of rows whose textures lie near each other as they are, the nearest first."""
    index = _Index(looks, rows)
    if len(index) < 2:
        return
    k = min(NEIGHBOURS + 1, len(index))
    distances, found = index.tree.query(index.keys @ index.axes, k=k, workers=-1)
    order = np.argsort(distances, axis=None, kind="stable")
    for query, rank in zip(*np.unravel_index(order, found.shape), strict=True):
        if query != found[query, rank]:
            yield index.rows[query], index.rows[found[query, rank]]


def turned(looks: Sequence[Look], rows: Sequence[int]) -> Iterator[tuple[int, int, float]]:
    """Pairs of rows of which one may be the other turned or flipped, with the correlation of the two textures, one of
    them turned.

    Projected, keys only come nearer to each other, so that the tree leaves out no pair within NEAR but beyond TURNED.
    """
    index = _Index(looks, rows)
    if len(index) < 2:
        return
    k = min(TURNED + 1, len(index))  # an image that is the same turned finds itself
    for symmetry in SYMMETRIES:
        keys = _turned_keys(index.keys, symmetry)
        found = index.tree.query(keys @ index.axes, k=k, distance_upper_bound=NEAR, workers=-1)[1]
        for query, rank in np.argwhere(found < len(index)):
            other = found[query, rank]
            if other != query and np.linalg.norm(keys[query] - index.keys[other]) <= NEAR:
                first, second = index.rows[query], index.rows[other]
                yield first, second, correlation(_turned(looks[first].texture, symmetry), looks[second].texture)


def _turned(texture: np.ndarray, symmetry: Symmetry) -> np.ndarray:
    exchanged, *backwards = symmetry
    rows, columns = (slice(None, None, -1 if each else 1) for each in backwards)
    return (texture.T if exchanged else texture)[rows, columns]


def _turned_keys(keys: np.ndarray, symmetry: Symmetry) -> np.ndarray:
    """Keys of turned textures, float32 alike: a cosine transform read backwards has every other sign changed."""
    exchanged, *backwards = symmetry
    terms = np.pad(keys, ((0, 0), (1, 0))).reshape(-1, TEXTURE_TERMS, TEXTURE_TERMS)
    rows, columns = ((-1.0) ** (np.arange(TEXTURE_TERMS) * each) for each in backwards)
    terms = (terms.transpose(0, 2, 1) if exchanged else terms) * rows[:, None] * columns
    return np.asarray(terms.reshape(len(keys), -1)[:, 1:], np.float32)
