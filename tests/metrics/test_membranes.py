"""V_rand and V_info against sums done by hand and against scikit-image's contingency-based measures."""

import numpy as np
import pytest
from skimage.metrics import adapted_rand_error

from unetlab.metrics.baselines import dice_of
from unetlab.metrics.membranes import best_cut, rand_info, score_sections, thinned_regions

TWO_CELLS = np.array([[1, 1, 0, 1, 1]] * 2, dtype=np.uint8)


def test_perfect_segmentation_scores_one():
    assert rand_info(thinned_regions(TWO_CELLS > 0), TWO_CELLS) == pytest.approx((1.0, 1.0))


def test_merger_by_hand():
    # Two cells of 4 pixels, one region over both: overlaps 4 and 4, region 8.
    # v_rand = 2 (16 + 16) / (64 + 16 + 16) = 2/3. The region tells nothing about the cell: no mutual information.
    scores = rand_info(np.ones((2, 5), dtype=int), TWO_CELLS)
    assert scores.v_rand == pytest.approx(2 / 3)
    assert scores.v_info == 0.0


def test_split_by_hand():
    # One cell of 8 pixels in regions of 2 and 6: v_rand = 2 (4 + 36) / (4 + 36 + 64) = 80 / 104.
    # One cell has no entropy, so nothing is shared: v_info 0.
    regions = np.array([[1, 2, 2, 2]] * 2)
    scores = rand_info(regions, np.ones((2, 4), dtype=np.uint8))
    assert scores == pytest.approx((80 / 104, 0.0))


def test_cells_that_are_numbered_may_touch():
    touching = np.array([[3, 3, 8, 8]] * 2, dtype=np.uint8)
    assert rand_info(np.array([[1, 1, 2, 2]] * 2), touching) == pytest.approx((1.0, 1.0))
    assert rand_info(np.ones((2, 4), dtype=int), touching) == pytest.approx((2 / 3, 0.0))  # a merger, as above


def test_line_inside_a_cell_is_a_region_per_pixel():
    # Cells of 4 and 4; the second is cut: its pixels fall 2 to region 2 and 2 to a line.
    # Regions 4, 2, 1, 1: v_rand = 2 (16 + 4 + 1 + 1) / (22 + 32) = 44 / 54.
    # H(cells) = log 2, H(regions) = H(overlaps) = 1/2 log 2 + 1/4 log 4 + 2/8 log 8 = 1.75 log 2,
    # I = log 2: v_info = 2 / 2.75.
    regions = np.array([[1, 1, 0, 0, 2]] * 2)
    assert rand_info(regions, TWO_CELLS) == pytest.approx((44 / 54, 2 / 2.75))


def test_true_membranes_do_not_count():
    wide, thin = np.array([[1, 1, 0, 2, 2]] * 2), np.array([[1, 1, 2, 2, 2]] * 2)
    assert rand_info(wide, TWO_CELLS) == rand_info(thin, TWO_CELLS) == pytest.approx((1.0, 1.0))


def test_single_cell_found_whole_scores_one():
    assert rand_info(np.ones((3, 3), dtype=int), np.ones((3, 3), dtype=np.uint8)) == (1.0, 1.0)


def test_thinning_leaves_one_pixel_between_cells_and_no_dead_end():
    cells = np.ones((9, 15), dtype=bool)
    cells[:, 5:10] = False  # a membrane five pixels wide
    cells[4, 10:13] = False  # and a dead end
    regions = thinned_regions(cells)
    assert ((regions == 0).sum(axis=1) == 1).all()
    assert set(np.unique(regions)) == {0, 1, 2}


def test_thinning_without_cells_is_one_region():
    assert (thinned_regions(np.zeros((3, 4), dtype=bool)) == 1).all()


def test_v_rand_equals_scikit_image_where_there_are_no_lines():
    rng = np.random.default_rng(0)
    truth = np.ones((40, 40), dtype=np.uint8)
    truth[::8] = truth[:, ::8] = 0
    regions = rng.integers(1, 5, (5, 5)).repeat(8, axis=0).repeat(8, axis=1)
    labels = (np.arange(5)[:, None] * 5 + np.arange(5) + 1).repeat(8, axis=0).repeat(8, axis=1) * truth
    error, _, _ = adapted_rand_error(labels, regions, ignore_labels=(0,))
    # scikit-image leaves out the pairs of a pixel with itself, so agreement is to 1 / area.
    assert rand_info(regions, truth).v_rand == pytest.approx(1 - error, abs=0.02)


def test_best_cut_splits_what_a_low_one_merges():
    truth = np.ones((2, 20, 21), dtype=np.uint8)
    truth[:, :, 10] = 0
    probability = np.where(truth > 0, 0.95, 0.65).astype(np.float32)
    assert best_cut(probability, truth) == 0.7  # the lowest cut above 0.65
    table = score_sections(probability > 0.7, truth)
    assert table["native_v_rand"].tolist() == table["native_v_info"].tolist() == pytest.approx([1.0, 1.0])
    assert (score_sections(probability > 0.6, truth)["native_v_rand"] < 0.7).all()


def test_sections_may_differ_in_size_and_one_without_a_cell_splits_nothing():
    truths = [np.ones((20, 21), dtype=np.uint16), np.zeros((8, 9), dtype=np.uint16)]
    table = score_sections([truth > 0 for truth in truths], truths)
    assert table["native_v_rand"].tolist() == [1.0, 1.0]
    assert best_cut([truth.astype(np.float32) for truth in truths], truths) == 0.5  # all cuts alike: the middle


def test_all_inside_looks_good_to_dice_and_not_to_v_rand():
    truth = np.ones((64, 64), dtype=np.uint16)
    truth[::8] = truth[:, ::8] = 0
    inside = np.ones((64, 64), dtype=bool)
    assert dice_of(inside, truth > 0) > 0.85
    assert score_sections([inside], [truth])["native_v_rand"][0] < 0.05


def test_errors_say_what_came():
    with pytest.raises(ValueError, match=r"\(2, 2\) and \(3, 3\)"):
        rand_info(np.ones((2, 2), dtype=int), np.ones((3, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match="0 pixels inside cells"):
        rand_info(np.ones((2, 2), dtype=int), np.zeros((2, 2), dtype=np.uint8))
