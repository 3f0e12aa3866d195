"""Train, validation and test: seeded, stratified by modality or in blocks of sections, scenes whole."""

import hashlib
import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from unetlab.errors import UserError

FRACTIONS = (0.70, 0.15, 0.15)

GAP = 1
"""Sections between two blocks that belong to no side."""


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
        groups: int (n,); images of one group, a scene, stay on one side. A scene larger than a side's share is in
            train, whatever the seed.
        modality: n words; each side gets its share of each.
        seed: the same seed gives the same split.

    Raises:
        UserError: if there are too few groups for three sides.
    """
    if len(np.unique(groups)) < 3:
        count = len(np.unique(groups))
        raise UserError(
            f"{len(ids)} images of {count} scene{'s' * (count > 1)} cannot be split into train, validation and test; "
            "at least 3 different scenes are needed: give more, or groups=off; sections of one stack are for "
            "`drosophila` and `showdown`, which take split=blocks"
        )
    rng = np.random.default_rng(seed)
    side = np.full(len(ids), -1)
    for kind in sorted(set(modality)):
        _assign(side, [g for g in _groups(groups) if modality[g[0]] == kind], rng)
    _fill_empty_sides(side, groups, rng)
    return _sides(ids, side)


def stack_of(id: str) -> str:
    """The name of the stack that a section lies in: its own up to a last number."""
    return re.sub(r"[-_. ]*\d+$", "", id)


def split_blocks(ids: Sequence[str], copies: Sequence[Hashable], seed: int) -> Split:
    """Splits stacks of sections into contiguous blocks by FRACTIONS, with GAP unused sections between two sides.

    Neighbouring sections are near copies of each other, so a random split would test on what was learnt. Which block
    lies at which end of a stack varies with the seed.

    Args:
        ids: n unique names; sections of one stack share a name up to a last number, which is their order.
        copies: the same for sections that are copies of each other, of which only those on one side are used.
        seed: the same seed gives the same split.

    Raises:
        UserError: if a stack is too short for three sides and two gaps, or a side has nothing but copies of others'.
    """
    rng = np.random.default_rng(seed)
    stacks = [stack_of(id) for id in ids]
    side = np.full(len(ids), -1)
    for stack in sorted(set(stacks)):
        rows = np.array(sorted((i for i in range(len(ids)) if stacks[i] == stack), key=lambda i: _number(ids[i])))
        held = [max(1, round(fraction * len(rows))) for fraction in FRACTIONS[1:]]
        lengths = [len(rows) - sum(held) - 2 * GAP, *held]
        if lengths[0] < 1:
            raise UserError(
                f"{stack or 'the stack'} has {len(rows)} sections, too few for blocks of train, validation and test "
                f"with a gap between them; at least {3 + 2 * GAP} are needed, or use split=random"
            )
        start = 0
        for block in rng.permutation(3):
            side[rows[start : start + lengths[block]]] = block
            start += lengths[block] + GAP
    first: dict[Hashable, int] = {}
    for row in sorted(map(int, np.flatnonzero(side >= 0)), key=lambda i: -side[i]):  # test keeps its copies
        if first.setdefault(copies[row], side[row]) != side[row]:
            side[row] = -1
    if missing := [name for k, name in enumerate(("training", "validation", "test")) if not (side == k).any()]:
        raise UserError(
            f"no section is left for {missing[0]}: all of its block are copies of sections on other sides; take copies "
            "out, or use groups=off, which takes each for itself"
        )
    return _sides(ids, side)


def _sides(ids: Sequence[str], side: np.ndarray) -> Split:
    train, validation, test = (np.flatnonzero(side == k) for k in range(3))
    text = "|".join(",".join(sorted(ids[int(i)] for i in part)) for part in (train, validation, test))
    return Split(train, validation, test, hashlib.sha256(text.encode()).hexdigest()[:16])


def _number(id: str) -> int:
    """The number at the end of a name, so that section 10 comes after 9 and not after 1."""
    found = re.search(r"\d+$", id)
    return int(found.group()) if found else 0


def _groups(groups: np.ndarray) -> list[np.ndarray]:
    """The rows of each group, ascending, the groups in order; in time that grows with n log n."""
    order = np.argsort(groups, kind="stable")
    return np.split(order, np.flatnonzero(groups[order][1:] != groups[order][:-1]) + 1)


def _assign(side: np.ndarray, members: list[np.ndarray], rng: np.random.Generator) -> None:
    """Largest groups first, each to the side that is furthest below its share; equal ones in random order."""
    order = rng.permutation(len(members))
    total = sum(len(group) for group in members)
    filled = np.zeros(3)
    for index in sorted(order, key=lambda k: -len(members[k])):
        target = int(np.argmax(np.array(FRACTIONS) * total - filled))
        side[members[index]] = target
        filled[target] += len(members[index])


def _fill_empty_sides(side: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> None:
    """With few images of each modality a side can come out empty: it takes one of the smallest groups of the largest
    side."""
    for target in (1, 2, 0):
        if not (side == target).any():
            largest = np.bincount(side, minlength=3).argmax()
            candidates = [group for group in _groups(groups) if side[group[0]] == largest]
            least = min(len(group) for group in candidates)
            smallest = [group for group in candidates if len(group) == least]
            side[smallest[int(rng.integers(len(smallest)))]] = target
