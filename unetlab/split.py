"""Train, validation and test: seeded, stratified by modality, duplicates on one side."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unetlab.errors import UserError

FRACTIONS = (0.70, 0.15, 0.15)


@dataclass(frozen=True)
class Split:
    """Indices of each side, int64, ascending, and a digest of the ids on each side, 16 hex digits."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    digest: str


def split(ids: Sequence[str], groups: np.ndarray, modality: Sequence[str], seed: int) -> Split:
    """Splits by FRACTIONS.

    Args:
        ids: n unique names.
        groups: int (n,); images of one group, exact or near duplicates, stay on one side.
        modality: n words; each side gets its share of each.
        seed: the same seed gives the same split.

    Raises:
        UserError: if there are too few groups for three sides.
    """
    if len(np.unique(groups)) < 3:
        raise UserError(
            f"{len(ids)} images in {len(np.unique(groups))} groups of different images cannot be split into train, "
            "validation and test; at least 3 different images are needed"
        )
    rng = np.random.default_rng(seed)
    side = np.full(len(ids), -1)
    for kind in sorted(set(modality)):
        _assign(side, [g for g in _groups(groups) if modality[g[0]] == kind], rng)
    _fill_empty_sides(side, groups)
    train, validation, test = (np.flatnonzero(side == k) for k in range(3))
    text = "|".join(",".join(sorted(ids[int(i)] for i in part)) for part in (train, validation, test))
    return Split(train, validation, test, hashlib.sha256(text.encode()).hexdigest()[:16])


def _groups(groups: np.ndarray) -> list[np.ndarray]:
    return [np.flatnonzero(groups == group) for group in np.unique(groups)]


def _assign(side: np.ndarray, members: list[np.ndarray], rng: np.random.Generator) -> None:
    """Largest groups first, each to the side that is furthest below its share; equal ones in random order."""
    order = rng.permutation(len(members))
    total = sum(len(group) for group in members)
    filled = np.zeros(3)
    for index in sorted(order, key=lambda k: -len(members[k])):
        target = int(np.argmax(np.array(FRACTIONS) * total - filled))
        side[members[index]] = target
        filled[target] += len(members[index])


def _fill_empty_sides(side: np.ndarray, groups: np.ndarray) -> None:
    """With few images of each modality a side can come out empty: it takes the smallest group of the largest side."""
    for target in (1, 2, 0):
        if not (side == target).any():
            largest = np.bincount(side, minlength=3).argmax()
            candidates = [group for group in _groups(groups) if side[group[0]] == largest]
            side[min(candidates, key=len)] = target
