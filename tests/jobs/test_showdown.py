"""Setups on the same splits: resumes where it stopped, compares what it ran."""

import dataclasses
import io
import shlex

import mlflow
import pytest
from conftest import write_pairs
from fake_runs import IDS, difficulty, score_table
from mlflow.tracking import MlflowClient
from rich.console import Console

from experiments import setups_named
from unetlab.errors import UserError
from unetlab.jobs import showdown
from unetlab.jobs.run import PART, Summary
from unetlab.options import JOBS, Options
from unetlab.setup import Recipe, Setup
from unetlab.tracking import ui, write

QUIET = Console(file=io.StringIO())
FIGURES = ("test/native_dice", "test/images", "baseline/otsu_native_dice", "test/accuracy")


def tiny(name: str) -> Setup:
    recipe = Recipe(
        image_size=32,
        channels=1,
        epochs=1,
        batch_size=8,
        learning_rate=1e-2,
        model={"filters": 2 if name == "nuclei" else 4, "depth": 2},
    )
    return Setup(name=name, network="scratch", recipe=recipe, space=lambda hp, r: None, published={})


def children(run_id: str) -> list:
    client = MlflowClient()
    experiment = client.get_run(run_id).info.experiment_id
    return client.search_runs([experiment], f"tags.mlflow.parentRunId = '{run_id}'", order_by=["start_time ASC"])


@pytest.fixture
def plan(tmp_path) -> showdown.Plan:
    data = write_pairs(tmp_path / "cells", n=20)
    told = Options(data=str(data), seed=5, precision="float32", models="best")
    return showdown.Plan(("nuclei", "latex"), told, repeats=2)


def telling(plan: showdown.Plan, **changes) -> showdown.Plan:
    """The same plan with other options."""
    return dataclasses.replace(plan, told=dataclasses.replace(plan.told, **changes))


def test_a_showdown_of_real_trainings_goes_on_where_it_stopped_and_ends_in_a_report(store, plan, light, monkeypatch):
    plan = dataclasses.replace(plan, repeats=1)
    real, calls = showdown.run_setup, []

    def breaks_at_the_second(*args, **kwargs):
        calls.append(args[0].name)
        if len(calls) == 2:
            raise UserError("the disk is full; make room")
        return real(*args, **kwargs)

    monkeypatch.setattr(showdown, "run_setup", breaks_at_the_second)
    with pytest.raises(UserError, match="the disk is full"):
        showdown.showdown(plan, QUIET, tiny)
    comparison, run_id = showdown.showdown(plan, QUIET, tiny)
    assert calls == ["nuclei", "latex", "nuclei", "latex"]

    runs = children(run_id)
    assert [run.data.tags["part"] for run in runs] == ["nuclei 0", "latex 0"]
    assert len({run.data.tags["split_digest"] for run in runs}) == 1
    assert set(comparison.setups) == {"nuclei", "latex"} and comparison.repeats == 1
    page = mlflow.artifacts.load_text(f"runs:/{run_id}/report.html")
    assert "nuclei" in page and "http://" not in page.replace("http://www.w3.org", "")
    assert MlflowClient().get_run(run_id).info.status == "FINISHED"
    assert showdown.showdown(plan, QUIET, tiny)[1] == run_id and len(children(run_id)) == 2

    def edited(name):
        return dataclasses.replace(tiny(name), recipe=tiny(name).recipe.changed({"learning_rate": 1e-3}))

    comparison, again = showdown.showdown(plan, QUIET, edited)
    assert again == run_id and len(children(run_id)) == 4  # recipes that were edited since are other trainings
    compared = {own.run_id for records in comparison.records for own in records}
    assert compared == {run.info.run_id for run in children(run_id)[2:]}


def test_another_plan_or_other_images_are_another_showdown(plan):
    moved = telling(plan, data="elsewhere")
    assert plan.key("d1") == moved.key("d1") != plan.key("d2")
    assert plan.key("d1") != telling(plan, seed=6).key("d1")
    assert plan.key("d1") != dataclasses.replace(plan, repeats=3).key("d1")
    assert plan.options(1).seed == 6 and plan.options(1).twin_seed == 5


def test_its_command_says_every_option_that_has_a_value(plan):
    words = shlex.split(telling(plan, data="my cells.zip", epochs=2).command())
    assert words[:5] == ["mlflow", "run", ".", "-e", "showdown"]
    told = dict(word.split("=", 1) for word in words if "=" in word)
    assert told.pop("data") == "my cells.zip" and told.pop("setups") == "nuclei,latex" and told.pop("repeats") == "2"
    taken = {option.name for option in JOBS["showdown"] if option.repeated}
    assert set(told) == taken - {"data", "setups", "repeats", "channels", "scheduler"}
    assert (told["seed"], told["epochs"], told["minutes"]) == ("5", "2", "0.0")


