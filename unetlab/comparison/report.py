"""A comparison for people: one self-contained HTML file, the same as CSV, and the short of it on the terminal."""

import base64
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import mlflow
import numpy as np
import pandas as pd
from mlflow.tracking import MlflowClient
from rich import box
from rich.table import Table

from experiments import SETUPS
from unetlab.comparison import pictures
from unetlab.comparison.compare import Comparison
from unetlab.comparison.pictures import overlay
from unetlab.health import examine
from unetlab.metrics.table import METRICS
from unetlab.options import command, of_setup
from unetlab.tracking import read, thumbnails
from unetlab.tracking.read import Record

TEMPLATE = Path(__file__).with_name("report.html.j2")

MOST_ROWS = 40
"""Contenders in the ranking of the report; the CSV has all."""

MOST_DETAILED = 8
"""Contenders whose trials, health and masks are read and shown."""

MOST_IMAGES = 6

WIDTH = 260
"""Pixels of the drawn intervals."""

MOST_TICKS = 5
"""As many numbers with a sign as stand side by side in WIDTH."""


def write(comparison: Comparison, folder: Path) -> Path:
    """Writes report.html, ranking.csv and pairs.csv into a folder, made if need be; returns the HTML file."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files(comparison).items():
        (folder / name).write_text(content, encoding="utf-8")
    return folder / "report.html"


def log(comparison: Comparison) -> str:
    """Logs the report as an MLflow run of its own beside the runs it compares; returns its id.

    The run has role "comparison", a tag with the ids compared, and metrics of the best contender.
    """
    client = MlflowClient()
    compared = [record for own in comparison.records for record in own]
    experiment = client.get_run(compared[0].run_id).info.experiment_id
    shown = " / ".join(comparison.names[:4]) + (" ..." if len(comparison.names) > 4 else "")
    tags = {
        "role": "comparison",
        "dataset": compared[0].tags.get("dataset", ""),
        "dataset_digest": compared[0].tags.get("dataset_digest", ""),
        "compared": " ".join(record.run_id for record in compared)[:5000],
        "best": " ".join(comparison.best)[:5000],
        "mlflow.note.content": comparison.conclusion(),
    }
    with mlflow.start_run(experiment_id=experiment, run_name=f"comparison {shown}"[:250], tags=tags) as active:
        for name, content in files(comparison).items():
            mlflow.log_text(content, name)
        mlflow.log_metrics({"compare/contenders": len(comparison.names), "compare/among_best": len(comparison.best)})
        return str(active.info.run_id)


def files(comparison: Comparison) -> dict[str, str]:
    """The report's files by name: report.html, ranking.csv, pairs.csv."""
    return {
        "report.html": html(comparison),
        "ranking.csv": comparison.ranking().to_csv(index=False),
        "pairs.csv": comparison.pairs.to_csv(index=False),
    }


def table(comparison: Comparison) -> Table:
    """The ranking for the terminal; the conclusion is its caption."""
    ranks, word = comparison.metric, METRICS[comparison.metric]
    title = f"Ranking by {word} at the images' own size, {_units(comparison)}"
    # without edges it fits 80 columns
    shown = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for heading in ("", "setup", f"{word} [95 %]", "behind the best", "p (Holm)"):
        shown.add_column(heading, justify="left" if heading == "setup" else "right")
    for row in comparison.ranking().head(MOST_ROWS).to_dict("records"):
        first = row["rank"] == 1
        shown.add_row(
            f"{row['rank']}{'*' if row['among_best'] else ''}",
            row["name"],
            f"{row[ranks]:.4f} [{row[f'{ranks}_low']:.3f}, {row[f'{ranks}_high']:.3f}]",
            "" if first else f"{row['behind_best']:+.4f} [{row['behind_low']:+.3f}, {row['behind_high']:+.3f}]",
            "" if first else _p(row["p_holm"]),
        )
    shown.caption = " ".join([comparison.conclusion(), "* cannot be told from the best.", *comparison.notes])
    shown.caption_justify = "left"
    return shown


