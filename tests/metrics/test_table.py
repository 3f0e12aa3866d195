"""Scores against arithmetic done by hand and against scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from unetlab.images.regions import components
from unetlab.metrics import boundary, calibration, intervals, membranes, pixelwise, thresholds
from unetlab.metrics.baselines import otsu_masks
from unetlab.metrics.table import METRICS, TABLE, names, score_images, score_native, summarise


def stack(*rows: list[float]) -> np.ndarray:
    """One image of one row each, float32 (n, 1, w)."""
    return np.array(rows, dtype=np.float32)[:, None, :]


def masks_of(*rows: list[int]) -> np.ndarray:
    return np.array(rows, dtype=np.uint8)[:, None, :]


def random_case(n: int = 5, size: int = 24) -> tuple[np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(1)
    masks = (rng.random((n, size, size)) < 0.3).astype(np.uint8)
    probabilities = np.clip(0.35 * masks + 0.65 * rng.random(masks.shape), 0, 1).astype(np.float32)
    return probabilities, masks, [f"image{i}" for i in range(n)]


def test_counts_and_ratios_by_hand():
    table = score_images(stack([0.9, 0.8, 0.7, 0.1, 0.2, 0.6]), masks_of([1, 1, 0, 1, 0, 0]), ["a"], 0.5)
    row = table.iloc[0]
    assert (row.tp, row.fp, row.fn, row.tn) == (2, 2, 1, 1)
    assert row.dice == pytest.approx(2 * 2 / (2 * 2 + 2 + 1))
    assert row.iou == pytest.approx(2 / 5)
    assert row.accuracy == pytest.approx(3 / 6)
    assert row.precision == pytest.approx(2 / 4)
    assert row.recall == pytest.approx(2 / 3)
    assert table[["tp", "fp", "fn", "tn"]].dtypes.eq("int64").all()


def test_empty_sides():
    probabilities = stack([0, 0], [1, 0], [0, 0])
    table = score_images(probabilities, masks_of([0, 0], [0, 0], [1, 0]), list("abc"))
    for name in ("dice", "iou", "precision", "recall", "boundary_f1"):
        assert table[name].tolist() == [1.0, 0.0, 0.0], name


def test_only_greater_than_the_threshold_is_foreground():
    table = score_images(stack([0.5, 0.25, 0.75]), masks_of([1, 1, 1]), ["a"], 0.5)
    assert table["tp"][0] == 1


def test_mean_threshold_is_each_image_s_own():
    # Means 0.2 and 0.7: the first image's 0.4 counts, the second's 0.6 does not.
    table = score_images(stack([0.4, 0.0], [0.8, 0.6]), masks_of([1, 0], [1, 0]), ["a", "b"], "mean")
    assert table["dice"].tolist() == [1.0, 1.0]


def test_per_image_scores_agree_with_sklearn():
    probabilities, masks, ids = random_case()
    table = score_images(probabilities, masks, ids, 0.4)
    for i, mask in enumerate(masks):
        truth, predicted = mask.ravel(), (probabilities[i] > np.float32(0.4)).ravel()
        assert table["dice"][i] == pytest.approx(metrics.f1_score(truth, predicted))
        assert table["iou"][i] == pytest.approx(metrics.jaccard_score(truth, predicted))
        assert table["precision"][i] == pytest.approx(metrics.precision_score(truth, predicted))
        assert table["recall"][i] == pytest.approx(metrics.recall_score(truth, predicted))
        assert table["accuracy"][i] == pytest.approx(metrics.accuracy_score(truth, predicted))


def test_summary_agrees_with_sklearn_over_all_pixels():
    probabilities, masks, ids = random_case()
    table = score_images(probabilities, masks, ids)
    summary = summarise(table, probabilities, masks)
    truth, predicted = masks.ravel(), (probabilities > 0.5).ravel()
    assert summary["accuracy"] == pytest.approx(metrics.accuracy_score(truth, predicted))
    assert summary["precision"] == pytest.approx(metrics.precision_score(truth, predicted))
    assert summary["recall"] == pytest.approx(metrics.recall_score(truth, predicted))
    assert summary["f1"] == pytest.approx(metrics.f1_score(truth, predicted))
    assert summary["auc"] == pytest.approx(metrics.roc_auc_score(truth, probabilities.ravel()))
    assert summary["dice"] == pytest.approx(table["dice"].mean())
    assert pixelwise.confusion_matrix(table).tolist() == metrics.confusion_matrix(truth, predicted).tolist()
    report = metrics.classification_report(truth, predicted, target_names=["background", "foreground"], digits=4)
    assert pixelwise.classification_report(table).split() == report.split()


def test_figures_and_columns_are_those_of_the_table():
    probabilities, masks, ids = random_case()
    square, pixels = names("model", figures=True), names("pixels")
    table = score_images(probabilities, masks, ids)
    assert list(table)[7:] == names("model")
    assert list(summarise(table, probabilities, masks)) == list(dict.fromkeys(square + pixels))
    table = score_images(probabilities, masks, ids, 0.5, lambda i: masks[i].astype(np.uint16))
    assert list(table)[7:] == names("model") + names("native") + names("objects")
    native = names("native", figures=True) + names("objects", figures=True)
    assert list(summarise(table, probabilities, masks)) == list(dict.fromkeys(square + native + pixels))
    kept = {"dice", "iou", "boundary_f1", "accuracy", "precision", "recall", "f1", "auc", "ece", "soft_dice"}
    kept |= {"native_dice", "native_iou", "ap50", "ap_dsb", "count_error"}
    assert kept <= set(summarise(table, probabilities, masks))  # names that runs in the world have


def test_every_metric_has_its_perfect_score_for_a_perfect_answer_and_none_is_better():
    probabilities, masks, ids = random_case()
    for i, found in enumerate((masks.astype(np.float32), probabilities)):
        table = score_images(found, masks, ids, 0.5, lambda i: components(masks[i] > 0).astype(np.uint16))
        figures = summarise(table, found, masks)
        for row in TABLE:
            if row.perfect is None or row.at == "sections":
                continue
            values = np.atleast_1d(figures[row.name] if row.at == "pixels" else table[row.name])
            assert np.all((values >= 0) if row.perfect == 0 else (values >= 0) & (values <= 1)), row.name
            assert np.allclose(values, row.perfect) if i == 0 else not np.allclose(values, row.perfect), row.name


def test_what_is_compared_is_at_native_size_and_has_a_word_of_its_own():
    assert list(METRICS)[:2] == ["native_v_rand", "native_dice"]  # the first that all runs have ranks
    assert all(row.at in ("native", "objects", "sections") for row in TABLE if row.compared)
    assert len({row.words for row in TABLE}) == len(TABLE)
    assert names("sections") == list(membranes.SCORES)


def test_soft_dice_is_a_mean_over_batches_of_four_as_its_source_has_it():
    probabilities, masks, ids = random_case(n=6)
    table = score_images(probabilities, masks, ids)
    by_hand = []
    for batch in (slice(0, 4), slice(4, 6)):
        p, t = probabilities[batch].astype(float), masks[batch].astype(float)
        by_hand.append((2 * (p * t).sum() + 1e-5) / (p.sum() + t.sum() + 1e-5))
    assert summarise(table, probabilities, masks)["soft_dice"] == pytest.approx(np.mean(by_hand))
    assert intervals.pooled_interval(table, "soft_dice").mean == pytest.approx(np.mean(by_hand))


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


@pytest.mark.parametrize(("row", "column", "expected"), [(5, 7, 1.0), (6, 6, 1.0), (5, 8, 0.0), (6, 7, 0.0)])
def test_boundary_tolerance_is_two_pixels_in_a_straight_line(row, column, expected):
    truth, predicted = np.zeros((2, 1, 12, 12), dtype=bool)
    truth[0, 5, 5] = predicted[0, row, column] = True  # a step of (1, 2) is the square root of 5 long
    assert boundary.boundary_f1(predicted, truth)[0] == expected


def test_boundary_f1_by_hand():
    # The edge of a 3 x 3 square is its 8 outer pixels; the prediction finds them all and adds a far pixel:
    # precision 8 / 9, recall 1.
    truth = np.zeros((1, 12, 12), dtype=bool)
    truth[0, 1:4, 1:4] = True
    predicted = truth.copy()
    predicted[0, 10, 10] = True
    assert boundary.boundary_f1(predicted, truth)[0] == pytest.approx(2 * (8 / 9) / (8 / 9 + 1))


def test_masks_without_a_boundary_agree_or_not():
    full = np.ones((1, 8, 8), dtype=bool)
    assert boundary.boundary_f1(full, full)[0] == 1.0
    assert boundary.boundary_f1(full, ~full)[0] == boundary.boundary_f1(~full, full)[0] == 0.0


def test_the_image_s_frame_is_no_boundary():
    half = np.zeros((1, 128, 128), dtype=bool)
    half[:, :, :60] = True
    far, near = np.roll(half, 20, axis=2), np.roll(half, 2, axis=2)
    far[:, :, :20] = near[:, :, :2] = True
    assert boundary.boundary_f1(far, half)[0] == 0.0  # counting the frame, 0.6
    assert boundary.boundary_f1(near, half)[0] == 1.0
    assert boundary.boundary_f1(np.ones_like(half), half)[0] == 0.0  # no line drawn at all
    inset = half.copy()
    inset[:, 0] = False  # foreground that ends one pixel before the frame does end there
    assert 0.6 < boundary.boundary_f1(half, inset)[0] < 1.0


def test_native_scores_by_hand():
    # At 4 x 4 the left half is foreground; resized to 8 x 8 and cut at 0.5 it is the left half again.
    probabilities = np.zeros((1, 4, 4), dtype=np.float32)
    probabilities[0, :, :2] = 1
    masks = probabilities.astype(np.uint8)
    labels = np.zeros((8, 8), dtype=np.uint16)
    labels[:4, :4], labels[4:, :4] = 1, 2
    row = score_images(probabilities, masks, ["a"], 0.5, lambda i: labels).iloc[0]
    assert row.native_dice == row.native_iou == 1.0
    # The two touching objects are found as one: no overlap above 1/2.
    assert (row.ap50, row.count_true, row.count_predicted, row.count_error) == (0.0, 2, 1, 1)


def test_native_mean_threshold_is_that_of_the_model_s_size():
    probabilities = np.full((1, 2, 2), 0.5, dtype=np.float32)
    probabilities[0, 0, 0] = 0.7
    labels = np.ones((2, 2), dtype=np.uint16)
    row = score_images(probabilities, labels[None].astype(np.uint8), ["a"], "mean", lambda i: labels).iloc[0]
    assert row.native_iou == row.iou == 0.25


def test_score_native_takes_any_mask():
    image = np.full((9, 7, 1), 10, dtype=np.uint8)
    image[2:5, 2:5] = 240
    labels = (image[:, :, 0] > 100).astype(np.uint16)
    table = score_native(lambda i, h, w: otsu_masks(image[None])[0] > 0, lambda i: labels, 1)
    assert table.loc[0, ["native_dice", "ap_dsb", "count_error"]].tolist() == [1, 1, 0]


def test_best_threshold_by_hand():
    # Between 0.40 and 0.60 both images are perfect; of those 0.5 itself is the middle.
    probabilities = stack([0.9, 0.62, 0.1], [0.7, 0.3, 0.38])
    assert thresholds.best_threshold(probabilities, masks_of([1, 1, 0], [1, 0, 0])) == 0.5
    assert thresholds.best_threshold(stack([0.15, 0.04]), masks_of([1, 0])) == 0.10


def test_best_threshold_agrees_with_scoring_at_each():
    probabilities, masks, ids = random_case()
    masks[0] = 0
    dice = [score_images(probabilities, masks, ids, t)["dice"].mean() for t in thresholds.THRESHOLDS]
    assert thresholds.best_threshold(probabilities, masks) == pytest.approx(thresholds.THRESHOLDS[int(np.argmax(dice))])


def test_values_on_a_threshold_are_below_it():
    grid = thresholds.THRESHOLDS.astype(np.float32)
    masks = (np.arange(19) >= 10).astype(np.uint8)[None, None]
    assert thresholds.best_threshold(grid[None, None], masks) == thresholds.THRESHOLDS[9]


def test_interval_holds_the_mean_and_is_repeatable():
    values = np.random.default_rng(0).beta(8, 2, 80)
    found = intervals.interval(values)
    half = 1.96 * values.std(ddof=1) / np.sqrt(80)
    assert found.low < found.mean < found.high
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)
    assert found == intervals.interval(pd.Series(values))


@pytest.mark.parametrize("values", [[0.3, 0.3, 0.3], [1.0] * 50, [0.0, 0.0]])
def test_interval_of_equal_values_is_a_point(values):
    assert intervals.interval(values) == pytest.approx((values[0],) * 3)


def test_interval_of_too_few_values():
    assert intervals.interval([0.5]) == pytest.approx((0.5, np.nan, np.nan), nan_ok=True)
    assert np.isnan(intervals.interval([]).mean)


def test_interval_of_nearly_equal_values():
    found = intervals.interval([1.0] * 60 + [0.0])
    assert 0.9 < found.low < found.mean < found.high <= 1.0


def test_paired_interval_by_hand():
    # Differences 1, 2, 3, 4: of 16 flips of signs only two are as far from 0 as all equal: p = 2 / 16.
    found = intervals.paired_interval([2, 4, 6, 8], [1, 2, 3, 4])
    assert found.mean == 2.5
    assert found.p_value == pytest.approx(2 / 16)
    reach = 3.1824 * np.sqrt(5 / 3) / 2  # Student's t with 3 degrees of freedom: four differences say no more
    assert (found.low, found.high) == pytest.approx((2.5 - reach, 2.5 + reach), abs=1e-3)


def test_paired_interval_finds_a_small_shift_between_spread_images():
    rng = np.random.default_rng(2)
    base = rng.uniform(0.3, 0.9, 60)
    found = intervals.paired_interval(base + 0.01 + 0.01 * rng.standard_normal(60), base)
    assert found.low > 0 and found.p_value < 0.001
    swapped = intervals.paired_interval(base, base)
    assert swapped == (0.0, 0.0, 0.0, 1.0)


def test_paired_interval_refuses_unequal_lengths():
    with pytest.raises(ValueError, match=r"Received: \(2,\) and \(3,\)"):
        intervals.paired_interval([1, 2], [1, 2, 3])


@pytest.mark.parametrize(
    ("probabilities", "masks", "message"),
    [
        (np.zeros((1, 2, 2)), np.zeros((1, 2, 3)), "Received"),
        (np.zeros((2, 2)), np.zeros((2, 2)), "Received"),
        (np.full((1, 2, 2), 1.5), np.zeros((1, 2, 2)), "1.5"),
        (np.full((1, 2, 2), np.nan), np.zeros((1, 2, 2)), "nan"),
        (np.zeros((1, 2, 2)), np.full((1, 2, 2), 255), "255"),
        (np.zeros((0, 2, 2)), np.zeros((0, 2, 2)), "0 ids"),
    ],
)
def test_errors_say_what_came(probabilities, masks, message):
    with pytest.raises(ValueError, match=message):
        score_images(probabilities.astype(np.float32), masks.astype(np.uint8), ["a"] * len(masks))
