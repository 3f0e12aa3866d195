"""Figures hold what they promise: panels, labels, data and ink."""

import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from unetlab.tracking import figures


def drawn(figure: Figure) -> np.ndarray:
    """The figure as uint8 (height, width, 3); fails if it is blank."""
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[:, :, :3]
    assert pixels.std() > 5, "blank figure"
    return pixels


def panels(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.axison and axes.get_label() != "<colorbar>"]


def count_color(pixels: np.ndarray, color: str) -> int:
    wanted = np.array(to_rgb(color)) * 255
    return int((np.abs(pixels - wanted).max(axis=2) < 40).sum())


def panel_row(**changes) -> dict:
    truth = np.zeros((32, 32), dtype=bool)
    truth[8:20, 8:20] = True
    image = np.where(truth, 30, 10).astype(np.uint8)[:, :, None]
    row = dict(id="a" * 64, image=image, truth=truth, mask=np.roll(truth, 4, axis=1), dice=2 / 3, label="best")
    return row | {"probability": row["mask"].astype(np.float32)} | changes


def test_learning_curves_show_each_series_and_the_epoch_that_is_kept():
    history = pd.DataFrame(
        {
            "epoch": [1, 2, 3],
            "loss": [0.6, 0.4, 0.3],
            "val_loss": [0.7, 0.5, 0.6],
            "dice": [0.5, 0.6, 0.7],
            "val_dice": [0.4, 0.7, 0.8],
            "accuracy": [0.8, 0.9, 0.95],
            "val_accuracy": [0.8, 0.9, 0.9],
        }
    )
    figure = figures.learning_curves(history)
    drawn(figure)
    assert [axes.get_title() for axes in panels(figure)] == ["Loss", "Dice (soft)", "Pixel accuracy"]
    training, validation, best = panels(figure)[1].lines
    assert list(training.get_ydata()) == [0.5, 0.6, 0.7] and list(validation.get_ydata()) == [0.4, 0.7, 0.8]
    assert list(best.get_xdata()) == [2, 2]
    assert figure.get_suptitle() == "Kept is epoch 2 of 3: validation loss 0.5000, the lowest, soft Dice 0.7000"
    assert all(axes.get_xlabel() == "epoch" and axes.get_ylabel() for axes in panels(figure))


def test_learning_curves_without_validation():
    figure = figures.learning_curves(pd.DataFrame({"epoch": [1], "loss": [0.5], "dice": [0.1]}))
    drawn(figure)
    assert len(panels(figure)) == 2


def test_prediction_panel_shows_outlines_probability_and_errors():
    figure = figures.prediction_panel([panel_row(), panel_row(label="worst", id="short")])
    pixels = drawn(figure)
    assert len(panels(figure)) == 6
    titles = [axes.get_title() for axes in panels(figure)]
    assert "best: Dice 0.667" in titles[0] and "worst" in titles[3] and "short" in titles[3]
    assert len(titles[0].split("\n")[1]) < 30
    assert titles[2] == "errors: 48 px missed, 48 px false"  # four columns of twelve on either side
    assert count_color(pixels, figures.GREEN) > 500 and count_color(pixels, figures.MAGENTA) > 500
    errors = panels(figure)[2].images[0].get_array()
    assert (np.asarray(errors[10, 9]) == (0, 208, 96)).all() and (np.asarray(errors[10, 22]) == (255, 47, 208)).all()


def test_unknown_ground_is_grey_and_counts_as_no_error():
    known = np.ones((32, 32), bool)
    known[10, 9] = False
    figure = figures.prediction_panel([panel_row(known=known)], "made labels")
    assert panels(figure)[2].get_title() == "errors: 47 px missed, 48 px false"
    assert (np.asarray(panels(figure)[2].images[0].get_array()[10, 9]) == 110).all()
    assert "made labels green" in figure.get_suptitle() and "unknown grey" in figure.get_suptitle()
    assert "unknown" not in figures.prediction_panel([panel_row()]).get_suptitle()


def test_large_images_are_drawn_smaller_and_their_errors_counted_before():
    truth, mask = np.zeros((2, 3000, 50), np.uint8)
    truth[1001, :], mask[2, :] = 1, 1  # rows that a smaller picture lacks
    row = panel_row(truth=truth, mask=mask, image=np.full((3000, 50, 3), 9, np.uint8), probability=mask * 0.5)
    figure = figures.prediction_panel([row])
    drawn(figure)
    assert panels(figure)[2].images[0].get_array().shape == (1000, 17, 3)
    assert panels(figure)[2].get_title() == "errors: 50 px missed, 50 px false"


@pytest.mark.parametrize("value", [0, 1])
def test_prediction_panel_of_empty_and_full_masks(value):
    mask = np.full((32, 32), value, dtype=np.uint8)
    drawn(figures.prediction_panel([panel_row(truth=mask, mask=mask, image=np.full((32, 32, 3), 9, np.uint8))]))


