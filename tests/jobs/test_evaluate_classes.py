"""Models of classes on labelled data: their own classes in any order, and what others get."""

import io
from dataclasses import replace

import matplotlib.image
import mlflow
import numpy as np
import pandas as pd
import pytest
import small_classes
from click.testing import CliRunner
from conftest import encoded, write_pairs
from taught_models import tiny
from tiny_setup import QUIET, TINY

from unetlab.cli.main import main
from unetlab.data import open_dataset
from unetlab.errors import UserError
from unetlab.jobs.evaluate import evaluate
from unetlab.jobs.run import run_setup
from unetlab.options import Options
from unetlab.service.predict import predict_folder
from unetlab.tracking import read, thumbnails

NAMES = ["pans", "eggs"]


def write_classes(folder, table: str, values: tuple[int, int] = (1, 2), n: int = 6):
    """images/ of a red and a green square on black, and masks/ that have the two values of `values` there."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for i in range(n):
        classes = np.zeros((40, 48), np.uint8)
        classes[4 + i : 20, 4:20], classes[24:36, 20 + i : 40] = 1, 2
        image = np.zeros((40, 48, 3), np.uint8)
        image[classes == 1, 0], image[classes == 2, 1] = 255 - 8 * i, 255 - 5 * i
        (folder / "images" / f"a{i}.png").write_bytes(encoded(image))
        (folder / "masks" / f"a{i}.png").write_bytes(encoded(np.array([0, *values], np.uint8)[classes]))
    if table:
        (folder / "masks" / "classes.csv").write_text(table)
    return folder


@pytest.mark.parametrize(
    ("table", "reading", "said"),
    [
        ("value,name\n1,pans\n2,lids\n", "auto", "in the masks of .* classes are pans, lids; give masks whose values"),
        ("value,name\n1,pans\n2,eggs\n3,lids\n", "auto", "classes are pans, eggs, lids; give masks"),
        ("", "classes", "classes are class 1, class 2; give masks"),
        ("", "auto", "values mean one foreground; give masks whose values are named the same in a classes.csv"),
    ],
)
def test_other_classes_than_the_models_are_one_line_that_names_both(store, tmp_path, table, reading, said):
    data = write_classes(tmp_path / "data", table)
    model = tiny(classes=NAMES)
    asked = ["evaluate", "--model", model, "--data", str(data), "--masks", reading]
    answer = CliRunner().invoke(main, asked)
    assert (
        answer.exit_code == 2 and answer.stderr.count("\n") == 1 and f"{model} tells pans, eggs apart" in answer.stderr
    )
    with pytest.raises(UserError, match=said):
        evaluate(model, str(data), reading={"masks": reading, "channels": "", "pages": "all"})


def test_a_model_of_classes_wants_classes_and_one_mask_takes_any_for_foreground(store, tmp_path, pairs):
    with pytest.raises(UserError, match="values mean one foreground"):
        evaluate(tiny(classes=NAMES), str(write_pairs(tmp_path / "more")))
    data = write_classes(tmp_path / "data", "value,name\n1,pans\n2,lids\n")
    found = evaluate(tiny(), str(data))
    assert found.figures["test/images"] == 6


@pytest.mark.parametrize("table", ["value,name\n1,pans\n2,eggs\n", "value,name\n2,eggs\n1,pans\n7,unknown\n"])
def test_a_model_of_classes_is_scored_by_class_in_whatever_order_the_data_have_them(store, tmp_path, table):
    data = write_classes(tmp_path / "data", table)
    mask = np.zeros((40, 48), np.uint8)
    mask[4:20, 4:12], mask[4:20, 12:20], mask[24:36, 20:40] = 1, 2, 2  # half of the pan is said to be an egg
    (data / "masks" / "a0.png").write_bytes(encoded(mask))
    model = tiny(classes=NAMES, view="patches")
    found = evaluate(model, str(data), groups="off")
    run = read.find_one(found.run_id)
    rows = read.table(run).set_index("id")
    assert (
        rows.drop(index="a0")[["native_dice", "native_dice/pans", "native_dice/eggs", "accuracy"]].to_numpy() == 1
    ).all()
    pans, eggs = 2 * 128 / (256 + 128), 2 * 240 / (240 + 368)
    assert rows.loc["a0", ["native_dice/pans", "native_dice/eggs"]].tolist() == pytest.approx([pans, eggs])
    assert rows.loc["a0", "native_dice"] == pytest.approx((pans + eggs) / 2)
    assert rows.loc["a0", "union_native_dice"] == 1 and rows.loc["a0", "accuracy"] == pytest.approx(1 - 128 / 1920)
    assert found.figures["test/native_dice/pans"] == pytest.approx((5 + pans) / 6)
    assert found.figures["test/native_dice_low/pans"] < 1 and found.figures["test/native_dice"] < 1
    assert found.figures["test/precision"] < 1 and "baseline/otsu_native_dice" in found.figures
    assert {"classes": ", ".join(open_dataset(str(data)).classes[1:]), "otsu_class": "eggs"}.items() <= run.tags.items()
    assert "of classes: " in found.headline() and f"pans {(5 + pans) / 6:.4f}" in found.headline()
    report = read.artifact(run, "classification_report.txt").decode()
    assert "pans" in report and "eggs" in report
    for name in ("predictions.png", "objects.png", "classes.png", "confusion.png", "test_dice.png"):
        assert matplotlib.image.imread(io.BytesIO(read.artifact(run, name))).std() > 0.05
    album = thumbnails.unpack(read.artifact(run, thumbnails.PATH))
    assert album.ids == tuple(rows.index) and set(np.unique(album.masks)) == {0, 1, 2}


def test_what_is_unknown_counts_in_no_score(store, tmp_path):
    data = write_classes(tmp_path / "data", "value,name\n1,pans\n2,eggs\n3,unknown\n", n=3)
    mask = np.zeros((40, 48), np.uint8)
    mask[4:20, 4:12], mask[4:20, 12:20], mask[24:36, 20:40] = 1, 3, 2
    (data / "masks" / "a0.png").write_bytes(encoded(mask))
    found = evaluate(tiny(classes=NAMES, view="patches"), str(data))
    assert found.figures["test/native_dice"] == 1 and found.figures["test/accuracy"] == 1
    for i in range(3):  # what is known is found, or wrongly found
        mask = np.full((40, 48), 3, np.uint8)
        mask[4 + i : 20, 4:12], mask[24:36, 20 + i : 40] = 0, 2
        (data / "masks" / f"a{i}.png").write_bytes(encoded(mask))
    found = evaluate(tiny(classes=NAMES, view="patches"), str(data), allow_seen=True)
    assert found.figures["test/accuracy"] == pytest.approx(684 / (684 + 360))


@pytest.mark.slow  # half a minute
def test_a_trained_model_is_evaluated_and_predicts_as_its_run_tested_it(store, tmp_path):
    data = small_classes.write_classes(tmp_path / "cells", n=16)
    learns = replace(TINY, recipe=TINY.recipe.changed({"epochs": 8, "filters": 6, "objects": "watershed"}))
    done = run_setup(learns, Options(data=str(data), seed=1), QUIET)
    model = f"models:/{done.model_id}"
    own = read.table(read.record(mlflow.get_run(done.run_id))).set_index("id")
    found = evaluate(model, str(data), allow_seen=True)
    again = read.table(read.find_one(found.run_id)).set_index("id").loc[own.index]
    served = [name for name in again if name.startswith(("native_", "union_", "ap", "pq", "f1_", "count_", "otsu_"))]
    assert len(served) > 20 and again["native_dice"].min() < 1
    pd.testing.assert_frame_equal(again[served], own[served], check_dtype=False)

    predict_folder(model, data / "images", tmp_path / "out")
    counts = pd.read_csv(tmp_path / "out" / "class_counts.csv").pivot(index="image", columns="class", values="objects")
    for name in small_classes.NAMES:
        told = own[f"count_predicted/{name}"].fillna(0)  # of a class neither there nor found
        assert counts.loc[own.index, name].tolist() == told.tolist()
