"""Calibration error and area under the curve."""

import numpy as np
import pytest
from small_scores import masks_of, random_case, stack

from unetlab.metrics import calibration
from unetlab.metrics.table import score_images, summarise


def test_auc_is_left_out_where_there_is_one_class():
    probabilities = stack([0.2, 0.1])
    masks = masks_of([0, 0])
    table = score_images(probabilities, masks, ["a"])
    assert "auc" not in summarise(table, probabilities, masks)


def test_auc_of_many_pixels_is_that_of_all_of_them_in_order(monkeypatch):
    probabilities, masks, _ = random_case(n=20, size=64)
    sure = np.float32(1) / (1 + np.exp(-40 * (probabilities - np.float32(0.4))))  # most are next to 0 or to 1
    for found in (probabilities, sure, np.round(probabilities, 1), -np.zeros_like(sure), masks.astype(np.float32)):
        exact = calibration.area_under_curve(found, masks)
        with monkeypatch.context() as patched:
            patched.setattr(calibration, "AUC_PIXELS", 20_000)
            assert calibration.area_under_curve(found, masks) == pytest.approx(exact, abs=2e-6)
    monkeypatch.setattr(calibration, "AUC_PIXELS", 20_000)
    with pytest.raises(ValueError, match="both classes"):
        calibration.area_under_curve(probabilities, masks * 0)


def test_images_that_differ_in_size_are_as_their_pixels_in_one_row():
    probabilities, masks, _ = random_case(n=6, size=32)
    cut = [(16, 32), (32, 32), (1, 7), (5, 5), (32, 3), (9, 32)]
    apart = [[each[:h, :w] for each, (h, w) in zip(stack, cut, strict=True)] for stack in (probabilities, masks)]
    rows = [np.concatenate([each.ravel() for each in stack])[None, None] for stack in apart]
    assert calibration.area_under_curve(*apart) == pytest.approx(calibration.area_under_curve(*rows), abs=1e-12)
    for one, other in zip(calibration.calibration_bins(*apart), calibration.calibration_bins(*rows), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_calibration_error_by_hand():
    # Bin of 0.4: two pixels, mean 0.4, one of two foreground: |0.4 - 0.5| = 0.1.
    # Bin of 1.0 (the last holds its upper end): two pixels, both foreground: 0. Mean over four pixels: 0.05.
    assert calibration.calibration_error(stack([0.4, 0.4, 1, 1]), masks_of([1, 0, 1, 1])) == pytest.approx(
        0.05, abs=1e-6
    )
