"""Train, validation and test."""

import numpy as np
import pytest

from unetlab.data.split import FRACTIONS, split, split_blocks
from unetlab.errors import UserError

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


def test_an_image_that_fills_a_side_is_drawn():
    kinds = list("abcd" * 3)
    tested = {tuple(split([f"{i:02d}" for i in range(12)], np.arange(12), kinds, seed).test) for seed in range(20)}
    assert all(len(test) == 1 for test in tested) and len(tested) > 5


def test_too_few_different_images_are_refused():
    with pytest.raises(UserError, match="at least 3 different scenes.*one stack are for `drosophila` and `showdown`"):
        split(IDS[:10], np.array([0] * 5 + [1] * 5), KINDS[:10], seed=0)


def test_blocks_are_contiguous_with_a_gap_and_vary_with_the_seed():
    ids, sha = [f"stack-{i:03d}" for i in range(24)], [str(i) for i in range(24)]
    tested = set()
    for seed in range(20):
        parts = split_blocks(ids, sha, seed)
        sides = [parts.train, parts.validation, parts.test]
        assert [len(rows) for rows in sides] == [14, 4, 4]
        for rows in sides:
            assert np.array_equal(rows, np.arange(rows[0], rows[-1] + 1))
        ordered = sorted(sides, key=lambda rows: rows[0])
        assert all(after[0] - before[-1] == 2 for before, after in zip(ordered, ordered[1:], strict=False))
        tested.add(int(parts.test[0]))
    assert len(tested) >= 3
    assert split_blocks(ids, sha, 1).digest == split_blocks(ids, sha, 1).digest


def test_sections_are_in_the_order_of_their_numbers_not_of_their_letters():
    ids = sorted(str(i) for i in range(30))  # 0, 1, 10, 11, ... as the files of isbi2012 are named
    parts = split_blocks(ids, [str(i) for i in range(30)], 0)
    blocks = [sorted(int(ids[i]) for i in rows) for rows in (parts.train, parts.validation, parts.test)]
    assert all(block == list(range(block[0], block[-1] + 1)) for block in blocks)


def test_each_stack_is_split_and_copies_stay_on_one_side():
    ids = [f"{stack}-{i:02d}" for stack in "ab" for i in range(10)]
    sha = [str(i) for i in range(20)]
    sha[0] = sha[9] = "copy"
    parts = split_blocks(ids, sha, 0)
    assert {ids[i][0] for i in parts.test} == {"a", "b"}
    sides = [{sha[i] for i in rows} for rows in (parts.train, parts.validation, parts.test)]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])


def test_blocks_of_nothing_but_copies_are_refused():
    ids = [f"s-{i:02d}" for i in range(10)]
    with pytest.raises(UserError, match="no section is left for training: all of its block are copies.*groups=off"):
        split_blocks(ids, ["one"] * 10, 0)


def test_too_few_sections_for_blocks_say_the_way_out():
    with pytest.raises(UserError, match="4 sections.*at least 5.*split=random"):
        split_blocks([f"s-{i}" for i in range(4)], list("abcd"), 0)
    assert len(split_blocks([f"s-{i}" for i in range(5)], list("abcde"), 0).test) == 1
