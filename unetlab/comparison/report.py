"""A comparison for people: one self-contained HTML file, the same as CSV, and the short of it on the terminal."""

import math
import os
from pathlib import Path
from typing import Any

import jinja2
import mlflow
import numpy as np
from mlflow.tracking import MlflowClient
from rich import box
from rich.markup import escape
from rich.table import Table

from experiments import SETUPS
from unetlab.comparison import behind
from unetlab.comparison.compare import Comparison
from unetlab.errors import unwritable
from unetlab.metrics.table import word_of
from unetlab.tracking import read

TEMPLATE = Path(__file__).with_name("report.html.j2")

MOST_ROWS = 40
"""Contenders in the ranking of the report; the CSV has all."""

WIDTH = 260
"""Pixels of the drawn intervals."""

MOST_TICKS = 5
"""As many numbers with a sign as stand side by side in WIDTH."""


def make_folder(folder: Path) -> None:
    """Makes the folder that a report is to be written into. Raises UserError where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error


def write(comparison: Comparison, folder: Path) -> Path:
    """Writes report.html, ranking.csv and pairs.csv into a folder, made if need be; returns the HTML file. Raises
    UserError where the folder cannot be made."""
    make_folder(folder)
    for name, content in files(comparison).items():
        beside = folder / f".{name}"  # what is there stays until the new one is whole
        beside.write_text(content, encoding="utf-8")
        os.replace(beside, folder / name)
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
    ranks, word = comparison.metric, word_of(comparison.metric)
    title = f"Ranking by {word} at the images' own size, {_units(comparison)}"
    # without edges it fits 80 columns
    shown = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for heading in ("", "setup", f"{word} [95 %]", "behind the best", "p (Holm)"):
        shown.add_column(heading, justify="left" if heading == "setup" else "right")
    for row in comparison.ranking().head(MOST_ROWS).to_dict("records"):
        first = row["rank"] == 1
        shown.add_row(
            f"{row['rank']}{'*' if row['among_best'] else ''}",
            escape(row["name"]),
            f"{row[ranks]:.4f}{_bracket(row[f'{ranks}_low'], row[f'{ranks}_high'])}",
            "" if first else f"{row['behind_best']:+.4f}{_bracket(row['behind_low'], row['behind_high'], '+')}",
            "" if first else _p(row["p_holm"]),
        )
    shown.caption = escape(" ".join([comparison.conclusion(), "* cannot be told from the best.", *comparison.notes]))
    shown.caption_justify = "left"
    return shown


def _bracket(low: float, high: float, sign: str = "") -> str:
    """An interval behind its mean; nothing where images of one scene leave none."""
    return f" [{low:{sign}.3f}, {high:{sign}.3f}]" if np.isfinite([low, high]).all() else ""


def html(comparison: Comparison) -> str:
    """The report as one HTML document that loads nothing from anywhere."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    detailed = comparison.records[: behind.MOST_DETAILED]
    first = [own[0] for own in detailed if own]
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return page.render(
        comparison=comparison,
        headline=_headline(comparison),
        facts=_facts(comparison),
        ranking=_ranking(comparison),
        axes=_axes(comparison),
        left_out=max(0, len(comparison.names) - MOST_ROWS),
        metrics={metric: word_of(metric) for metric in comparison.scores},
        pairs=_pairs(comparison),
        splits=_splits(comparison),
        gains=[behind.gain(name, own) for name, own in behind.named(comparison)],
        costs=behind.costs(comparison),
        cost_plot=behind.cost_plot(comparison),
        trials_plot=behind.trials_plot(comparison),
        disagreements=behind.disagreements(comparison),
        objects=behind.objects(comparison),
        card=read.json_artifact(first[0], "data_card.json") if first else None,
        published=[row for name, own in behind.named(comparison) for row in behind.published(name, own)],
        health=[behind.health(name, own) for name, own in behind.named(comparison)],
        commands=behind.commands([record for own in comparison.records[:MOST_ROWS] for record in own]),
        classes=behind.legend(comparison),
        width=WIDTH,
    )


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
    top, ranks, word = ranking.iloc[0], comparison.metric, word_of(comparison.metric)
    does = "finds the right area" if ranks == "native_dice" else "tells cells apart"
    facts = [comparison.conclusion()]
    if len(ranking) > 1:
        second = ranking.iloc[1]
        facts.append(
            f"{top['name']} {does} with a {word} of {top[ranks]:.3f}, {second['name']} with "
            f"{second[ranks]:.3f}. {_reach(comparison, second)}"
        )
    otsu = behind.mean(comparison.records[0], f"baseline/otsu_{ranks}")
    if otsu is not None:
        better = "above" if top[ranks] > otsu else "below"
        facts.append(
            f"For scale: Otsu's threshold, which learns nothing, has {otsu:.3f} on the same images, so the first "
            f"is {abs(top[ranks] - otsu):.3f} {better} it."
        )
    return [*facts, *comparison.notes]


def _reach(comparison: Comparison, second: Any) -> str:
    """How far the second in the ranking may truly be from the first, in words."""
    low, high = -second["behind_high"], -second["behind_low"]
    if not np.isfinite([low, high]).all():
        return "How far apart they truly are nobody can say of images of one scene."
    what = "splits" if comparison.repeats > 1 else "images"
    said = f"Given these {what} the true difference may lie anywhere from {low:+.3f} to {high:+.3f}."
    pairs = math.comb(len(comparison.names), 2)
    if low > 0 and second["among_best"] and pairs > 1:
        said += (
            f" That is of these two alone: among {pairs} pairs chance makes such a difference too often to call it one."
        )
    return said


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


def _place(value: float, scale: tuple[float, float]) -> float | None:
    if not np.isfinite(value):
        return None
    value = min(max(value, scale[0]), scale[1])
    return round(WIDTH * (value - scale[0]) / (scale[1] - scale[0]), 1)


def _axes(comparison: Comparison) -> list[list[tuple[float | None, str]]]:
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
        known = np.isfinite(row["low"])
        row["interval"] = f"{row['low']:+.3f} to {row['high']:+.3f}" if known else "none, of one scene"
        row["effect_text"] = f"{row['effect']:+.2f}" if np.isfinite(row["effect"]) else "–"
        row["verdict"] = verdicts[row["verdict"]](row) if row["verdict"] in verdicts else "cannot tell"
    shown = list(dict.fromkeys(found["metric"]))
    return {metric: [row for row in rows if row["metric"] == metric][:MOST_ROWS] for metric in shown}


def _splits(comparison: Comparison) -> list[dict[str, Any]]:
    """Each contender's mean Dice on each split; empty for a comparison on one split."""
    if comparison.repeats == 1:
        return []
    dice = next(iter(comparison.scores.values()))
    return [{"name": name, "dice": list(dice[i])} for i, name in enumerate(comparison.names[:MOST_ROWS])]
