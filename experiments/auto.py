"""The setup that configures itself, for data that no notebook was written for.

It reads what `check` finds (sizes, colours, how large objects are and whether they touch, membranes or not), which
pretrained weights are at hand, and how long a step takes on this machine, and chooses view, scale, patch, encoder,
loss, augmentation, how objects are parted, and as many epochs as fit the minutes. What it chose and why is printed and
logged as `configuration.csv`; the rules stand in `unetlab.jobs.configure`.

The recipe here is what does not depend on the data: Adam at 2e-3 decaying by a cosine, batches of 8, images
stretched between their percentiles, a decoder of 256 channels and fewer on the way up, which after as many steps finds
more than one of 96, and batch normalisations that keep their moments from the middle of a training on, since those of
eight patches are far from those of the next eight, and the served network uses neither. With more minutes a search
goes on around the configuration. Without masks it learns what a label maker makes of the images (`labels=consensus`),
and parts objects by a watershed, since made labels do not part what touches.

    mlflow run . -e auto --env-manager local -P data=FOLDER -P minutes=30
"""

from typing import Any

from unetlab.setup import Recipe, Setup

RECIPE = Recipe(
    image_size=256,
    channels=3,
    epochs=20,
    batch_size=8,
    learning_rate=2e-3,
    schedule="cosine",
    loss="bce_dice",
    held=0.5,
    normalise="percentile",
    model={"encoder": "mobilenetv2", "decoder_filters": 256, "train_encoder": True, "frozen_skips": 2, "dropout": 0.0},
)


def space(hp: Any, recipe: Recipe) -> None:
    """What a search may change around the configuration; every default is what was configured."""
    hp.Float("learning_rate", 4e-4, 4e-3, sampling="log", default=recipe.learning_rate)
    hp.Choice("loss", ["bce", "bce_dice"], default=recipe.loss)
    hp.Choice("scale_jitter", [0.0, 0.33, 0.6], default=recipe.scale_jitter)
    hp.Choice("gamma", [0.0, 0.3, 0.6], default=recipe.gamma)
    hp.Choice("elastic", [0.0, 0.05], default=recipe.elastic)
    hp.Choice("blur", [0.0, 1.0], default=recipe.blur)
    if recipe.colour and recipe.view == "patches":
        hp.Choice("stain", [0.0, 0.1], default=recipe.stain)
    if "frozen_skips" in recipe.model:
        hp.Choice("frozen_skips", [0, 2], default=recipe.model["frozen_skips"])
        hp.Choice("decoder_filters", [96, 256], default=recipe.model["decoder_filters"])
    hp.Choice("dropout", [0.0, 0.1, 0.2], default=recipe.model.get("dropout", 0.0))


SETUP = Setup(
    name="auto",
    network="pretrained",
    summary="Configures itself: reads the data and the clock, chooses a U-Net and says why.",
    plain="one training of 30 minutes on 120 simulated images of nuclei; minutes=5 for a first look.",
    source="FOLDER",
    defaults={"minutes": 30.0},
    extras=("minutes", "labels", "rounds"),
    recipe=RECIPE,
    space=space,
    published={},
    adapts=True,
)
