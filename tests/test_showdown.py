"""Setups on the same splits: resumes where it stopped, compares what it ran."""

import dataclasses
import io

import mlflow
import pytest
from conftest import write_pairs
from mlflow.tracking import MlflowClient
from rich.console import Console

from unetlab import showdown
from unetlab.errors import UserError
from unetlab.models.scratch import scratch_unet
from unetlab.setup import Recipe, Setup

QUIET = Console(file=io.StringIO())


def tiny(name: str) -> Setup:
    recipe = Recipe(
        image_size=32,
        channels=1,
        epochs=1,
        batch_size=8,
        learning_rate=1e-2,
        model={"filters": 2 if name == "nuclei" else 4, "depth": 2},
    )
    return Setup(name=name, build=scratch_unet, stride=4, recipe=recipe, space=lambda hp, r: None, published={})


def children(run_id: str) -> list:
    client = MlflowClient()
    experiment = client.get_run(run_id).info.experiment_id
    return client.search_runs([experiment], f"tags.mlflow.parentRunId = '{run_id}'", order_by=["start_time ASC"])


@pytest.fixture
def plan(tmp_path) -> showdown.Plan:
    data = write_pairs(tmp_path / "cells", n=20)
    return showdown.Plan(("nuclei", "latex"), data=str(data), repeats=2, seed=5, precision="float32")


def test_a_showdown_goes_on_where_it_stopped_and_ends_in_a_report(store, plan, monkeypatch):
    real, calls = showdown.run_setup, []

    def breaks_at_the_third(*args, **kwargs):
        calls.append(args[0].name)
        if len(calls) == 3:
            raise UserError("the disk is full; make room")
        return real(*args, **kwargs)

    monkeypatch.setattr(showdown, "run_setup", breaks_at_the_third)
    with pytest.raises(UserError, match="the disk is full"):
        showdown.showdown(plan, QUIET, tiny)
    comparison, run_id = showdown.showdown(plan, QUIET, tiny)
    assert calls == ["nuclei", "latex", "nuclei", "nuclei", "latex"]

    runs = children(run_id)
    assert sorted(run.data.tags["part"] for run in runs) == ["latex 0", "latex 1", "nuclei 0", "nuclei 1"]
    by_repeat = {run.data.tags["repeat"]: run.data.tags["split_digest"] for run in runs}
    assert len(set(by_repeat.values())) == 2
    assert all(run.data.tags["split_digest"] == by_repeat[run.data.tags["repeat"]] for run in runs)
    assert set(comparison.setups) == {"nuclei", "latex"} and comparison.repeats == 2
    page = mlflow.artifacts.load_text(f"runs:/{run_id}/report.html")
    assert "nuclei" in page and "http://" not in page.replace("http://www.w3.org", "")
    assert MlflowClient().get_run(run_id).info.status == "FINISHED"
    before = len(calls)
    assert showdown.showdown(plan, QUIET, tiny)[1] == run_id and len(calls) == before


def test_another_plan_is_another_showdown(plan):
    assert plan.key() == dataclasses.replace(plan).key() != dataclasses.replace(plan, seed=6).key()
    assert plan.options(1).seed == 6 and plan.options(1).twin_seed == 5


@pytest.mark.parametrize(
    ("text", "message"), [("nuclei", "two setups or more"), ("nuclei,lungs", "names out of .*Received: 'lungs'")]
)
def test_setups_that_make_no_showdown(text, message):
    with pytest.raises(UserError, match=message):
        showdown.setups_named(text)


def test_all_setups_can_be_named_at_once():
    assert showdown.setups_named("all") == ("nuclei", "nuclei-scratch", "latex", "pseudo-label", "drosophila")
