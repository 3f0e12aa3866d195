"""The table of published figures beside ours."""

import dataclasses
import io

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient
from rich.console import Console
from small_classes import write_classes

from experiments import SETUPS
from unetlab.data import public
from unetlab.errors import UserError
from unetlab.jobs import reproduce
from unetlab.metrics import intervals
from unetlab.metrics.table import score_images, summarise
from unetlab.setup import Recipe, Setup

QUIET = Console(file=io.StringIO())
RECIPE = Recipe(image_size=32, channels=1, epochs=2, batch_size=8, learning_rate=1e-2, model={"filters": 2, "depth": 2})


def tiny(name: str) -> Setup:
    published = {"latex": {"test_recall": 0.95, "test_f1": 0.67}, "drosophila": {"val_accuracy": 0.92, "val_loss": 0.1}}
    return Setup(
        name=name,
        network="scratch",
        recipe=RECIPE,
        space=lambda hp, recipe: None,
        as_read="The source says two things." if name == "latex" else "",
        published=published.get(name, {"val_soft_dice": 0.6}),
    )


@pytest.mark.slow  # five setups
def test_every_setup_has_its_figures_and_one_that_fails_a_note(store, pairs, light):
    data = {"latex": str(pairs), "pseudo-label": "/no/such/folder", "drosophila": str(pairs)}
    setups = [tiny(name) for name in ("latex", "pseudo-label", "drosophila")]
    table = reproduce.reproduce(data, setups, epochs=1, precision="float32", console=QUIET)
    assert table["figure"].dropna().tolist() == ["test_recall", "test_f1", "val_accuracy", "val_loss"]
    rows = table.set_index("figure")
    assert rows.loc["val_accuracy", "low"] <= rows.loc["val_accuracy", "ours"] <= rows.loc["val_accuracy", "high"]
    assert np.isnan(rows.loc["val_loss", "low"]) and rows.loc["val_loss", "ours"] > 0
    assert rows.loc["test_f1", "published"] == 0.67 and (rows["minutes"].dropna() > 0).all()
    assert "no folder or zip" in table.set_index("setup").loc["pseudo-label", "note"]
    assert set(rows.loc[["test_recall", "test_f1"], "note"]) == {"The source says two things."}
    text = io.StringIO()
    Console(file=text, width=120).print(reproduce.terminal_table(table))
    assert text.getvalue().count("latex: The source says two things.") == 1
    assert "0.9200" in text.getvalue() and "no folder or zip" in text.getvalue()

    parent = mlflow.search_runs(experiment_names=["unetlab"], filter_string="tags.role = 'reproduction'")
    logged = mlflow.artifacts.load_text(f"runs:/{parent.loc[0, 'run_id']}/reproduction.csv")
    assert len(pd.read_csv(io.StringIO(logged))) == len(table)
    below = MlflowClient().search_runs(
        [parent.loc[0, "experiment_id"]], f"tags.mlflow.parentRunId = '{parent.loc[0, 'run_id']}'"
    )
    assert {run.data.tags["setup"] for run in below} == {"latex", "drosophila"}


def test_data_that_cannot_be_had_are_replaced_by_the_twin_and_said_so(monkeypatch):
    unreachable = dataclasses.replace(public.SOURCES["kitchen"], url="http://127.0.0.1:9/a.zip")
    monkeypatch.setitem(public.SOURCES, "kitchen", unreachable)
    said = io.StringIO()
    assert reproduce.available(SETUPS["pseudo-label"], "auto", Console(file=said, width=400)) == "synthetic-kitchen"
    assert "could not be fetched" in said.getvalue() and "say nothing about the published" in said.getvalue()
    assert reproduce.available(SETUPS["pseudo-label"], "FOLDER", QUIET) == "FOLDER"
    assert reproduce.available(SETUPS["latex"], "auto", QUIET) == "synthetic-latex"
    # by its name: "synthetic" alone is the first try of minutes, for which some recipes are cut
    assert reproduce.available(SETUPS["pseudo-label"], "synthetic", QUIET) == "synthetic-nuclei"


def test_figures_of_one_mask_are_reproduced_with_one_also_where_a_folder_tells_classes_apart(store, tmp_path, light):
    data = {"drosophila": str(write_classes(tmp_path / "classes"))}
    table = reproduce.reproduce(data, [tiny("drosophila")], epochs=1, precision="float32", console=QUIET)
    rows = table.set_index("figure")
    assert rows["ours"].between(0, 5).all() and rows.loc["val_accuracy", "low"] <= rows.loc["val_accuracy", "ours"]
    (run,) = MlflowClient().search_runs(["1"], "tags.role = 'search'")
    assert run.data.metrics["published/val_accuracy"] == 0.92 and run.data.params["masks"] == "binary"
    assert rows.loc["val_loss", "images"] == rows.loc["val_accuracy", "images"] > 0


def test_brackets_in_names_and_reasons_are_no_markup(store, monkeypatch):
    def refuse(name):
        raise UserError(f"{name} is no data [b]")

    said = io.StringIO()
    console = Console(file=said, width=400)
    table = reproduce.reproduce({"latex": "/no/such [b]"}, [tiny("latex")], console=console)
    assert "latex: no folder or zip at /no/such [b]" in said.getvalue()
    monkeypatch.setattr(public, "fetch", refuse)
    reproduce.available(SETUPS["pseudo-label"], "auto", console)
    assert "is no data [b]. The built-in twin" in said.getvalue()
    row = {"setup": "latex", "data": "cells [b]", "figure": "test_f1", "published": 0.9, "ours": 0.8, "low": 0.7}
    row |= {"high": 0.9, "images": 3, "minutes": 1.0, "note": "two [b] things"}
    console.print(reproduce.terminal_table(pd.concat([table, pd.DataFrame([row])])))
    shown = said.getvalue().split("As published, and here")[1]
    assert shown.count("/no/such [b]") == 2 and "cells [b]" in shown and "latex: two [b] things" in shown


@pytest.mark.parametrize("name", ["accuracy", "precision", "recall", "f1", "soft_dice"])
def test_pooled_scores_are_those_of_the_summary_inside_their_interval(name):
    rng = np.random.default_rng(0)
    truth = (rng.random((12, 16, 16)) < 0.3).astype(np.uint8)
    guess = np.clip(truth * 0.3 + rng.random(truth.shape) * 0.6, 0, 1).astype(np.float32)
    table = score_images(guess, truth, [str(i) for i in range(12)])
    found = intervals.pooled_interval(table, name)
    assert found.mean == pytest.approx(summarise(table, guess, truth)[name], abs=1e-5)
    assert found.low < found.mean < found.high
    with pytest.raises(ValueError, match="name must be one of"):
        intervals.pooled_interval(table, "dice")


def test_what_is_reproduced_are_the_setups_with_published_figures():
    assert {setup.name for setup in reproduce.PUBLISHED} == set(SETUPS) - {"auto"}