def html(comparison: Comparison) -> str:
    """The report as one HTML document that loads nothing from anywhere."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    detailed = comparison.records[:MOST_DETAILED]
    first = [own[0] for own in detailed if own]
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return page.render(
        comparison=comparison,
        headline=_headline(comparison),
        facts=_facts(comparison),
        ranking=_ranking(comparison),
        axes=_axes(comparison),
        left_out=max(0, len(comparison.names) - MOST_ROWS),
        metrics=METRICS,
        pairs=_pairs(comparison),
        splits=_splits(comparison),
        gains=[_gain(name, own) for name, own in _named(comparison)],
        costs=_costs(comparison),
        cost_plot=_cost_plot(comparison),
        trials_plot=_trials_plot(comparison),
        disagreements=_disagreements(comparison),
        card=read.json_artifact(first[0], "data_card.json") if first else None,
        published=[row for name, own in _named(comparison) for row in _published(name, own)],
        health=[_health(name, own) for name, own in _named(comparison)],
        commands=_commands([record for own in comparison.records[:MOST_ROWS] for record in own]),
        width=WIDTH,
    )


def _named(comparison: Comparison) -> list[tuple[str, tuple[Record, ...]]]:
    pairs = zip(comparison.names[:MOST_DETAILED], comparison.records[:MOST_DETAILED], strict=True)
    return [(name, own) for name, own in pairs if own]


def _units(comparison: Comparison) -> str:
    return f"mean of {comparison.repeats} splits" if comparison.repeats > 1 else comparison.images()


def _p(value: float) -> str:
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}" if value < 0.01 else f"{value:.{3 if value < 0.1 else 2}f}"


def _headline(comparison: Comparison) -> str:
    best, k = comparison.best, len(comparison.names)
    if len(best) == 1:
        return f"{comparison.names[0]} is the best of {k}." if k > 2 else f"{comparison.names[0]} is better."
    if len(best) < k:
        return f"No single winner: {len(best)} of {k} cannot be told apart."
    return f"No clear winner: {' and '.join(best)} cannot be told apart." if k == 2 else "No clear winner."


def _facts(comparison: Comparison) -> list[str]:
    """Sentences below the headline, for a reader who has not seen the project."""
    ranking = comparison.ranking()
    top, ranks, word = ranking.iloc[0], comparison.metric, METRICS[comparison.metric]
    does = "finds the right area" if ranks == "native_dice" else "tells cells apart"
    facts = [comparison.conclusion()]
    if len(ranking) > 1:
        second = ranking.iloc[1]
        facts.append(
            f"{top['name']} {does} with a {word} of {top[ranks]:.3f}, {second['name']} with "
            f"{second[ranks]:.3f}. Given these {'splits' if comparison.repeats > 1 else 'images'} the true "
            f"difference may lie anywhere from {-second['behind_high']:+.3f} to {-second['behind_low']:+.3f}."
        )
    otsu = _mean(comparison.records[0], f"baseline/otsu_{ranks}")
    if otsu is not None:
        better = "above" if top[ranks] > otsu else "below"
        facts.append(
            f"For scale: Otsu's threshold, which learns nothing, has {otsu:.3f} on the same images, so the first "
            f"is {abs(top[ranks] - otsu):.3f} {better} it."
        )
    return [*facts, *comparison.notes]


def _mean(records: Sequence[Record], metric: str) -> float | None:
    values = [record.metrics[metric] for record in records if metric in record.metrics]
    return float(np.mean(values)) if values else None


def _scale(low: np.ndarray, high: np.ndarray, zero: bool = False) -> tuple[float, float]:
    """Ends of an axis that holds all intervals, with a little room."""
    ends = np.concatenate([low, high])
    known = ends[np.isfinite(ends)]  # images of one scene have no interval
    left, right = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    if zero:
        left, right = min(left, 0.0), max(right, 0.0)
    room = 0.06 * max(right - left, 1e-6)
    return left - room, right + room


def _scales(comparison: Comparison) -> tuple[tuple[float, float], tuple[float, float]]:
    shown = comparison.ranking().head(MOST_ROWS)
    dice = _scale(*(shown[f"{comparison.metric}_{end}"].to_numpy() for end in ("low", "high")))
    return dice, _scale(shown["behind_low"].to_numpy(), shown["behind_high"].to_numpy(), zero=True)


def _place(value: float, scale: tuple[float, float]) -> float:
    value = min(max(value, scale[0]), scale[1]) if np.isfinite(value) else scale[0]
    return round(WIDTH * (value - scale[0]) / (scale[1] - scale[0]), 1)


def _axes(comparison: Comparison) -> list[list[tuple[float, str]]]:
    """Ticks of both interval columns: place in pixels and text."""
    axes = []
    for scale, sign in zip(_scales(comparison), ("", "+"), strict=True):
        least = (scale[1] - scale[0]) / MOST_TICKS
        power = 10.0 ** math.floor(math.log10(least))
        step = next(power * s for s in (1, 2, 5, 10) if power * s >= least)
        ticks = np.arange(math.ceil(scale[0] / step), math.floor(scale[1] / step) + 1) * step
        digits = max(0, -math.floor(math.log10(step)))
        texts = ["0" if sign and abs(tick) < step / 2 else f"{tick:{sign}.{digits}f}" for tick in ticks]
        axes.append([(_place(tick, scale), text) for tick, text in zip(ticks, texts, strict=True)])
    return axes


def _ranking(comparison: Comparison) -> list[dict[str, Any]]:
    dice, behind = _scales(comparison)
    rows = []
    told = len(set(comparison.setups)) == len(comparison.setups)
    for row in comparison.ranking().head(MOST_ROWS).to_dict("records"):
        row = {str(key): value for key, value in row.items()}
        row["about"] = SETUPS[row["setup"]].summary if told and row["setup"] in SETUPS else ""
        row["score"] = row[comparison.metric]
        row["dice_places"] = [_place(row[f"{comparison.metric}{end}"], dice) for end in ("_low", "", "_high")]
        row["behind_places"] = (
            None if row["rank"] == 1 else [_place(row[f"behind_{end}"], behind) for end in ("low", "best", "high")]
        )
        row["zero"] = _place(0.0, behind)
        if row["rank"] == 1:
            row["verdict"] = "highest" if len(comparison.best) > 1 else "best"
        elif row["among_best"]:
            row["verdict"] = f"cannot be told from the first (p = {_p(row['p_holm'])})"
        else:
            row["verdict"] = f"worse (p {'' if row['p_holm'] < 0.0001 else '= '}{_p(row['p_holm'])})"
        rows.append(row)
    return rows


def _pairs(comparison: Comparison) -> dict[str, list[dict[str, Any]]]:
    """Metric to the rows of its pair table: all of them where they are few, else those with the best."""
    found = comparison.pairs
    if len(comparison.names) > 6:
        found = found[found["a"] == comparison.names[0]]
    rows = [{str(key): value for key, value in row.items()} for row in found.to_dict("records")]
    verdicts = {"a better": lambda row: f"{row['a']} better", "b better": lambda row: f"{row['b']} better"}
    for row in rows:
        row["p_text"], row["p_holm_text"] = _p(row["p"]), _p(row["p_holm"])
        row["verdict"] = verdicts[row["verdict"]](row) if row["verdict"] in verdicts else "cannot tell"
    return {metric: [row for row in rows if row["metric"] == metric][:MOST_ROWS] for metric in comparison.scores}


def _splits(comparison: Comparison) -> list[dict[str, Any]]:
    """Each contender's mean Dice on each split; empty for a comparison on one split."""
    if comparison.repeats == 1:
        return []
    dice = next(iter(comparison.scores.values()))
    return [{"name": name, "dice": list(dice[i])} for i, name in enumerate(comparison.names[:MOST_ROWS])]


