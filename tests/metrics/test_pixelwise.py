"""Scores pixel by pixel, against arithmetic done by hand and against scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics
from small_scores import masks_of, random_case, stack

from unetlab.metrics import intervals, pixelwise
from unetlab.metrics.table import score_images, summarise


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


def test_soft_dice_is_a_mean_over_batches_of_four_as_its_source_has_it():
    probabilities, masks, ids = random_case(n=6)
    table = score_images(probabilities, masks, ids)
    by_hand = []
    for batch in (slice(0, 4), slice(4, 6)):
        p, t = probabilities[batch].astype(float), masks[batch].astype(float)
        by_hand.append((2 * (p * t).sum() + 1e-5) / (p.sum() + t.sum() + 1e-5))
    assert summarise(table, probabilities, masks)["soft_dice"] == pytest.approx(np.mean(by_hand))
    assert intervals.pooled_interval(table, "soft_dice").mean == pytest.approx(np.mean(by_hand))
