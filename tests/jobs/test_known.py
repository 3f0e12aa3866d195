"""A word that no table holds is refused before anything slow, with a list of those there are."""

import dataclasses
import re

import pytest

from experiments import SETUPS, load_setup
from unetlab.errors import UserError
from unetlab.jobs import run
from unetlab.jobs.known import TABLES, refuse_unknown
from unetlab.models import NETWORKS
from unetlab.options import Options
from unetlab.setup import Recipe, Setup

RECIPE = Recipe(image_size=32, channels=1, epochs=1, batch_size=2)


def _setup(space=lambda hp, recipe: None, **changes) -> Setup:
    changes = {"network": "scratch", "on_twin": {}} | changes
    network, on_twin = changes.pop("network"), changes.pop("on_twin")
    return Setup("mine", network, RECIPE.changed(changes), space, published={}, on_twin=on_twin)


@pytest.mark.parametrize("name", SETUPS)
def test_every_word_of_every_setup_and_its_space_is_in_the_tables(name):
    refuse_unknown(load_setup(name))


@pytest.mark.parametrize("field", sorted(set(TABLES) - {"tta"}))
def test_an_unknown_word_is_refused_wherever_it_stands(field):
    wanted = re.escape(f"setup mine: {field} must be one of {', '.join(map(str, TABLES[field]))}. Received: 'hinge'")
    for setup in (
        _setup(**{field: "hinge"}),
        _setup(on_twin={field: "hinge"}),
        _setup(lambda hp, recipe: hp.Choice(field, [getattr(recipe, field), "hinge"])),
        _setup(lambda hp, recipe: hp.Fixed(field, "hinge")),
    ):
        with pytest.raises(UserError, match=wanted):
            refuse_unknown(setup)


def test_three_symmetries_are_refused():
    with pytest.raises(UserError, match="tta must be one of 0, 4, 8. Received: 3"):
        refuse_unknown(_setup(tta=3))


def test_an_unknown_network_is_refused():
    with pytest.raises(UserError, match=f"network must be one of {', '.join(NETWORKS)}. Received: 'vgg'"):
        refuse_unknown(_setup(network="vgg"))


def test_an_option_must_be_one_of_a_loss_that_is_tried():
    def gamma(hp, recipe):
        hp.Choice("loss", ["bce", "focal"])
        hp.Float("loss_gamma", 0.5, 3.0)

    refuse_unknown(_setup(loss="focal", loss_gamma=1.0))
    refuse_unknown(_setup(gamma))
    with pytest.raises(UserError, match="an option of focal must be one of loss_gamma. Received: 'loss_beta'"):
        refuse_unknown(_setup(loss="focal", loss_beta=1.0))
    with pytest.raises(UserError, match="an option of bce must be left out, there is none. Received: 'loss_gamma'"):
        refuse_unknown(_setup(lambda hp, recipe: hp.Float("loss_gamma", 0.5, 3.0)))


def test_classes_are_no_hyperparameter():
    with pytest.raises(UserError, match="setup .*: classes is no hyperparameter"):
        refuse_unknown(_setup(lambda hp, recipe: hp.Choice("classes", [0, 2])))
    with pytest.raises(UserError, match="classes is no hyperparameter"):
        refuse_unknown(_setup(classes=2))


def test_a_run_refuses_it_before_it_looks_at_images(monkeypatch):
    monkeypatch.setattr(run, "open_dataset", lambda *args: pytest.fail("images were opened"))
    setup = dataclasses.replace(_setup(), recipe=RECIPE.changed({"loss": "hinge"}))
    with pytest.raises(UserError, match="Received: 'hinge'"):
        run.run_setup(setup, Options(data="synthetic", trials=1))