@pytest.fixture
def scored(monkeypatch):
    """Setups that leave scores without a training; the list of those run, and what breaks if it is put into a set."""
    ran, broken = [], set()

    def run_setup(setup, options, console, tags):
        experiment = ui.open_experiment()
        name, worse = f"{setup.name} {tags['repeat']}", 0.03 * (setup.name == "latex")
        digests = {"setup": setup.name, "dataset_digest": "d1", "split_digest": tags["repeat"]}
        part = [f"tags.{tag} = '{tags[tag]}'" for tag in PART if tag in tags]
        own = " and ".join([*part, "status = 'FINISHED'"])
        if not options.fresh and (before := MlflowClient().search_runs([experiment], own)):
            return Summary(before[0].info.run_id, experiment, "", dict.fromkeys(FIGURES, 0.5), setup.name)
        with write.run(name, tags={**digests, **tags, "role": "search"}, params={"seed": options.seed}) as active:
            if name in broken:
                raise UserError("the disk is full; make room")
            table = score_table(difficulty(seed=options.seed) - worse - 0.001 * options.seed * worse, IDS)
            mlflow.log_text(table.to_csv(index=False), "scores/test.csv")
        ran.append(name)
        return Summary(active.info.run_id, experiment, "", dict.fromkeys(FIGURES, 0.5), setup.name)

    monkeypatch.setattr(showdown, "run_setup", run_setup)
    return ran, broken


def test_a_fresh_showdown_takes_nothing_from_an_earlier_one(store, plan, scored):
    ran, _ = scored
    first, second = (showdown.showdown(telling(plan, fresh=fresh), QUIET, tiny)[1] for fresh in (False, True))
    assert first != second and ran == 2 * ["nuclei 0", "latex 0", "nuclei 1", "latex 1"]
    assert len(children(first)) == len(children(second)) == 4


def test_a_fresh_showdown_ends_what_kill_9_left_and_none_is_run_twice_at_a_time(store, plan, scored, monkeypatch):
    left = [showdown.showdown(plan, QUIET, tiny)[1]]
    left.append(children(left[0])[-1].info.run_id)
    for run_id in left:
        MlflowClient().update_run(run_id, status="RUNNING")
    real = showdown.run_setup

    def meanwhile(*told):
        assert [MlflowClient().get_run(run_id).info.status for run_id in left] == ["KILLED", "KILLED"]
        with pytest.raises(UserError, match="'showdown', the same command, is being run by process"):
            showdown.showdown(telling(plan, fresh=True), QUIET, tiny)
        return real(*told)

    monkeypatch.setattr(showdown, "run_setup", meanwhile)
    assert showdown.showdown(telling(plan, fresh=True), QUIET, tiny)[1] != left[0]


def test_a_fresh_showdown_that_was_stopped_goes_on_without_the_parts_of_an_earlier_one(store, plan, scored):
    ran, broken = scored
    first = showdown.showdown(plan, QUIET, tiny)[1]
    broken.add("nuclei 1")
    with pytest.raises(UserError, match="the disk is full"):
        showdown.showdown(telling(plan, fresh=True), QUIET, tiny)
    broken.clear()
    comparison, second = showdown.showdown(plan, QUIET, tiny)  # as the printed command does, which leaves `fresh` out
    assert second != first and ran == 2 * ["nuclei 0", "latex 0", "nuclei 1", "latex 1"]
    compared = {own.run_id for records in comparison.records for own in records}
    assert compared == {run.info.run_id for run in children(second) if run.info.status == "FINISHED"}


def under_mlflow_run(monkeypatch, experiment: str, **params: str) -> str:
    """What `mlflow run` leaves before it starts a command: a run with the parameters as typed, in the environment."""
    run_id = MlflowClient().create_run(experiment, run_name="made by mlflow").info.run_id
    for name, value in params.items():
        MlflowClient().log_param(run_id, name, value)
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", experiment)
    return run_id


