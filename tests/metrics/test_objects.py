"""Objects found and matched, against counts done by hand."""

import time

import numpy as np
import pytest

from benchmarks.scoring import plain_overlaps
from unetlab.images.regions import components
from unetlab.metrics.objects import average_precision, f1, overlaps, panoptic_quality, score_objects


def strip(*areas: int) -> np.ndarray:
    """A row of touching objects of the given areas; 0 leaves no object but keeps the label free."""
    return np.repeat(np.arange(1, len(areas) + 1), areas)[None].astype(np.uint16)


def test_components_touch_by_edge_not_by_corner():
    mask = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 1]], dtype=bool)
    assert components(mask).tolist() == [[1, 0, 0], [0, 2, 2], [0, 0, 2]]


def test_overlaps_of_touching_objects():
    # True objects of 4 and 6 pixels side by side, predicted 5 and 5: pairs (1,1) 4/5, (2,1) 1/10, (2,2) 5/6.
    found = overlaps(strip(4, 6), strip(5, 5))
    assert found.intersection.tolist() == [4, 1, 5]
    assert found.union.tolist() == [5, 10, 6]
    assert (found.n_true, found.n_predicted) == (2, 2)


def test_average_precision_by_hand():
    # From the pairs above, 0.80 and 0.833: both hit at 0.50 to 0.75; at 0.80 the first, not greater, is lost:
    # 1 / (1 + 1 + 1); from 0.85 none.
    expected = [1.0] * 6 + [1 / 3] + [0.0] * 3
    assert average_precision(overlaps(strip(4, 6), strip(5, 5))) == pytest.approx(expected)
    assert score_objects(strip(5, 5), strip(4, 6))["ap_dsb"] == pytest.approx((6 + 1 / 3) / 10)


def test_overlap_of_exactly_one_half_is_no_hit():
    true, predicted = np.array([[1, 1, 0]]), np.array([[0, 1, 0]])
    assert score_objects(predicted, true)["ap50"] == 0.0


def test_overlap_of_exactly_eleven_twentieths_is_no_hit_at_that_threshold():
    true = np.ones((1, 20), dtype=np.uint16)
    predicted = (np.arange(20) < 11)[None].astype(np.uint16)
    assert average_precision(overlaps(true, predicted)).tolist() == [1.0] + [0.0] * 9


def test_merged_pair_is_one_object_of_two():
    # Two nuclei of 10 pixels predicted as one of 20: IoU 1/2 with either, no hit: 0 / (0 + 1 + 2).
    scores = score_objects(strip(20), strip(10, 10))
    expected = {"ap50": 0.0, "ap_dsb": 0.0, "count_true": 2, "count_predicted": 1, "count_error": 0.5}
    assert {name: scores[name] for name in expected} == expected


def test_one_pixel_objects():
    true = np.zeros((5, 5), dtype=np.uint16)
    true[1, 1], true[3, 3] = 1, 2
    predicted = np.zeros((5, 5), dtype=np.int32)
    predicted[1, 1] = 1
    # One hit at every threshold, one missed: 1 / (1 + 0 + 1).
    assert score_objects(predicted, true)["ap_dsb"] == 0.5


@pytest.mark.parametrize(("true", "predicted", "expected"), [(0, 0, 1.0), (0, 1, 0.0), (1, 0, 0.0), (1, 1, 1.0)])
def test_empty_sides(true, predicted, expected):
    scores = score_objects(np.full((2, 2), predicted), np.full((2, 2), true))
    assert scores["ap50"] == scores["ap_dsb"] == expected
    assert scores["count_error"] == abs(true - predicted)


def test_gaps_in_labels_are_no_objects():
    true = np.array([[0, 7, 7, 0, 40000]], dtype=np.uint16)
    scores = score_objects((true > 0).astype(np.uint8), true)
    assert (scores["count_true"], scores["count_predicted"]) == (2, 1)


