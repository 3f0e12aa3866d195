"""Whether images are sections of one stack, which `auto` parts by blocks without being told."""

import functools
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from unetlab.data import Dataset
from unetlab.data.check import DataCard
from unetlab.data.likeness import correlation, look
from unetlab.data.scenes import SECTION
from unetlab.data.split import GAP, stack_of
from unetlab.data.takes import natural

SIDES = 3
"""Of so many stacks each side can have one, and whole scenes part them well."""

PAIRS = 100
"""Pairs of sections that are compared, at most, all over a stack."""


def is_stack(dataset: Dataset, card: DataCard) -> bool:
    """Whether the images are sections of one stack, or of fewer stacks than there are sides.

    That is so where names end in numbers, neighbours are alike by SECTION more than images half the stack apart, as
    `data.scenes` has it, and each stack is long enough for blocks. Takes of a camera are numbered and alike too: where
    they are three scenes or more, not most of them joined as sections or as copies, they are parted as scenes. So is
    everything that was told to be one, by groups.
    """
    if card.scenes.source != "auto" or len(set(card.groups)) == len(dataset):
        return False
    stacks: dict[str, list[int]] = defaultdict(list)
    for row in sorted(range(len(dataset)), key=lambda row: natural(dataset.ids[row])):
        stacks[stack_of(dataset.ids[row])].append(row)
    if len(stacks) >= SIDES or any(len(rows) < SIDES + 2 * GAP for rows in stacks.values()):
        return False
    kinds = Counter(pair.kind for pair in card.scenes.joined)
    if len(set(card.groups)) >= SIDES and 2 * (kinds["section"] + kinds["copy"]) <= kinds.total():
        return False
    return all(_goes_on(dataset, rows) for rows in stacks.values())


def _goes_on(dataset: Dataset, rows: Sequence[int]) -> bool:
    """Whether neighbours among the images `rows`, in the order of their names, are more alike than those far apart."""
    texture = functools.cache(lambda place: look(dataset.image(rows[place])).texture)

    def alike(step: int) -> float:
        places = np.unique(np.linspace(0, len(rows) - 1 - step, PAIRS).astype(int)).tolist()
        return float(np.median([correlation(texture(place), texture(place + step)) for place in places]))

    return alike(1) - alike(len(rows) // 2) >= SECTION
