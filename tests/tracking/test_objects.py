"""Pictures of objects: what has which colour."""

import numpy as np
import pytest

from unetlab.tracking import objects
from unetlab.tracking.objects import COLOURS, FALSE, HIT, MISSED, SHOWN, coloured, crowded, matched, object_panel


def squares(size: int = 60, side: int = 10) -> np.ndarray:
    """A chessboard of touching squares, numbered."""
    k = size // side
    return np.kron(np.arange(1, k * k + 1).reshape(k, k), np.ones((side, side), int))


@pytest.mark.parametrize("channels", [1, 3])
def test_neighbours_differ_and_background_is_the_image(channels):
    labels = squares()
    labels[20:30, 20:30] = 0
    image = np.random.default_rng(0).integers(0, 40, (60, 60, channels), np.uint8)
    shown = coloured(image, labels)
    assert shown.shape == (60, 60, 3) and shown.dtype == np.uint8
    assert np.array_equal(shown[20:30, 20:30], coloured(image, np.zeros_like(labels))[20:30, 20:30])
    # these corners lie on outlines, which have the objects' own colours
    corners = shown[::10, ::10][1:, 1:].astype(int)
    assert (abs(np.diff(corners, axis=0)).sum(-1) > 0).all() and (abs(np.diff(corners, axis=1)).sum(-1) > 0).all()
    own = {tuple(colour) for colour in COLOURS.tolist()}
    assert all((tuple(corners[k].tolist()) in own) == (k != (1, 1)) for k in np.ndindex(5, 5))


def test_hits_misses_and_false_ones_have_their_outlines():
    truth, found = np.zeros((40, 60), int), np.zeros((40, 60), int)
    truth[2:12, 2:12], found[2:12, 3:13] = 4, 9  # a hit
    truth[20:30, 2:12] = 7  # missed
    found[20:30, 40:50] = 2  # false
    truth[2:12, 30:40], truth[2:12, 40:50], found[2:12, 30:50] = 11, 12, 5  # merged: two missed, one false
    shown = matched(np.full((40, 60, 1), 100, np.uint8), found, truth)
    for place, colour in (
        ((5, 3), HIT),
        ((25, 2), MISSED),
        ((25, 40), FALSE),
        ((5, 39), MISSED),
        ((5, 30), FALSE),
    ):
        assert tuple(shown[place]) == colour, place
    assert tuple(shown[5, 2]) not in (HIT, MISSED, FALSE)  # the true outline of what is hit is not drawn


@pytest.mark.parametrize("shape", [(30, 40), (SHOWN + 100, 700)])
def test_a_panel_of_objects_is_drawn_for_images_with_and_without(shape):
    truth = np.zeros(shape, np.uint16)
    truth[5:15, 5:15] = 3
    image = np.zeros((*shape, 1), np.uint8)
    empty = np.zeros(shape, np.int32)
    rows = [
        {"label": "best", "id": "a" * 60, "image": image, "truth": truth, "found": truth.astype(np.int32)},
        {"id": "b", "image": image, "truth": empty, "found": empty},
    ]
    figure = object_panel(rows)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[0].startswith("best: aaa") and "1 true object" in titles[0] and titles[2].startswith("AP50 1.000")
    assert ("a part is shown" in titles[0]) == (max(shape) > SHOWN)
    figure.canvas.draw()


def test_only_the_part_that_is_shown_is_coloured_and_hits_are_those_of_whole_objects(monkeypatch):
    truth, found = np.zeros((2000, 900), np.uint16), np.zeros((2000, 900), np.uint16)
    for k in range(20):
        truth[1200 + 12 * k : 1208 + 12 * k, 20:28] = k + 1
    rows, _ = crowded(truth)
    # above its half that is shown it was not found: within the part alone it would be a hit
    truth[rows.start - 200 : rows.start + 20, 60:80], found[rows.start : rows.start + 20, 60:80] = 90, 1
    assert crowded(truth)[0] == rows
    drawn = []
    monkeypatch.setattr(
        objects, "_backdrop", lambda image: drawn.append(image.shape) or np.zeros(image.shape, np.uint8)
    )
    row = {"id": "a", "image": np.zeros((2000, 900, 3), np.uint8), "truth": truth, "found": found}
    figure = object_panel([row])
    assert drawn == [(SHOWN, SHOWN, 3)] * 3
    picture = figure.axes[2].get_images()[0].get_array()
    colours = {tuple(colour) for colour in np.unique(picture[:25, 55:85].reshape(-1, 3), axis=0).tolist()}
    assert FALSE in colours and HIT not in colours


def test_the_most_crowded_part_of_a_large_image_is_shown():
    labels = np.zeros((1200, 1500), np.uint16)
    labels[:8, :8] = 1
    for k in range(20):
        labels[800 + 12 * k : 808 + 12 * k, 1300:1310] = k + 2
    rows, columns = crowded(labels)
    assert rows.start <= 800 and rows.stop >= 1040 and columns.start <= 1300 and columns.stop >= 1310
    assert len(np.unique(labels[rows, columns])) == 21
    assert crowded(np.zeros((5, 5), int)) == (slice(0, SHOWN), slice(0, SHOWN))
