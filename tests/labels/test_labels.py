"""Each label maker finds plain objects, on dark, light, coloured and textured ground, and never sees a mask."""

import numpy as np
import pytest
from scipy import ndimage

from unetlab import labels
from unetlab.data.classes import LEANING, UNKNOWN
from unetlab.labels.consensus import VOTERS, agreed
from unetlab.options import LABELS

MAKERS = list(labels.LABELLERS)
DISKS = ((60, 50, 26), (130, 170, 34), (52, 180, 20))


def _scene(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (192, 240, 1 or 3) with three disks and the bool mask of them."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:192, :240]
    mask = np.zeros((192, 240), bool)
    for cy, cx, r in DISKS:
        mask |= (y - cy) ** 2 + (x - cx) ** 2 < r**2
    if kind == "table":
        grain = y / 5 + ndimage.gaussian_filter(rng.normal(0, 30, y.shape), 9)
        wood = np.array([140, 95, 60]) + 12 * np.sin(grain)[..., None]
        image = np.where(mask[..., None], [235, 225, 205], wood) + rng.normal(0, 4, (192, 240, 3))
    elif kind == "stained":
        image = np.where(mask[..., None], [95, 50, 140], [230, 205, 225]) + rng.normal(0, 6, (192, 240, 3))
    else:
        light, dark, noise = {"bright": (190, 40, 6), "dim": (30, 18, 1), "light": (60, 200, 6)}[kind]
        image = np.where(mask, light, dark)[..., None] + rng.normal(0, noise, (192, 240, 1))
    return np.clip(image, 0, 255).astype(np.uint8), mask


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


@pytest.mark.parametrize("kind", ["bright", "dim", "light", "stained", "table"])
@pytest.mark.parametrize("maker", MAKERS[:-1])
def test_plain_objects_are_found(maker, kind):
    image, mask = _scene(kind)
    found = labels.LABELLERS[maker](image)
    assert found.shape == mask.shape and found.dtype == np.uint8 and set(np.unique(found)) == {0, 1}
    assert _dice(found == 1, mask) > 0.9


@pytest.mark.parametrize("kind", ["dim", "table"])
def test_the_consensus_is_right_where_it_is_sure(kind):
    image, mask = _scene(kind)
    found = labels.label(image, "consensus")
    known = found < LEANING
    assert found.shape == mask.shape and found.dtype == np.uint8 and set(np.unique(found)) <= {0, 1, LEANING, UNKNOWN}
    assert known.mean() > 0.9 and _dice((found == 1) & known, mask & known) > 0.97


def test_labels_are_the_same_every_time():
    image, _ = _scene("table")
    kept = image.copy()
    assert np.array_equal(labels.label(image, "consensus"), labels.label(image, "consensus"))
    assert np.array_equal(image, kept)


def test_less_than_four_of_five_is_unsure():
    votes = np.triu(np.ones((5, 6), np.uint8), 1)  # in column i, i makers say foreground
    assert agreed(list(votes)).tolist() == [0, 0, UNKNOWN, LEANING, 1, 1]
    assert [voter.__name__ for voter in VOTERS] == MAKERS[:-1]


def test_every_maker_has_one_line_and_an_option():
    assert list(labels.ABOUT) == MAKERS == list(LABELS[1:])
    assert all(line and "\n" not in line for line in labels.ABOUT.values())


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("shape", [(16, 16, 1), (16, 16, 3), (40, 50, 1), (2, 3, 1), (1, 300, 3)])
def test_flat_and_tiny_images_do_no_harm(maker, shape):
    blank = np.full(shape, 120, np.uint8)
    assert labels.flat(blank) and not labels.label(blank, maker).any()
    blank[0, 0] = 250
    assert not labels.flat(blank)
    found = labels.label(blank, maker)
    assert found.shape == shape[:2] and found.dtype == np.uint8


@pytest.mark.parametrize("maker", MAKERS)
def test_an_object_in_a_tiny_image_is_found(maker):
    image = np.full((16, 16, 1), 20, np.uint8)
    image[4:11, 5:12] = 220
    assert _dice(labels.label(image, maker) == 1, image[..., 0] == 220) > 0.9


@pytest.mark.parametrize("maker", MAKERS)
def test_noise_and_ramps_do_no_harm(maker):
    ramp = np.broadcast_to(np.arange(0, 240, 2, dtype=np.uint8)[None, :, None], (100, 120, 1))
    noise = np.random.default_rng(1).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    assert all(set(np.unique(labels.label(image, maker))) <= {0, 1, LEANING, UNKNOWN} for image in (ramp, noise))


@pytest.mark.parametrize("maker", ["kmeans", "felzenszwalb"])
@pytest.mark.parametrize(("ground", "objects"), [(40, 140), (200, 90)])
def test_objects_that_cover_much_of_a_noisy_ground_are_no_ground(maker, ground, objects):
    yy, xx = np.mgrid[:160, :160] % 32
    discs = np.hypot(yy - 16, xx - 16) < 12  # 44 % of the image
    image = np.where(discs, objects, ground) + np.random.default_rng(0).normal(0, 6, discs.shape)
    found = labels.label(np.clip(image, 0, 255).astype(np.uint8)[..., None], maker) > 0
    assert 2 * (found & discs).sum() / (found.sum() + discs.sum()) > 0.9
