"""Pictures for people: outlines that show, and a legend."""

import numpy as np
import pytest
from PIL import Image

from unetlab.data.class_table import read_table
from unetlab.images.palette import colours
from unetlab.service.overlays import OUTLINE, overlay, write_legend


@pytest.mark.parametrize("value", [0, 255])
def test_an_outline_shows_on_dark_and_on_bright_images(value):
    mask = np.zeros((20, 20), bool)
    mask[5:15, 5:15] = True
    drawn = overlay(np.full((20, 20, 1), value, np.uint8), mask)
    assert drawn.shape == (20, 20, 3) and drawn.dtype == np.uint8
    assert (drawn[5, 5:15] == OUTLINE).all() and (drawn[4, 5:15] == 0).all()


def test_colours_of_a_stain_stay_and_what_is_dim_or_grey_is_brightened():
    stained = np.full((20, 20, 3), (220, 180, 210), np.uint8)
    stained[5:15, 5:15] = (120, 90, 150)
    nothing = np.zeros((20, 20), np.int32)
    assert np.array_equal(overlay(stained, nothing), stained)
    for dim in (stained // 4, stained[..., :1]):
        assert overlay(dim, nothing).max() == 255 and overlay(dim, nothing).min() == 0


def test_a_few_bright_pixels_do_not_leave_a_colour_image_dark_and_one_of_one_colour_is_drawn():
    dim = np.random.default_rng(0).integers(5, 40, (100, 100, 3)).astype(np.uint8)
    dim[0, :50] = 180
    drawn = overlay(dim, np.zeros((100, 100), np.int32))
    assert 110 < drawn[50:].mean() < 145
    assert not overlay(np.full((20, 20, 3), 9, np.uint8), np.zeros((20, 20), np.int32)).any()


@pytest.mark.parametrize(("side", "wide"), [(100, 1), (700, 2), (5000, 4)])
def test_outlines_of_large_images_are_thicker_and_within_their_object(side, wide):
    labels = np.zeros((60, side), np.int32)
    labels[10:50, 10:50], labels[10:50, 50:90] = 1, 2
    drawn = (overlay(np.full((60, side, 1), 255, np.uint8), labels) == OUTLINE).all(axis=2)
    assert drawn[30, 10 : 10 + wide].all() and not drawn[30, 10 + wide : 50 - wide].any()
    assert drawn[30, 50 - wide : 50 + wide].all() and not drawn[labels == 0].any()


def test_outlines_have_the_colour_of_their_class():
    labels = np.zeros((20, 40), np.int32)
    labels[5:15, 5:15], labels[5:15, 15:30] = 1, 2
    drawn = overlay(np.zeros((20, 40, 1), np.uint8), labels, np.array([0, 2, 1]), 2)
    assert (drawn[5:15, 5] == colours(2)[2]).all() and (drawn[5:15, 29] == colours(2)[1]).all()
    assert (drawn[9, 14] == colours(2)[2]).all() and (drawn[9, 15] == colours(2)[1]).all()


def test_a_legend_names_each_colour_and_is_read_as_a_table_of_classes(tmp_path):
    names = ["nuclei", "mitoses, late", "débris"]
    (tmp_path / "classes").mkdir()
    write_legend(tmp_path, tmp_path / "classes", names)
    text = (tmp_path / "classes" / "classes.csv").read_text()
    assert text.splitlines()[1:3] == ["0,background,#000000", "1,nuclei,#e69f00"]
    assert read_table(text, "here") == (dict(enumerate(["background", *names])), False)
    with Image.open(tmp_path / "legend.png") as picture:
        shown = {colour for _, colour in picture.getcolors(10**6)}
    assert {tuple(colour) for colour in colours(3).tolist()} <= shown
