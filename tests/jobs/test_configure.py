"""auto: what is read off the data, and what is chosen."""

import dataclasses
import datetime
import os
import time
from types import SimpleNamespace

import keras_tuner
import mlflow
import numpy as np
import pytest
from PIL import Image
from tiny_setup import QUIET

from experiments import load_setup
from unetlab.data import open_dataset
from unetlab.data.check import check
from unetlab.data.scale import Objects, objects_of, scale_for
from unetlab.data.split import split
from unetlab.errors import UserError
from unetlab.jobs import configure, epochs, run, trial
from unetlab.jobs.recipe import objects_seen, recipe_of
from unetlab.models import NETWORKS
from unetlab.options import Options
from unetlab.setup import Recipe
from unetlab.training import fit, memory

SETUP = load_setup("auto")


def write(folder, draw, n=16, size=(96, 96), colour=False):
    """`draw(rng, size)` gives a label image; the picture is bright where it is above 0."""
    if folder.exists():
        return folder
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for k in range(n):
        rng = np.random.default_rng(k)
        labels = draw(rng, size)
        image = ((labels > 0) * 140 + rng.integers(0, 60, size)).astype(np.uint8)
        Image.fromarray(np.dstack([image, image // 2, image // 3]) if colour else image).save(
            folder / f"images/{k}.png"
        )
        Image.fromarray(labels.astype(np.uint16)).save(folder / f"masks/{k}.png")
    return folder


def touching(rng, size):
    labels = np.zeros(size, int)
    for k in range(6):
        y, x = rng.integers(0, size[0] - 20, 2)
        labels[y : y + 16, x : x + 8] = 2 * k + 1
        labels[y : y + 16, x + 8 : x + 16] = 2 * k + 2
    return labels


def one_large(rng, size):
    labels = np.zeros(size, int)
    y, x = rng.integers(0, size[0] // 2, 2)
    labels[y : y + size[0] // 3, x : x + size[1] // 3] = 1
    return labels


def cells(rng, size):
    labels = np.arange(1, 1 + (size[0] // 16) * (size[1] // 16)).reshape(size[0] // 16, -1)
    labels = np.repeat(np.repeat(labels, 16, axis=0), 16, axis=1)
    labels[::16] = labels[:, ::16] = 0
    return np.roll(labels, rng.integers(0, 16, 2), (0, 1))


def confluent(rng, size):
    labels = np.arange(1, 1 + (size[0] // 16) * (size[1] // 16)).reshape(size[0] // 16, -1)
    return np.roll(np.repeat(np.repeat(labels, 16, axis=0), 16, axis=1), rng.integers(0, 16, 2), (0, 1))


@pytest.fixture
def configured(tmp_path, monkeypatch):
    """Configures for drawn data, a step taking a second."""
    monkeypatch.setattr(fit, "seconds_a_step", lambda *_: 1.0)
    monkeypatch.setattr(configure, "encoders_at_hand", lambda names: tuple(names))

    def run(draw, minutes=30, told=(), **drawn):
        data = open_dataset(str(write(tmp_path / draw.__name__, draw, **drawn)), masks="objects")
        card = check(data, "off")
        sides = split(data.ids, card.groups, card.modality, seed=0)
        options = Options(data="", minutes=minutes, precision="float32", **dict(told))
        return configure.configure(SETUP, options, data, card, sides)

    return run


def test_touching_objects_are_learnt_in_patches_with_their_borders(configured):
    found = configured(touching)
    recipe = found.setup.recipe
    assert (recipe.view, recipe.objects, recipe.image_size, recipe.loss) == ("patches", "border", 96, "bce_dice")
    assert recipe.quarter_turns and not found.setup.membranes and found.weights == "imagenet"
    assert recipe.model["encoder"] == "mobilenetv2" and recipe.model["train_encoder"]


def test_one_large_thing_is_a_photograph(configured):
    recipe = configured(one_large, colour=True).setup.recipe
    assert (recipe.view, recipe.objects, recipe.image_size) == ("whole", "components", 256)
    assert recipe.flips == "horizontal" and not recipe.quarter_turns and recipe.colour > 0


def test_membranes_are_ranked_by_v_rand_and_bend(configured):
    found = configured(cells)
    assert found.setup.membranes and found.setup.recipe.border_weight > 0 and found.setup.recipe.elastic > 0
    assert found.setup.recipe.objects == "components" and found.setup.recipe.scale == 1
    kinds = {"grey on dark", "grey on light"}
    assert "invert" in configure._augmentation(SETUP, kinds, "patches", [])
    assert "invert" not in configure._augmentation(found.setup, kinds, "patches", [])
    choices = []
    assert "invert" in configure._augmentation(SETUP, kinds, "whole", choices)
    assert "brightness is not to tell" in next(each.why for each in choices if each.what == "inverted images")


def test_cells_that_touch_without_a_line_between_are_objects(configured):
    found = configured(confluent)
    assert not found.setup.membranes and found.setup.recipe.objects == "border"


@pytest.mark.parametrize("draw", [touching, cells])
def test_made_labels_are_of_objects_that_a_watershed_parts_and_rounds_share_the_minutes(configured, draw):
    given = configured(draw)
    made = configured(draw, told={"labels": "otsu", "rounds": 2})
    assert made.setup.recipe.objects == "watershed" and not made.setup.membranes
    said = made.frame().set_index("what")
    assert said.loc["labels", "chosen"] == "made from the images: otsu" and "labels" not in set(given.frame()["what"])
    assert made.minutes == pytest.approx(given.minutes / 3, abs=0.01)
    choices = []
    assert configure._smallest(Objects(40.0, 0.1, 0.0, 9.0, 0.1, 1), True, choices) == {"least_object": 13}
    assert (choices[0].chosen, choices[0].why[:25]) == ("13 pixels", "1% of the typical object:")
    assert not configure._smallest(Objects(40.0, 0.1, 0.0, 9.0, 0.1, 1), False, choices)
    assert configured(draw, told={"labels": "otsu", "objects": "border"}).setup.recipe.objects == "border"


@pytest.mark.parametrize("draw", [touching, one_large])
@pytest.mark.parametrize("view", ["whole", "patches"])
def test_what_is_asked_for_is_what_the_rest_goes_with(configured, draw, view):
    scale = {} if view == "whole" else {"scale": "0.5"}
    found = configured(draw, told={"view": view, "objects": "watershed", **scale})
    recipe, frame = found.setup.recipe, found.frame().set_index("what")
    assert recipe.view == view and recipe.objects == "watershed"
    assert frame["why"][["view", "objects"]].eq("as you asked").all()
    assert (recipe.image_size, recipe.scale) == ((256, 1.0) if view == "whole" else (64, 0.5))
    assert recipe.flips == ("horizontal" if view == "whole" else "both")
    assert 0.5 * 60 * 30 < recipe.epochs * recipe.draws / recipe.batch_size <= 0.8 * 60 * 30


@pytest.mark.parametrize(("scale", "taken"), [("0.5", 0.5), ("auto", 1.0)])
def test_a_scale_that_is_asked_for_is_of_patches_also_of_photographs(configured, scale, taken):
    found = configured(one_large, told={"scale": scale})
    assert (found.setup.recipe.view, found.setup.recipe.scale) == ("patches", taken)
    assert found.frame().set_index("what")["why"]["view"] == "the scale that you asked for is of patches"
    with pytest.raises(UserError, match=f"scale={scale} is of patches, and auto would squeeze whole images"):
        configured(one_large, told={"scale": scale, "view": "whole"})


@pytest.mark.parametrize(
    ("sizes", "side"), [([(90, 40)] * 3, 96), ([(64, 20), (64, 64), (300, 64)], 64), ([(900, 700)], 256)]
)
def test_a_patch_is_as_wide_as_most_images_and_not_wider_than_networks_look(sizes, side):
    rows = range(len(sizes))
    data, sides = SimpleNamespace(sizes=np.array(sizes)), SimpleNamespace(train=rows)
    found = configure._patches(SETUP, Objects(20.0, 0.1, 0.0, 9.0, 0.1, 1), False, data, sides, Options(), [])
    assert found["image_size"] == side


@pytest.mark.parametrize("objects", ["recipe", "border", "watershed", "components"])
@pytest.mark.parametrize("draw", [touching, one_large])
def test_how_objects_of_classes_are_parted_is_said_as_it_is_trained(configured, tmp_path, draw, objects):
    data = open_dataset(str(write(tmp_path / draw.__name__, draw)), masks="objects")
    sides = SimpleNamespace(train=np.arange(len(data)))
    seen = objects_of(data, sides.train)
    options, choices = Options(objects=objects), []
    changes = configure._objects(seen, False, True, options, choices)
    learnt = SimpleNamespace(learnt_classes=2)
    setup = dataclasses.replace(SETUP, network="scratch", recipe=SETUP.recipe.changed({**changes, "classes": 2}))
    trained = recipe_of(setup, options, None, learnt, sides).objects
    said = "watershed" if "watershed" in choices[0].chosen else "components"
    assert said == trained


@pytest.mark.parametrize(("view", "side", "count"), [("patches", 2048, 100), ("whole", 640, 3000), ("whole", 256, 16)])
@pytest.mark.parametrize("minutes", [1, 5, 90])
def test_validation_never_takes_the_minutes_that_training_wants(monkeypatch, view, side, count, minutes):
    monkeypatch.setattr(epochs, "seconds_a_step", lambda *_: (0.5, ""))
    setup = dataclasses.replace(SETUP, recipe=SETUP.recipe.changed({"view": view}))
    train, validation = np.split(np.arange(count), [count * 4 // 5])
    data, sides = SimpleNamespace(sizes=np.full((count, 2), side)), SimpleNamespace(train=train, validation=validation)
    found, *_ = epochs.fit_in(setup, None, data, sides, Options(minutes=minutes), minutes)
    steps = 0.8 * 60 * minutes / 0.5
    looked = min(found["draws"], epochs.samples(setup.recipe, data, validation))
    learnt, validated = (found["epochs"] * each / 8 for each in (found["draws"], looked / 3))
    assert 0.7 * steps < learnt + validated <= steps + 1 and validated <= learnt / 3 + 1
    assert epochs.EPOCHS[0] <= found["epochs"] <= epochs.EPOCHS[1]


@pytest.mark.parametrize(("draw", "drawn"), [(touching, "11 patches"), (one_large, "11 images")])
def test_epochs_that_are_asked_for_are_said(configured, draw, drawn):
    found = configured(draw, told={"epochs": 3})
    row = found.frame().set_index("what").loc["training"]
    assert row["chosen"] == f"3 epochs of {drawn}" and row["why"].startswith("as you asked, if 27 minutes")
    assert found.setup.recipe.draws == 0  # which is every image once


@pytest.mark.parametrize("minutes", [5, 30, 40])
def test_the_epochs_fit_the_minutes(configured, minutes):
    recipe = configured(touching, minutes=minutes).setup.recipe
    assert 0.5 * 60 * minutes < recipe.epochs * recipe.draws / recipe.batch_size <= 0.8 * 60 * minutes


def test_every_choice_has_its_reason_and_is_readable(configured):
    frame = configured(touching).frame()
    assert {"network", "what is there", "scale", "view", "objects", "loss", "training"} <= set(frame["what"])
    assert (frame["why"].str.len() > 10).all() and (frame["chosen"].str.len() > 0).all()


CHOSEN_AS = {
    "batch": ["batch_size"],
    "loss": ["loss", "border_weight"],
    "scale": ["scale"],
    "view": ["view", "image_size"],
    "objects": ["objects"],
    "smallest object": ["least_object"],
    "mirror images and turns": ["flips", "quarter_turns"],
    "sizes and light": ["scale_jitter", "brightness", "gamma"],
    "noise and blur": ["noise", "blur"],
    "bends and noise": ["elastic", "noise"],
    "turns, shifts, colours": ["rotation", "shift", "colour"],
    "inverted images": ["invert"],
    "colours": ["colour"],
    "grey images": ["grey"],
    "training": ["epochs", "draws"],
    "network": ["encoder", "filters", "depth", "channels"],
}


@pytest.mark.parametrize("draw", [touching, one_large, cells])
@pytest.mark.parametrize("at_hand", [True, False])
def test_nothing_is_chosen_without_being_said(configured, monkeypatch, draw, at_hand):
    if not at_hand:
        monkeypatch.setattr(configure, "encoders_at_hand", lambda names: ())
    found = configured(draw, colour=at_hand)
    before, after = SETUP.recipe.flat(), found.setup.recipe.flat()
    changed = {name for name in after if after[name] != before.get(name)}
    said = {field for what in found.frame()["what"] for field in CHOSEN_AS.get(what, ())}
    assert changed <= said


def test_a_batch_that_memory_does_not_hold_is_halved_and_that_is_told(configured, monkeypatch):
    first = configured(touching)
    eight = memory.needed(
        NETWORKS["pretrained"].build((96, 96, 3), weights=None, heads=1, **first.setup.recipe.model), 8, "float32"
    )
    monkeypatch.setattr(memory, "there", lambda: 2 * eight // 3)
    found = configured(touching)
    assert found.setup.recipe.batch_size == 2
    assert found.frame().set_index("what").loc["batch"].tolist() == ["2 a step", "memory does not hold 8"]


def test_trainings_at_once_share_the_memory_of_one_machine(configured, monkeypatch):
    first = configured(touching, minutes=180)
    build = NETWORKS["pretrained"].build
    eight = memory.needed(build((96, 96, 3), weights=None, heads=1, **first.setup.recipe.model), 8, "float32")
    monkeypatch.setattr(memory, "there", lambda: 2 * eight)

    def batch(workers, minutes):
        return configured(touching, minutes=minutes, told={"workers": workers}).setup.recipe.batch_size

    assert [batch(workers, 180) for workers in (1, 2, 4)] == [8, 4, 2]
    assert batch(4, 30) == 8  # which trains one


def test_on_a_cluster_the_memory_of_the_one_that_asks_says_nothing(configured, monkeypatch):
    monkeypatch.setattr(memory, "there", lambda: 2**20)
    found = configured(touching, told={"scheduler": "tcp://head:8786", "workers": 4})
    assert found.setup.recipe.batch_size == 8
    assert "as this machine takes them" in found.frame().set_index("what")["why"]["training"]
    with pytest.raises(UserError, match="by workers=N beside scheduler"):
        configured(touching, told={"scheduler": "tcp://head:8786"})


def test_reasons_are_those_of_what_was_asked_for_and_of_what_is_there(configured, monkeypatch, caplog, tmp_path):
    def why(what="network", draw=touching, **told):
        return configured(draw, told=told).frame().set_index("what")["why"][what]

    assert "ImageNet" in why() and not caplog.records
    assert why(encoder_weights="none").startswith("as you asked") and not caplog.records
    monkeypatch.setattr(configure, "resolve_weights", lambda choice, setup: choice)
    assert "that you gave" in why(encoder_weights=str(tmp_path / "my.weights.h5"))
    monkeypatch.setattr(configure, "encoders_at_hand", lambda names: ())
    assert "at hand" in why(encoder_weights="auto") and "scores lower" in caplog.text


def test_few_scenes_are_said_to_need_more_of_them(configured):
    few = configured(touching).frame().set_index("what").loc["scenes to learn from"]
    assert few["chosen"] == "11" and "more scenes" in few["why"]
    assert "more scenes" not in configured(confluent, n=40).frame().set_index("what")["why"]["scenes to learn from"]


def test_a_search_chooses_among_the_encoders_at_hand(configured, monkeypatch):
    def encoders(found):
        space = keras_tuner.HyperParameters()
        found.setup.space(space, found.setup.recipe)
        return next((hp.values for hp in space.space if hp.name == "encoder"), None)

    assert encoders(configured(touching)) == ["mobilenetv2", "efficientnet-lite0"]
    monkeypatch.setattr(configure, "encoders_at_hand", lambda names: ("efficientnet-lite0",))
    assert encoders(configured(touching)) is None


def test_without_weights_a_small_network_is_trained_from_scratch(configured, monkeypatch):
    monkeypatch.setattr(configure, "encoders_at_hand", lambda names: ())
    found = configured(touching)
    assert found.setup.network == "scratch" and found.weights is None and found.setup.recipe.channels == 1


def test_more_minutes_are_searched(configured):
    found = configured(touching, minutes=180)
    assert found.options.trials == 4 and found.minutes == 0.9 * 45
    assert found.options.minutes == 180  # after which no trial begins


def test_all_trials_of_the_minutes_are_trained(store, tmp_path, configured, monkeypatch):
    begun, limits = [], []

    def trained(bench, recipe, name, role, tags, rung=None):
        begun.append(name)
        limits.append(bench.minutes)
        time.sleep(55 * bench.minutes)  # nearly all that it may take
        return SimpleNamespace(val={"native_dice": 0.5})

    def told(bench, outcome):
        raise UserError("enough")

    monkeypatch.setattr(trial, "train", trained)
    monkeypatch.setattr(trial, "as_final", told)
    data = write(tmp_path / "cells", touching)
    options = Options(data=str(data), minutes=0.05, trials=4, precision="float32", encoder_weights="none")
    with pytest.raises(UserError, match="enough"):
        run.run_setup(SETUP, options, QUIET)
    assert len(begun) == 4 and set(limits) == {round(0.05 / 4, 2)}
    params = mlflow.search_runs(experiment_names=["unetlab"]).iloc[-1]
    assert (params["params.minutes"], params["params.trials"]) == ("0.05", "4")  # as typed: the same again


def test_no_minutes_are_refused(configured):
    with pytest.raises(UserError, match="minutes, which must be above 0"):
        configure.configure(SETUP, Options(data="", minutes=0), None, None, None)


def test_the_step_is_measured_once(configured, monkeypatch, tmp_path):
    days = [datetime.date.today()]
    first = configured(touching, told={"fresh": True})
    days.append(datetime.date.today())  # at midnight another one
    monkeypatch.setattr(fit, "seconds_a_step", lambda *_: pytest.fail("measured again"))
    for path in (tmp_path / "touching").rglob("*.png"):  # as a copy of the data set, with files of another day
        os.utime(path, (1, 1))
    again = configured(touching)
    assert again.setup.recipe == first.setup.recipe
    when = [f"(measured on {day}; fresh=true measures again)" for day in days]
    assert any(each in again.choices[-1].why for each in when) and "measured on" not in first.choices[-1].why


@pytest.mark.slow  # traces a large network
def test_a_step_that_is_really_measured_takes_time():
    recipe = Recipe(image_size=32, channels=1, epochs=1, batch_size=2, model={"filters": 2, "depth": 2})
    from unetlab.models.scratch import scratch_unet

    small = fit.seconds_a_step(scratch_unet, recipe, "float32", None, 4)
    large = fit.seconds_a_step(scratch_unet, dataclasses.replace(recipe, image_size=512), "float32", None, 4)
    assert 0 < small < large


def test_trials_at_once_have_the_minutes_of_one_and_a_share_of_the_processors(configured):
    one, four = (configured(touching, minutes=180, told={"workers": workers}) for workers in (1, 4))
    assert (one.options.trials, four.options.trials) == (4, 16) and one.minutes == four.minutes

    def steps(found):
        recipe = found.setup.recipe
        return recipe.epochs * recipe.draws / recipe.batch_size

    assert steps(one) / 6 < steps(four) < steps(one) / 3
    assert [configured(touching, minutes=60, told={"workers": k}).options.trials for k in (1, 4)] == [1, 1]


def test_a_step_that_wants_more_memory_than_there_is_is_not_tried(configured, monkeypatch):
    monkeypatch.setattr("unetlab.training.memory.needed", lambda *_: 2**60)
    monkeypatch.setattr(fit, "seconds_a_step", None)
    with pytest.raises(UserError, match="batches of 1 at 96x96 .*take a machine with more"):
        configured(touching)


def colony(rng, size):
    """Discs that touch in rows, as a mask of them has no borders."""
    labels = np.zeros(size, int)
    y, x = np.mgrid[: size[0], : size[1]]
    for k in range(16):
        labels[(y - 16 - 22 * (k // 4)) ** 2 + (x - 16 - 18 * (k % 4)) ** 2 < 10**2] = k + 1
    return labels


@pytest.mark.parametrize("told", [{"labels": "otsu"}, {"objects": "watershed"}])
def test_sizes_are_of_objects_as_they_will_be_parted(tmp_path, told):
    data = open_dataset(str(write(tmp_path / "colony", colony)), masks="binary")
    sides = split(data.ids, np.arange(len(data)), check(data, "off").modality, seed=0)
    seen = objects_seen(data, sides, Options(data="", **told))
    one = 317  # pixels of a disc; four of them are a component
    scale = {"view": "patches", "scale": "auto"}
    auto = recipe_of(dataclasses.replace(SETUP, adapts=False), Options(data="", **told, **scale), None, data, sides)
    assert auto.scale == scale_for(seen.diameter)  # of any setup
    assert recipe_of(SETUP, Options(data="", **told, **scale), None, data, sides).scale == SETUP.recipe.scale
    assert seen.mean == 16 and 0.8 * one < np.pi / 4 * seen.diameter**2 < 1.2 * one and seen.least < 1.1 * one
    plain = objects_seen(data, sides, Options(data=""))
    assert (plain.mean, plain.touching) == (4, 0) and plain.least > 2 * one


def parted_by_lines(rng, size):
    """Large objects with a line of one pixel between them, which is gone where they are shrunk."""
    labels = np.zeros(size, int)
    top, left = rng.integers(5, 15, 2)
    for k in range(9):
        y, x = top + 125 * (k // 3), left + 121 * (k % 3)
        labels[y : y + 75, x : x + 120] = k + 1
    return labels


def test_objects_that_touch_as_they_are_shrunk_are_parted_by_what_is_learnt(configured):
    found = configured(parted_by_lines, size=(400, 400))
    assert found.setup.recipe.scale < 0.6 and found.setup.recipe.objects == "border"
    assert configured(parted_by_lines, size=(400, 400), told={"scale": "1"}).setup.recipe.objects == "components"


@pytest.mark.parametrize(("minutes", "rounds", "trials"), [(90, 0, 2), (90, 1, 1), (180, 1, 3), (180, 3, 1)])
def test_rounds_leave_a_search_what_its_trainings_want(configured, minutes, rounds, trials):
    found = configured(touching, minutes=minutes, told={"labels": "otsu", "rounds": rounds})
    assert found.options.trials == trials and found.minutes >= 0.9 * 45


def test_the_smallest_object_has_the_reason_that_holds():
    def said(least, diameter, made):
        choices = []
        configure._smallest(Objects(diameter, 0.1, 0.0, 9.0, 0.1, least), made, choices)
        return choices[0].chosen, choices[0].why[:30]

    assert said(60, 20.0, True) == ("60 pixels", "99 of 100 objects there are as")
    assert said(2, 40.0, True) == ("13 pixels", "1% of the typical object: labe")
    assert said(60, 20.0, False) == ("60 pixels", "99 of 100 objects that you dre")
