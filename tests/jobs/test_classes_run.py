"""Runs on data of several classes, from training to test scores."""

import io
import json
from dataclasses import replace
from types import SimpleNamespace

import mlflow
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from rich.console import Console
from small_classes import NAMES, write_classes
from tiny_setup import QUIET, TINY, children_of

from unetlab.comparison import report
from unetlab.comparison.compare import compare
from unetlab.data import open_dataset
from unetlab.errors import UserError
from unetlab.images import codecs
from unetlab.inference.package import SETTINGS
from unetlab.jobs import class_scores, self_training
from unetlab.jobs.run import run_setup
from unetlab.models.scratch import scratch_unet
from unetlab.options import Options
from unetlab.tracking import read, thumbnails

LEARNS = replace(TINY, recipe=TINY.recipe.changed({"epochs": 25, "filters": 6, "activation": "elu"}))


def said():
    """A console whose text is kept."""
    return Console(file=io.StringIO(), width=400)


@pytest.fixture
def cells(tmp_path):
    return write_classes(tmp_path / "cells", n=28)


def test_a_class_data_set_is_learnt_and_scored_class_by_class(store, cells):
    console = said()
    told = Options(data=str(cells), seed=1, objects="border", threshold="validation", precision="float32")
    done = run_setup(LEARNS, told, console)

    text = console.file.getvalue()
    assert "objects=border: a softmax over classes has no head" in text and "threshold=validation: none applies" in text
    assert done.figures["test/native_dice"] > 0.7 and "of classes: cell" in done.headline()
    for score in ("dice", "native_dice", "native_iou", "native_boundary_f1", "ap_dsb"):
        assert 0.3 < done.figures[f"test/{score}/cell"] <= 1, score
    assert done.figures["gain/over_otsu"] > 0.1 and done.figures["gain/over_constant"] > 0.3
    low, high = (done.figures[f"test/native_dice_{end}/cell"] for end in ("low", "high"))
    assert low <= done.figures["test/native_dice/cell"] <= high
    assert "test/native_dice_at_half" not in done.figures and not any("published" in name for name in done.figures)

    parent = read.record(mlflow.get_run(done.run_id))
    table = read.table(parent)
    assert {f"native_dice/{name}" for name in NAMES} <= set(table) and table["native_dice"].notna().all()
    per_class = table[[f"native_dice/{name}" for name in NAMES]]
    np.testing.assert_allclose(per_class.mean(axis=1), table["native_dice"])
    assert parent.tags["classes"] == "cell, mitosis, debris"
    (final,) = children_of(done.run_id)
    assert final.data.params["classes"] == "3"
    weights = json.loads(read.artifact(read.record(final), "class_weights.json"))
    assert list(weights) == ["background", *NAMES] and weights["debris"] > weights["cell"] > weights["background"]
    shown = read.artifact(read.record(final), "classification_report.txt").decode()
    assert all(name in shown for name in NAMES)
    album = thumbnails.unpack(read.artifact(parent, thumbnails.PATH))
    assert album.truth.dtype == np.uint8 and album.truth.max() > 1

    model = mlflow.pyfunc.load_model(f"models:/{done.model_id}")
    data = open_dataset(str(cells))
    image = (cells / "images" / f"{table['id'][0]}.png").read_bytes()
    answer = model.predict(pd.DataFrame({"image": [image]})).iloc[0]
    assert list(answer["class_names"]) == ["background", *NAMES] and "classes" in SETTINGS
    found = codecs.decode_labels(answer["classes"])
    truth = data.class_map(data.ids.index(table["id"][0]))
    assert np.trace([[((found == a) & (truth == b)).sum() for a in range(4)] for b in range(4)]) / truth.size == (
        pytest.approx(table["native_accuracy"][0], abs=1e-9)
    )


@pytest.mark.slow  # three runs
def test_runs_of_classes_are_compared_by_class_and_never_with_those_of_masks(store, cells, light):
    options = Options(data=str(cells), seed=1, epochs=3)
    runs = [run_setup(replace(LEARNS, name=name), options, QUIET).run_id for name in ("one", "other")]
    found = compare(runs)
    assert {"native_dice", "native_dice/cell"} <= set(found.pairs["metric"])
    page = report.html(found)
    assert "Dice of cell" in page and "#e69f00" in page

    mask = run_setup(replace(LEARNS, name="mask"), replace(options, masks="binary"), QUIET)
    assert not any("/cell" in name for name in mask.figures)
    with pytest.raises(UserError, match="on the same data|must learn the same"):
        compare([runs[0], mask.run_id])


@pytest.mark.slow  # three trainings
def test_a_search_maximises_the_mean_over_classes_and_the_reference_is_compared(store, cells, light):
    done = run_setup(LEARNS, Options(data=str(cells), seed=1, trials=2, epochs=2, models="best"), QUIET)
    trials = read.table(read.record(mlflow.get_run(done.run_id)), "search/trials.csv")
    assert trials["objective"].notna().all() and "gain/over_reference" in done.figures


