"""Latex clusters: the full-width U-Net and a threshold of its own.

A U-Net of 64 to 1024 filters with ReLU, transposed convolutions and dropout of 0.5 after the fourth level and in the
bottleneck, on grey pictures of latex spheres at 128x128x1: Adam, binary cross-entropy, batches of 32, 16 epochs with
early stopping. A pixel is foreground where its probability is above the picture's mean probability. Its source held
out 30 % of its pictures, which were never published, and reports the table below on 15 of them.

Text and figures of the source disagree on padding. It writes "no padding", with which a network of this depth gives
back less than it sees and cannot take 128x128 pixels at all. Its table counts 245,760 = 15 x 128 x 128 pixels, every
pixel of 15 whole pictures, which only same padding gives. The figures were measured, so the padding here is theirs.

The source names neither its patience nor an initialisation: here the best epoch of all 16 is kept, and Keras' own
initialisation is taken. The built-in twin simulates such clusters.

    mlflow run . -e latex --env-manager local -P data=FOLDER -P trials=12
"""

from typing import Any

from unetlab.setup import Recipe, Setup

RECIPE = Recipe(
    image_size=128,
    channels=1,
    epochs=16,
    batch_size=32,
    learning_rate=1e-3,
    loss="bce",
    threshold="mean",
    model={
        "filters": 64,
        "depth": 4,
        "kernel_size": 3,
        "dropout": 0.5,
        "dropout_at": "deep",
        "initializer": "glorot_uniform",
    },
)

PUBLISHED_REPORT = """\
              precision    recall  f1-score   support

  background       0.99      0.89      0.94
  foreground       0.52      0.95      0.67

    accuracy                           0.90    245760
   macro avg                           0.81    245760
"""


def space(hp: Any, recipe: Recipe) -> None:
    """What the search may change; every default is the published value."""
    hp.Choice("image_size", [128, 256], default=recipe.image_size)
    hp.Float("learning_rate", 1e-4, 2e-3, sampling="log", default=recipe.learning_rate)
    hp.Choice("schedule", ["constant", "cosine"], default=recipe.schedule)
    hp.Choice("loss", ["bce", "dice", "bce_dice", "focal"], default=recipe.loss)
    hp.Choice("batch_size", [4, 8, 32], default=recipe.batch_size)
    hp.Choice("normalise", ["scale", "percentile"], default=recipe.normalise)
    hp.Choice("flips", ["none", "both"], default=recipe.flips)
    hp.Boolean("quarter_turns", default=recipe.quarter_turns)
    hp.Choice("brightness", [0.0, 0.2], default=recipe.brightness)
    hp.Choice("filters", [16, 32, 64], default=recipe.model["filters"])
    hp.Choice("dropout", [0.0, 0.25, 0.5], default=recipe.model["dropout"])


SETUP = Setup(
    name="latex",
    network="scratch",
    summary="U-Net of 64 to 1024 filters, cut at each image's mean prediction, 128x128x1.",
    plain="1 trial, the published recipe, on 120 simulated images of latex clusters.",
    source="synthetic-latex",
    stand_in="latex",
    recipe=RECIPE,
    space=space,
    published={"test_accuracy": 0.90, "test_precision": 0.52, "test_recall": 0.95, "test_f1": 0.67},
    twin="latex",
    published_report=PUBLISHED_REPORT,
    as_read='The source writes "no padding"; its 245,760 = 15 x 128 x 128 pixels show same padding, which is taken.',
)
