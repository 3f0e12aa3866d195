"""What lies behind a comparison's scores, read from its runs: gains, costs, trials, health, masks that differ."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from experiments import SETUPS
from unetlab.comparison import pictures
from unetlab.comparison.compare import Comparison
from unetlab.comparison.pictures import class_overlay, overlay
from unetlab.health import examine
from unetlab.images.palette import colours
from unetlab.metrics.table import METRICS
from unetlab.options import command, of_setup
from unetlab.tracking import read, thumbnails
from unetlab.tracking.objects import OBJECTS
from unetlab.tracking.read import Record

MOST_DETAILED = 8
"""Contenders whose trials, health and masks are read and shown."""

MOST_IMAGES = 6


def named(comparison: Comparison) -> list[tuple[str, tuple[Record, ...]]]:
    """Contenders whose runs are known, MOST_DETAILED of them at most."""
    pairs = zip(comparison.names[:MOST_DETAILED], comparison.records[:MOST_DETAILED], strict=True)
    return [(name, own) for name, own in pairs if own]


def mean(records: Sequence[Record], metric: str) -> float | None:
    """The mean of a metric over the runs that have it, None where none has."""
    values = [record.metrics[metric] for record in records if metric in record.metrics]
    return float(np.mean(values)) if values else None


def gain(name: str, own: Sequence[Record]) -> dict[str, Any]:
    """What the search gained over the recipe it began with and over Otsu; of several repeats each."""
    rows = []
    for record in own:
        trials = record.metrics.get("search/trials")  # more than was asked for, where minutes are many
        row: dict[str, Any] = {"run": record.name}
        row["trials"] = record.params.get("trials", "") if trials is None else f"{trials:.0f}"
        for rival in ("reference", "otsu"):
            keys = [f"gain/over_{rival}{end}" for end in ("", "_low", "_high")]
            row[rival] = [record.metrics[key] for key in keys] if set(keys) <= set(record.metrics) else None
        rows.append(row)
    return {"name": name, "rows": rows}


def costs(comparison: Comparison) -> list[dict[str, Any]]:
    """A row a contender: score, interval, and means over its runs of parameters, minutes, milliseconds an image."""
    rows = []
    for place, (name, own) in enumerate(named(comparison)):
        finals = [run.data.metrics for record in own for run in read.children(record) if _is_final(run)]
        first = comparison.metric
        rows.append(
            {
                "name": name,
                "dice": float(comparison.scores[first][place].mean()),
                "low": float(comparison.intervals[place, 0]),
                "high": float(comparison.intervals[place, 1]),
                "parameters": _average(finals, "train/parameters"),
                "minutes": _average(finals, "train/seconds", 60),
                "milliseconds": _average([record.metrics for record in own], "test/ms_per_image"),
            }
        )
    return rows


def _is_final(run: Any) -> bool:
    return bool(run.data.tags.get("role") == "final")


def _average(metrics: Sequence[Mapping[str, float]], name: str, divisor: float = 1) -> float:
    values = [each[name] / divisor for each in metrics if name in each]
    return float(np.mean(values)) if values else float("nan")


def cost_plot(comparison: Comparison) -> str:
    """Score against cost as a PNG's address; "" where no run says what it cost."""
    rows = pd.DataFrame(costs(comparison))
    if rows.empty or rows[["parameters", "minutes", "milliseconds"]].isna().all(axis=None):
        return ""
    return _data("image/png", pictures.cost_plot(rows, METRICS[comparison.metric]))


def legend(comparison: Comparison) -> list[tuple[str, str]]:
    """The classes that the contenders tell apart, each with its colour as #rrggbb; empty where they learn one mask."""
    first = next((own[0] for own in comparison.records if own), None)
    names = _class_names(first) if first is not None else []
    return [(name, "#" + bytes(colour).hex()) for name, colour in zip(names, colours(len(names))[1:], strict=True)]


def _class_names(record: Record) -> list[str]:
    """The foreground classes of a run: its tag, whose names may have commas in them, as its data card parts them."""
    said = record.tags.get("classes", "")
    card = (read.json_artifact(record, "data_card.json") if said else None) or {}
    known = list(card.get("classes", {}))[1:]
    return known if ", ".join(known) == said else said.split(", ")


