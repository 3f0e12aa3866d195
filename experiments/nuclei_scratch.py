"""Nuclei from scratch: what `nuclei` has to beat.

A U-Net of 16 to 256 filters with dropout rising from 0.1 to 0.3, He initialisation and ELU, trained from random weights
on the same nuclei at 128x128x3: Adam, binary cross-entropy, batches of 16, early stopping on the validation loss with
the best weights kept. Its source reports 95.64 % validation accuracy; it names no number of epochs, so they are capped
at 50, which early stopping seldom reaches.

    mlflow run . -e nuclei-scratch --env-manager local -P data=dsb2018 -P trials=12
"""

from typing import Any

from unetlab.setup import Recipe, Setup

RECIPE = Recipe(
    image_size=128,
    channels=3,
    epochs=50,
    batch_size=16,
    learning_rate=1e-3,
    loss="bce",
    patience=5,
    model={"filters": 16, "depth": 4, "kernel_size": 3, "dropout": 0.3, "activation": "elu"},
)


def space(hp: Any, recipe: Recipe) -> None:
    """What the search may change; every default is the published value."""
    hp.Choice("image_size", [128, 256], default=recipe.image_size)
    hp.Float("learning_rate", 2e-4, 3e-3, sampling="log", default=recipe.learning_rate)
    hp.Choice("schedule", ["constant", "cosine"], default=recipe.schedule)
    hp.Choice("loss", ["bce", "dice", "bce_dice", "focal"], default=recipe.loss)
    hp.Choice("batch_size", [4, 8, 16], default=recipe.batch_size)
    hp.Choice("normalise", ["scale", "percentile"], default=recipe.normalise)
    hp.Choice("flips", ["none", "horizontal", "both"], default=recipe.flips)
    hp.Boolean("quarter_turns", default=recipe.quarter_turns)
    hp.Choice("invert", [0.0, 0.3], default=recipe.invert)
    hp.Choice("brightness", [0.0, 0.2], default=recipe.brightness)
    hp.Choice("filters", [8, 16, 24], default=recipe.model["filters"])
    hp.Choice("kernel_size", [3, 5], default=recipe.model["kernel_size"])
    hp.Choice("dropout", [0.0, 0.15, 0.3], default=recipe.model["dropout"])


SETUP = Setup(
    name="nuclei-scratch",
    network="scratch",
    summary="U-Net of 16 to 256 filters from random weights, 128x128x3.",
    plain="3 trials on 120 simulated images.",
    source="dsb2018",
    defaults={"trials": 3},
    recipe=RECIPE,
    space=space,
    published={"train_accuracy": 0.9614, "val_accuracy": 0.9564},
)
