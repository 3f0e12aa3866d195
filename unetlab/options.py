"""Every option once: default, range, choices and help; and which command takes which.

The command line, MLproject, the plan of a showdown and the command that repeats a run are made from this table. A new
option of the setups is one field of `Options`; one that a single command has is one row in `JOBS`.
"""

import dataclasses
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypedDict

EXPORTS = ("litert", "onnx", "openvino", "saved_model")

LABELS = ("masks", "otsu", "kmeans", "felzenszwalb", "slic", "walker", "consensus")

MOST_REPEATS = 50

MAX_SEED = 2**31 - MOST_REPEATS
"""The repeats of a showdown count up from a seed, and all seeds fit 31 bits."""


@dataclass(frozen=True)
class Option:
    """What a command can be told.

    Args:
        name: as in MLproject; on the command line --name, with a hyphen or an underscore.
        default: what holds if it is not given; None or "" for nothing, which an empty text stands for too.
        help: a sentence or two for --help.
        kind: str, int, float, bool or Path.
        choices: the texts allowed; empty for any.
        low, high: the least and the largest number allowed, None for no bound.
        required: whether it must be given.
        shared: whether all setups take it; else only those that name it among their extras.
        budget: whether it says how long a setup was given, what it learnt from, or how.
        repeated: whether it belongs into the command that repeats a run.
    """

    name: str
    default: Any
    help: str
    kind: type = str
    choices: tuple[str, ...] = ()
    low: int | None = None
    high: int | None = None
    required: bool = False
    shared: bool = True
    budget: bool = False
    repeated: bool = True


def _said(default: Any, help: str, **settings: Any) -> Any:
    """A field of Options that is an Option too; name and kind are the field's."""
    return dataclasses.field(default=default, metadata={"option": Option("", default, help, **settings)})


class Reading(TypedDict):
    """How files become images and labels, as `open_dataset` takes it."""

    masks: str
    channels: str
    pages: str


SEARCHED = (
    "Trainings of a search; the first is the published recipe, of auto what it configured. 1 trains nothing else."
)


