"""Objects of masks: what touches is told apart, and nothing is lost on the way."""

import time

import numpy as np
import pytest
from scipy import ndimage

from unetlab.data import targets
from unetlab.images.regions import components
from unetlab.inference import objects
from unetlab.inference.objects import METHODS, instances
from unetlab.metrics.objects import score_objects

HEADS = {"border": targets.border, "distance": targets.distance}


def discs(size: int, *centres: tuple[int, int, int]) -> np.ndarray:
    """Discs of row, column and radius; the earlier lies above."""
    labels = np.zeros((size, size), np.uint16)
    y, x = np.mgrid[:size, :size]
    for number, (row, column, radius) in enumerate(centres, start=1):
        labels[((y - row) ** 2 + (x - column) ** 2 <= radius**2) & (labels == 0)] = number
    return labels


def crowd(size: int, count: int, radius: int, seed: int = 0) -> np.ndarray:
    """Discs, of which many touch and none lies far under another."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((size, size), np.uint16)
    side = np.arange(-radius, radius + 1)
    disc = side[:, None] ** 2 + side**2 <= radius**2
    number = 0
    while number < count:
        row, column = rng.integers(radius, size - radius, 2)
        place = labels[row - radius : row + radius + 1, column - radius : column + radius + 1]
        if (place[disc] > 0).mean() < 0.1:
            number += 1
            place[disc & (place == 0)] = number
    return labels


def head_of(labels: np.ndarray, how: str) -> np.ndarray | None:
    return HEADS[how](labels).astype(np.float32) / 255 if METHODS[how].uses_head else None


def found(labels: np.ndarray, how: str) -> np.ndarray:
    return instances(labels > 0, head_of(labels, how), how, METHODS[how].default)


@pytest.mark.parametrize("how", METHODS)
def test_the_default_is_tried_and_a_head_is_wanted_where_it_is_used(how):
    method = METHODS[how]
    assert method.default in method.seeds and tuple(sorted(method.seeds)) == method.seeds
    if method.uses_head:
        with pytest.raises(ValueError, match=f"objects={how} wants a head of the mask's shape.*Received: none"):
            instances(np.ones((4, 5), bool), None, how, 0.5)
        with pytest.raises(ValueError, match=r"Received: shape \(5, 4\)"):
            instances(np.ones((4, 5), bool), np.ones((5, 4), np.float32), how, 0.5)


def test_a_method_that_is_none():
    with pytest.raises(ValueError, match="one of components, watershed, border, distance. Received: 'flood'"):
        instances(np.ones((4, 5), bool), None, "flood", 0.5)


@pytest.mark.parametrize("how", METHODS)
@pytest.mark.parametrize("scale", [1, 4])
def test_two_that_touch_are_two_however_large(how, scale):
    labels = discs(64 * scale, (30 * scale, 20 * scale, 9 * scale), (30 * scale, 36 * scale, 8 * scale))
    result = found(labels, how)
    assert result.dtype == np.int32 and result.max() == (1 if how == "components" else 2)
    if how != "components":
        assert score_objects(result, labels)["ap_dsb"] == 1


@pytest.mark.parametrize("how", METHODS)
def test_one_is_one(how):
    y, x = np.mgrid[:60, :60]
    for mask in (
        discs(60, (30, 30, 20)) > 0,
        ((y - 30) / 25) ** 2 + ((x - 30) / 8) ** 2 <= 1,
        (abs(y - 30) < 4) & (abs(x - 30) < 25),
    ):
        assert found(mask.astype(np.uint16), how).max() == 1


@pytest.mark.parametrize("how", METHODS)
def test_small_ones_beside_large_ones_are_kept(how):
    labels = discs(60, (30, 30, 20), (5, 5, 1), (55, 5, 0), (5, 55, 2))
    result = found(labels, how)
    assert result.max() == 4 and score_objects(result, labels)["ap_dsb"] == 1


@pytest.mark.parametrize("how", METHODS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (40, 30)])
def test_every_pixel_of_a_mask_has_an_object_and_every_component_one_at_least(how, shape):
    rng = np.random.default_rng(3)
    for mask in (np.zeros(shape, bool), np.ones(shape, bool), rng.random(shape) < 0.6):
        for head in (rng.random(shape).astype(np.float32), np.zeros(shape, np.float32), np.ones(shape, np.float32)):
            for seeds in (METHODS[how].seeds[0], METHODS[how].default, METHODS[how].seeds[-1], 0.0, 1.0):
                result = instances(mask, head, how, seeds)
                assert result.shape == shape and np.array_equal(result > 0, mask)
                numbers = np.unique(result[mask])
                assert np.array_equal(numbers, np.arange(1, len(numbers) + 1))
                together = instances(mask, None, "components", 0.5)
                pairs = np.unique(np.stack([result[mask], together[mask]]), axis=1)
                assert pairs.shape[1] == len(numbers)  # none reaches over two components


def test_pieces_that_touch_by_a_corner_stay_two():
    mask = np.zeros((20, 20), bool)
    mask[2:10, 2:10] = mask[10:12, 10:12] = True
    for how in METHODS:
        assert found(mask + np.pad(np.ones((2, 2), int), ((10, 8), (10, 8))), how).max() == 2


def test_specks_of_a_noisy_head_are_no_objects():
    labels = discs(80, (40, 25, 16), (40, 55, 14))
    border, rng = head_of(labels, "border"), np.random.default_rng(0)
    distance = head_of(labels, "distance")
    assert border is not None and distance is not None
    specks = rng.random(labels.shape) < 0.01
    depth = np.where(specks, 1 - distance, distance).astype(np.float32)
    assert instances(labels > 0, np.where(specks, 1 - border, border), "border", 0.5).max() == 2
    assert instances(labels > 0, depth, "distance", 0.5).max() == 2


@pytest.mark.parametrize("wide", [3, 13, 25])
def test_noise_in_a_wide_border_is_no_object(wide):
    labels, rng = discs(120, (60, 40, 26), (60, 84, 26)), np.random.default_rng(0)
    sure = np.abs(np.arange(120) - 62) <= wide // 2
    head = np.where(sure, 0.97, 0.03) + rng.normal(0, 0.02, labels.shape)
    assert instances(labels > 0, head.clip(0, 1).astype(np.float32), "border", 0.5).max() == 2


@pytest.mark.parametrize("how", METHODS)
def test_a_field_of_thousands_is_quick(how):
    labels = crowd(1024, 900, 12)
    head = head_of(labels, how)
    started = time.thread_time()
    result = instances(labels > 0, head, how, METHODS[how].default)
    assert time.thread_time() - started < 3
    if how != "components":
        assert score_objects(result, labels)["ap50"] > 0.97


def test_what_is_smaller_than_the_smallest_object_is_none():
    mask = np.zeros((20, 20), bool)
    mask[2:6, 2:6] = mask[10:12, 10:12] = mask[15, 15] = True
    for how in METHODS:
        head = np.zeros(mask.shape, np.float32) if METHODS[how].uses_head else None
        found = instances(mask, head, how, METHODS[how].default, least=4)
        assert np.unique(found).tolist() == [0, 1, 2]
        assert ((found > 0) == (mask & (np.arange(20) < 15))).all()
        assert instances(mask, head, how, METHODS[how].default, least=5).max() == 1


@pytest.mark.parametrize("how", ["watershed", "border", "distance"])
def test_a_large_image_is_parted_component_by_component_into_the_same_objects(how, monkeypatch):
    rng = np.random.default_rng(0)
    field = ndimage.gaussian_filter(rng.normal(size=(150, 190)), 4)
    mask, head = field > 0.01, ndimage.gaussian_filter(rng.random((150, 190)), 2).astype(np.float32)
    head = (head - head.min()) / np.ptp(head)
    together = objects.instances(mask, head, how, 0.5)
    assert together.max() > components(mask).max()  # some are parted
    monkeypatch.setattr(objects, "AT_ONCE", 0)
    monkeypatch.setattr(objects, "COUNTED", 1000)
    assert np.array_equal(objects.instances(mask, head, how, 0.5), together)


def test_objects_that_the_network_is_less_sure_of_are_none(monkeypatch):
    rng = np.random.default_rng(0)
    labels = discs(80, (20, 20, 9), (20, 60, 9), (60, 20, 9), (60, 60, 9)).astype(np.int32)
    probability = (rng.random((80, 80)) * 0.2 + np.array([0, 0.7, 0.5, 0.8, 0.6])[labels]).astype(np.float32)
    monkeypatch.setattr(objects, "COUNTED", 1000)
    expected = [probability[labels == number].mean() for number in range(1, 5)]
    np.testing.assert_allclose(objects.means(labels, probability)[1:], expected, rtol=1e-6)
    found = objects.confident(labels, probability, 0.75)
    assert np.array_equal(found, np.array([0, 1, 0, 2, 0])[labels]) and found.dtype == np.int32
    assert np.array_equal(objects.confident(labels, probability, 0.0), labels)
    assert not objects.confident(labels, probability, 1.0).any()
    assert not objects.confident(np.zeros((5, 5), np.int32), np.zeros((5, 5), np.float32), 0.5).any()


def test_a_border_that_is_seen_in_part_parts_what_has_a_neck_as_well():
    labels = discs(80, (40, 26, 15), (40, 52, 15))
    mask, border = labels > 0, head_of(labels, "border")
    assert border is not None and components(mask).max() == 1
    seen = border.copy()
    seen[38:43] *= 0.2  # a line with a gap joins its two sides
    assert components(mask & (seen < 0.5)).max() == 1
    assert np.array_equal(instances(mask, seen, "border", 0.5), instances(mask, border, "border", 0.5))
    whole = discs(80, (40, 40, 15))  # which has no neck
    assert instances(whole > 0, seen * (whole > 0) * 0.3, "border", 0.5).max() == 1


@pytest.mark.parametrize("lowered", [False, True])
@pytest.mark.parametrize(("radius", "in_bands"), [(20, True), (140, False)])
def test_distances_in_bands_are_those_of_the_whole_image(monkeypatch, radius, in_bands, lowered):
    mask = discs(700, (200, 300, radius), (450, 320, radius), (600, 100, 15)) > 0
    mask[-30:, -40:] = True
    corner = np.ones((300, 700), bool)
    corner[0, 0] = False
    full = np.ones((300, 700), bool)
    head = np.random.default_rng(0).random((700, 700), np.float32) if lowered else None
    heads = [head, *([None, None] if head is None else [head[:300]] * 2)]
    whole = [objects._blurred_depth(each, own) for each, own in zip((mask, corner, full), heads, strict=True)]
    if not lowered:
        assert np.array_equal(whole[0], ndimage.gaussian_filter(objects._distances(mask), 1) * mask)
        assert np.array_equal(objects._distances(mask), ndimage.distance_transform_edt(mask).astype(np.float32))
    monkeypatch.setattr(objects, "AT_ONCE", 700 * 150)
    assert (objects._in_bands(mask, head) is not None) == in_bands
    for each, own, expected in zip((mask, corner, full), heads, whole, strict=True):
        assert np.array_equal(objects._blurred_depth(each, own), expected)
