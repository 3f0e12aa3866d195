"""Nuclei with a pretrained encoder.

A MobileNetV2 encoder with ImageNet weights, frozen, and a small decoder of transposed convolutions, on nuclei of many
stains and magnifications (Data Science Bowl 2018) at 128x128x3: horizontal flips, Adam, binary cross-entropy, batches
of 8, 10 epochs. Its source trained on 603 images, held out 67, and reports 96.85 % validation accuracy.

    mlflow run . -e nuclei --env-manager local -P data=dsb2018 -P trials=12
"""

from typing import Any

from unetlab.setup import Recipe, Setup

RECIPE = Recipe(
    image_size=128,
    channels=3,
    epochs=10,
    batch_size=8,
    learning_rate=1e-3,
    loss="bce",
    flips="horizontal",
    model={"decoder_filters": 512, "train_encoder": False, "dropout": 0.0},
)


def space(hp: Any, recipe: Recipe) -> None:
    """What the search may change; every default is the published value."""
    hp.Choice("image_size", [128, 256], default=recipe.image_size)
    hp.Choice("epochs", [10, 30], default=recipe.epochs)
    hp.Float("learning_rate", 2e-4, 2e-3, sampling="log", default=recipe.learning_rate)
    hp.Choice("schedule", ["constant", "cosine"], default=recipe.schedule)
    hp.Choice("loss", ["bce", "dice", "bce_dice", "focal"], default=recipe.loss)
    hp.Choice("batch_size", [4, 8, 16], default=recipe.batch_size)
    hp.Choice("normalise", ["scale", "percentile"], default=recipe.normalise)
    hp.Choice("flips", ["horizontal", "both"], default=recipe.flips)
    hp.Boolean("quarter_turns", default=recipe.quarter_turns)
    hp.Choice("invert", [0.0, 0.3], default=recipe.invert)
    hp.Choice("brightness", [0.0, 0.2], default=recipe.brightness)
    hp.Choice("decoder_filters", [128, 256, 512], default=recipe.model["decoder_filters"])
    hp.Boolean("train_encoder", default=recipe.model["train_encoder"])
    hp.Choice("dropout", [0.0, 0.1, 0.2], default=recipe.model["dropout"])


SETUP = Setup(
    name="nuclei",
    network="mobilenet",
    summary="MobileNetV2 U-Net: frozen ImageNet encoder, small decoder, 128x128x3.",
    plain="3 trials on 120 simulated images.",
    source="dsb2018",
    defaults={"trials": 3},
    recipe=RECIPE,
    space=space,
    published={"train_accuracy": 0.9690, "val_accuracy": 0.9685, "train_loss": 0.0770, "val_loss": 0.0766},
)