@dataclass(frozen=True)
class Options:
    """What a setup is told, by the names of the options. The command line checks the values, this class does not."""

    data: str = _said(
        "synthetic",
        "A folder or zip (images/ and masks/, Data Science Bowl layout, stacks), the name of a public data set "
        "(dsb2018, isbi2012, kitchen, vnc), or synthetic, the built-in twin (synthetic-kitchen and so on: another "
        "one, as if it were data of your own).",
    )
    trials: int = _said(
        1,
        f"{SEARCHED} auto makes so many at least, which share its minutes, and more from 90 minutes on.",
        low=1,
        budget=True,
    )
    tuner: str = _said(
        "random",
        "How KerasTuner proposes trials. Hyperband begins with short trainings and wants many.",
        choices=("random", "bayesian", "hyperband", "grid"),
        budget=True,
    )
    epochs: int = _said(
        0,
        "Epochs of every training; 0 means as published, fewer on some built-in twins, of auto what its minutes allow.",
        low=0,
        budget=True,
    )
    minutes: float = _said(
        0.0,
        "No trial of a search begins after so many, and no training takes longer. The first trial always runs. "
        "0: no limit. Of auto: for all of it, divided among trainings.",
        low=0,
        shared=False,
        budget=True,
    )
    seed: int = _said(
        0,
        "Seed of twin, split, search, weights and augmentation; of several splits the first has it.",
        low=0,
        high=MAX_SEED,
    )
    precision: str = _said(
        "auto",
        "auto: float32 or bfloat16, whichever trains faster here, measured for seconds, once for a network and size.",
        choices=("auto", "float32", "bfloat16"),
        budget=True,
    )
    encoder_weights: str = _said(
        "auto",
        "auto: ImageNet if it can be had, else random and trained too. Or imagenet, none, a weights file.",
        budget=True,
    )
    models: str = _said(
        "all",
        "Which models go to MLflow: every trial's, or only the final one and those of its rounds.",
        choices=("all", "best"),
    )
    threshold: str = _said(
        "recipe",
        "Which threshold is served. validation: the one that is best on validation (Dice; membranes: V_rand).",
        choices=("recipe", "validation"),
        budget=True,
    )
    view: str = _said(
        "recipe",
        "whole: images squeezed to the recipe's square. patches: crops of that size at the images' own scale, "
        "prediction in overlapping tiles.",
        choices=("recipe", "whole", "patches"),
        budget=True,
    )
    scale: str = _said(
        "recipe",
        "Of patches: pixels of the network per pixel of the image, such as 0.5; auto: so that the typical object, in "
        "which the middle pixel of all foreground lies, is 12 to 48 pixels wide, and 1 where it is; at most 2, at "
        "least 1/16.",
        budget=True,
    )
    objects: str = _said(
        "recipe",
        "How touching objects are parted: connected components, a watershed of the mask's distance map, or one by a "
        "second output of the network: border, which lowers that map, or distance, which gives seeds. Validation by "
        "masks chooses between it and the plainer ones, and how sure of an object the network has to be.",
        choices=("recipe", "components", "watershed", "border", "distance"),
        budget=True,
    )
    tta: str = _said(
        "recipe",
        "Test-time augmentation: mirror images and turns of an image whose predictions are averaged.",
        choices=("recipe", "0", "4", "8"),
        budget=True,
    )
    register: bool = _said(
        False,
        "Register the final model as unetlab-<setup>: champion if there is none or it is shown to beat the standing "
        "one by 0.01, and if it beats Otsu's threshold and one answer for all pixels. Scored against made labels it "
        "stays challenger.",
        repeated=False,
    )
    refit: bool = _said(
        False,
        "Train the best recipe once more, as many epochs as were best, on training and validation images together: the "
        "final model. Validation scores stay those of the model before.",
        budget=True,
    )
    labels: str = _said(
        "masks",
        "Who labels the images; masks: learn the given masks.",
        choices=LABELS,
        shared=False,
        budget=True,
    )
    rounds: int = _said(
        0,
        "Self-training rounds on labels corrected where the network is sure; with labels=masks none, but where masks "
        "of several classes leave pixels unknown.",
        low=0,
        high=10,
        shared=False,
        budget=True,
    )
    split: str = _said(
        "random",
        "random: stratified by modality. blocks: neighbouring sections on one side, with a gap between sides.",
        choices=("random", "blocks"),
        shared=False,
        budget=True,
    )
    masks: str = _said(
        "auto",
        "What the values of a mask mean. binary: foreground above 0. objects: each value is one object. classes: each "
        "value is a class. auto: decided by what the masks hold, and said.",
        choices=("auto", "binary", "objects", "classes"),
    )
    channels: str = _said(
        "",
        "Which channels make the image where a file has others than grey or colour, counted from 1: 1 or 1,2,3. pages: "
        "each channel is an image of its own.",
    )
    pages: str = _said("all", "Which pages of a stack, counted from 1: all, or such as 1-10.")
    groups: str = _said(
        "auto",
        "Which images belong to one scene and stay on one side of the split, but for one stack cut into blocks. auto: "
        "the groups.csv beside the images, "
        "else copies, frames of one take, tiles of one field and sections of one stack are found. off: each image for "
        "itself. Or a CSV with the columns id and group.",
    )
    fresh: bool = _said(
        False,
        "Begin anew, and measure steps anew. Else what the same command left unfinished, killed or not, goes on in the "
        "run it had.",
        repeated=False,
    )
    stall: float = _said(
        15.0,
        "Minutes without a step of training after which a trial of a search counts as hung: it is FAILED, and the "
        "search goes on. 0: never.",
        low=0,
        repeated=False,
    )
    workers: int = _said(
        0,
        "Trials of a search that are trained at once: so many processes on this machine, or workers of the scheduler. "
        "0: one, or as many as the scheduler has. It changes what bayesian and hyperband propose.",
        low=0,
    )
    scheduler: str = _said(
        "",
        "Address of a Dask cluster whose workers train the trials, such as tcp://host:8786.",
    )
    twin_seed: int | None = None
    """Of a built-in twin; None for `seed`. No option: a showdown keeps one twin on all its splits."""

    @property
    def made(self) -> bool:
        """Whether labels are made from the images, in place of given masks."""
        return self.labels != "masks"

    def reading(self) -> "Reading":
        """What `open_dataset` is told of how files become images and labels."""
        return {"masks": self.masks, "channels": self.channels, "pages": self.pages}