def trials_plot(comparison: Comparison) -> str:
    """The trials of all searches as a PNG's address; "" where there was no search."""
    trials: dict[str, pd.DataFrame] = {}
    for name, own in named(comparison):
        tables = [found for record in own if (found := read.table(record, "search/trials.csv")) is not None]
        if tables:
            trials[name] = pd.concat(tables, ignore_index=True)
    picture = pictures.hyperparameter_plot(trials) if trials else None
    return _data("image/png", picture) if picture else ""


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def disagreements(comparison: Comparison) -> list[dict[str, Any]]:
    """The images whose Dice differs most between contenders, with their masks where runs keep an album."""
    contenders = named(comparison)

    def split_of(record: Record) -> str:
        """Without repeats all have the same images, whatever an evaluation calls its split."""
        return record.tags.get("split_digest", "") if comparison.repeats > 1 else ""

    splits = list(dict.fromkeys(split_of(record) for _, own in contenders for record in own))
    found = []
    for split in splits:
        there = {name: next((r for r in own if split_of(r) == split), None) for name, own in contenders}
        present = {name: record for name, record in there.items() if record is not None}
        if len(present) < 2:
            continue
        ids, scores = read.score_arrays(list(present.values()), ["native_dice"])
        dice = scores["native_dice"]
        spread = np.ptp(dice, axis=0)
        for i in np.argsort(-spread, kind="stable")[:MOST_IMAGES]:
            scored = dict(zip(present, dice[:, i], strict=True))
            found.append({"id": ids[i], "split": split, "spread": float(spread[i]), "dice": scored, "runs": present})
    found = sorted(found, key=lambda image: -image["spread"])[:MOST_IMAGES]
    albums: dict[str, thumbnails.Album | None] = {}
    for image in found:
        image["pictures"] = _pictures(image, albums)
    return found


def _pictures(image: dict[str, Any], albums: dict[str, thumbnails.Album | None]) -> list[dict[str, Any]]:
    """The image with its truth, then with each contender's outline; empty where no run keeps an album."""
    pictures: list[dict[str, Any]] = []
    for name, record in image["runs"].items():
        if record.run_id not in albums:
            content = read.artifact(record, thumbnails.PATH)
            albums[record.run_id] = None if content is None else thumbnails.unpack(content)
        kept = albums[record.run_id]
        if kept is None or image["id"] not in kept.ids:
            continue
        i = kept.ids.index(image["id"])
        several = bool(record.tags.get("classes"))
        if not pictures:
            plain = (
                class_overlay(kept.images[i], kept.truth[i])
                if several
                else overlay(kept.images[i], kept.truth[i], None)
            )
            pictures.append({"label": "truth", "source": _data("image/jpeg", plain)})
        if several:
            drawn = class_overlay(kept.images[i], kept.masks[i])
        else:
            drawn = overlay(kept.images[i], kept.truth[i], kept.masks[i])
        label = f"{name}: Dice {image['dice'][name]:.3f}"
        pictures.append({"label": label, "source": _data("image/jpeg", drawn)})
    return pictures


def objects(comparison: Comparison) -> dict[str, str]:
    """The name of the best contender that keeps a picture of objects, and its address; empty where none does."""
    for name, own in named(comparison):
        for each in own:
            # a setup's final training keeps it, an evaluation itself
            for kept_by in (each, *(read.record(run) for run in read.children(each) if _is_final(run))):
                kept = read.artifact(kept_by, OBJECTS)
                if kept is not None:
                    return {"name": name, "source": _data("image/jpeg", pictures.jpeg(kept))}
    return {}


def published(name: str, own: Sequence[Record]) -> list[dict[str, Any]]:
    """Each published figure beside ours of the same name, the mean of repeats."""
    figures = {key.removeprefix("published/") for record in own for key in record.metrics if key.startswith("publ")}
    rows = []
    for figure in sorted(figures):
        side, _, metric = figure.partition("_")
        rows.append(
            {
                "name": name,
                "figure": f"{metric or side} on {({'val': 'validation', 'train': 'training'}).get(side, side)}",
                "published": mean(own, f"published/{figure}"),
                "ours": mean(own, f"{side}/{metric}"),
            }
        )
    return rows


def health(name: str, own: Sequence[Record]) -> dict[str, Any]:
    """Findings of a contender's runs, one for each code, with the number of runs that have it."""
    found: dict[str, dict[str, Any]] = {}
    for record in own:
        kin = {each.run_id: each for each in (*examine.siblings(record), *own)}
        for finding in examine.check_run(examine.gather(record, list(kin.values()))):
            found.setdefault(finding.code, {"finding": finding, "runs": 0})["runs"] += 1
    return {"name": name, "of": len(own), "findings": [found[code] for code in sorted(found)]}


def commands(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Each command to the runs it made."""
    made: dict[str, list[Record]] = {}
    for record in records:
        made.setdefault(_command(record), []).append(record)
    return made


def _command(record: Record) -> str:
    """The command that made a run: the one it says it is part of, else its setup's with the params it was given."""
    if "command" in record.tags:
        return record.tags["command"]
    extras = SETUPS[record.setup].extras if record.setup in SETUPS else ()
    return command(record.setup, of_setup({}, extras), record.params)