def test_confusion_writes_counts_and_shares():
    figure = figures.confusion(np.array([[900, 100], [50, 150]]))
    drawn(figure)
    axes = panels(figure)[0]
    assert [text.get_text() for text in axes.texts] == [
        "90.0 %\n900 px",
        "10.0 %\n100 px",
        "25.0 %\n50 px",
        "75.0 %\n150 px",
    ]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == (
        "predicted",
        "truth",
        "Confusion of 1,200 pixels",
    )
    drawn(figures.confusion(np.array([[10, 0], [0, 0]])))


def test_reliability_draws_filled_bins_only():
    probabilities = np.array([[[0.1, 0.1, 0.9, 0.9]]], dtype=np.float32)
    figure = figures.reliability(probabilities, np.array([[[0, 1, 1, 1]]], dtype=np.uint8))
    drawn(figure)
    top, bottom = panels(figure)
    assert top.lines[1].get_xdata() == pytest.approx([0.1, 0.9])
    assert list(top.lines[1].get_ydata()) == [0.5, 1.0]
    assert "0.2500" in top.get_title()  # half of |0.5 - 0.1| and half of |1 - 0.9|
    assert sum(bar.get_height() for bar in bottom.patches) == 4


def test_dice_strips_show_every_image_and_mean():
    figure = figures.dice_strips({"final": [0.9, 0.7], "reference": [0.8, 0.6], "Otsu": [0.5, 0.5]})
    drawn(figure)
    axes = panels(figure)[0]
    assert [label.get_text() for label in axes.get_yticklabels()][::2] == ["final\nmean 0.800", "Otsu\nmean 0.500"]
    points = [collection.get_offsets() for collection in axes.collections]
    assert [len(p) for p in points] == [2, 2, 2] and list(points[0][:, 0]) == [0.9, 0.7]


def test_trials_plot_has_a_panel_for_each_hyperparameter_that_varied():
    trials = pd.DataFrame(
        {
            "number": [2, 0, 1, 3],
            "objective": [0.7, 0.8, 0.85, np.nan],
            "learning_rate": [1e-4, 1e-3, 1e-2, 1e-3],
            "loss": ["bce", "dice", "bce", "focal"],
            "flips": [True, False, True, True],
            "batch_size": [8, 8, 8, 8],
        }
    )
    figure = figures.trials_plot(trials, "validation Dice at native size")
    drawn(figure)
    progress, rate, loss, flips = panels(figure)
    assert list(progress.lines[0].get_ydata()) == [0.8, 0.85, 0.85]
    assert rate.get_xscale() == "log" and rate.get_xlabel() == "learning rate"
    assert [label.get_text() for label in loss.get_xticklabels()] == ["bce", "dice", "focal"]
    assert [label.get_text() for label in flips.get_xticklabels()] == ["False", "True"]
    assert all(axes.get_ylabel() == "validation Dice at native size" for axes in panels(figure))
    assert "4 trials, 1 failed" in figure.get_suptitle()


def test_labels_under_a_panel_of_the_trials_plot_do_not_overlap():
    table = {"number": [0, 1, 2], "objective": [0.6, 0.4, 0.5]}
    rates = {"learning_rate": [0.001, 0.00188, 0.000783], "batch_size": [4, 8, 32]}
    figure = figures.trials_plot(pd.DataFrame({**table, **rates}))
    figure.canvas.draw()
    for axes in panels(figure)[1:]:
        left, right = axes.get_xlim()
        labels = [label for label in axes.get_xticklabels() if left <= label.get_position()[0] <= right]
        edges = [label.get_window_extent().extents for label in labels]
        assert len(labels) >= 2 and all(one[2] < two[0] for one, two in zip(edges, edges[1:], strict=False))


@pytest.mark.parametrize("objective", [[0.8], [np.nan], [None, None]])
def test_trials_plot_of_one_trial_or_none_that_succeeded(objective):
    figure = figures.trials_plot(pd.DataFrame({"number": range(len(objective)), "objective": objective, "width": 16}))
    drawn(figure)
    assert len(panels(figure)) == 1


def test_no_global_state():
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_the_star_is_the_winners_which_need_not_be_the_highest():
    trials = pd.DataFrame({"number": [0, 1], "objective": [0.8, 0.84], "rate": [1e-3, 1e-2]})

    def stars(figure):
        return [axes.collections[-1].get_offsets().tolist() for axes in panels(figure)]

    assert stars(figures.trials_plot(trials)) == [[[1, 0.84]], [[0.01, 0.84]]]
    assert stars(figures.trials_plot(trials, winner=0)) == [[[0, 0.8]], [[0.001, 0.8]]]
