"""Answers of a network in a file: as they were, and none of them left in memory."""

import gc

import numpy as np
import pytest

from unetlab.inference import spool
from unetlab.inference.spool import Made, Spill, Spool, each_of, gathered


def arrays(sizes):
    rng = np.random.default_rng(0)
    return [rng.random((*size, 2), np.float32) for size in sizes]


def test_what_is_much_goes_to_a_file_and_comes_back_as_it_was(monkeypatch, tmp_path):
    every = arrays([(3, 4), (1, 1), (20, 30), (0, 5), (7, 2)])
    assert gathered(iter(every)) == every and isinstance(gathered(iter(every)), list)
    for held in (0, 10, 200):  # from the first on, and on the way
        monkeypatch.setattr(spool, "HELD", held)
        found = gathered(iter(every), tmp_path / "cache")
        assert isinstance(found, Spool) and len(found) == 5
        for i in (4, 0, 2, -1, 3, 1, 0):
            assert np.array_equal(found[i], every[i]) and found[i].dtype == np.float32
        assert sum(1 for _ in found) == 5
        with pytest.raises(IndexError):
            found[5]


def test_the_file_has_no_name_that_a_killed_process_could_leave(tmp_path, monkeypatch):
    monkeypatch.setattr(spool, "HELD", 0)
    found = gathered(iter(arrays([(50, 50)])), tmp_path)
    assert list(tmp_path.iterdir()) == [] and found[0].shape == (50, 50, 2)


def test_views_of_a_part_are_stored_as_that_part(monkeypatch):
    monkeypatch.setattr(spool, "HELD", 0)
    (whole,) = arrays([(9, 9)])
    assert np.array_equal(gathered([whole[2:5, ::2]])[0], whole[2:5, ::2])


def test_what_is_made_when_asked_for_is_not_kept():
    asked = []
    made = Made(lambda i: asked.append(i) or np.full(2, i), 3)
    assert [each[0] for each in made] == [0, 1, 2] and made[-1][0] == 2
    assert asked == [0, 1, 2, 2]
    with pytest.raises(IndexError):
        made[3]
    gc.collect()


def test_arrays_of_any_type_spill_where_they_are_many(monkeypatch, tmp_path):
    monkeypatch.setattr(spool, "HELD", 30)
    spill = Spill(tmp_path)
    every = [np.arange(10, dtype=np.uint8), np.ones((2, 2), bool), np.zeros((3, 3), np.uint16), np.eye(2)]
    for array in every:
        spill.append(array)
    assert isinstance(spill.arrays, Spool) and len(spill) == 4
    for found, array in zip(spill, every, strict=True):
        assert np.array_equal(found, array) and found.dtype == array.dtype
    half = each_of(spill.arrays, lambda array: array[..., :1])
    assert isinstance(half, Made) and half[3].tolist() == [[1], [0]]
    assert each_of([np.arange(3)], lambda array: array[:2])[0].tolist() == [0, 1]
    assert each_of(np.eye(2), lambda array: array[..., 0]).tolist() == [1, 0]