def test_under_mlflow_run_a_showdown_keeps_to_the_experiment_and_the_parameters_as_typed(
    store, plan, scored, monkeypatch, tmp_path
):
    # mlflow.set_experiment stays set within a process, which `mlflow run` starts anew
    monkeypatch.setattr(mlflow.tracking.fluent, "_active_experiment_id", None)
    experiment = MlflowClient().create_experiment("cells", artifact_location=(tmp_path / "cells-runs").as_uri())
    made = under_mlflow_run(monkeypatch, experiment, setups="all", minutes="5", repeats="2")
    _, run_id = showdown.showdown(telling(plan, minutes=5.0), QUIET, tiny)
    assert run_id == made and len(children(run_id)) == 4
    parent = MlflowClient().get_run(run_id)
    assert parent.data.params["setups"] == "all" and parent.data.params["seed"] == "5"
    page = mlflow.artifacts.load_text(f"runs:/{run_id}/report.html")
    assert page.count("mlflow run . -e showdown --env-manager local -P setups=nuclei,latex") == 1


def test_resumed_under_mlflow_run_the_first_showdown_goes_on(store, plan, scored, monkeypatch):
    ran, broken = scored
    experiment = MlflowClient().get_experiment_by_name("unetlab").experiment_id
    broken.add("nuclei 1")
    first = under_mlflow_run(monkeypatch, experiment)
    with pytest.raises(UserError, match="the disk is full"):
        showdown.showdown(plan, QUIET, tiny)
    # as `kill -9` leaves them
    killed = children(first)[-1].info.run_id
    trial = MlflowClient().create_run(experiment, tags={"mlflow.parentRunId": killed}).info.run_id
    MlflowClient().update_run(killed, status="RUNNING")

    broken.clear()
    second = under_mlflow_run(monkeypatch, experiment)
    comparison, run_id = showdown.showdown(plan, QUIET, tiny)
    assert run_id == first and comparison.repeats == 2 and comparison.best == ("nuclei",)
    assert ran == ["nuclei 0", "latex 0", "nuclei 1", "latex 1"]
    assert [MlflowClient().get_run(run_id).info.status for run_id in (killed, trial)] == ["KILLED", "KILLED"]
    aside = MlflowClient().get_run(second)
    assert aside.data.tags["role"] == "resumed" and first in aside.data.tags["mlflow.note.content"]
    assert not children(second)


@pytest.mark.parametrize(
    ("text", "message"), [("nuclei", "two setups or more"), ("nuclei,lungs", "names out of .*Received: 'lungs'")]
)
def test_setups_that_make_no_showdown(text, message):
    with pytest.raises(UserError, match=message):
        setups_named(text)


def test_all_setups_can_be_named_at_once():
    assert setups_named("all") == ("nuclei", "nuclei-scratch", "latex", "pseudo-label", "drosophila", "auto")


def test_auto_without_minutes_is_refused_before_the_others_are_trained(store, plan, monkeypatch):
    monkeypatch.setattr(showdown, "run_setup", lambda *told: pytest.fail("trained"))
    with pytest.raises(UserError, match="minutes, which must be above 0"):
        showdown.showdown(dataclasses.replace(plan, setups=("nuclei", "auto")), QUIET)


def test_a_single_test_image_is_refused_before_anything_is_trained_unless_splits_are_compared(
    store, plan, monkeypatch, tmp_path
):
    few = dataclasses.replace(telling(plan, data=str(write_pairs(tmp_path / "few", n=5))), repeats=1)
    trained = []

    def run_setup(*told):
        trained.append(told)
        raise UserError("the disk is full")

    monkeypatch.setattr(showdown, "run_setup", run_setup)
    with pytest.raises(UserError, match="1 of the 5 images is for test, .* give more images, or repeats=2"):
        showdown.showdown(few, QUIET, tiny)
    assert not trained and not mlflow.search_runs(output_format="list")
    with pytest.raises(UserError, match="the disk is full"):
        showdown.showdown(dataclasses.replace(few, repeats=2), QUIET, tiny)


def test_searches_have_the_same_minutes_and_auto_divides_its_own_as_it_sees_fit(store, plan, monkeypatch):
    told = {}

    def run_setup(setup, options, *_):
        told[setup.name] = (options.trials, options.minutes)
        raise UserError("enough seen")

    monkeypatch.setattr(showdown, "run_setup", run_setup)
    both = telling(plan, trials=100, minutes=20.0)
    for setups in (("nuclei", "auto"), ("auto", "nuclei")):
        with pytest.raises(UserError, match="enough seen"):
            showdown.showdown(dataclasses.replace(both, setups=setups), QUIET)
    assert told == {"nuclei": (100, 20.0), "auto": (1, 20.0)}
