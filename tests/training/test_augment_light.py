"""Changes of light: what each does to values that are known, and what it leaves."""

import colorsys
from unittest.mock import Mock

import numpy as np
import pytest
from scipy import ndimage
from skimage.color import hed2rgb, rgb2hed
from small_batches import PLAIN

from unetlab.training.augment import light

NO_MASK = np.zeros((1, 1, 1), np.uint8)


def after(change, image: np.ndarray, seed: int, **fields: float) -> np.ndarray:
    return change(image, NO_MASK, PLAIN.changed(fields), np.random.default_rng(seed))[0]


def noisy(channels: int, size: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (size, size, channels), dtype=np.uint8)


COLOURS = ((light.colour, "colour"), (light.stain, "stain"), (light.grey, "grey"))
LIGHTS = ((light.gamma, "gamma"), (light.blur, "blur"), (light.noise, "noise"))


@pytest.mark.parametrize(("change", "field"), COLOURS)
def test_changes_of_colour_leave_grey_images_as_they_are(change, field):
    one = noisy(1)
    for image in (one, np.repeat(one, 3, axis=2)):
        assert np.array_equal(after(change, image, 1, **{field: 1.0}), image)


@pytest.mark.parametrize(("change", "field"), LIGHTS)
def test_grey_images_stay_grey(change, field):
    lit = after(change, np.repeat(noisy(1), 3, axis=2), 1, **{field: 0.5})
    assert np.array_equal(lit[..., 0], lit[..., 1]) and np.array_equal(lit[..., 0], lit[..., 2])
    assert after(change, noisy(1), 1, **{field: 0.5}).shape == (32, 32, 1)


@pytest.mark.parametrize(("change", "field"), [*COLOURS[:2], *LIGHTS])
def test_a_change_of_hardly_any_strength_gives_the_image_back(change, field):
    image = noisy(3)
    image[0, 0] = 0
    image[0, 1] = 255
    assert np.array_equal(after(change, image, 1, **{field: 1e-9}), image)


@pytest.mark.parametrize(("change", "field"), [*COLOURS[:2], *LIGHTS])
@pytest.mark.parametrize("value", [0, 255])
def test_black_and_white_images_do_not_wrap_round(change, field, value):
    flat = np.full((8, 8, 3), value, np.uint8)
    assert np.abs(after(change, flat, 1, **{field: 2.0}).astype(int) - value).max() == 0


def test_gamma_bends_between_the_darkest_and_the_brightest_value():
    image = np.linspace(20, 60, 41).astype(np.uint8).reshape(1, 41, 1)
    middles = []
    for seed in range(200):
        lit = after(light.gamma, image, seed, gamma=1.0)
        assert (lit[0, 0, 0], lit[0, -1, 0]) == (20, 60) and (np.diff(lit.ravel().astype(int)) >= 0).all()
        middles.append(lit[0, 20, 0])
    # a half to the powers 2 and 1/2, and as often below as above
    assert (min(middles), max(middles)) == (30, 48)
    assert abs(np.sign(np.array(middles, float) - 40).mean()) < 0.2


@pytest.mark.parametrize("sigma", [0.0, 0.1, 0.4, 1.0, 2.5])
@pytest.mark.parametrize("shape", [(40, 33, 3), (5, 64, 1)])
def test_blurred_is_a_gaussian_filter(sigma, shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    truth = ndimage.gaussian_filter(image, sigma, output=np.float32, mode="mirror", truncate=3, axes=(0, 1))
    assert light.blurred(image, sigma) == pytest.approx(truth, abs=1e-3)


def test_blur_keeps_the_mean_and_takes_up_to_its_sigma():
    image = noisy(3, 64)
    spreads = [after(light.blur, image, seed, blur=2.0).std() for seed in range(20)]
    assert min(spreads) < 0.3 * image.std() < 0.9 * image.std() < max(spreads)
    assert after(light.blur, image, 3, blur=2.0).mean(axis=(0, 1)) == pytest.approx(image.mean(axis=(0, 1)), abs=1.5)


def test_noise_is_normal_and_a_share_of_the_image_s_range():
    stds = []
    for low, high in ((100, 200), (100, 120)):
        image = np.full((256, 256, 3), (low + high) // 2, np.uint8)
        image[0, 0], image[0, 1] = low, high
        lit = after(light.noise, image, 5, noise=0.2)
        grain = lit[..., 0].astype(float) - image[..., 0]
        stds.append(grain.std() / (high - low))
        assert abs(grain.mean()) < 0.1
        if high == 200:
            scaled = grain / grain.std()
            assert np.mean(np.abs(scaled) < 1) == pytest.approx(0.683, abs=0.03)
            assert np.mean(scaled**4) == pytest.approx(3, abs=0.1)
    assert 0.02 < stds[0] <= 0.2 and stds[0] == pytest.approx(stds[1], rel=0.05)


def test_colour_turns_hue_and_saturation_and_keeps_the_mean():
    image = np.full((4, 4, 3), (150, 100, 80), np.uint8)
    turns = []
    for seed in range(100):
        red, green, blue = after(light.colour, image, seed, colour=0.2)[0, 0].astype(float)
        assert red + green + blue == pytest.approx(330, abs=2)
        hue = colorsys.rgb_to_hsv(red / 255, green / 255, blue / 255)[0]
        was = colorsys.rgb_to_hsv(150 / 255, 100 / 255, 80 / 255)[0]
        turns.append((hue - was + 0.5) % 1 - 0.5)
    # a fifth of half the circle, either way; a hexagon's hue is a little off the circle's
    assert -0.13 < min(turns) < -0.07 and 0.07 < max(turns) < 0.13


def test_colour_turned_by_a_third_of_the_circle_is_the_next_channel():
    image = noisy(3) // 2 + 64

    luck = Mock(uniform=Mock(side_effect=[2 / 3, 0.0]))
    turned, _ = light.colour(image, NO_MASK, PLAIN.changed({"colour": 1.0}), luck)
    assert np.array_equal(turned, np.roll(image, 1, axis=2))


def test_stains_change_each_on_its_own_and_glass_stays_clear():
    amounts = np.zeros((1, 4, 3))
    amounts[0, :3] = np.eye(3) * 0.05
    image = np.rint(hed2rgb(amounts) * 255).astype(np.uint8)
    ratios = []
    for seed in range(50):
        lit = after(light.stain, image, seed, stain=0.3)
        assert (lit[0, 3] == 255).all()
        found = rgb2hed(lit)[0]
        ratios.append([found[k, k] / 0.05 for k in range(3)])
        for k in range(3):
            assert np.abs(np.delete(found[k], k)).max() < 0.004  # no other stain came in
    ratios = np.array(ratios)
    assert 0.65 < ratios.min() < 0.8 and 1.2 < ratios.max() < 1.35
    assert np.abs(np.corrcoef(ratios.T)[np.triu_indices(3, 1)]).max() < 0.5


def test_a_share_of_colour_images_turns_grey():
    image = noisy(3)
    grey = [np.ptp(after(light.grey, image, seed, grey=0.3), axis=2).max() == 0 for seed in range(300)]
    assert 0.22 < np.mean(grey) < 0.38
    red = np.full((2, 2, 3), (255, 0, 0), np.uint8)
    assert (after(light.grey, red, 0, grey=1.0) == 76).all()
