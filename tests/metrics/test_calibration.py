"""Calibration error and area under the curve."""

import pytest
from small_scores import masks_of, random_case, stack

from unetlab.metrics import calibration
from unetlab.metrics.table import score_images, summarise


def test_auc_is_left_out_where_there_is_one_class():
    probabilities = stack([0.2, 0.1])
    masks = masks_of([0, 0])
    table = score_images(probabilities, masks, ["a"])
    assert "auc" not in summarise(table, probabilities, masks)


def test_auc_of_a_draw_is_close_and_the_same_each_time(monkeypatch):
    probabilities, masks, _ = random_case(n=20, size=64)
    exact = calibration.area_under_curve(probabilities, masks)
    monkeypatch.setattr(calibration, "AUC_PIXELS", 20_000)
    drawn = calibration.area_under_curve(probabilities, masks)
    assert drawn != exact and drawn == pytest.approx(exact, abs=0.01)
    assert drawn == calibration.area_under_curve(probabilities, masks)


def test_calibration_error_by_hand():
    # Bin of 0.4: two pixels, mean 0.4, one of two foreground: |0.4 - 0.5| = 0.1.
    # Bin of 1.0 (the last holds its upper end): two pixels, both foreground: 0. Mean over four pixels: 0.05.
    assert calibration.calibration_error(stack([0.4, 0.4, 1, 1]), masks_of([1, 0, 1, 1])) == pytest.approx(
        0.05, abs=1e-6
    )