def _gain(name: str, own: Sequence[Record]) -> dict[str, Any]:
    """What the search gained over the published recipe and over Otsu; of several repeats each."""
    rows = []
    for record in own:
        row: dict[str, Any] = {"run": record.name, "trials": record.params.get("trials", "")}
        for rival in ("reference", "otsu"):
            keys = [f"gain/over_{rival}{end}" for end in ("", "_low", "_high")]
            row[rival] = [record.metrics[key] for key in keys] if set(keys) <= set(record.metrics) else None
        rows.append(row)
    return {"name": name, "rows": rows}


def _costs(comparison: Comparison) -> list[dict[str, Any]]:
    rows = []
    for place, (name, own) in enumerate(_named(comparison)):
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


def _cost_plot(comparison: Comparison) -> str:
    costs = pd.DataFrame(_costs(comparison))
    if costs.empty or costs[["parameters", "minutes", "milliseconds"]].isna().all(axis=None):
        return ""
    return _data("image/png", pictures.cost_plot(costs, METRICS[comparison.metric]))


def _trials_plot(comparison: Comparison) -> str:
    trials: dict[str, pd.DataFrame] = {}
    for name, own in _named(comparison):
        tables = [found for record in own if (found := read.table(record, "search/trials.csv")) is not None]
        if tables:
            trials[name] = pd.concat(tables, ignore_index=True)
    picture = pictures.hyperparameter_plot(trials) if trials else None
    return _data("image/png", picture) if picture else ""


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _disagreements(comparison: Comparison) -> list[dict[str, Any]]:
    """The images whose Dice differs most between contenders, with their masks where runs keep an album."""
    named = _named(comparison)
    splits = list(dict.fromkeys(record.tags.get("split_digest", "") for _, own in named for record in own))
    found = []
    for split in splits:
        there = {name: next((r for r in own if r.tags.get("split_digest", "") == split), None) for name, own in named}
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
        if not pictures:
            plain = overlay(kept.images[i], kept.truth[i], None)
            pictures.append({"label": "truth", "source": _data("image/jpeg", plain)})
        drawn = overlay(kept.images[i], kept.truth[i], kept.masks[i])
        label = f"{name}: Dice {image['dice'][name]:.3f}"
        pictures.append({"label": label, "source": _data("image/jpeg", drawn)})
    return pictures


def _published(name: str, own: Sequence[Record]) -> list[dict[str, Any]]:
    """Each published figure beside ours of the same name, the mean of repeats."""
    figures = {key.removeprefix("published/") for record in own for key in record.metrics if key.startswith("publ")}
    rows = []
    for figure in sorted(figures):
        side, _, metric = figure.partition("_")
        rows.append(
            {
                "name": name,
                "figure": f"{metric or side} on {({'val': 'validation', 'train': 'training'}).get(side, side)}",
                "published": _mean(own, f"published/{figure}"),
                "ours": _mean(own, f"{side}/{metric}"),
            }
        )
    return rows


def _health(name: str, own: Sequence[Record]) -> dict[str, Any]:
    """Findings of a contender's runs, one for each code, with the number of runs that have it."""
    found: dict[str, dict[str, Any]] = {}
    for record in own:
        for finding in examine.check_run(examine.gather(record, own)):
            found.setdefault(finding.code, {"finding": finding, "runs": 0})["runs"] += 1
    return {"name": name, "of": len(own), "findings": [found[code] for code in sorted(found)]}


def _commands(records: Sequence[Record]) -> dict[str, list[Record]]:
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
