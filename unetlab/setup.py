"""What a setup is: a description with no behaviour beyond what it declares."""

import copyreg
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal


def _frozen(held: dict[str, Any]) -> MappingProxyType[str, Any]:
    return MappingProxyType(held)


# frozen mappings cannot be pickled as they are, and recipes travel to the process that trains them
copyreg.pickle(MappingProxyType, lambda held: (_frozen, (dict(held),)))  # type: ignore[arg-type]

LOSS_OPTION = "loss_"
"""What the names of a loss's options begin with among the hyperparameters."""


@dataclass(frozen=True)
class Recipe:
    """Everything one training needs besides the data: the hyperparameters of a trial.

    Words such as the loss's name are rows of tables further down the road; `jobs.known` refuses those that are not.

    Args:
        image_size: height and width in pixels that images are resized to.
        channels: 1 (grey) or 3 (colour).
        epochs: passes over the training images, at most.
        batch_size: images a step.
        learning_rate: of Adam; the peak, where a schedule changes it.
        schedule: "constant", or "cosine": linear warm-up for an epoch, or an eighth of all steps, then decay to 0.
        loss: a name of `unetlab.training.losses.LOSSES`.
        loss_options: of the loss, where they differ from its defaults: {"gamma": 1.0} of the focal loss. Among the
            hyperparameters they begin with "loss_".
        patience: epochs without a better validation loss before training stops; 0 trains all epochs. The weights
            of the epoch with the best validation loss are kept either way.
        normalise: "scale" (divide by 255) or "percentile" (stretch each image between its percentiles 1 and 99.8).
        flips: "none", "horizontal" or "both".
        quarter_turns: whether images are turned by a random multiple of 90 degrees.
        symmetries: whether an epoch has each training image in all its eight flips and quarter turns.
        rotation: largest turn in degrees, either way.
        shift: largest shift along each axis as a share of the side.
        shear: largest shear in degrees, either way.
        zoom: largest relative change of size along each axis.
        invert: share of training images, 0..1, whose brightness is inverted.
        brightness: largest relative change of brightness and contrast, 0 for none.
        scale_jitter: largest change of size, both axes alike: 0.5 is between 1 / 1.5 and 1.5 times.
        elastic: largest displacement of a smooth bend, as a share of the side; 0.05 is about the U-Net paper's.
        stain: largest relative change of each stain of bright-field images.
        colour: largest change of hue, as a share of half the circle, and of saturation; grey images keep theirs.
        grey: share of colour images, 0..1, that are turned to grey.
        gamma: largest change of a power of the brightness: 0.5 is between 1 / 1.5 and 1.5.
        blur: largest standard deviation of a Gaussian blur in pixels.
        noise: largest standard deviation of Gaussian noise, as a share of the image's range of values.
        view: "whole" (images squeezed to the square of image_size) or "patches" (training on crops of image_size at a
            working scale, prediction in overlapping tiles).
        scale: of patches: pixels of the network per pixel of the image.
        draws: images, or in that view patches, that an epoch draws; 0 for every image once, or as many patches as
            cover the pixels of the training images.
        objects: how objects are parted, a name of `inference.objects.METHODS`; "border" and "distance" give the network
            a second sigmoid channel. Validation chooses between it and the plainer ones.
        seeds: what that method is told of its seeds; 0 for its default. Validation chooses it.
        least_object: pixels of an image at its own size; what is smaller is no object, though it stays in the mask.
        confidence: least mean probability of the mask over an object; what is less sure is no object, though it stays
            in the mask. Validation chooses it where it chooses how objects are parted; of one mask alone.
        border_weight: weight of pixels between two objects that nearly touch, beside 1 for all others; 0 for none. The
            w0 of the U-Net paper, https://arxiv.org/abs/1505.04597, which has 10.
        tta: symmetries of an image whose predictions are averaged, 0, 4 or 8.
        thaw: epochs after which a frozen encoder begins to learn; 0 for never.
        held: share of the training after which batch normalisations that learn keep their moments as they are; 0 for
            never.
        threshold: probability above which a pixel is foreground, or "mean": each image's mean prediction.
        classes: foreground classes that are told apart, by a softmax over them and background; 0 for one mask. No
            hyperparameter: the job sets it to what the masks of the data set hold.
        model: keyword arguments of the setup's model builder.
    """

    image_size: int
    channels: int
    epochs: int
    batch_size: int
    learning_rate: float = 1e-3
    schedule: str = "constant"
    loss: str = "bce"
    loss_options: Mapping[str, float] = field(default_factory=dict)
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
    scale_jitter: float = 0.0
    elastic: float = 0.0
    stain: float = 0.0
    colour: float = 0.0
    grey: float = 0.0
    gamma: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    view: str = "whole"
    scale: float = 1.0
    draws: int = 0
    objects: str = "components"
    seeds: float = 0.0
    least_object: int = 0
    confidence: float = 0.0
    border_weight: float = 0.0
    tta: int = 0
    thaw: int = 0
    held: float = 0.0
    threshold: float | Literal["mean"] = 0.5
    classes: int = 0
    model: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", MappingProxyType(dict(self.model)))
        object.__setattr__(self, "loss_options", MappingProxyType(dict(self.loss_options)))

    def changed(self, values: Mapping[str, Any]) -> "Recipe":
        """A copy with other values, by their names in `flat`.

        `loss_<option>` is an option of the loss; any other name that is no field of the recipe is an argument of the
        model builder.
        """
        own = {f.name for f in dataclasses.fields(self)} - {"model", "loss_options"}
        mine, loss, model = {}, dict(self.loss_options), dict(self.model)
        for name, value in values.items():
            if name in own:
                mine[name] = value
            elif name.startswith(LOSS_OPTION):
                loss[name.removeprefix(LOSS_OPTION)] = value
            else:
                model[name] = value
        return dataclasses.replace(self, **mine, loss_options=loss, model=model)

    def flat(self) -> dict[str, Any]:
        """All hyperparameters by name, the model's and the loss's beside the others."""
        nested = ("model", "loss_options")
        own = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in nested}
        return {**own, **{LOSS_OPTION + name: value for name, value in self.loss_options.items()}, **self.model}


