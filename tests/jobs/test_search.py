"""A search: what it keeps, what it searches by, and what it judges."""

import dataclasses
import io
import types

import mlflow
import pandas as pd
import pytest
from rich.console import Console
from tiny_setup import QUIET, RECIPE, TINY, children_of, space_of_three

from unetlab.errors import UserError
from unetlab.jobs import trial
from unetlab.jobs.run import run_setup
from unetlab.metrics import membranes
from unetlab.options import Options


def test_membranes_are_searched_by_v_rand_and_cut_where_validation_says(store, pairs, light, monkeypatch):
    seen = []
    real = membranes.best_cut
    monkeypatch.setattr(membranes, "best_cut", lambda maps, truths: seen.append(real(maps, truths)) or seen[-1])
    setup = dataclasses.replace(TINY, membranes=True)
    summary = run_setup(setup, Options(data=str(pairs), trials=2, models="best"), QUIET)
    children = children_of(summary.run_id)
    assert len(seen) == len(children) == 3  # a cut is chosen once a training, on validation, and never on test
    trials = pd.read_csv(mlflow.artifacts.download_artifacts(f"runs:/{summary.run_id}/search/trials.csv"))
    assert trials["objective"].tolist() == pytest.approx([c.data.metrics["val/native_v_rand"] for c in children[:2]])
    table = pd.read_csv(mlflow.artifacts.download_artifacts(f"runs:/{summary.run_id}/scores/test.csv"))
    columns = {f"{rival}native_v_rand" for rival in ("", "otsu_", "constant_", "reference_")}
    assert columns <= set(table) and summary.figures["test/native_v_rand"] == pytest.approx(
        table["native_v_rand"].mean()
    )
    assert "V_rand" in summary.headline() and summary.figures["val/best_threshold"] == seen[-1]


def test_hyperband_trains_what_it_judged_and_says_when_it_judges_none(store, pairs, monkeypatch):
    def short_ones_lead(bench, recipe, name, role, *_):
        if role == "trial":
            return types.SimpleNamespace(val={"native_dice": 1.0 / recipe.epochs}, recipe=recipe)
        raise UserError(f"{recipe.epochs} epochs")

    def space(hp, recipe):
        space_of_three(hp, recipe)
        hp.Choice("epochs", [9, 30], default=recipe.epochs)

    monkeypatch.setattr(trial, "train", short_ones_lead)
    said = Console(file=io.StringIO(), width=300)
    setup = dataclasses.replace(TINY, recipe=RECIPE.changed({"epochs": 9}), space=space)
    with pytest.raises(UserError, match="^9 epochs$"):  # and neither 1, which led, nor 30, which nothing was judged by
        run_setup(setup, Options(data=str(pairs), trials=5, tuner="hyperband"), said)
    assert "after 13 trials; give trials=14 or more" in said.file.getvalue()
    with pytest.raises(UserError, match="epochs$"):
        run_setup(setup, Options(data=str(pairs), trials=3, tuner="grid"), said)
    assert "the grid has 88 points; the 3 trials are spread over it" in said.file.getvalue()
