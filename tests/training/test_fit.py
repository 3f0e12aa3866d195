"""Training: best weights, seeds, precision, memory, the served model."""

from pathlib import Path

import keras
import numpy as np
import pytest
from small_training import RECIPE, disks, fit_disks

from unetlab.inference.predict import Predictor


def test_training_learns_and_says_what_happened():
    fitted = fit_disks()
    expected = {"epoch", "loss", "accuracy", "dice", "val_loss", "val_accuracy", "val_dice", "learning_rate", "seconds"}
    assert set(fitted.history) == expected
    assert fitted.history["val_loss"].iloc[-1] < fitted.history["val_loss"].iloc[0]
    assert 0 < fitted.validation < fitted.seconds - fitted.steps
    assert not fitted.model.compiled and fitted.model.compute_dtype == "float32"


def test_the_model_holds_the_weights_of_the_best_epoch(untraced):
    # so fast that the last epoch is not the best
    fitted = fit_disks(RECIPE.changed({"learning_rate": 0.3, "epochs": 8}))
    images, masks = disks()
    rows = np.arange(12, 16)
    loss = keras.losses.BinaryCrossentropy()(
        masks[rows][..., 0], Predictor(fitted.model, RECIPE).maps(images, rows).mask
    )
    assert float(loss) == pytest.approx(fitted.history["val_loss"].min(), rel=1e-3)


def test_bfloat16_leaves_a_float32_model_and_the_policy_as_it_was():
    fitted = fit_disks(precision="bfloat16")
    assert {w.dtype for w in fitted.model.weights} == {"float32"}
    assert all(layer.compute_dtype == "float32" for layer in fitted.model.layers)
    assert keras.mixed_precision.global_policy().name == "float32"


def test_the_same_seed_trains_the_same_model():
    one, two = (fit_disks(RECIPE.changed({"epochs": 2, "dropout": 0.2})).history for _ in range(2))
    assert one["val_loss"].tolist() == two["val_loss"].tolist()


@pytest.mark.slow  # eight trainings
def test_memory_does_not_grow_from_training_to_training():
    def resident() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc")
    recipe = RECIPE.changed({"epochs": 1})
    for _ in range(2):
        fit_disks(recipe)
    before = resident()
    for _ in range(6):
        fit_disks(recipe)
    assert resident() - before < 60  # MiB; a graph kept for each training would be about 150
