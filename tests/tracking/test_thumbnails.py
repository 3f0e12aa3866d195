"""An album of small images and masks, packed and unpacked."""

import numpy as np
import pytest

from unetlab.tracking import thumbnails


@pytest.mark.parametrize("size", [64, 128, 200, 512])
@pytest.mark.parametrize("channels", [1, 3])
def test_an_album_gives_back_masks_and_nearly_the_images(size, channels):
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (5, size // 8, size // 8, channels)).astype(np.uint8)
    images = blocks.repeat(8, axis=1).repeat(8, axis=2)
    masks = rng.random((5, size, size)) < 0.3
    found = thumbnails.unpack(thumbnails.pack([f"i{k}" for k in range(5)], images, masks, ~masks))
    step = -(-size // thumbnails.SIZE)
    assert found.images.shape == (5, *masks[:, ::step, ::step].shape[1:], 3) and found.ids == tuple(
        f"i{k}" for k in range(5)
    )
    np.testing.assert_array_equal(found.truth, masks[:, ::step, ::step])
    np.testing.assert_array_equal(found.masks, ~masks[:, ::step, ::step])
    if channels == 1 and step == 1:
        assert np.abs(found.images.astype(int) - images).mean() < 12


@pytest.mark.parametrize("size", [64, 200])
def test_an_album_of_classes_gives_back_their_indices(size):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, size, size, 1)).astype(np.uint8)
    truth, found = rng.integers(0, 5, (2, 3, size, size)).astype(np.uint8)
    album = thumbnails.unpack(thumbnails.pack(["a", "b", "c"], images, truth, found))
    step = -(-size // thumbnails.SIZE)
    assert album.truth.dtype == np.uint8
    np.testing.assert_array_equal(album.truth, truth[:, ::step, ::step])
    np.testing.assert_array_equal(album.masks, found[:, ::step, ::step])
    picture, small, _ = thumbnails.squared_classes(images[0], truth[0], found[0])
    assert picture.shape == (thumbnails.SIZE, thumbnails.SIZE, 3) and set(np.unique(small)) <= set(range(5))
