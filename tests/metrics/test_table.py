"""The table of scores against arithmetic done by hand and against scikit-learn."""

import zipfile

import numpy as np
import pandas as pd
import pytest
from small_scores import masks_of, random_case, stack

from benchmarks.scoring import answers, plain_scores
from unetlab.data import open_dataset
from unetlab.images.otsu import otsu_mask
from unetlab.images.regions import components
from unetlab.metrics import membranes
from unetlab.metrics.objects import on_known
from unetlab.metrics.table import METRICS, TABLE, names, score_images, score_native, summarise


def test_only_greater_than_the_threshold_is_foreground():
    table = score_images(stack([0.5, 0.25, 0.75]), masks_of([1, 1, 1]), ["a"], 0.5)
    assert table["tp"][0] == 1


def test_mean_threshold_is_each_image_s_own():
    # Means 0.2 and 0.7: the first image's 0.4 counts, the second's 0.6 does not.
    table = score_images(stack([0.4, 0.0], [0.8, 0.6]), masks_of([1, 0], [1, 0]), ["a", "b"], "mean")
    assert table["dice"].tolist() == [1.0, 1.0]


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
    assert (row.ap50, row.count_true, row.count_predicted, row.count_error) == (0.0, 2, 1, 0.5)


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
    table = score_native(lambda i, h, w: otsu_mask(image), lambda i: labels, 1)
    assert table.loc[0, ["native_dice", "ap_dsb", "count_error"]].tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    ("probabilities", "masks", "message"),
    [
        (np.zeros((1, 2, 2)), np.zeros((1, 2, 3)), "Received"),
        (np.zeros((2, 2)), np.zeros((2, 2)), "Received"),
        (np.full((1, 2, 2), 1.5), np.zeros((1, 2, 2)), "1.5"),
        (np.full((1, 2, 2), np.nan), np.zeros((1, 2, 2)), "nan"),
        (np.zeros((1, 2, 2)), np.full((1, 2, 2), 2), "value of 2"),
        (np.zeros((0, 2, 2)), np.zeros((0, 2, 2)), "0 ids"),
    ],
)
def test_errors_say_what_came(probabilities, masks, message):
    with pytest.raises(ValueError, match=message):
        score_images(probabilities.astype(np.float32), masks.astype(np.uint8), ["a"] * len(masks))


def _same_as_plain(masks, truths):
    found = score_native(lambda i, height, width: masks[i], lambda i: truths[i], len(truths))
    plain = pd.DataFrame([plain_scores(*each) for each in zip(masks, truths, strict=True)])
    pd.testing.assert_frame_equal(found[list(plain)], plain, rtol=1e-12, atol=0)
    assert set(found) == set(plain)


def test_native_scores_are_those_of_the_plain_way():
    touching = np.zeros((33, 70), np.uint16)
    touching[2:20, 3:30], touching[2:20, 30:66], touching[20:31, 10:40] = 1, 2, 700
    one = np.ones((1, 1), np.uint8)
    truths = [touching, touching * 0, touching * 0 + 1, touching, touching, one, one, one * 0]
    unknown = touching > 0
    unknown[:, 25:45] = False  # where labels are unknown nothing is true and nothing found
    truths[4] = np.where(unknown, touching, 0).astype(np.uint16)
    every = np.ones_like(touching, bool)
    masks = [np.roll(touching > 0, 1, axis=0), every, every, ~every, np.roll(touching > 0, 2, axis=1) & unknown]
    masks += [one > 0, one < 1, one < 1]
    _same_as_plain(masks, truths)


def test_real_nuclei_have_the_scores_of_the_plain_way(real_data, tmp_path):
    with zipfile.ZipFile(real_data / "stage1_train.zip") as every, zipfile.ZipFile(tmp_path / "few.zip", "w") as few:
        names = [name for name in every.namelist() if name.endswith(".png")]
        for kept in sorted({name.split("/")[1] for name in names})[::30]:
            for name in names:
                if f"/{kept}/" in name:
                    few.writestr(name, every.read(name))
    dataset = open_dataset(str(tmp_path / "few.zip"))
    truths = [dataset.objects(i) for i in range(len(dataset))]
    assert len(truths) > 10 and min(truth.max() for truth in truths) > 1
    _same_as_plain(answers(truths), truths)


def test_an_image_is_cut_as_it_would_be_served_and_then_what_nobody_knows_is_left_out():
    found = np.full((1, 8, 8), 0.6, np.float32)
    found[0, :, 4:] = 0.9
    mask = np.ones((1, 8, 8), np.uint8)
    mask[0, :, 4:] = 255
    labels, known = np.zeros((64, 64), np.uint16), np.zeros((64, 64), bool)
    labels[:, :32], known[:, :32] = 1, True
    told = {"native_labels": lambda i: labels, "native_known": lambda i: known}
    half = score_images(found, mask, ["a"], 0.5, **told).iloc[0]
    assert half["dice"] == half["native_dice"] == half["ap50"] == 1
    mean = score_images(found, mask, ["a"], "mean", **told).iloc[0]
    assert mean["dice"] == mean["native_dice"] == 0  # 0.75 is the mean of all of it


def test_what_nobody_knows_counts_as_little_as_if_it_were_cut_off():
    """The left half is known; pixels of the right half are found at random. Accuracy, AUC and calibration count what is
    rightly left empty too, and so would see it."""
    random = np.random.default_rng(3)
    found, mask = random.random((3, 12, 16), np.float32), (random.random((3, 12, 16)) > 0.5).astype(np.uint8)
    known = np.zeros((12, 16), bool)
    known[:, :8] = True
    doubted = np.where(known, mask, np.uint8(255))
    ids, told = list("abc"), {"native_known": lambda i: known}
    told["native_labels"] = lambda i: components((mask[i] > 0) & known).astype(np.uint16)
    told["native_objects"] = lambda i, each: components(each & known)
    half = score_images(found, doubted, ids, 0.6, **told)
    own = {"native_labels": lambda i: components(mask[i, :, :8] > 0).astype(np.uint16)}
    cut = score_images(found[..., :8], mask[..., :8], ids, 0.6, **own)
    pd.testing.assert_frame_equal(half, cut, rtol=1e-6)  # the end of what is known is no boundary, as a frame is none
    lines = [each[known] for each in found], [each[known] for each in mask]
    figures, plain = summarise(half, *lines), summarise(cut, found[..., :8], mask[..., :8])
    assert 0.3 < plain["accuracy"] < 0.7 and 0.3 < plain["auc"] < 0.7
    assert {name: figures[name] for name in ("accuracy", "auc", "ece", "f1")} == pytest.approx(
        {name: plain[name] for name in ("accuracy", "auc", "ece", "f1")}
    )


def test_a_sliver_of_an_object_that_nobody_knows_is_no_object():
    labels, nothing = np.zeros((10, 20), np.uint16), np.zeros((10, 20), np.uint16)
    labels[2:8, 1:9], labels[2:8, 9:19] = 4, 9
    known = np.zeros(labels.shape, bool)
    known[:, :10] = True
    assert np.array_equal(on_known(labels, known, nothing), np.where(labels == 4, 4, 0))
    assert np.array_equal(on_known(labels, known, labels * known), labels * known)  # a true one that goes on there
    known[:, :14] = True  # half of it
    assert (
        np.array_equal(on_known(labels, known, nothing), labels * known) and on_known(labels, True, nothing) is labels
    )
