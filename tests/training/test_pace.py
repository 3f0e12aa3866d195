"""Which number format trains faster here, and that it is asked once."""

import dataclasses
import json

import keras
import mlflow
import numpy as np
import pytest
from small_training import RECIPE
from tiny_setup import QUIET, TINY

from unetlab.data import cache
from unetlab.jobs import run
from unetlab.models.scratch import scratch_unet
from unetlab.options import Options
from unetlab.training import pace
from unetlab.training.pace import Pace

FASTER = Pace(float32=1.0, bfloat16=0.5, batch=4, traced=1.0, measured=1.0)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UNETLAB_CACHE", str(tmp_path / "paces-of-this-test"))


def test_both_formats_are_timed_within_the_budget_and_leave_no_policy():
    found = pace.measure(scratch_unet, RECIPE)
    assert found.float32 > 0 and found.bfloat16 > 0 and found.batch == RECIPE.batch_size
    assert found.measured < pace.BUDGET + 1 and found.traced > 0
    assert keras.mixed_precision.global_policy().name == "float32"


def test_steps_have_as_many_images_as_they_are_told(monkeypatch):
    step = pace._Step(scratch_unet, RECIPE.changed({"objects": "border"}), None, "float32")
    seen = []
    real = step.model.train_function
    monkeypatch.setattr(step.model, "train_function", lambda batches: seen.append(next(batches)) or real(batches))
    for count in (1, 3, 4, 2):
        step(count)
    assert [len(images) for images, _ in seen] == [1, 3, 4, 2]
    assert seen[0][1].shape[-1] == 2  # the head's target beside the mask


def test_a_batch_that_would_take_too_long_is_measured_on_fewer_images():
    assert pace._batch(seconds=0.01, most=8) == 8
    assert pace._batch(seconds=0.35, most=8) == 6  # of which a step takes 3.5 times as long: two rounds 2.45 of 2.65 s
    assert pace._batch(seconds=5.0, most=32) == 1


@pytest.mark.parametrize(
    ("one", "more", "batch", "said"),
    [
        (0.01, 0.01, 4, (4, 0.04)),  # a whole batch, many rounds
        (0.20, 0.05, 8, (8, 0.55)),  # layers that are begun: a single image would say nothing of eight
        (0.30, 0.30, 32, (4, 1.20)),  # every image as long: the first step has to do
        (4.00, 4.00, 2, (1, 4.00)),  # the step of one image is all
    ],
)
def test_steps_are_of_as_many_images_as_the_budget_holds(monkeypatch, one, more, batch, said):
    now, faster = [0.0], {"float32": 1.0, "bfloat16": 0.5}

    class Step:
        def __init__(self, build, recipe, weights, precision):
            self.format, self.known = precision, set()

        def __call__(self, count):
            seconds = (one + more * (count - 1)) * faster[self.format] + 0.02 * (count not in self.known)
            self.known.add(count)
            now[0] += seconds
            return seconds

    monkeypatch.setattr(pace, "_Step", Step)
    monkeypatch.setattr(pace.time, "perf_counter", lambda: now[0])
    found = pace.measure(scratch_unet, RECIPE.changed({"batch_size": batch}))
    assert found.batch == said[0] and found.float32 == pytest.approx(said[1], abs=0.021)
    assert found.precision == "bfloat16"
    assert found.measured <= max(pace.BUDGET + 0.3, 6 * one)


def test_the_faster_format_is_taken_and_of_equals_the_exact_one():
    assert FASTER.precision == "bfloat16"
    assert dataclasses.replace(FASTER, bfloat16=0.99).precision == "float32"
    assert dataclasses.replace(FASTER, bfloat16=20.0).precision == "float32"
    # never slower than 0.95 of the better, whatever the two are
    for ratio in np.linspace(0.5, 2, 100):
        found = dataclasses.replace(FASTER, bfloat16=ratio)
        assert min(1.0, ratio) / {"float32": 1.0, "bfloat16": ratio}[found.precision] >= 0.95


def test_what_was_measured_is_kept_for_the_step_and_the_machine(monkeypatch):
    asked = []
    monkeypatch.setattr(pace, "measure", lambda *_: asked.append(1) or FASTER)
    for _ in range(2):
        assert pace.resolve("auto", "scratch", RECIPE, None) == ("bfloat16", FASTER)
    pace.resolve("auto", "scratch", RECIPE.changed({"learning_rate": 1e-4, "epochs": 3}), None)  # the same step
    assert len(asked) == 1
    for changes in ({"batch_size": 8}, {"filters": 4}, {"objects": "border"}, {"image_size": 32}):
        pace.resolve("auto", "scratch", RECIPE.changed(changes), None)
    assert len(asked) == 5
    monkeypatch.setattr(pace, "machine", lambda: ["another"])
    pace.resolve("auto", "scratch", RECIPE, None)
    assert len(asked) == 6
    (*_, newest) = sorted((cache.root() / "paces").glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    newest.write_text("half of it"[:5])
    pace.resolve("auto", "scratch", RECIPE, None)
    assert len(asked) == 7 and json.loads(newest.read_text())["batch"] == 4
    pace.resolve("auto", "scratch", RECIPE, None, anew=True)
    assert len(asked) == 8


def test_a_format_that_was_asked_for_is_not_measured(monkeypatch):
    monkeypatch.setattr(pace, "measure", lambda *_: pytest.fail("measured"))
    assert pace.resolve("float32", "scratch", RECIPE, None) == ("float32", None)


def test_a_step_that_memory_does_not_hold_is_left_to_float32(monkeypatch):
    def too_large(*_):
        raise MemoryError

    monkeypatch.setattr(pace, "measure", too_large)
    assert pace.resolve("auto", "scratch", RECIPE, None) == ("float32", None)


def test_a_run_that_goes_on_keeps_its_format_and_says_what_was_measured(store, monkeypatch):
    monkeypatch.setattr(pace, "measure", lambda *_: FASTER)
    experiment = mlflow.MlflowClient().get_experiment_by_name("unetlab").experiment_id

    def asked(key, **options):
        told = Options(data="", **options)
        return run._precision(TINY, TINY.recipe, None, told, experiment, key, QUIET)

    said = {"precision_measured": "float32 1000.0 ms, bfloat16 500.0 ms a step of 4"}
    assert asked("one") == ("bfloat16", said)
    with mlflow.start_run(experiment_id=experiment, tags={"plan": "two", "precision": "float32"}):
        pass
    left = mlflow.MlflowClient().search_runs([experiment], "tags.plan = 'two'")[0].info.run_id
    assert asked("two")[0] == "bfloat16"  # that one is finished: this is another
    mlflow.MlflowClient().set_terminated(left, "KILLED")
    assert asked("two") == ("float32", {})
    assert asked("two", fresh=True) == ("bfloat16", said)
    assert asked("two", precision="bfloat16") == ("bfloat16", {})
