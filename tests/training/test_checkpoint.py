"""A training that goes on ends where an undisturbed one does."""

import keras
import numpy as np
import pytest
from small_training import RECIPE, fit_disks

from unetlab.errors import Stopped
from unetlab.training import fit as fits
from unetlab.training.checkpoint import Checkpoint, load_arrays, save_arrays, write_whole
from unetlab.training.rates import KeepPace

AUGMENTED = {"dropout": 0.3, "rotation": 20.0, "flips": "both", "brightness": 0.1}
RANDOM = RECIPE.changed({**AUGMENTED, "epochs": 4, "schedule": "cosine"})

SHORT = RECIPE.changed({"epochs": 2})


class Killed(Exception):
    pass


class Kill(keras.callbacks.Callback):
    """As `kill -9` in the middle of an epoch."""

    def __init__(self, epoch, batch=1):
        super().__init__()
        self.where = epoch, batch

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.where:
            raise Killed


def resumed(recipe, path, *epochs, **options):
    """Trained with a kill in each of some epochs."""
    for epoch in epochs:
        with pytest.raises(Killed):
            fit_disks(recipe, checkpoint=Checkpoint(path, "it"), callbacks=[Kill(epoch)], **options)
    return fit_disks(recipe, checkpoint=Checkpoint(path, "it"), **options)


def same(one, two):
    columns = [name for name in one.history if name != "seconds"]
    np.testing.assert_allclose(one.history[columns], two.history[columns], rtol=1e-5)
    for a, b in zip(one.model.get_weights(), two.model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert one.best_epoch == two.best_epoch


def test_dropout_augmentation_schedule_and_optimiser_go_on(tmp_path, untraced):
    path = tmp_path / "there" / "it.npz"
    same(resumed(RANDOM, path, 0, 3), fit_disks(RANDOM))
    assert [each.name for each in path.parent.iterdir()] == ["it.npz"]


@pytest.mark.slow  # four trainings each
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_they_go_on_within_a_graph_too(tmp_path, precision):
    path = tmp_path / "it.npz"
    same(resumed(RANDOM, path, 0, 3, precision=precision), fit_disks(RANDOM, precision=precision))


@pytest.mark.slow  # three trainings
def test_early_stopping_keeps_its_best_weights_and_its_patience(tmp_path, untraced):
    # so fast that the best epoch is an early one, after which patience runs out
    recipe = RECIPE.changed({"learning_rate": 0.3, "epochs": 15, "patience": 2})
    undisturbed = fit_disks(recipe)
    assert undisturbed.best_epoch < len(undisturbed.history) < 15
    last = len(undisturbed.history) - 1
    same(resumed(recipe, tmp_path / "it.npz", last), undisturbed)


@pytest.mark.slow  # four trainings
def test_a_training_that_was_over_is_not_trained_again(tmp_path, untraced):
    stopped = RECIPE.changed({"learning_rate": 0.0, "epochs": 30, "patience": 2})
    for recipe in (RANDOM, stopped):
        path = tmp_path / f"{recipe.epochs}.npz"
        before = fit_disks(recipe, checkpoint=Checkpoint(path, "it"))
        assert before.seconds > 0
        # a step would raise
        again = fit_disks(recipe, checkpoint=Checkpoint(path, "it"), callbacks=[Kill(e, 0) for e in range(30)])
        same(again, before)


@pytest.mark.slow  # five trainings
def test_the_state_of_something_else_is_not_taken_up(tmp_path):
    path = tmp_path / "it.npz"
    fit_disks(SHORT, checkpoint=Checkpoint(path, "other"))
    same(fit_disks(SHORT, checkpoint=Checkpoint(path, "it")), fit_disks(SHORT))
    wider = SHORT.changed({"filters": 3})  # as if the code had changed in between
    same(fit_disks(wider, checkpoint=Checkpoint(path, "it")), fit_disks(wider))


def test_a_damaged_file_is_as_none(tmp_path):
    path = tmp_path / "it.npz"
    save_arrays(path, {}, [np.arange(3000)])
    assert load_arrays(path) is not None and load_arrays(tmp_path / "none.npz") is None
    for content in (path.read_bytes()[:999], b"", path.read_bytes()[:-30]):
        path.write_bytes(content)
        assert load_arrays(path) is None


def test_what_cannot_be_written_whole_leaves_what_was_there(tmp_path):
    path = tmp_path / "it.npz"
    save_arrays(path, {"epoch": 1}, [np.arange(3)])

    def full(out):
        out.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(Stopped, match="No space left on device.*UNETLAB_CACHE"):
        write_whole(path, full)
    about, arrays = load_arrays(path)
    assert about == {"epoch": 1} and arrays[0].tolist() == [0, 1, 2] and list(tmp_path.iterdir()) == [path]
    with pytest.raises(Stopped, match="cannot write .*in-the-way"):
        (tmp_path / "in-the-way").write_text("")
        save_arrays(tmp_path / "in-the-way" / "it.npz", {}, [])


def test_a_training_that_goes_on_keeps_the_pace_of_all_its_minutes(tmp_path, untraced, monkeypatch):
    seen = []

    class Noted(KeepPace):
        def __init__(self, rate, steps, minutes, spent=0.0):
            seen.append(spent)
            super().__init__(rate, steps, minutes, spent)

    monkeypatch.setattr(fits, "KeepPace", Noted)
    recipe = RECIPE.changed({"epochs": 2, "schedule": "cosine"})
    for until in (1, 0):
        fit_disks(recipe, minutes=10, until=until, checkpoint=Checkpoint(tmp_path / "it.npz", "it"))
    assert seen[0] == 0 and seen[1] > 0.1


def test_how_far_a_schedule_was_moved_on_is_taken_up(tmp_path, untraced):
    recipe, moved = RECIPE.changed({"epochs": 3, "schedule": "cosine"}), []

    class Move(keras.callbacks.Callback):
        """As `KeepPace` does in a training that is too slow."""

        def __init__(self, by):
            super().__init__()
            self.by = by

        def on_epoch_begin(self, epoch, logs=None):
            rate = self.model.optimizer._learning_rate
            if self.by:
                rate.ahead.assign(self.by)
            moved.append(float(rate.ahead.value))

    for until, by in ((2, 7.0), (0, 0.0)):
        fit_disks(recipe, until=until, checkpoint=Checkpoint(tmp_path / "it.npz", "it"), callbacks=[Move(by)])
    assert moved == [7.0, 7.0, 7.0]
    fit_disks(recipe, callbacks=[Move(0.0)])
    assert moved[3:] == [0.0, 0.0, 0.0]
