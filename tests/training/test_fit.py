"""Training: best weights, early stopping, losses that are not finite, the served model."""

from pathlib import Path

import keras
import numpy as np
import pytest

from unetlab.inference.predict import Predictor
from unetlab.models.scratch import scratch_unet
from unetlab.setup import Recipe
from unetlab.training.callbacks import TrainingFailed
from unetlab.training.fit import fit

RECIPE = Recipe(image_size=16, channels=1, epochs=6, batch_size=4, learning_rate=1e-2, model={"filters": 2, "depth": 2})


def _disks(n=16):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:16, :16]
    centre = rng.integers(4, 12, (n, 2, 1, 1))
    masks = ((y - centre[:, 0]) ** 2 + (x - centre[:, 1]) ** 2 < 16).astype(np.uint8)[..., None]
    images = (masks * 120 + rng.integers(0, 60, masks.shape)).astype(np.uint8)
    return images, masks


def _fit(recipe=RECIPE, **options):
    images, masks = _disks()
    given = {"seed": 1, "precision": "float32", **options}
    return fit(scratch_unet, recipe, images, masks, np.arange(12), np.arange(12, 16), **given)


def test_training_learns_and_says_what_happened():
    fitted = _fit()
    expected = {"epoch", "loss", "accuracy", "dice", "val_loss", "val_accuracy", "val_dice", "learning_rate", "seconds"}
    assert set(fitted.history) == expected
    assert fitted.history["val_loss"].iloc[-1] < fitted.history["val_loss"].iloc[0]
    assert not fitted.model.compiled and fitted.model.compute_dtype == "float32"


def test_the_model_holds_the_weights_of_the_best_epoch():
    fitted = _fit(RECIPE.changed({"learning_rate": 0.3, "epochs": 8}))  # so fast that the last epoch is not the best
    images, masks = _disks()
    rows = np.arange(12, 16)
    loss = keras.losses.BinaryCrossentropy()(
        masks[rows][..., 0], Predictor(fitted.model, RECIPE).probabilities(images, rows)
    )
    assert float(loss) == pytest.approx(fitted.history["val_loss"].min(), rel=1e-3)


def test_training_stops_early():
    fitted = _fit(RECIPE.changed({"learning_rate": 0.0, "epochs": 30, "patience": 2}))
    assert len(fitted.history) == 3


def test_bfloat16_leaves_a_float32_model_and_the_policy_as_it_was():
    fitted = _fit(precision="bfloat16")
    assert {w.dtype for w in fitted.model.weights} == {"float32"}
    assert all(layer.compute_dtype == "float32" for layer in fitted.model.layers)
    assert keras.mixed_precision.global_policy().name == "float32"


def test_the_same_seed_trains_the_same_model():
    one, two = (_fit(RECIPE.changed({"epochs": 2, "dropout": 0.2})).history for _ in range(2))
    assert one["val_loss"].tolist() == two["val_loss"].tolist()


def test_a_loss_that_is_not_finite_names_epoch_and_step():
    with pytest.raises(TrainingFailed, match=r"the loss became (nan|inf) in epoch \d+, step \d+"):
        _fit(RECIPE.changed({"learning_rate": 1e30}))


def test_cosine_warms_up_over_an_epoch_and_decays_to_nothing():
    rates = _fit(RECIPE.changed({"schedule": "cosine"})).history["learning_rate"]
    assert rates.max() == pytest.approx(1e-2, rel=0.1)
    assert rates.iloc[-1] < 1e-3
    assert rates.idxmax() == 0  # read at the epoch's end: the warm-up is just over


def test_memory_does_not_grow_from_training_to_training():
    def resident() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc")
    recipe = RECIPE.changed({"epochs": 1})
    for _ in range(2):
        _fit(recipe)
    before = resident()
    for _ in range(6):
        _fit(recipe)
    assert resident() - before < 60  # MiB; a graph kept for each training would be about 150


def test_training_ends_when_its_minutes_are_over():
    fitted = _fit(RECIPE.changed({"epochs": 500}), minutes=2 / 60)
    assert 1 <= len(fitted.history) < 500 and fitted.seconds < 30
