"""The table of options: each is said once, fits its own bounds, and means the same wherever it is taken."""

import dataclasses
import shlex
from pathlib import Path

import pytest

from experiments import SETUPS
from unetlab.cli.train import stalls
from unetlab.options import BUDGET, JOBS, OPTIONS, Option, Options, command, of_setup, text

TAKEN = {**JOBS, **{name: of_setup(setup.defaults, setup.extras) for name, setup in SETUPS.items()}}
"""Every command to its options."""

OWN_DEFAULTS = {("showdown", "models"): "best"}
"""Where a command that is no setup has a default of its own for an option that setups take."""

OWN_HELPS = {("showdown", "trials"), ("showdown", "epochs"), ("reproduce", "epochs")}
"""Where what a setup does with an option besides is not done by a command that takes several of them."""

SHARDED = {(job, place) for job in ("predict", "evaluate") for place in ("workers", "scheduler")}

OTHER_THINGS = {("predict", "threshold"), ("live", "threshold"), ("evaluate", "data")} | SHARDED
OTHER_THINGS |= {("export", "precision"), ("export", "data")}
"""What is called like an option of setups and is none: a number in place of the model's own, say, the numbers of an
exported file, and who answers images where setups train trials."""

EVERY = [pytest.param(job, option, id=f"{job} {option.name}") for job, own in TAKEN.items() for option in own]


def allowed(option: Option, value: object) -> bool:
    """Whether a value is of an option's kind, one of its choices and within its bounds."""
    if type(value) is not option.kind and not (option.kind is Path and isinstance(value, Path)):
        return False
    if option.choices:
        return value in option.choices
    return (option.low is None or value >= option.low) and (option.high is None or value <= option.high)


@pytest.mark.parametrize(("job", "option"), EVERY)
def test_an_option_has_a_help_and_a_default_that_it_allows(job, option):
    assert len(option.help) > 15 and option.help.endswith(".")
    assert option.kind in (str, int, float, bool, Path)
    assert option.default is None or allowed(option, option.default)
    assert option.default is None if option.required else True
    assert option.kind is str or not option.choices
    assert option.kind in (int, float) or option.low is option.high is None


@pytest.mark.parametrize(("job", "option"), EVERY)
def test_an_option_is_the_same_wherever_it_is_taken(job, option):
    if option.name not in OPTIONS or (job, option.name) in OTHER_THINGS:
        return
    if job in SETUPS:
        default = SETUPS[job].defaults.get(option.name, OPTIONS[option.name].default)
    else:
        default = OWN_DEFAULTS.get((job, option.name), OPTIONS[option.name].default)
    told = option.help if (job, option.name) in OWN_HELPS else OPTIONS[option.name].help
    assert option == dataclasses.replace(OPTIONS[option.name], default=default, help=told)


@pytest.mark.parametrize("job", TAKEN)
def test_no_command_takes_two_options_of_one_name(job):
    names = [option.name for option in TAKEN[job]]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", SETUPS)
def test_what_a_setup_says_of_options_are_options_it_takes(name):
    setup = SETUPS[name]
    taken = {option.name: option for option in TAKEN[name]}
    assert set(setup.defaults) <= set(taken) and set(setup.extras) <= set(taken)
    for option, value in {**setup.defaults, **setup.protocol}.items():
        assert allowed(taken[option], value)
    assert set(taken) == {option.name for option in OPTIONS.values() if option.shared} | set(setup.extras)


def test_options_and_their_class_are_one():
    assert {field.name for field in dataclasses.fields(Options)} == {*OPTIONS, "twin_seed"}
    assert all(getattr(Options(), name) == option.default for name, option in OPTIONS.items())


def test_a_showdown_takes_what_every_setup_takes():
    everyones = {option.name for option in OPTIONS.values() if option.shared}
    assert everyones - {option.name for option in JOBS["showdown"]} == {"register"}


def test_the_budget_is_what_a_difference_may_be_due_to():
    assert set(BUDGET) == {
        *("trials", "tuner", "epochs", "minutes", "labels", "rounds", "refit"),
        *("encoder_weights", "precision", "split", "threshold"),
        *("view", "scale", "objects", "tta"),
    }


def test_a_command_that_repeats_a_run_says_what_it_was_told_and_registers_nothing():
    values = {"data": "my cells.zip", "trials": "12", "register": "true", "channels": "", "code": "other"}
    line = command("nuclei", TAKEN["nuclei"], values)
    assert line == "mlflow run . -e nuclei --env-manager local -P data='my cells.zip' -P trials=12"
    assert shlex.split(command("x", TAKEN["nuclei"], {"data": "$(rm -r ~); a'b"}))[-1] == "data=$(rm -r ~); a'b"
    assert command("nuclei", TAKEN["nuclei"], {}) == "mlflow run . -e nuclei --env-manager local"


@pytest.mark.parametrize(("value", "typed"), [(None, ""), (True, "true"), (0.0, "0.0"), (Path("a/b"), "a/b"), (0, "0")])
def test_values_as_they_are_typed(value, typed):
    assert text(value) == typed


@pytest.mark.parametrize(("minutes", "told"), [(15.0, ""), (90.0, " -P stall=90.0"), (0.0, " -P stall=0.0")])
def test_a_command_that_goes_on_waits_as_long_for_a_trial(minutes, told):
    assert stalls(minutes) == told
