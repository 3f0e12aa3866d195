"""Train, validation and test."""

import numpy as np
import pytest

from unetlab.errors import UserError
from unetlab.split import FRACTIONS, split

IDS = [f"id{i}" for i in range(200)]
KINDS = ["dark"] * 150 + ["light"] * 50


def test_every_image_is_on_one_side_and_each_kind_has_its_share():
    sides = split(IDS, np.arange(200), KINDS, seed=1)
    parts = (sides.train, sides.validation, sides.test)
    assert sorted(np.concatenate(parts)) == list(range(200))
    for part, share in zip(parts, FRACTIONS, strict=True):
        assert abs((part < 150).sum() - 150 * share) <= 1 and abs((part >= 150).sum() - 50 * share) <= 1


def test_the_seed_decides():
    one, same, other = (split(IDS, np.arange(200), KINDS, seed=s) for s in (1, 1, 2))
    assert one.digest == same.digest != other.digest
    assert np.array_equal(one.test, same.test) and not np.array_equal(one.test, other.test)


def test_groups_never_straddle():
    groups = np.arange(200) // 7
    sides = split(IDS, groups, KINDS, seed=3)
    homes = [set(groups[part]) for part in (sides.train, sides.validation, sides.test)]
    assert not homes[0] & homes[1] and not homes[0] & homes[2] and not homes[1] & homes[2]


@pytest.mark.parametrize("n", [3, 4, 5, 8])
def test_few_images_still_fill_every_side(n):
    sides = split(IDS[:n], np.arange(n), ["a", "b", "c", "d", "e", "f", "g", "h"][:n], seed=0)
    assert all(len(part) for part in (sides.train, sides.validation, sides.test))


def test_too_few_different_images_are_refused():
    with pytest.raises(UserError, match="at least 3 different images"):
        split(IDS[:10], np.array([0] * 5 + [1] * 5), KINDS[:10], seed=0)
