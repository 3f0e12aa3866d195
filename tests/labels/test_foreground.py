"""The rule by which segments are foreground, step by step."""

import numpy as np

from unetlab.labels import foreground
from unetlab.labels.slic import normalised_cut
from unetlab.labels.view import ground_colour, look


def _grey(values: np.ndarray) -> np.ndarray:
    """Lightness (h, w) to CIELAB float32 (h, w, 3) without hue."""
    return np.stack([values, 0 * values, 0 * values], axis=2).astype(np.float32)


def test_the_ground_is_the_commonest_colour_even_where_it_varies():
    values = np.full((20, 20), 90.0)  # one plain colour, on a ground of many near ones
    values[6:] = np.random.default_rng(0).uniform(25, 35, (14, 20))
    assert abs(ground_colour(_grey(values))[0] - 30) < 3


def test_what_is_far_from_the_ground_is_foreground_brighter_and_darker_alike():
    values = np.full((30, 30), 50.0)
    values[2:8, 2:8], values[20:26, 20:26], values[10:16, 10:16] = 95, 5, 53
    found = foreground.far_from_ground(values.astype(int), _grey(values))
    assert np.array_equal(found, abs(values - 50) > 10)


def test_segments_of_one_colour_are_no_foreground():
    segments = np.arange(100).reshape(10, 10)
    assert not foreground.far_from_ground(segments, _grey(np.full((10, 10), 40.0))).any()


def test_most_of_an_image_is_never_foreground():
    values = np.repeat(np.linspace(0, 100, 40)[None], 40, axis=0)  # the ground's cell holds little of it
    values[:, :12] = 0
    assert foreground.far_from_ground(np.rint(values).astype(int), _grey(values)).mean() <= foreground.MOST


def test_surroundings_go_and_cut_objects_stay():
    found = np.zeros((50, 50), bool)
    found[:, :6] = True  # a third of the border
    found[20:28, 44:] = True  # an object that the border cuts
    kept = foreground.without_surroundings(found)
    assert not kept[:, :6].any() and kept[20:28, 44:].all()
    found[20:28, 44:] = False
    assert foreground.without_surroundings(found)[:, :6].all()  # nothing else was found
    nothing = np.zeros((9, 9), bool)
    assert not foreground.without_surroundings(nothing).any()


def test_edges_lie_at_half_height_of_bright_and_dim_objects():
    y, x = np.mgrid[:60, :120]
    steps = [1 / (1 + np.exp((np.hypot(y - 30, x - cx) - 10) / 1.5)) for cx in (30, 90)]
    values = 5 + 90 * steps[0] + 24 * steps[1]
    wide = values > 9  # one low threshold: a halo around the bright one
    found = foreground.at_half_height(wide, _grey(values))
    truth = (steps[0] > 0.5) | (steps[1] > 0.5)
    assert wide.sum() > 1.8 * truth.sum() and truth.sum() < found.sum() < 1.4 * truth.sum()
    assert (found & truth).sum() == truth.sum()  # the dim one is whole, which a high threshold would miss


def test_dark_ground_is_square_rooted_and_other_ground_is_not():
    image = np.full((40, 40, 1), 10, np.uint8)
    image[5:12, 5:12], image[20:30, 20:30] = 60, 240
    view = look(image)
    assert np.ptp(view.even[[25, 8], [25, 8], 0]) < np.ptp(view.plain[[25, 8], [25, 8], 0])
    view = look(255 - image)
    assert view.even is view.plain
    assert look(np.zeros((600, 300, 3), np.uint8)).plain.shape == (256, 128, 3)


def test_the_normalised_cut_parts_what_is_loosely_tied():
    likeness = np.full((12, 12), 0.01)
    likeness[:4, :4] = likeness[4:, 4:] = 1.0
    side = normalised_cut(likeness)
    assert len(set(side[:4])) == len(set(side[4:])) == 1 and side[0] != side[11]
