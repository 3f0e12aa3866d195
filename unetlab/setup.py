"""What a setup is: a description with no behaviour beyond what it declares."""

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from unetlab.errors import UserError


class Entry(NamedTuple):
    """What the command line knows of a setup before TensorFlow is imported.

    Args:
        module: in `experiments/`, defines it as SETUP.
        summary: what it is, for --help.
        plain: what its plain run on the built-in twin does, for --help.
        defaults: of the shared parameters, where the setup has its own.
        extras: names of parameters only this setup has.
    """

    module: str
    summary: str
    plain: str
    defaults: Mapping[str, Any] = MappingProxyType({})
    extras: tuple[str, ...] = ()


SETUPS = {
    "nuclei": Entry(
        "experiments.nuclei",
        "MobileNetV2 U-Net: frozen ImageNet encoder, small decoder, 128x128x3.",
        "3 trials and the final training on 120 simulated images.",
    ),
    "nuclei-scratch": Entry(
        "experiments.nuclei_scratch",
        "U-Net of 16 to 256 filters from random weights, 128x128x3.",
        "3 trials and the final training on 120 simulated images.",
    ),
    "latex": Entry(
        "experiments.latex",
        "U-Net of 64 to 1024 filters, cut at each image's mean prediction, 128x128x1.",
        "1 trial, the published recipe, on 120 simulated images of latex clusters.",
        defaults={"trials": 1},
    ),
    "pseudo-label": Entry(
        "experiments.pseudo_label",
        "U-Net of 64 to 1024 filters trained on labels that clustering and graph methods make, 256x256x3.",
        "1 trial and one self-training round on 120 simulated images of nuclei, of 12 epochs each at 128x128 with half "
        "the filters; 35 epochs at 256x256 with all of them on other data.",
        defaults={"trials": 1},
        extras=("labels", "rounds"),
    ),
    "drosophila": Entry(
        "experiments.drosophila",
        "U-Net of 16 to 256 filters for cell membranes in electron microscopy, 512x512x1.",
        "1 trial on 24 simulated sections, each in eight flips and rotations, of 4 epochs; 10 on other data.",
        defaults={"trials": 1},
        extras=("split",),
    ),
}
"""A new setup is one file, one entry here and one entry point in the MLproject."""

LOSSES = ("bce", "dice", "bce_dice", "focal")
FLIPS = ("none", "horizontal", "both")
NORMALISATIONS = ("scale", "percentile")
SCHEDULES = ("constant", "cosine")


@dataclass(frozen=True)
class Recipe:
    """Everything one training needs besides the data: the hyperparameters of a trial.

    Args:
        image_size: height and width in pixels that images are resized to.
        channels: 1 (grey) or 3 (colour).
        epochs: passes over the training images, at most.
        batch_size: images a step.
        learning_rate: of Adam; the peak, where a schedule changes it.
        schedule: "constant", or "cosine": one epoch of linear warm-up, then cosine decay to 0.
        loss: "bce", "dice", "bce_dice" or "focal".
        patience: epochs without a better validation loss before training stops; 0 trains all epochs. The weights
            of the epoch with the best validation loss are kept either way.
        normalise: "scale" (divide by 255) or "percentile" (stretch each image between its 1st and 99th percentile).
        flips: "none", "horizontal" or "both".
        quarter_turns: whether images are turned by a random multiple of 90 degrees.
        symmetries: whether an epoch has each training image in all its eight flips and quarter turns.
        rotation: largest turn in degrees, either way.
        shift: largest shift along each axis as a share of the side.
        shear: largest shear in degrees, either way.
        zoom: largest relative change of size along each axis.
        invert: share of training images, 0..1, whose brightness is inverted.
        brightness: largest relative change of brightness and contrast, 0 for none.
        threshold: probability above which a pixel is foreground, or "mean": each image's mean prediction.
        model: keyword arguments of the setup's model builder.
    """

    image_size: int
    channels: int
    epochs: int
    batch_size: int
    learning_rate: float = 1e-3
    schedule: str = "constant"
    loss: str = "bce"
    patience: int = 0
    normalise: str = "scale"
    flips: str = "none"
    quarter_turns: bool = False
    symmetries: bool = False
    rotation: float = 0.0
    shift: float = 0.0
    shear: float = 0.0
    zoom: float = 0.0
    invert: float = 0.0
    brightness: float = 0.0
    threshold: float | Literal["mean"] = 0.5
    model: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", MappingProxyType(dict(self.model)))
        for name, allowed in (
            ("loss", LOSSES),
            ("flips", FLIPS),
            ("normalise", NORMALISATIONS),
            ("schedule", SCHEDULES),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}. Received: {getattr(self, name)!r}")

    def changed(self, values: Mapping[str, Any]) -> "Recipe":
        """A copy with other values; a name that is no field of the recipe is an argument of the model builder."""
        own = {f.name for f in dataclasses.fields(self)} - {"model"}
        mine = {name: value for name, value in values.items() if name in own}
        model = {**self.model, **{name: value for name, value in values.items() if name not in own}}
        return dataclasses.replace(self, **mine, model=model)

    def flat(self) -> dict[str, Any]:
        """All hyperparameters by name, the model's beside the others."""
        own = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "model"}
        return {**own, **self.model}


@dataclass(frozen=True)
class Setup:
    """One reference setup, as `experiments/<name>.py` declares it.

    Args:
        name: as on the command line.
        build: model builder, called as build(input_shape=(h, w, c), weights=..., **recipe.model).
        stride: the image size must be divisible by it.
        recipe: the published recipe, the reference trial of every search.
        space: declares the search space on a `keras_tuner.HyperParameters`; its defaults are the recipe.
        published: published figures by the metric they are read against, such as "val_accuracy".
        pretrained: whether the builder takes ImageNet weights for its encoder.
        twin: the built-in simulation that `data=synthetic` means.
        on_twin: values of the recipe that differ on the built-in twin, so that a first try takes minutes.
        membranes: whether v_rand and v_info are scored.
        published_report: the published classification report, in scikit-learn's layout.
    """

    name: str
    build: Callable[..., Any]
    stride: int
    recipe: Recipe
    space: Callable[[Any, Recipe], None]
    published: Mapping[str, float]
    pretrained: bool = False
    twin: str = "nuclei"
    on_twin: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    membranes: bool = False
    published_report: str = ""

    def published_metrics(self) -> dict[str, float]:
        """The published figures under the names MLflow has them by."""
        return {f"published/{name}": value for name, value in self.published.items()}


def load_setup(name: str) -> Setup:
    """The setup of that name.

    Raises UserError for an unknown name, listing those there are.
    """
    if name not in SETUPS:
        raise UserError(f"setup must be one of {', '.join(SETUPS)}. Received: {name!r}")
    setup: Setup = importlib.import_module(SETUPS[name].module).SETUP
    return setup
