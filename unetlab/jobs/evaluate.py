"""The life of an evaluation: a model, labelled data, which of it the model has seen, a run that holds the scores."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import mlflow
import numpy as np
from rich.console import Console

from experiments import SETUPS
from unetlab.data import Dataset, open_dataset
from unetlab.data.check import UNLABELLED, DataCard, check
from unetlab.errors import UserError
from unetlab.health import examine
from unetlab.metrics import classes
from unetlab.options import Reading
from unetlab.service import scoring
from unetlab.service.loading import class_names, in_words, load, other_channels, same_channels
from unetlab.service.seen import Origin, origin, seen, spread_over_scenes
from unetlab.service.shards import Spread, in_turn
from unetlab.tracking import ui


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation leaves: its run, and the figures logged."""

    run_id: str
    model: str
    data: str
    figures: Mapping[str, float]

    def headline(self) -> str:
        """The result in one line."""
        found = self.figures

        def interval(key: str, sign: str = "+") -> str:
            ends = [found[f"{key}_{end}"] for end in ("low", "high") if f"{key}_{end}" in found]
            return f" (95 % {ends[0]:{sign}.4f} to {ends[1]:{sign}.4f})" if ends else ""

        dice = interval("test/native_dice", "")
        return (
            f"{self.model} on {self.data}: Dice {found['test/native_dice']:.4f}{dice} at native size, "
            f"{found['test/images']:.0f} images of {found['test/scenes']:.0f} scenes; "
            f"{classes.spoken(found)}Otsu {found['baseline/otsu_native_dice']:.4f}, "
            f"gain {found['gain/over_otsu']:+.4f}{interval('gain/over_otsu')}"
        )


def evaluate(
    model: str,
    data: str,
    allow_seen: bool = False,
    reading: Reading | None = None,
    groups: str = "auto",
    console: Console | None = None,
    spread: Spread = in_turn,
) -> Evaluation:
    """Scores a logged or registered model on labelled data, through the code it is served with.

    The model answers masks and no probabilities, so figures that want those (auc, ece) are not among the scores, and
    all scores are of the images' own size. Otsu's threshold and the constant answer are scored beside it. `compare`
    takes such runs.

    Args:
        model: "models:/name@alias", "models:/name/version", "models:/m-...", "runs:/..." or a model's folder.
        data: a folder or zip, the name of a public data set, or "synthetic", the twin of the model's setup.
        allow_seen: whether images may be scored that the model was trained or validated on.
        reading: masks, channels and pages, as `open_dataset` takes them; None for its own.
        groups: which images are of one scene, as `scenes_of` takes it.
        console: where progress is told.
        spread: who scores the images; what a killed command has scored is not scored again.

    Raises UserError if the model cannot be loaded or is none of unetlab's, the data have no masks or nothing in them,
    if it is a model of classes and theirs are others, and, unless `allow_seen`, where the model was trained or
    validated on some of the images or on others of their scenes. Images are recognised by their pixels; of a model
    whose run says nothing of them, or that learnt from other channels, it is told, and tagged.
    """
    console = console or Console(stderr=True)
    segmenter = load(model)
    whence = origin(segmenter)
    twin = SETUPS[whence.setup].twin if whence.setup in SETUPS else "nuclei"
    reading = reading or Reading(masks="auto", channels="", pages="all")
    for line in other_channels(segmenter.metadata, reading["channels"]):
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    dataset = open_dataset(data, 0, twin, **reading)
    refuse_unlabelled(dataset, data)
    _refuse_other_classes(model, class_names(segmenter.metadata), data, dataset)
    card = check(dataset, groups)
    _refuse_unknown(card)
    met = _seen(model, data, whence, dataset, card.groups, reading["channels"], allow_seen, console)
    ui.open_experiment()
    name = model.removeprefix("models:/")
    kept = f"models:/{whence.model_id}" if whence.model_id else model
    told = {**reading, "groups": groups}
    run_id, figures, _ = scoring.log(
        f"evaluate {name} on {dataset.name}",
        segmenter,
        whence,
        dataset,
        np.arange(len(dataset)),
        card.groups,
        split_digest=scoring.digest_of(dataset.ids),
        tags={"seen_images": met, "command": _command(kept, data, allow_seen, told)},
        params={"model": model, "data": data, "allow_seen": allow_seen, **told},
        model=kept,
        spread=spread,
    )
    mlflow.MlflowClient().log_dict(run_id, card.to_json(), "data_card.json")
    for finding in examine.examine(run_id):
        console.print(str(finding), highlight=False, markup=False)
    return Evaluation(run_id, name, dataset.name, figures)


