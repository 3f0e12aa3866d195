"""What a network may learn besides the mask, against distances measured one by one."""

import numpy as np
import pytest

from unetlab.data import classes, targets

PAIR = np.zeros((20, 30), np.uint16)
PAIR[4:16, 3:14], PAIR[4:16, 14:27] = 7, 900
"""Two rectangles that touch at column 14; their numbers have gaps."""

ALL = (targets.border, targets.distance, targets.gap_weight)


def blobs(seed: int, size: int = 40) -> np.ndarray:
    """Nearest-centre cells with some gaps."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, size, (9, 2))
    points = np.stack(np.mgrid[:size, :size], -1)[..., None, :]
    away = ((points - centres) ** 2).sum(-1)
    labels = away.argmin(-1) + 1
    labels[away.min(-1) > 60] = 0
    labels[rng.random((size, size)) < 0.02] = 0
    return labels.astype(np.uint8)


def distances(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Object numbers, and each pixel's distance to the nearest pixel of each, (k, h, w), by trying all."""
    points = np.stack(np.mgrid[: labels.shape[0], : labels.shape[1]], -1).reshape(-1, 1, 2)
    numbers = np.unique(labels[labels > 0])
    each = [np.sqrt(((points - np.argwhere(labels == n)) ** 2).sum(-1).min(1)).reshape(labels.shape) for n in numbers]
    return numbers, np.stack(each)


def test_touching_is_by_an_edge():
    assert targets.touching(PAIR) and targets.touching(PAIR.T)
    assert not targets.touching(np.array([[1, 0], [0, 2]])) and not targets.touching(np.ones((3, 3), int))
    assert not targets.touching(np.array([[1, 1, 255, 254]], np.uint8))  # what is unknown is no object


def test_the_border_runs_where_two_touch_and_nowhere_else():
    expected = np.zeros(PAIR.shape, bool)
    expected[4:16, 12:16] = True  # two pixels of either
    expected[3, 13:15] = expected[16, 13:15] = True  # beside the ends of the line, where both are within reach
    assert np.array_equal(targets.border(PAIR) > 0, expected)
    assert not targets.border(np.where(PAIR == 7, 7, 0)).any()


@pytest.mark.parametrize("seed", range(4))
def test_the_border_is_within_reach_of_two_objects_and_leaves_every_object_a_core(seed):
    labels = blobs(seed)
    _, away = distances(labels)
    two = (away <= targets.REACH).sum(axis=0) > 1
    found = targets.border(labels) > 0
    assert not found[~two].any() and np.array_equal(found[labels == 0], two[labels == 0])
    assert set(np.unique(labels[~found])) == set(np.unique(labels))


@pytest.mark.parametrize("seed", range(4))
def test_depths_are_distances_to_the_edge_over_the_largest(seed):
    labels = blobs(seed)
    found, points = targets.distance(labels), np.argwhere(labels >= 0)
    for number in np.unique(labels[labels > 0]):
        own = labels == number
        outside = points[~own.ravel()]
        depth = np.sqrt(((np.argwhere(own)[:, None] - outside) ** 2).sum(-1).min(1))
        np.testing.assert_allclose(found[own], 255 * depth / depth.max(), atol=0.51)
    assert not found[labels == 0].any()


@pytest.mark.parametrize("seed", range(4))
def test_the_weight_of_gaps_is_that_of_the_paper(seed):
    labels = blobs(seed)
    _, away = distances(labels)
    first, second = np.sort(away, axis=0)[:2]
    expected = np.where(labels > 0, 0, 255 * np.exp(-((first + second) ** 2) / 50))
    np.testing.assert_allclose(targets.gap_weight(labels), expected, atol=0.51)


@pytest.mark.parametrize("of", ALL)
def test_numbers_and_dtypes_change_nothing(of):
    labels = blobs(1)
    other = np.where(labels > 0, labels.astype(np.int64) * 5000 + 3, 0)
    assert np.array_equal(of(labels), of(other)) and of(labels).dtype == np.uint8
    assert np.array_equal(of(labels), of(other.astype(np.uint16)))


@pytest.mark.parametrize("of", ALL)
def test_images_of_nothing_and_of_one_object(of):
    assert not of(np.zeros((9, 7), np.uint16)).any()
    full = of(np.full((9, 7), 3, np.uint16))
    assert (full == (255 if of is targets.distance else 0)).all()


@pytest.mark.parametrize("of", ALL)
def test_what_is_unknown_is_nothing(of):
    labels = PAIR.copy()
    labels[:, 20:] = classes.unknown_code(labels.dtype)
    labels[:, 18:20] = classes.unknown_code(labels.dtype) - 1
    assert np.array_equal(of(labels)[:, :18], of(classes.objects(labels))[:, :18])
    assert not of(labels)[:, 18:].any()


def test_the_weight_is_half_way_between_two_and_nothing_beside_one():
    labels = np.zeros((5, 40), np.uint8)
    labels[:, :10], labels[:, 14:20] = 1, 2
    found = targets.gap_weight(labels)
    # every pixel of a gap of four lies five from both together
    assert (found[:, 10:14] == round(255 * np.exp(-25 / 50))).all()
    assert found[2, 39] == 0
