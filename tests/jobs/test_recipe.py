"""What the options make of a recipe, and what is said of it."""

import dataclasses
import io
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import write_pairs
from PIL import Image
from rich.console import Console
from small_classes import NAMES, write_classes
from tiny_setup import QUIET, RECIPE, TINY, final_of

from experiments import SETUPS
from unetlab.data import open_dataset
from unetlab.errors import UserError
from unetlab.jobs.recipe import recipe_of, refuse_vanished, say_pointless
from unetlab.jobs.run import run_setup
from unetlab.metrics import baselines
from unetlab.options import Options

APART, TOUCHING = np.zeros((2, 40, 40), np.uint8)
APART[5:15, 5:15] = TOUCHING[5:15, 5:15] = 1
APART[25:35, 25:35] = TOUCHING[5:15, 15:25] = 2


def learnt(*labels):
    return SimpleNamespace(objects=lambda row: labels[row], learnt_classes=0)


def sides(n):
    return SimpleNamespace(train=np.arange(n))


def test_patches_of_a_network_that_halves_too_often_are_refused():
    deep = dataclasses.replace(TINY, recipe=RECIPE.changed({"depth": 6, "image_size": 64}))
    assert recipe_of(deep, Options(), None, learnt(APART), sides(1)).view == "whole"
    with pytest.raises(UserError, match=r"wants sides that 64 divides, and .* are multiples of 32; take view=whole"):
        recipe_of(deep, Options(view="patches"), None, learnt(APART), sides(1))


@pytest.mark.parametrize(("last", "pointless"), [(APART, True), (TOUCHING, False)])
def test_borders_are_pointless_only_where_no_training_image_has_any(monkeypatch, last, pointless):
    monkeypatch.setattr(baselines, "MOST_IMAGES", 2)  # of four, which are the first and the last
    console = Console(file=io.StringIO(), width=200)
    recipe = RECIPE.changed({"objects": "border"})
    say_pointless(recipe, learnt(APART, last, APART, APART), sides(4), console)
    assert ("objects=border is pointless here: no two objects touch" in console.file.getvalue()) == pointless
    say_pointless(RECIPE, learnt(APART), sides(1), console)  # which learns none
    assert console.file.getvalue().count("pointless") == pointless


def test_nobody_looks_on_once_objects_touch():
    looked, data = [], learnt(APART, TOUCHING, APART)
    seen = SimpleNamespace(objects=lambda row: (looked.append(row), data.objects(row))[1])
    say_pointless(RECIPE.changed({"objects": "distance"}), seen, sides(3), Console(file=io.StringIO()))
    assert sorted(set(looked)) == [0, 1]


def test_borders_that_only_the_network_sees_are_not_pointless():
    lines = np.ones((90, 90), np.uint8)
    lines[:, 46:], lines[:, 45] = 2, 0  # parted by a line of a pixel
    console, patches = Console(file=io.StringIO(), width=200), RECIPE.changed({"view": "patches"})
    for objects, scale in (("border", 0.43), ("distance", 0.43), ("border", 1.0)):
        say_pointless(patches.changed({"objects": objects, "scale": scale}), learnt(lines), sides(1), console)
    assert not console.file.getvalue()
    say_pointless(patches.changed({"objects": "distance", "scale": 1.0}), learnt(lines), sides(1), console)
    assert "objects=distance is pointless here" in console.file.getvalue()


@pytest.fixture
def stroked(tmp_path):
    """A data set of which only some rows are marked, `cell` where they are even."""

    def make(*rows, masks="auto"):
        folder = write_pairs(tmp_path / "strokes", n=12)
        for path in (folder / "masks").iterdir():
            mask = np.zeros((40, 40), np.uint8)  # unknown
            mask[list(rows)] = 2 - np.array(rows)[:, None] % 2
            Image.fromarray(mask).save(path)
        (folder / "classes.csv").write_text("value,name\n0,unknown\n1,background\n2,cell\n")
        return open_dataset(str(folder), masks=masks)

    return make


