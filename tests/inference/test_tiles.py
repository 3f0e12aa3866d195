"""A large image in tiles says what the whole image says."""

import keras
import numpy as np
import pytest

from unetlab.inference import tiles
from unetlab.models.pretrained import full_unet
from unetlab.models.scratch import scratch_unet

LEVELS = (0.0, 255.0)


def image_of(height, width, channels=1, seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, channels)).astype(np.uint8)
    return np.repeat(np.repeat(coarse, 8, axis=0), 8, axis=1)[:height, :width]


def local(images):
    """Looks three pixels far and pads with zeros, as convolutions do; the second channel is the pixel itself."""
    padded = np.pad(images[..., 0], ((0, 0), (3, 3), (3, 3)))
    height, width = images.shape[1:3]
    mean = sum(padded[:, dy : dy + height, dx : dx + width] for dy in range(7) for dx in range(7)) / 49
    return np.stack([mean, images[..., 0]], axis=-1).astype(np.float32)


SIZES = [(300, 200), (128, 500), (129, 161), (1, 400), (40, 30), (160, 225), (150, 700)]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_tiles_equal_the_whole(height, width):
    image = image_of(height, width)
    whole = tiles.tiled(local, image, LEVELS, 64, tile=1024)
    parts = tiles.tiled(local, image, LEVELS, 64, tile=128)
    assert parts.shape == (height, width, 2) and parts.dtype == np.float32
    assert np.abs(parts - whole).max() < 1e-5
    assert np.abs(parts[..., 1] - image[..., 0] / 255).max() < 1e-5


@pytest.mark.parametrize("side", [769, 776, 800, 960, 1249, 1760])
def test_no_side_leaves_a_strip_that_only_edges_of_tiles_reach(side):
    """As a side of 800 would: the last tile begins 32 pixels after the first."""
    image = image_of(side, 100)
    whole = tiles.tiled(local, image, LEVELS, 64, tile=2048)
    assert np.abs(tiles.tiled(local, image, LEVELS, 64) - whole).max() < 1e-5
    assert np.abs(tiles.tiled(local, image.swapaxes(0, 1), LEVELS, 64) - whole.swapaxes(0, 1)).max() < 1e-5


def test_bands_come_from_top_to_bottom_and_are_no_taller_than_a_tile():
    bands = list(tiles.bands(local, image_of(700, 200), LEVELS, 64, tile=128))
    assert sum(len(band) for band in bands) == 700
    assert len(bands) > 3 and max(len(band) for band in bands) <= 128


def test_edges_of_a_tile_would_show_without_the_window(monkeypatch):
    image = image_of(300, 300)
    whole = tiles.tiled(local, image, LEVELS, 64, tile=1024)
    monkeypatch.setattr(tiles, "window", lambda length, *_: np.ones(length, np.float32))
    assert np.abs(tiles.tiled(local, image, LEVELS, 64, tile=128) - whole).max() > 0.01


def test_tiles_begin_at_multiples_of_what_pooling_halves_and_reach_the_end():
    for length in (768, 800, 1024, 2048, 4096):
        starts = tiles.offsets(length, 768, 480)
        assert starts[0] == 0 and starts[-1] == max(0, length - 768)
        assert all(start % 32 == 0 for start in starts)
        assert all(0 < b - a <= 480 for a, b in zip(starts, starts[1:], strict=False))


@pytest.mark.parametrize("network", ["scratch", "mobilenetv2"])
def test_tiles_of_a_real_network_equal_the_whole_within_a_thousandth(network):
    keras.utils.set_random_seed(0)
    if network == "scratch":
        model, channels = scratch_unet((None, None, 1), filters=4, depth=4, initializer="glorot_uniform"), 1
    else:
        model, channels = full_unet((None, None, 3), decoder_filters=16, alpha=0.35), 3
    image = image_of(960, 800, channels)
    whole = tiles.tiled(lambda images: np.asarray(model(images)), image, LEVELS, 64, tile=2048)
    parts = tiles.tiled(lambda images: np.asarray(model(images)), image, LEVELS, 64)
    assert whole.std() > 1e-3  # it says different things of different pixels
    assert np.abs(parts - whole).max() < 1e-3