def _command(model: str, data: str, allow_seen: bool, told: Mapping[str, object]) -> str:
    """What gives this evaluation again."""
    options = f"-P model={shlex.quote(model)} -P data={shlex.quote(data)}" + (" -P allow_seen=true" * allow_seen)
    options += "".join(f" -P {key}={shlex.quote(str(value))}" for key, value in told.items() if value)
    return f"mlflow run . -e evaluate --env-manager local {options}"


def refuse_unlabelled(dataset: Dataset, data: str) -> None:
    """Raises UserError for images without masks, and for masks without anything."""
    if not dataset.has_masks:
        raise UserError(
            f"{data} has images and no masks to score against; put one mask an image into a folder masks beside images"
        )
    if not any(dataset.objects(i).any() for i in range(len(dataset))):
        raise UserError(f"all masks of {data} are empty, so there is nothing to find; they must be above 0 somewhere")


def _refuse_unknown(card: DataCard) -> None:
    for finding in card.findings:
        if finding.code == UNLABELLED:
            raise UserError(f"{finding.code} {finding.message}; {finding.remedy}")


def _refuse_other_classes(model: str, names: Sequence[str], data: str, dataset: Dataset) -> None:
    """A model of one mask is scored on the foreground of any classes; one of classes on its own, in whatever order."""
    own = dataset.classes[1:]
    if not names or dataset.meaning == "classes" and set(own) == set(names):
        return
    there = f"classes are {', '.join(own)}" if dataset.meaning == "classes" else "values mean one foreground"
    raise UserError(
        f"{model} {in_words(names)}, and in the masks of {data} {there}; give masks whose values are named the same in "
        "a classes.csv beside them, and masks=classes"
    )


def _seen(
    model: str,
    data: str,
    whence: Origin,
    dataset: Dataset,
    scenes: np.ndarray,
    channels: str,
    allowed: bool,
    console: Console,
) -> str:
    """The tag that says how many of the images the model has seen. Raises UserError where that is not allowed."""
    if not whence.recorded or whence.sides is None:
        console.print(
            f"the run that trained {model} does not say which images it saw (it is of an older version, or of another "
            "store): if some of these are among them, these scores are too good",
            highlight=False,
            markup=False,
        )
        return "unknown: the model's run does not say what it was trained on"
    own = seen(whence.sides, dataset.ids, dataset.sha)
    every = spread_over_scenes(own, scenes)
    if not every.any():
        if same_channels(whence.channels, channels):
            return "0"
        why = f"read by channels={channels or 'all'}, learnt from channels={whence.channels or 'all'}"
        said = (
            f"{model} cannot know these images again if it learnt from them ({why}): if so, these scores are too good"
        )
        console.print(said, highlight=False, soft_wrap=True, markup=False)
        return f"unknown: {why}"
    names = ", ".join(dataset.ids[i][:40] for i in np.flatnonzero(own)[:3]) + (" ..." if own.sum() > 3 else "")
    more = int(every.sum() - own.sum())
    others = f", {more} more of their scenes" if more else ""
    text = f"{own.sum()} of {len(dataset)} images in {data} ({names}){others}"
    if not allowed:
        raise UserError(
            f"{model} was trained or validated on {text}; give images it has not seen, or allow_seen=true for scores "
            "that are no test"
        )
    said = f"{model} was trained or validated on {text}: these scores are too good"
    console.print(said, highlight=False, markup=False)
    return f"{every.sum()} of {len(dataset)}"