OPTIONS: Mapping[str, Option] = MappingProxyType(
    {
        field.name: dataclasses.replace(field.metadata["option"], name=field.name, kind=field.type)
        for field in dataclasses.fields(Options)
        if "option" in field.metadata
    }
)
"""The options that a setup can be told, by name."""

DEPENDENT = ("bayesian", "hyperband")
"""Tuners whose proposals depend on the scores they know, and so on how many trials are under way at once."""

PLACES = ("workers", "scheduler")
"""Where a search is computed, which is no part of what it is."""

BUDGET = tuple(option.name for option in OPTIONS.values() if option.budget)
"""Params that say how long a setup was given, what it learnt from and how: repeats of it have them in common."""

READING = tuple(OPTIONS[name] for name in ("masks", "channels", "pages", "groups"))
"""How files become images and labels, for every command that reads them."""


def _of(*names: str) -> tuple[Option, ...]:
    return tuple(OPTIONS[name] for name in names)


SPREAD = (
    dataclasses.replace(
        OPTIONS["workers"],
        help="Processes on this machine that share the images, or workers of the scheduler. 0: one, or all it has.",
    ),
    dataclasses.replace(
        OPTIONS["scheduler"],
        help="Address of a Dask cluster whose workers share the images, such as tcp://host:8786.",
    ),
)
"""The same for commands that answer images instead of training."""


AS_PUBLISHED = dataclasses.replace(OPTIONS["epochs"], help="Epochs of every training; 0 means as published.")
"""For commands that make no training shorter because its data are simulated."""


def _showdown() -> tuple[Option, ...]:
    """All that one budget for several setups is made of."""
    own = {
        # a model of every trial of every setup on every split fills disks
        "models": dataclasses.replace(OPTIONS["models"], default="best"),
        "trials": dataclasses.replace(OPTIONS["trials"], help=f"{SEARCHED} auto decides itself how many it makes."),
        "epochs": AS_PUBLISHED,
        "minutes": OPTIONS["minutes"],
        "split": OPTIONS["split"],
        "fresh": OPTIONS["fresh"],
        "stall": OPTIONS["stall"],
    }
    common = [own.get(o.name, o) for o in OPTIONS.values() if o.name in own or (o.shared and o.repeated)]
    setups = Option("setups", "nuclei,nuclei-scratch", "Names with commas, or all.")
    repeats = Option("repeats", 3, "Different splits.", kind=int, low=1, high=MOST_REPEATS)
    return (setups, *common, repeats)


