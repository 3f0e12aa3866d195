"""Which runs can be compared, what they are called, and what they say of their images."""

from collections.abc import Sequence

import pandas as pd

from unetlab.errors import UserError
from unetlab.tracking.read import SIDES, Record, budget, table
from unetlab.tracking.read import scenes as read_scenes

EVERY_PAIR = 40
"""Up to so many contenders (780 pairs) every pair is compared, beyond that each with the best."""

EVERY_PAIR_OF_CLASSES = 10
"""The same of those that tell classes apart: each pair has images of its own, and is tested by itself."""

LATEST = 10
"""Runs that are asked which images show one scene: all have the same images, and one answer is enough."""

TRAIN_SHARE = 0.15 / 0.70
"""Test over training images, for runs that say neither scenes nor images."""


def scenes_of(records: Sequence[Record], ids: Sequence[str]) -> tuple[str, ...]:
    """The scene of each image as a run has it that knows them all; empty where none does.

    Of runs that were told different scenes, as evaluations with other `groups` are, the one with the fewest counts:
    images that somebody takes for one scene are no independent witnesses, in whatever order the runs came.
    """
    found = []
    for record in records[: -LATEST - 1 : -1]:
        known = read_scenes(record)
        if set(ids) <= set(known):
            found.append(tuple(known[image] for image in ids))
    return min(found, key=lambda scenes: len(set(scenes)), default=())


def test_share_of(of: Record) -> float:
    """Test over training scenes, or images where the run does not know scenes, or blocks part them."""
    sides = table(of, SIDES, ["side", "group"])
    if sides is not None and {"side", "group"} <= set(sides) and not _parted(sides):
        held = sides.groupby("side")["group"].nunique()
        if {"train", "test"} <= set(held.index):
            return float(held["test"] / held["train"])
    if {"train", "test"} <= set(of.sides):
        return of.sides["test"] / of.sides["train"]
    return TRAIN_SHARE


def _parted(sides: pd.DataFrame) -> bool:
    """Whether a scene lies on both sides, as where a stack is split in blocks."""
    groups = {side: set(part) for side, part in sides.groupby("side")["group"]}
    return bool(groups.get("train", set()) & groups.get("test", set()))


def refuse_different(records: Sequence[Record], tags: Sequence[str]) -> None:
    """Raises UserError for the first run that has another digest than the first of all."""
    words = {"dataset_digest": "data", "split_digest": "split"}
    first = records[0]
    for tag in tags:
        for other in records[1:]:
            if other.tags.get(tag) != first.tags.get(tag):
                raise UserError(
                    f"runs must be scored on the same {words[tag]}: {first.name} ({first.run_id}) has {tag} "
                    f"{first.tags.get(tag)}, {other.name} ({other.run_id}) has {other.tags.get(tag)}; "
                    f"name runs of one {words[tag]}, or filter by tags.{tag} = '{first.tags.get(tag)}'"
                )


def refuse_other_classes(records: Sequence[Record]) -> None:
    """Raises UserError for the first run that tells other classes apart than the first of all, or none: a Dice of
    classes is not a Dice of one mask."""
    first = records[0]
    for other in records[1:]:
        if other.tags.get("classes", "") != first.tags.get("classes", ""):
            learnt = [
                f"the classes {tag}" if (tag := each.tags.get("classes")) else "one mask" for each in (first, other)
            ]
            raise UserError(
                f"runs must learn the same: {first.name} ({first.run_id}) learns {learnt[0]}, {other.name} "
                f"({other.run_id}) {learnt[1]}; their scores do not mean the same, so compare them apart"
            )


def refuse_seen(records: Sequence[Record]) -> None:
    """Raises UserError for the first evaluation on images that its model was trained or validated on."""
    for each in records:
        met = each.tags.get("seen_images", "0")
        if met[:1].isdigit() and met != "0":
            raise UserError(
                f"{each.name} ({each.run_id}) was scored on images that its model was trained or validated on ({met}), "
                "which is no test; leave it out"
            )


def refuse_other_budgets(records: Sequence[Record]) -> None:
    """Raises UserError if repeats of one setup were given different budgets: their mean would be of two things.

    Formats that `precision=auto` chose may differ: which one is faster hangs by what a split made of a step.
    """
    first = records[0]
    for other in records[1:]:
        theirs = budget(other)
        chosen = all(each.params.get("precision") == "auto" for each in (first, other))
        for name, value in budget(first).items():
            if theirs.get(name, value) != value and not (chosen and name == "precision"):
                where = f"tags.{name}" if name in first.tags else f"params.{name}"
                if name == "encoder_weights" and first.tags.get("encoder", "weights file") != "weights file":
                    where = "tags.encoder"
                raise UserError(
                    f"repeats of {first.setup} must have the same {name}: {first.name} ({first.run_id}) has {value}, "
                    f"{other.name} ({other.run_id}) has {theirs[name]}; "
                    f"filter by {where} = '{value}'"
                )


def names_of(records: Sequence[Record]) -> list[str]:
    """The setups where each occurs once, else the runs' names, with the start of the id where those repeat."""
    for candidates in ([each.setup for each in records], [each.name for each in records]):
        if len(set(candidates)) == len(candidates):
            return candidates
    names = [each.name for each in records]
    twice = {name for name in names if names.count(name) > 1} if len(names) <= EVERY_PAIR else set(names)
    return [f"{each.name} {each.run_id[:6]}" if each.name in twice else each.name for each in records]


def listed(words: Sequence[str], most: int = 4) -> str:
    shown = list(words[:most]) + ([f"{len(words) - most} more"] if len(words) > most else [])
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
