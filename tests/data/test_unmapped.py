"""Images read from a memory map's file are those of the map."""

import re
from pathlib import Path

import numpy as np
import pytest

from unetlab.data.ragged import Ragged
from unetlab.data.unmapped import Unmapped, release


def test_images_are_those_of_the_map_and_no_map(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "same.npy", rng.integers(0, 256, (4, 5, 6, 3), dtype=np.uint8))
    same = np.load(tmp_path / "same.npy", mmap_mode="r")
    sizes = np.array([(3, 4), (1, 1), (5, 2)])
    np.save(tmp_path / "ragged.npy", rng.integers(0, 256, int(sizes.prod(axis=1).sum()) * 2, dtype=np.uint8))
    ragged = Ragged(np.load(tmp_path / "ragged.npy", mmap_mode="r"), sizes, 2)
    for images in (same, ragged):
        found = Unmapped(images)
        assert len(found) == len(images)
        for i in range(len(images)):
            assert np.array_equal(found[np.int64(i)], images[i])
            assert not isinstance(found[i], np.memmap) and found[i].base is not None
    assert np.array_equal(Unmapped(same[2:])[1], same[3])  # a part of a map does not say where it begins
    held = [rng.random((2, 2, 1)), rng.random((3, 1, 1))]
    assert Unmapped(held)[1] is held[1] and np.array_equal(Unmapped(np.asarray(same))[2], same[2])


def _mapped_mb() -> float:
    """Pages of files that count as this process's memory."""
    return int(re.search(r"RssFile:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux says what a process maps")
def test_pages_that_are_given_back_count_no_more_and_hold_what_they_held(tmp_path):
    every = np.random.default_rng(0).integers(0, 256, (64, 2**20), dtype=np.uint8)
    np.save(tmp_path / "large.npy", every)
    mapped = np.load(tmp_path / "large.npy", mmap_mode="r")
    before = _mapped_mb()
    total = sum(int(row.sum()) for row in mapped)
    assert _mapped_mb() - before > 50
    release(mapped[3:].reshape(-1)[5:])  # any part of it
    assert _mapped_mb() - before < 10 and sum(int(row.sum()) for row in mapped) == total == every.sum()
    release(every)
    release(np.asarray([1]))
