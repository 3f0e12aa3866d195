"""Figures of classes: in their colours, with their names."""

import numpy as np
import pytest

from unetlab.images.palette import colours
from unetlab.tracking import class_figures, figures

NAMES = ("background", "nuclei", "mitoses", "debris $5")


def index_map():
    classes = np.zeros((60, 80), np.uint8)
    classes[5:25, 5:25], classes[30:50, 10:30], classes[10:40, 50:70] = 1, 2, 3
    return classes


def drawn(figure):
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[:, :, :3].astype(int)


def count(pixels, colour):
    return int((np.abs(pixels - colour.astype(int)).max(axis=2) < 12).sum())


@pytest.mark.parametrize("channels", [1, 3])
def test_classes_are_drawn_in_their_colours_over_the_image(channels):
    image = np.random.default_rng(0).integers(0, 60, (60, 80, channels)).astype(np.uint8)
    shown = class_figures.coloured(image, index_map(), 3)
    assert shown.shape == (60, 80, 3)
    for kind, colour in enumerate(colours(3)[1:], start=1):
        assert (shown[index_map() == kind] == colour).all(axis=1).any()  # its outline
    np.testing.assert_array_equal(shown[index_map() == 0], class_figures.backdrop(image)[index_map() == 0])


def test_a_panel_has_four_pictures_an_image_and_a_legend_of_all_classes():
    found = index_map()
    found[5:25, 5:25] = 2
    row = {"id": "a$b.png", "image": np.zeros((60, 80, 1), np.uint8), "truth": index_map(), "found": found, "dice": 0.5}
    figure = class_figures.class_panel([{**row, "label": "best"}, row], NAMES)
    assert len(figure.axes) == 8 and "400 px" in figure.axes[3].get_title()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["nuclei", "mitoses", r"debris \$5"]
    pixels = drawn(figure)
    assert all(count(pixels, colour) > 50 for colour in colours(3)[1:])


def test_large_images_are_drawn_with_every_so_many_th_pixel_and_all_errors_are_counted():
    truth = np.zeros((2 * figures.SHOWN + 1, 300), np.uint8)
    truth[1, :7] = 1
    row = {"id": "a", "image": np.zeros((*truth.shape, 3), np.uint8), "truth": truth, "found": 0 * truth, "dice": 0.0}
    figure = class_figures.class_panel([row], NAMES)
    assert [axes.get_images()[0].get_array().shape for axes in figure.axes] == [(683, 100, 3)] * 4
    assert "7 px" in figure.axes[3].get_title()


@pytest.mark.parametrize("k", [3, 30])
def test_a_confusion_shows_shares_and_names(k):
    names = ("background", *(f"class {number}" for number in range(1, k)))
    matrix = np.diag(np.arange(1, k + 1)) * 10
    figure = class_figures.confusion(matrix, names)
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == list(names)
    assert len(figure.axes[0].texts) == (k * k if k <= class_figures.MOST_LABELLED else 0)
    drawn(figure)


def test_strips_count_the_images_in_which_a_class_is_there():
    dice = {"native_dice/a": np.array([0.5, 0.7]), "native_dice/b": np.array([np.nan, 0.9]), "c": np.full(2, np.nan)}
    figure = class_figures.class_strips(dice, ("a", "b", "c"))
    shown = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert shown == ["a\nmean 0.600, 2 images", "b\nmean 0.900, 1 image", "c\n0 images"]
    drawn(figure)