@pytest.mark.parametrize("masks", ["auto", "binary"])
@pytest.mark.parametrize(
    ("rows", "said"),
    [((2, 3, 22, 23), None), ((5, 6, 7, 8, 9), ""), ((5, 6, 7, 8, 9, 11, 12, 17, 18, 22, 23), "45% are left at the")],
    ids=["all vanish", "all stay", "most vanish"],
)
def test_strokes_that_vanish_at_the_network_s_size_are_said_to(stroked, rows, said, masks):
    data, console = stroked(*rows, masks=masks), Console(file=io.StringIO(), width=200)
    parts = SimpleNamespace(train=np.arange(8), validation=np.arange(8, 10), test=np.arange(10, 12))
    refuse_vanished(RECIPE.changed({"image_size": 40}), data, parts, console)
    refuse_vanished(RECIPE.changed({"image_size": 8, "view": "patches"}), data, parts, console)
    assert not console.file.getvalue()
    squeezed = RECIPE.changed({"image_size": 8})
    if said is None:
        with pytest.raises(UserError, match=r"nothing of what is marked in cell00, cell01, cell02 and 9 more is left"):
            refuse_vanished(squeezed, data, parts, console)
    else:
        refuse_vanished(squeezed, data, parts, console)
        assert said in console.file.getvalue() and bool(said) == bool(console.file.getvalue())


def test_a_class_that_vanishes_at_the_network_s_size_is_named(tmp_path):
    data, console = open_dataset(str(write_classes(tmp_path / "cells", n=8))), Console(file=io.StringIO(), width=200)
    parts = SimpleNamespace(train=np.arange(6), validation=np.array([6]), test=np.array([7]))
    recipe = RECIPE.changed({"classes": 3})
    refuse_vanished(recipe.changed({"view": "patches"}), data, parts, console)
    assert not console.file.getvalue()
    lost = SimpleNamespace(
        meaning="classes",
        classes=data.classes,
        object_classes=data.object_classes,
        objects=data.objects,
        known=data.known,
        fitted=lambda _: SimpleNamespace(masks=np.where(data.fitted(recipe).masks == 2, 0, data.fitted(recipe).masks)),
    )
    refuse_vanished(recipe, lost, parts, console)
    assert f"of what is drawn as {NAMES[1]} nothing is left at the network's size" in console.file.getvalue()
    lost.fitted = lambda _: SimpleNamespace(masks=0 * data.fitted(recipe).masks)
    with pytest.raises(UserError, match=f"drawn as {', '.join(NAMES)} nothing is left"):
        refuse_vanished(recipe, lost, parts, console)


@pytest.mark.parametrize(("side", "scale"), [(10, 1.06), (4, 2.0), (20, 1.0), (80, 0.53)])
def test_a_scale_of_any_setup_is_read_off_the_training_images(side, scale):
    labels = np.zeros((100, 100), np.uint8)
    labels[:side, :side] = 1
    other = np.zeros((100, 100), np.uint8)
    other[:2, :2] = 1  # a speck beside it
    trained = recipe_of(TINY, Options(view="patches", scale="auto"), None, learnt(labels, other), sides(2))
    assert (trained.view, trained.scale) == ("patches", scale)
    told = recipe_of(TINY, Options(view="patches", scale="0.5"), None, learnt(labels), sides(1))
    assert told.scale == 0.5 and recipe_of(TINY, Options(), None, learnt(labels), sides(1)).scale == 1.0


def test_whole_sections_learn_lines_and_bends_where_the_search_of_drosophila_asks_for_them(store, tmp_path, light):
    folder = write_pairs(tmp_path / "sections")
    for k, path in enumerate((folder / "masks").iterdir()):  # two cells, and a line between them
        cells = np.full((40, 40), 255, np.uint8)
        cells[:, 15 + k % 5 : 17 + k % 5] = 0
        Image.fromarray(cells).save(path)
    small = SETUPS["drosophila"].recipe.changed({"image_size": 32, "epochs": 1, "filters": 2, "depth": 2})
    asked = small.changed({"border_weight": 10.0, "elastic": 0.05})
    plain, gaps = (open_dataset(str(folder)).fitted(each).masks for each in (small, asked))
    assert plain.shape[-1] == 1 and gaps.shape[-1] == 2 and (gaps[..., 1].max(axis=(1, 2)) > 0).all()
    summary = run_setup(
        dataclasses.replace(TINY, recipe=asked, membranes=True),
        Options(data=str(folder), precision="float32", models="best"),
        QUIET,
    )
    trained = final_of(summary.run_id).data.params
    assert (trained["view"], trained["border_weight"], trained["elastic"]) == ("whole", "10.0", "0.05")
    assert np.isfinite(summary.figures["test/native_v_rand"])