@dataclass(frozen=True)
class Setup:
    """One reference setup, as `experiments/<name>.py` declares it.

    Args:
        name: as on the command line.
        summary: what it is, for --help.
        plain: what its plain run on the built-in twin does, for --help.
        network: a name of `unetlab.models.NETWORKS`, built with `recipe.model`; a word, so that a setup can be read
            without TensorFlow.
        recipe: the published recipe, the reference trial of every search.
        space: declares the search space on a `keras_tuner.HyperParameters`; its defaults are the recipe.
        published: published figures by the metric they are read against, such as "val_accuracy".
        published_report: the published classification report, in scikit-learn's layout.
        source: the data its source used, a public name, or its twin where they were never published.
        protocol: options under which its source measured, where they differ from this setup's own defaults.
        twin: the built-in simulation that `data=synthetic` means.
        stand_in: the twin most like `source`, for a machine that cannot have it.
        on_twin: values of the recipe that differ on the built-in twin, so that a first try takes minutes.
        defaults: of shared options, where the setup has its own.
        extras: names of options that only this setup takes.
        membranes: whether V_rand and V_info are scored; then V_rand is what searches maximise and comparisons rank by.
        adapts: whether its recipe is a start that `jobs.configure` fits to the data, the weights at hand and the clock.
        as_read: what is to be known of `published` and of the recipe where the source says two things, or leaves open
            what it did; shown beside the figures.
    """

    name: str
    network: str
    recipe: Recipe
    space: Callable[[Any, Recipe], None]
    published: Mapping[str, float]
    summary: str = ""
    plain: str = ""
    published_report: str = ""
    source: str = "synthetic"
    protocol: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    twin: str = "nuclei"
    stand_in: str = "nuclei"
    on_twin: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    defaults: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    extras: tuple[str, ...] = ()
    membranes: bool = False
    adapts: bool = False
    as_read: str = ""

    def published_metrics(self) -> dict[str, float]:
        """The published figures under the names MLflow has them by."""
        return {f"published/{name}": value for name, value in self.published.items()}
