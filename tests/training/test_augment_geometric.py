"""Warps: one resampling of all, whose places, sizes and bends are those that were asked for."""

import numpy as np
import pytest
from scipy import ndimage
from small_batches import PLAIN

from unetlab.training.augment import augment, geometric

SIDE = 64


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def discs(n: int = 6) -> np.ndarray:
    """uint16 (n, SIDE, SIDE, 1): label images of four discs each, two of which touch."""
    y, x = np.mgrid[:SIDE, :SIDE]
    labels = np.zeros((n, SIDE, SIDE, 1), np.uint16)
    for label, (row, column) in {300: (16, 16), 7: (32, 26), 40000: (32, 41), 2: (50, 50)}.items():
        labels[:, (y - row) ** 2 + (x - column) ** 2 < 49] = label
    return labels


@pytest.mark.parametrize("bent", [False, True])
def test_pixels_are_those_of_scipy(bent):
    draw = rng(3)
    image = draw.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    mask = draw.integers(0, 256, (SIDE, SIDE, 2), dtype=np.uint8)
    matrix, offset = np.array([[0.83, 0.41], [-1.31, 1.77]]) + draw.random((2, 2)) / 100, np.array([-81.3, 107.9])
    knots = geometric.bends(SIDE, 0.1, draw) if bent else None
    moved, after = geometric.resampled(image, mask, matrix, offset, knots)
    at = np.tensordot(matrix, np.mgrid[:SIDE, :SIDE], 1) + offset[:, None, None]
    if knots is not None:
        at += geometric.spline(SIDE) @ knots @ geometric.spline(SIDE).T
    for k in range(3):
        assert np.array_equal(moved[..., k], ndimage.map_coordinates(image[..., k], at, order=1, mode="mirror"))
    for k in range(2):
        assert np.array_equal(after[..., k], ndimage.map_coordinates(mask[..., k], at, order=0, mode="mirror"))


@pytest.mark.parametrize("size", [16, 100])
def test_nothing_asked_for_moves_nothing(size):
    image = rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    moved, after = geometric.warp(image, image, PLAIN, rng(1))
    assert np.array_equal(moved, image) and np.array_equal(after, image)


@pytest.mark.parametrize("changes", [{"scale_jitter": 0.5}, {"elastic": 0.12}, {"rotation": 30.0, "elastic": 0.06}])
def test_label_images_stay_label_images(changes):
    labels = discs()
    images = np.repeat((labels > 0) * np.uint8(200), 3, axis=3)
    moved, after = augment(images, labels, PLAIN.changed(changes), rng(1))
    assert after.dtype == np.uint16 and not np.array_equal(after, labels)
    assert set(np.unique(after)) <= {0, 2, 7, 300, 40000}
    for was, now in zip(labels[..., 0], after[..., 0], strict=True):
        middle = now[SIDE // 4 : -SIDE // 4, SIDE // 4 : -SIDE // 4]
        assert {7, 40000} <= set(np.unique(middle)) <= set(np.unique(was))
    # linear against nearest: they may differ by half a pixel along the outline
    assert np.mean((moved[..., :1] > 100) != (after > 0)) < 0.02


def test_an_object_that_is_not_at_the_edge_stays_one_piece_under_a_bend():
    labels = discs(40)
    _, after = augment(np.zeros((40, SIDE, SIDE, 1), np.uint8), labels, PLAIN.changed({"elastic": 0.12}), rng(4))
    for now in after[..., 0]:
        for label in (7, 40000):
            assert ndimage.label(now == label, np.ones((3, 3)))[1] == 1


def test_sizes_change_between_the_stated_factors_and_both_ways_alike():
    draw = rng(0)
    recipe = PLAIN.changed({"scale_jitter": 0.5})
    sizes = np.array([1 / np.sqrt(np.linalg.det(geometric.affine(SIDE, recipe, draw)[0])) for _ in range(2000)])
    assert 1 / 1.5 <= sizes.min() < 0.68 and 1.48 < sizes.max() <= 1.5
    assert abs(np.log(sizes).mean()) < 0.02
    matrix, offset = geometric.affine(SIDE, recipe, draw)
    assert matrix[0, 1] == matrix[1, 0] == 0 and matrix[0, 0] == matrix[1, 1]
    np.testing.assert_allclose(matrix @ [31.5, 31.5] + offset, 31.5)


def test_a_disc_grows_by_the_square_of_its_factor():
    y, x = np.mgrid[:256, :256]
    mask = ((y - 127.5) ** 2 + (x - 127.5) ** 2 < 50**2).astype(np.uint8)[..., None]
    recipe = PLAIN.changed({"scale_jitter": 0.4})
    matrix, _ = geometric.affine(256, recipe, rng(2))
    _, after = geometric.warp(mask, mask, recipe, rng(2))
    assert after.sum() / mask.sum() == pytest.approx(1 / matrix[0, 0] ** 2, rel=0.01)


@pytest.mark.parametrize("side", [32, 256])
def test_bends_keep_to_their_limit_and_fold_nothing_over(side):
    draw = rng(0)
    weights = geometric.spline(side)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    farthest = 0.0
    for _ in range(100):
        field = weights @ geometric.bends(side, 0.12, draw) @ weights.T
        farthest = max(farthest, np.abs(field).max())
        (yy, yx), (xy, xx) = (np.gradient(plane) for plane in field)
        assert ((1 + yy) * (1 + xx) - yx * xy).min() > 0
    assert 0.06 * side < farthest <= 0.12 * side


def test_a_bend_is_smooth_and_about_as_large_as_the_paper_s():
    weights = geometric.spline(256)
    fields = np.stack([weights @ geometric.bends(256, 0.05, rng(seed)) @ weights.T for seed in range(50)])
    # 10 pixels of standard deviation at the knots on tiles of 512, interpolated between
    assert 0.3 < fields.std() / (10 * 256 / 512) < 1
    assert np.abs(np.diff(fields, axis=2)).max() < 0.5
