"""How an image meets a network: sizes, scale, mirrored edges."""

from types import SimpleNamespace

import numpy as np
import pytest

from unetlab.images import geometry, view

WHOLE = SimpleNamespace(view="whole", image_size=64, channels=3, scale=1.0)


def patches(scale=1.0, channels=1):
    return SimpleNamespace(view="patches", image_size=64, channels=channels, scale=scale)


def test_whole_images_are_squeezed_and_patches_keep_their_proportions():
    image = np.arange(100 * 60, dtype=np.uint8).reshape(100, 60, 1)
    assert view.fitted(image, WHOLE).shape == (64, 64, 3)
    assert view.fitted(image, patches(0.5)).shape == (50, 30, 1)
    assert np.array_equal(view.fitted(image, patches()), image)
    assert view.size_of((3, 1), patches(0.1)) == (1, 1)


def test_what_lies_beyond_an_edge_is_mirrored_as_often_as_it_takes():
    assert view.mirrored(3, 8).tolist() == [0, 1, 2, 2, 1, 0, 0, 1]
    assert view.mirrored(1, 3).tolist() == [0, 0, 0]
    assert view.mirrored(5, 5).tolist() == [0, 1, 2, 3, 4]


def test_sides_are_multiples_of_what_networks_halve():
    assert [view.padded_side(length, 64) for length in (1, 64, 65, 200)] == [64, 64, 96, 224]


@pytest.mark.parametrize("seed", range(5))
def test_levels_are_numpys_percentiles(seed):
    rng = np.random.default_rng(seed)
    image = rng.gamma(1, 20, (*rng.integers(1, 70, 2), rng.choice([1, 3]))).clip(0, 255).astype(np.uint8)
    low, high = np.percentile(image, geometry.PERCENTILES).astype(np.float32)
    assert geometry.levels(image, "percentile") == (low, max(high, low + 1))


def test_levels_of_a_large_image_are_counted_in_parts(monkeypatch):
    image = np.random.default_rng(0).integers(0, 200, (50, 40, 3)).astype(np.uint8)
    at_once = geometry.levels(image, "percentile")
    monkeypatch.setattr(geometry, "COUNTED", 100)
    assert geometry.levels(image, "percentile") == at_once


def test_labels_are_resized_without_new_ones():
    labels = np.array([[0, 300], [7, 0]], np.uint16)
    larger = geometry.resize_labels(labels, 4, 6)
    assert larger.dtype == np.uint16 and set(np.unique(larger)) == {0, 7, 300}
    assert np.array_equal(geometry.resize_labels(larger, 2, 2), labels)


def test_the_ground_of_an_image_with_few_objects_stays_dark():
    rng = np.random.default_rng(0)
    image = rng.integers(10, 17, (256, 256, 1), np.uint8)
    image[40:54, 40:54] = 160  # 0.3 % of the image
    found = geometry.stretch(image, *geometry.levels(image, "percentile"))
    assert found[image < 20].max() < 0.1 and found[45, 45] == 1
