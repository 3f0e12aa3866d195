"""Tiles whose borders are mostly noise: found where there are many, and unlike fields stay apart."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from unetlab.data import faint
from unetlab.data.likeness import look
from unetlab.data.tiles import Tile


def _dim(rng, height, width):
    """A dark field: structure of two grey levels under noise of one and a half."""
    field = gaussian_filter(rng.normal(0, 1, (height, width)), 6)
    return 12 + 2 * field / field.std() + rng.normal(0, 1.5, (height, width))


def _looks(images, own_range=False):
    return [look(np.clip(image.round(), 0, 255).astype(np.uint8)[:, :, None], own_range) for image in images]


def _believed(looks, known=()):
    found, least = faint.seams(looks, range(len(looks)), known)
    return [tile for tile in found if tile.score >= least]


def test_dim_tiles_of_a_field_are_found_and_no_others():
    rng = np.random.default_rng(0)
    fields = [_dim(rng, 256, 192) for _ in range(30)]
    looks = _looks([field[:, 96 * k : 96 * (k + 1)] for field in fields for k in range(2)])
    pairs = [(tile.first, tile.second) for tile in _believed(looks)]
    right = [pair for pair in pairs if pair[1] == pair[0] + 1 and pair[0] % 2 == 0]
    assert len(right) >= 20 and len(pairs) - len(right) <= 2


def test_dim_tiles_of_other_ranges_are_found_and_no_others():
    rng = np.random.default_rng(0)
    fields = [20 * _dim(rng, 256, 192) for _ in range(30)]
    tiles = [
        field[:, 96 * k : 96 * (k + 1)] / rng.uniform(6, 20) + rng.uniform(0, 40) for field in fields for k in (0, 1)
    ]
    pairs = [(tile.first, tile.second) for tile in _believed(_looks(tiles, own_range=True))]
    right = [pair for pair in pairs if pair[1] == pair[0] + 1 and pair[0] % 2 == 0]
    assert len(right) >= 15 and len(pairs) - len(right) <= 2


@pytest.mark.parametrize("own_range", [False, True])
def test_dim_fields_that_are_unlike_are_believed_nowhere(own_range):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        assert not _believed(_looks([_dim(rng, 256, 96) for _ in range(60)], own_range))


def test_few_faint_seams_are_not_believed():
    rng = np.random.default_rng(1)
    fields = [_dim(rng, 256, 192) for _ in range(4)]
    assert not _believed(_looks([field[:, 96 * k : 96 * (k + 1)] for field in fields for k in range(2)]))


def test_a_border_that_is_continued_already_is_left_out():
    rng = np.random.default_rng(0)
    fields = [_dim(rng, 256, 192) for _ in range(30)]
    looks = _looks([field[:, 96 * k : 96 * (k + 1)] for field in fields for k in range(2)])
    first = _believed(looks)[0]
    again = _believed(looks, [Tile(first.first, first.second, first.sides, 1.0)])
    assert again and (first.first, first.second) not in [(tile.first, tile.second) for tile in again]


def test_blank_and_flat_images_have_no_seams():
    looks = _looks([np.full((64, 64), 10.0 * k) for k in range(20)] + [np.zeros((64, 64))] * 20)
    assert not _believed(looks)