@pytest.mark.slow  # two runs
def test_patches_and_symmetries_of_classes(store, tmp_path):
    cells = write_classes(tmp_path / "cells", n=12, size=70)
    told = {"view": "patches", "tta": "4", "objects": "watershed", "precision": "float32"}
    options = Options(data=str(cells), seed=1, epochs=2, **told)
    setup = replace(LEARNS, recipe=LEARNS.recipe.changed({"elastic": 0.05, "scale_jitter": 0.3, "border_weight": 2.0}))
    done = run_setup(setup, options, QUIET)
    assert "gain/of_tta" in done.figures and 0 <= done.figures["test/native_dice"] <= 1


def test_classes_that_no_training_image_shows_are_named(store, tmp_path, light):
    cells = write_classes(tmp_path / "cells", n=12)
    (cells / "classes.csv").write_text("value,name\n1,cell\n2,mitosis\n3,debris\n9,virus\n")
    console = said()
    done = run_setup(LEARNS, Options(data=str(cells), seed=1, epochs=1), console)
    assert "no training image shows virus" in console.file.getvalue()
    assert "no mask shows the class virus" in console.file.getvalue()
    assert done.figures.get("test/native_dice/virus", 0.0) == 0.0  # there only if the network invents it


def test_one_foreground_class_is_one_mask(store, tmp_path, light):
    cells = write_classes(tmp_path / "cells", n=12, names=("cell",))
    for path in (cells / "masks").iterdir():
        Image.fromarray((np.asarray(Image.open(path)) == 1).astype(np.uint8)).save(path)
    options = Options(data=str(cells), seed=1, epochs=2)
    of_class = run_setup(TINY, replace(options, masks="classes"), QUIET)
    of_mask = run_setup(TINY, replace(options, masks="binary"), QUIET)
    same = {name for name in of_mask.figures if not name.endswith("ms_per_image")}
    assert {name: of_class.figures[name] for name in same} == {name: of_mask.figures[name] for name in same}
    assert "classes" not in mlflow.get_run(of_class.run_id).data.tags


@pytest.mark.slow  # several trainings
def test_self_training_fills_what_people_left_unknown_and_keeps_what_they_said(store, tmp_path, light):
    cells = write_classes(tmp_path / "cells", n=20)
    for path in sorted((cells / "masks").iterdir()):
        mask = np.asarray(Image.open(path)).copy()
        mask[:, 20:] = np.where(mask[:, 20:] == 0, 9, mask[:, 20:])
        Image.fromarray(mask).save(path)
    (cells / "classes.csv").write_text("value,name\n1,cell\n2,mitosis\n3,debris\n9,unknown\n")
    setup = replace(LEARNS, extras=("labels", "rounds"))
    done = run_setup(setup, Options(data=str(cells), seed=1, rounds=1, epochs=2), QUIET)
    assert [run.data.tags["role"] for run in children_of(done.run_id)] == ["round", "final"]

    data, recipe = open_dataset(str(cells)), LEARNS.recipe.changed({"classes": 3, "image_size": 32})
    model = scratch_unet((32, 32, 1), classes=3, **recipe.model)
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel * 0, np.float32([0, 0, 9, 0])])  # sure of mitosis everywhere
    before = data.fitted(recipe).masks
    rows = np.arange(2)
    after = self_training.corrected_masks(model, recipe, data, rows)
    assert (after[:2][before[:2] == 255] == 2).all() and (before[:2] == 255).any()
    assert np.array_equal(after[:2][before[:2] != 255], before[:2][before[:2] != 255])
    assert np.array_equal(after[2:], before[2:])


def test_of_many_large_images_some_say_how_objects_of_classes_are_parted(monkeypatch):
    looked = []
    monkeypatch.setattr(class_scores, "MOST_COMPARED", 4 * 60 * 60)
    blob, known = np.zeros((60, 60), np.uint8), np.ones((60, 60), bool)
    blob[20:40, 20:40] = 1
    data = SimpleNamespace(
        object_classes=[np.array([0, 1])] * 12,
        objects=lambda row: (looked.append(row), blob.astype(int))[1],
        known=lambda row: known,
        classes=("background", "one", "two"),
        sizes=np.full((12, 2), 60),
    )
    seen = class_scores.Seen()
    for _ in range(12):
        seen.native.append(blob)
    recipe = LEARNS.recipe.changed({"objects": "watershed", "classes": 2})
    class_scores.with_objects(recipe, seen, np.arange(12), data)
    assert set(looked) == {0, 6}


def test_objects_of_classes_are_parted_as_validation_says(cells):
    """Two discs of a class that touch: what the network finds is compared with the truth, and not the truth with
    itself."""
    y, x = np.mgrid[:60, :60]
    discs = [(y - 30) ** 2 + (x - column) ** 2 < 144 for column in (19, 41)]
    recipe = LEARNS.recipe.changed({"objects": "watershed", "classes": 1})
    labels = np.where(discs[0], 1, np.where(discs[1], 2, 0))
    for truth, how in ((labels, "watershed"), ((labels > 0).astype(int), "components")):
        kinds, known = np.array([0, *[1] * truth.max()]), np.ones(truth.shape, bool)
        data = SimpleNamespace(
            object_classes=[kinds],
            objects=lambda row, t=truth: t,
            known=lambda row, k=known: k,
            classes=("background", "disc"),
            sizes=np.array([truth.shape]),
        )
        seen = class_scores.Seen()
        seen.native.append((labels > 0).astype(np.uint8))
        assert class_scores.with_objects(recipe, seen, np.array([0]), data).objects == how
