"""Bit depth: what percentiles keep, and what no pixel can spoil."""

import numpy as np
import pytest
from skimage.filters import gaussian

from unetlab.images.codecs import PixelError, to_uint8
from unetlab.images.depth import RANGE

SIZES = (64, 128, 256, 512)


def cells(size: int, seed: int = 0, top: int = 900) -> np.ndarray:
    """10-bit fluorescence in a 16-bit array (size, size, 1): blurred disks over a dim, noisy ground."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    bright = np.zeros((size, size))
    for _ in range(6):
        cy, cx = rng.integers(0, size, 2)
        bright[(y - cy) ** 2 + (x - cx) ** 2 < (size / 10) ** 2] = rng.uniform(0.4, 1)
    values = 60 + (top - 60) * gaussian(bright, size / 60) + rng.normal(0, 12, (size, size))
    return np.clip(values, 0, 1023).astype(np.uint16)[:, :, None]


def noise(size: int, seed: int = 0) -> np.ndarray:
    return np.clip(np.random.default_rng(seed).normal(400, 90, (size, size, 1)), 0, 1023).astype(np.uint16)


def even(size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 1024, (size, size, 1)).astype(np.uint16)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("make", [cells, noise, even])
@pytest.mark.parametrize("value", [65535, 0])
def test_a_hot_or_dead_pixel_moves_no_other_by_more_than_a_level(make, size, value):
    for seed in range(5):
        image = make(size, seed)
        rng = np.random.default_rng(seed)
        spoilt = image.copy()
        y, x = rng.integers(0, size, 2)
        spoilt[y, x] = value
        moved = np.abs(to_uint8(image).astype(int) - to_uint8(spoilt))
        moved[y, x] = 0
        assert moved.max() <= 1


@pytest.mark.parametrize("make", [cells, noise, even])
@pytest.mark.parametrize("hot", [False, True])
def test_ten_bits_keep_200_grey_levels(make, hot):
    image = make(256)
    image[7, 7] = 65535 if hot else image[7, 7]
    assert len(np.unique(to_uint8(image))) >= 200


@pytest.mark.parametrize("size", [64, 128, 256, 512])
@pytest.mark.parametrize("ground", ["even", "noisy"])
@pytest.mark.parametrize("sign", [1, -1])
def test_objects_of_a_two_thousandth_of_the_pixels_stay_apart_from_the_ground(size, ground, sign):
    rng = np.random.default_rng(size)
    image = np.full((size, size, 1), 20_000 if sign < 0 else 100)
    if ground == "noisy":
        image += rng.normal(0, 20, image.shape).astype(int)
    objects = np.zeros((size, size), bool)
    objects[5:7, 3 : 3 + max(1, round(size * size * 0.0005 / 2))] = True
    image[objects] += sign * rng.integers(3000, 8000, (objects.sum(), 1))
    mapped = to_uint8(image.astype(np.uint16)).astype(int)[:, :, 0] * sign
    gap = mapped[objects].min() - mapped[~objects].max()
    assert gap >= (4 if sign > 0 else 2)


def test_order_is_kept_whatever_the_values():
    rng = np.random.default_rng(1)
    for dtype in (np.uint16, np.int16, np.int32, np.uint32, np.float32, np.float64, np.float16):
        values = (rng.lognormal(3, 1.5, (40, 50, 1)) - 20).clip(0 if np.dtype(dtype).kind == "u" else -20, 30_000)
        image = values.astype(dtype)
        order = np.argsort(image.ravel(), kind="stable")
        assert (np.diff(to_uint8(image).ravel()[order].astype(int)) >= 0).all()


@pytest.mark.parametrize("scale", [1, 7.5, 1e30, 1e-30])
def test_a_float_image_is_mapped_like_integers_whatever_its_scale(scale):
    image = cells(64)
    assert np.abs(to_uint8(image * scale).astype(int) - to_uint8(image)).max() <= 1


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("value", [0, 7])
def test_an_image_of_one_value_and_a_hot_pixel_in_it(dtype, value):
    image = np.full((30, 30, 1), value, dtype)
    assert (to_uint8(image) == RANGE[0]).all()
    image[3, 3] = 60_000
    mapped = to_uint8(image)
    assert mapped[3, 3] > RANGE[1] and (np.delete(mapped.ravel(), 3 * 30 + 3) == RANGE[0]).all()


def test_two_values_stay_two():
    image = np.zeros((50, 50, 1), np.uint16)
    image[10:30, 10:30] = 65535
    assert np.unique(to_uint8(image)).tolist() == list(RANGE)


def test_channels_share_one_range():
    image = np.dstack([cells(64)[..., 0], cells(64)[..., 0] // 4, np.zeros((64, 64), np.uint16)])
    mapped = to_uint8(image)
    assert mapped[..., 0].max() > 200 and mapped[..., 1].max() < 80 and (mapped[..., 2] == RANGE[0]).all()


def test_eight_bits_and_bool_stay_as_they_are():
    image = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    assert to_uint8(image) is not None and np.array_equal(to_uint8(image), image)
    assert np.array_equal(to_uint8(image > 100), np.where(image > 100, 255, 0))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_named_and_refused(bad):
    image = np.ones((8, 8, 1), np.float32)
    image[2, 2] = bad
    with pytest.raises(PixelError, match="the float32 image holds NaN or infinite values; replace them first"):
        to_uint8(image)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 2, 1), (2, 2, 3), (3, 3, 1)])
def test_tiny_images(shape):
    image = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    mapped = to_uint8(image)
    assert mapped.shape == shape and (np.diff(mapped.ravel().astype(int)) >= 0).all()


def test_values_too_large_for_their_differences_are_refused():
    for image in (np.full((8, 8, 1), 1.7e308), np.where(np.arange(64) > 9, 1e200, -1e-200).reshape(8, 8, 1)):
        with pytest.raises(PixelError, match="float64 image holds values beyond 3e\\+38"):
            to_uint8(image)