def test_agrees_with_one_loop_per_pair_of_objects():
    rng = np.random.default_rng(3)
    true = components(rng.random((60, 60)) < 0.4)
    predicted = components((true > 0) ^ (rng.random((60, 60)) < 0.05))
    hits = np.zeros(10)
    for i in range(1, true.max() + 1):
        for j in np.unique(predicted[true == i]):
            if j:
                iou = ((true == i) & (predicted == j)).sum() / ((true == i) | (predicted == j)).sum()
                hits += iou > np.arange(10, 20) / 20 + 1e-9
    expected = hits / (true.max() + predicted.max() - hits)
    assert average_precision(overlaps(true, predicted)) == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (30, 40), (0, 3)])
@pytest.mark.parametrize("density", [0.0, 0.02, 0.5, 1.0])
def test_runs_of_pixels_say_what_all_pixels_say(shape, density):
    rng = np.random.default_rng(int(100 * density))
    for kind in (np.uint8, np.uint16, np.int32):
        true = (rng.integers(0, 250, shape) * (rng.random(shape) < density)).astype(kind)
        predicted = 7 * components(rng.random(shape) < density)
        for found, plain in zip(overlaps(true, predicted), plain_overlaps(true, predicted), strict=True):
            assert np.array_equal(found, plain)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"Received: \(1, 10\) and \(1, 9\)"):
        overlaps(strip(10), strip(9))


def test_panoptic_quality_by_hand():
    # Overlaps 4/5 and 5/6 of two objects on either side: (0.8 + 0.833) / (2 + 0 + 0).
    assert panoptic_quality(overlaps(strip(4, 6), strip(5, 5))) == pytest.approx((4 / 5 + 5 / 6) / 2)
    # Two merged to one have an overlap of exactly 1/2 each, which is no hit.
    assert panoptic_quality(overlaps(strip(10, 10), strip(20))) == 0
    # One of 9 found as 6, one missed: (6 / 9) / (1 + 1 / 2).
    missed = np.zeros((1, 12), dtype=np.uint8)
    missed[0, :6] = 1
    assert panoptic_quality(overlaps(strip(9, 3), missed)) == pytest.approx(6 / 9 / 1.5)
    nothing = np.zeros((2, 2), np.uint8)
    assert panoptic_quality(overlaps(nothing, nothing)) == 1
    assert panoptic_quality(overlaps(nothing, nothing + 1)) == panoptic_quality(overlaps(nothing + 1, nothing)) == 0
    assert score_objects(strip(4, 6), strip(4, 6))["pq"] == 1


def test_f1_by_hand():
    scores = score_objects(strip(5, 5), strip(4, 6))
    assert (scores["f1_50"], scores["f1_70"]) == (1.0, 1.0)
    # Pairs 0.80 and 0.833, and one missed: 2 * 2 / (3 + 2) up to 0.7; exactly seven tenths, or eight, are no hit.
    both = overlaps(strip(4, 6, 2), np.pad(strip(5, 5), ((0, 0), (0, 2))))
    assert f1(both, 5) == f1(both, 7) == 2 * 2 / 5 and f1(both, 8) == 2 * 1 / 5
    assert f1(overlaps(strip(10), np.array([[1] * 7 + [0] * 3])), 7) == 0.0
    assert f1(overlaps(np.zeros((2, 2), int), np.zeros((2, 2), int)), 5) == 1.0


def test_the_error_of_the_count_is_a_share_of_the_true_objects():
    assert score_objects(strip(3, 3, 3, 3, 3), strip(15))["count_error"] == 4.0
    assert score_objects(strip(15), strip(3, 3, 3, 3, 3))["count_error"] == 0.8
    assert score_objects(strip(3, 3, 3), np.zeros((1, 9), int))["count_error"] == 3.0


def test_thousands_of_objects_are_scored_quickly():
    grid = np.arange(60 * 60).reshape(60, 60) + 1
    true = np.kron(grid, np.pad(np.ones((30, 30), int), 2)).astype(np.int32)
    started = time.perf_counter()
    scores = score_objects(np.roll(true, 3, axis=1), true)
    assert time.perf_counter() - started < 4
    # each shares 27 of its 30 columns: 27 / 33 = 0.82 passes 0.50 to 0.80
    assert scores["count_true"] == 3600 and scores["ap_dsb"] == pytest.approx(0.7)
