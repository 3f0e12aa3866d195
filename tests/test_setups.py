"""Every setup's search space begins with its recipe."""

import keras_tuner
import pytest

from experiments import SETUPS, load_setup
from unetlab.errors import UserError
from unetlab.models import NETWORKS
from unetlab.setup import Recipe


@pytest.mark.parametrize("name", SETUPS)
def test_the_space_defaults_are_the_published_recipe(name):
    setup = load_setup(name)
    space = keras_tuner.HyperParameters()
    setup.space(space, setup.recipe)
    values = {hp.name: hp.default for hp in space.space}
    assert setup.recipe.changed(values) == setup.recipe
    assert len(next(hp for hp in space.space if hp.name == "loss").values) > 1
    if setup.adapts:  # the rest is configured, not searched
        return
    wanted = {"learning_rate", "loss", "dropout", "batch_size", "flips", "image_size", "normalise", "schedule"}
    assert wanted <= set(values)
    assert {"filters", "decoder_filters"} & set(values)


@pytest.mark.parametrize("name", SETUPS)
def test_every_size_of_the_space_divides(name):
    setup = load_setup(name)
    space = keras_tuner.HyperParameters()
    setup.space(space, setup.recipe)
    sizes = next((hp.values for hp in space.space if hp.name == "image_size"), [setup.recipe.image_size])
    assert all(size % NETWORKS[setup.network].stride(setup.recipe.model) == 0 for size in sizes)


def test_changed_tells_the_recipe_from_the_model():
    recipe = Recipe(image_size=32, channels=1, epochs=1, batch_size=2, model={"filters": 4})
    other = recipe.changed({"loss": "dice", "filters": 8})
    assert (other.loss, other.model["filters"]) == ("dice", 8)
    assert (recipe.loss, recipe.model["filters"]) == ("bce", 4)
    assert other.flat()["filters"] == 8


def test_options_of_the_loss_have_a_prefix_among_the_hyperparameters():
    recipe = Recipe(image_size=32, channels=1, epochs=1, batch_size=2, loss="focal", loss_options={"gamma": 1.0})
    assert recipe.flat()["loss_gamma"] == 1.0
    other = recipe.changed({"loss_gamma": 3.0, "loss": "bce", "filters": 4})
    assert (dict(other.loss_options), other.loss, dict(other.model)) == ({"gamma": 3.0}, "bce", {"filters": 4})
    assert dict(recipe.loss_options) == {"gamma": 1.0}
    assert recipe.changed(recipe.flat()) == recipe and other.changed(other.flat()) == other


def test_an_unknown_setup_lists_those_there_are():
    with pytest.raises(UserError, match="nuclei, nuclei-scratch"):
        load_setup("lungs")


def test_published_recipes_are_what_was_measured():
    pseudo = SETUPS["pseudo-label"].recipe
    assert pseudo.flips == "none" and not any([pseudo.rotation, pseudo.shift, pseudo.shear, pseudo.zoom])
    assert SETUPS["drosophila"].recipe.model["upsampling"] == "transposed"
    assert "same padding" in SETUPS["latex"].as_read and "without it" in SETUPS["pseudo-label"].as_read


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("pseudo-label", {"flips": "both", "rotation": 15.0, "shift": 0.05, "shear": 5.0, "zoom": 0.1}),
        ("drosophila", {"upsampling": "resize", "elastic": 0.05, "border_weight": 10.0}),
    ],
)
def test_changes_to_a_published_recipe_are_in_its_space(name, values):
    space = keras_tuner.HyperParameters()
    SETUPS[name].space(space, SETUPS[name].recipe)
    offered = {hp.name: list(hp.values) for hp in space.space if hp.name in values}
    assert all(value in offered[key] for key, value in values.items())
