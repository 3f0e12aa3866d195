"""Cell membranes in serial sections of the Drosophila nervous system.

A U-Net of 16 to 256 filters, the original's divided by 4, on electron microscopy at 512x512x1: each training section
is multiplied by its eight flips and rotations, image and mask alike; Adam, binary cross-entropy. In the words of its
source the decoder transposes: transposed 2x2 convolutions, not the repetition and 2x2 convolution of `pseudo-label`,
which the search tries as well (`upsampling`). The source trained on 29 labelled sections and reports a validation
accuracy of 0.92; it wished for the filters of the original, so the search space has the divisors 1, 2, 4 and 8. It
names no batch size nor number of epochs: here 2 and 10, of which the best is kept.

Neighbouring sections are near copies of each other: sides of the split are contiguous blocks with a gap between them.
`split=random groups=off` gives the published protocol, sections parted as if they were strangers. Foreground is the
inside of cells, most of a section: calling everything inside has a Dice of 0.87 and an accuracy of 0.78 on the 24
sections at hand, and tells no cell from another. So V_rand ranks, the ISBI 2012 challenge's score of cells split or
merged (`native_v_rand`, 0.07 for all inside; `native_v_info` beside it), in the search, between runs and for
promotion. Validation sections choose the threshold it is taken at.

    mlflow run . -e drosophila --env-manager local -P data=isbi2012 -P trials=6
"""

from typing import Any

from unetlab.setup import Recipe, Setup

FULL_WIDTH = 64
DIVISORS = (1, 2, 4, 8)

RECIPE = Recipe(
    image_size=512,
    channels=1,
    epochs=10,
    batch_size=2,
    learning_rate=1e-3,
    loss="bce",
    symmetries=True,
    model={"filters": FULL_WIDTH // 4, "depth": 4, "kernel_size": 3, "dropout": 0.0, "upsampling": "transposed"},
)


def space(hp: Any, recipe: Recipe) -> None:
    """What the search may change; every default is the published value."""
    hp.Choice("image_size", [256, 512], default=recipe.image_size)
    hp.Float("learning_rate", 1e-4, 2e-3, sampling="log", default=recipe.learning_rate)
    hp.Choice("schedule", ["constant", "cosine"], default=recipe.schedule)
    hp.Choice("loss", ["bce", "dice", "bce_dice", "focal"], default=recipe.loss)
    hp.Choice("batch_size", [1, 2, 4], default=recipe.batch_size)
    hp.Choice("normalise", ["scale", "percentile"], default=recipe.normalise)
    hp.Choice("flips", ["none", "both"], default=recipe.flips)
    hp.Choice("brightness", [0.0, 0.2], default=recipe.brightness)
    hp.Choice("elastic", [0.0, 0.05], default=recipe.elastic)
    hp.Choice("border_weight", [0.0, 3.0, 10.0], default=recipe.border_weight)
    hp.Choice("filters", [FULL_WIDTH // divisor for divisor in DIVISORS], default=recipe.model["filters"])
    hp.Choice("dropout", [0.0, 0.2, 0.4], default=recipe.model["dropout"])
    hp.Choice("upsampling", ["transposed", "resize"], default=recipe.model["upsampling"])


SETUP = Setup(
    name="drosophila",
    network="scratch",
    summary="U-Net of 16 to 256 filters for cell membranes in electron microscopy, 512x512x1.",
    plain="1 trial on 24 simulated sections, each in eight flips and rotations, of 4 epochs; 10 on other data.",
    source="isbi2012",
    protocol={"split": "random", "groups": "off"},
    stand_in="membranes",
    defaults={"split": "blocks"},
    extras=("split",),
    recipe=RECIPE,
    space=space,
    published={"val_accuracy": 0.92},
    twin="membranes",
    on_twin={"epochs": 4},
    membranes=True,
    as_read="The decoder transposes, in the source's words. It names neither batch size nor epochs: here 2 and 10.",
)