JOBS: Mapping[str, tuple[Option, ...]] = MappingProxyType(
    {
        "check": (
            *_of("data", "seed"),
            *READING,
            Option("export", None, "Also write the data set as PNG files into this new folder.", kind=Path),
        ),
        "compare": (
            Option("runs", "", "Ids of finished setup runs, with commas between; else a whole experiment."),
            Option(
                "experiment",
                "",
                "Name or id; by default MLFLOW_EXPERIMENT_NAME, under mlflow run its own, else the last used.",
            ),
            Option("filter", "", "MLflow filter on its runs, such as \"tags.dataset = 'dsb2018'\"."),
            Option("out", None, "Folder for report.html, ranking.csv and pairs.csv, besides MLflow.", kind=Path),
        ),
        "showdown": _showdown(),
        "reproduce": (
            Option("nuclei", "auto", "Data of both nuclei setups. auto: dsb2018."),
            Option("kitchen", "auto", "Data of pseudo-label. auto: kitchen."),
            Option("sections", "auto", "Data of drosophila. auto: isbi2012."),
            Option("latex", "auto", "Data of latex. auto: its twin."),
            AS_PUBLISHED,
            *_of("seed", "precision", "encoder_weights", "fresh"),
        ),
        "evaluate": (
            Option("model", None, "models:/unetlab-nuclei@champion, models:/m-..., or a folder.", required=True),
            Option("data", None, "Labelled images: folder, zip, name, or synthetic, the setup's twin.", required=True),
            *READING,
            Option("allow_seen", False, "Score images it was trained or validated on too: no test.", kind=bool),
            *SPREAD,
        ),
        "register": (
            Option("run", None, "Id of a finished setup run.", required=True),
            Option(
                "margin",
                0.01,
                "How much better (Dice or V_rand, 0 to 1) than the champion it must be; 0.01 is for luck of seeds.",
                kind=float,
                low=0,
                high=1,
            ),
            Option(
                "accept",
                False,
                "A mean difference above the margin is enough, or none where models cannot be compared; give a reason.",
                kind=bool,
            ),
            Option("reason", "", "Why it is accepted; written on the version."),
        ),
        "sync": (),
        "rollback": (Option("model", None, "A registered model, such as unetlab-nuclei.", required=True),),
        "predict": (
            Option("model", None, "models:/unetlab-nuclei@champion, models:/m-..., or a folder.", required=True),
            Option("images", None, "A folder of images, or one image.", kind=Path, required=True),
            Option(
                "out",
                None,
                "Folder for masks, objects, overlays and tables; of classes maps, a legend and counts.",
                kind=Path,
                required=True,
            ),
            Option("threshold", None, "Instead of the model's own; not for classes.", kind=float, low=0, high=1),
            *_of("channels", "pages"),
            *SPREAD,
        ),
        "export": (
            Option("model", None, "models:/unetlab-nuclei@champion, models:/m-..., or a folder.", required=True),
            Option("format", None, "What the network is written as.", choices=EXPORTS, required=True),
            Option(
                "precision",
                "float32",
                "int8: weights and activations in 8 bits, calibrated on training images of the model's run.",
                choices=("float32", "int8"),
            ),
            Option("data", "", "Where the images of the model's run lie now; by default where the run found them."),
            Option(
                "allow_loss",
                0.005,
                "Dice that the file may lose against Keras on the run's test images, the upper end of its interval.",
                kind=float,
                low=0,
                high=1,
            ),
        ),
        "live": (
            Option("model", "", "As for predict; by default the newest champion, else the newest run's final model."),
            Option("source", "", "An image, stack, video or folder of images, or camera; else what the page is given."),
            Option("out", None, "No page: overlays into this folder, or a video such as overlays.mp4.", kind=Path),
            Option("threshold", None, "To begin with, instead of the model's own.", kind=float, low=0, high=1),
            *_of("channels", "pages"),
            Option("export", "", "An export of the model, such as litert-int8, whose network answers: faster."),
            Option("port", 8090, "Of the page, on this machine only.", kind=int, low=1, high=65535),
        ),
        "ui": (Option("port", 5000, "Port of the MLflow UI.", kind=int, low=1, high=65535),),
        "server": (
            Option("port", 5000, "Port of the MLflow server.", kind=int, low=1, high=65535),
            Option("host", "127.0.0.1", "Address it listens on. 0.0.0.0 lets other machines in: there is no password."),
            Option("folder", Path("server"), "For database, artifacts and logs.", kind=Path),
            Option("database_port", 5433, "Port of its PostgreSQL, on this machine only.", kind=int, low=1, high=65535),
        ),
        "mlproject": (Option("out", Path("MLproject"), "The file to write.", kind=Path),),
    }
)
"""What each command that is no setup takes, in the order of its help."""


def of_setup(defaults: Mapping[str, Any], extras: Iterable[str]) -> tuple[Option, ...]:
    """What a setup takes, with defaults of its own in place of the shared ones; its extras come last."""
    extras = tuple(extras)
    names = [*(option.name for option in OPTIONS.values() if option.shared and option.name not in extras), *extras]
    return tuple(dataclasses.replace(OPTIONS[n], default=defaults.get(n, OPTIONS[n].default)) for n in names)


def text(value: Any) -> str:
    """A value as one types it: true and false, nothing for None."""
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def command(entry_point: str, options: Iterable[Option], values: Mapping[str, Any]) -> str:
    """The shell's command that repeats a run of an entry point.

    Args:
        entry_point: of the MLproject.
        options: what it takes; those not `repeated` are left out.
        values: by name; what is missing or empty is left out.
    """
    told = {option.name: text(values.get(option.name)) for option in options if option.repeated}
    given = [f" -P {name}={shlex.quote(value)}" for name, value in told.items() if value]
    return f"mlflow run . -e {entry_point} --env-manager local{''.join(given)}"
