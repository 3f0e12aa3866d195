"""Images of different sizes in one file."""

import numpy as np
import pytest

from unetlab.data import cache
from unetlab.data.ragged import Ragged


def test_each_image_is_what_was_written(tmp_path):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (h, w, 3)).astype(np.uint8) for h, w in ((4, 5), (1, 7), (6, 2))]
    path = tmp_path / "flat.npy"
    cache.write_array(path, (sum(image.size for image in images),), images)
    ragged = Ragged(np.load(path, mmap_mode="r"), np.array([image.shape[:2] for image in images]), 3)
    assert len(ragged) == 3
    assert all(np.array_equal(found, image) for found, image in zip(ragged, images, strict=True))


def test_nothing_is_left_of_a_file_that_could_not_be_written(tmp_path):
    def parts():
        yield np.zeros((2, 2), np.uint8)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        cache.write_array(tmp_path / "flat.npy", (100,), parts())
    assert not list(tmp_path.iterdir())
