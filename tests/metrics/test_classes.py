"""Scores of classes against counts done by hand."""

import numpy as np
import pandas as pd
import pytest

from unetlab.images.regions import components
from unetlab.metrics import classes, pixelwise, table

NAMES = ("nuclei", "mitoses", "debris")
TRUTH = np.array([[1, 1, 0, 0], [1, 1, 0, 2], [0, 0, 0, 2]], np.uint8)
FOUND = np.array([[1, 1, 0, 0], [1, 2, 0, 2], [0, 0, 3, 2]], np.uint8)


def objects(index):
    labels, kinds = np.zeros(index.shape, np.uint8), [0]
    for kind in range(1, 4):
        own = components(index == kind)
        labels[own > 0] = own[own > 0] + len(kinds) - 1
        kinds += [kind] * int(own.max())
    return labels, np.array(kinds, np.uint8)


def native(found=FOUND, truth=TRUTH):
    return classes.score_native(found, truth, objects(found), objects(truth), NAMES)


def test_dice_is_a_mean_over_the_classes_there_and_what_is_invented_costs():
    row = native()
    nuclei, mitoses = 2 * 3 / (3 + 4), 2 * 2 / (3 + 2)
    assert row["native_dice/nuclei"] == pytest.approx(nuclei)
    assert row["native_dice/mitoses"] == pytest.approx(mitoses)
    assert row["native_dice/debris"] == 0  # found, not there
    assert row["native_dice"] == pytest.approx((nuclei + mitoses) / 3)
    assert row["native_accuracy"] == pytest.approx(10 / 12)
    assert row["union_native_dice"] == pytest.approx(2 * 6 / (6 + 7))


def test_a_class_in_neither_is_no_score_and_an_empty_image_is_right():
    row = native(np.where(FOUND == 3, 0, FOUND))
    assert np.isnan(row["native_dice/debris"]) and np.isnan(row["count_true/debris"])
    assert row["native_dice"] == pytest.approx((6 / 7 + 4 / 5) / 2)
    nothing = np.zeros((3, 4), np.uint8)
    empty = native(nothing, nothing)
    assert empty["native_dice"] == empty["ap_dsb"] == empty["native_boundary_f1"] == 1 and empty["count_error"] == 0
    assert native(FOUND, nothing)["native_dice"] == 0


def test_with_one_class_they_are_the_scores_of_its_mask():
    rng = np.random.default_rng(0)
    truth, found = (rng.random((40, 40)) < 0.3 for _ in range(2))
    of_mask = table.score_native(lambda *_: found, lambda _: components(truth), 1).iloc[0]
    kinds = [np.append(0, np.ones(int(components(mask).max()), np.uint8)) for mask in (found, truth)]
    row = classes.score_native(
        found.astype(np.uint8),
        truth.astype(np.uint8),
        *zip(map(components, (found, truth)), kinds, strict=True),
        ("a",),
    )
    for name in ("native_dice", "native_iou", "native_accuracy", "native_boundary_f1", "ap50", "ap_dsb", "pq"):
        assert row[name] == pytest.approx(of_mask[name], abs=1e-12), name
    small = classes.score_at_model_size(found.astype(np.uint8), truth.astype(np.uint8), ("a",))
    counts = pixelwise.count(found[None], truth[None])
    assert {name: small[name] for name in counts} == {name: int(value[0]) for name, value in counts.items()}
    assert small["dice"] == pytest.approx(of_mask["native_dice"])


def test_objects_are_matched_within_their_class():
    truth, found = np.zeros((9, 9), np.uint8), np.zeros((9, 9), np.uint8)
    truth[1:4, 1:4], truth[5:8, 5:8] = 1, 1
    found[1:4, 1:4], found[5:8, 5:8] = 1, 2
    row = native(found, truth)
    assert row["ap_dsb/nuclei"] == 0.5 and row["ap_dsb/mitoses"] == 0
    assert row["count_true"] == 2 and row["count_predicted"] == 2 and row["count_predicted/mitoses"] == 1
    # one nucleus of two missed; a mitosis where there is none, over one
    assert row["count_error"] == pytest.approx((0.5 + 1) / 2)


def test_summary_has_each_class_over_the_images_that_show_it():
    rows = [native(), native(np.where(FOUND == 3, 0, FOUND))]
    small = [classes.score_at_model_size(FOUND, TRUTH, NAMES) for _ in rows]
    found = classes.summarise(
        pd.DataFrame([{**one, **other} for one, other in zip(small, rows, strict=True)]),
        classes.confusion_of(FOUND, TRUTH, 3),
        NAMES,
    )
    assert found["native_dice/debris"] == 0 and found["native_dice/nuclei"] == pytest.approx(6 / 7)
    assert found["native_dice_macro"] == pytest.approx((6 / 7 + 4 / 5) / 3)
    assert found["native_dice"] == pytest.approx(((6 / 7 + 4 / 5) / 3 + (6 / 7 + 4 / 5) / 2) / 2)
    assert found["accuracy"] == pytest.approx(10 / 12) and found["recall"] == pytest.approx((3 / 4 + 1 + 0) / 3)


def test_report_names_all_classes_and_counts_pixels():
    report = classes.classification_report(classes.confusion_of(FOUND, TRUTH, 3), ("background", *NAMES))
    lines = {line.split()[0]: line.split()[1:] for line in report.splitlines() if line.strip()}
    assert lines["nuclei"] == ["1.0000", "0.7500", "0.8571", "4"] and lines["debris"][3] == "0"


def test_calibration_of_the_likeliest_class():
    calibration = classes.Calibration()
    said = np.float32([[[0.2, 0.7, 0.1], [0.9, 0.05, 0.05]]])
    calibration.add(said, np.array([[1, 2]]), np.array([[True, True]]))
    assert calibration.error() == pytest.approx((0.3 + 0.9) / 2)
    calibration.add(said, np.array([[1, 2]]), np.array([[False, False]]))
    assert calibration.error() == pytest.approx(0.6)


def test_names_become_names_of_metrics_that_differ():
    assert classes.keys(["pan", "Zellkern (groß)", "#ff8000", "_ff8000", "..", "a/b"]) == (
        "pan",
        "Zellkern _groß_",
        "_ff8000",
        "_ff8000 4",
        "class 5",
        "a_b",
    )


def test_what_nobody_knows_counts_as_little_as_if_it_were_cut_off():
    rng = np.random.default_rng(0)
    truth, found = (rng.integers(0, 4, (24, 20)).astype(np.uint8) for _ in range(2))
    known = np.zeros(truth.shape, bool)
    known[:, :10] = True

    def rows(truth, found, known=None):
        small = classes.score_at_model_size(found, truth, NAMES, known)
        return small, classes.score_native(found, truth, objects(found), objects(truth), NAMES, known)

    cut = rows(truth[:, :10], found[:, :10])
    for whole, part in zip(rows(truth * known, found * known, known), cut, strict=True):
        assert whole == pytest.approx(part, nan_ok=True)
    assert np.array_equal(
        classes.confusion_of(found, truth, 3, known), classes.confusion_of(found[:, :10], truth[:, :10], 3)
    )
