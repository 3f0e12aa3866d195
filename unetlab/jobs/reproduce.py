"""All setups as published, on the best data at hand, in one table: the published figure beside ours."""

from collections.abc import Mapping, Sequence
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from experiments import SETUPS
from unetlab.data import open_dataset, public
from unetlab.errors import Stopped, UserError
from unetlab.jobs.resume import going_on, plan_key
from unetlab.jobs.run import Summary, run_setup
from unetlab.metrics import intervals
from unetlab.options import Options
from unetlab.setup import Setup
from unetlab.tracking import read, ui, write
from unetlab.tracking.read import find_one

PUBLISHED = tuple(setup for setup in SETUPS.values() if setup.published)
"""The setups that have figures to be reproduced."""

COLUMNS = ("setup", "data", "figure", "published", "ours", "low", "high", "images", "minutes", "note")

SIDES = {"val": "validation"}
"""What a run calls a side where a figure's name has it otherwise."""


def reproduce(
    data: Mapping[str, str],
    setups: Sequence[Setup] = PUBLISHED,
    *,
    epochs: int = 0,
    seed: int = 0,
    precision: str = "auto",
    encoder_weights: str = "auto",
    fresh: bool = False,
    console: Console | None = None,
) -> pd.DataFrame:
    """Runs every setup as published and logs one table to a run of role "reproduction".

    Args:
        data: source of images by setup; "auto" means the data its source used, by name, or the built-in twin where
            those cannot be had.
        setups: those to run.
        epochs: of every training; 0 as published, also on a twin.
        seed, precision, encoder_weights, fresh: as every setup takes them.

    Returns:
        One row a published figure: COLUMNS, with the 95 % interval over scenes, and as note how the source was read
        where it says two things. A setup that could not be run has one row, with the reason as note.
    """
    console = console or Console(stderr=True)
    experiment = ui.open_experiment()
    told = {"seed": seed, "epochs": epochs, "precision": precision, "encoder_weights": encoder_weights}
    key = plan_key(reproduction=[setup.name for setup in setups], data=data, **told)
    rows: list[dict[str, Any]] = []
    with going_on(experiment, key, "reproduction", {"role": "reproduction"}, told, fresh) as kept:
        for number, setup in enumerate(setups, 1):
            name = setup.name
            console.rule(f"{name} ({number} of {len(setups)})")
            source = available(setup, data.get(name, "auto"), console)
            try:
                options = Options(
                    data=source,
                    trials=1,
                    epochs=epochs or setup.recipe.epochs,
                    seed=seed,
                    precision=precision,
                    encoder_weights=encoder_weights,
                    models="best",
                    fresh=fresh,
                    masks=_one_mask(source, seed, setup),
                    **setup.protocol,
                )
                summary = run_setup(setup, options, console, {"reproduction": kept.parent})
                rows += _rows(setup, source, summary)
            except Stopped:
                raise
            except Exception as error:  # hours of the other setups must not be lost with one that fails
                console.print(f"{name}: {error}", markup=False)
                rows.append({"setup": name, "data": source, "note": str(error) or repr(error)})
            table = pd.DataFrame(rows, columns=list(COLUMNS))
            write.log_table(table, "reproduction.csv")
    return table


def available(setup: Setup, choice: str, console: Console) -> str:
    """The data to use: `choice`, or for "auto" the source's own data by name if they can be had, else the twin; a twin
    by its name, since "synthetic" alone is a first try, for which some recipes are cut."""
    if choice == "synthetic":
        return f"synthetic-{setup.twin}"
    if choice != "auto":
        return choice
    best = setup.source
    if best not in public.SOURCES:
        return best
    try:
        public.fetch(best)
    except UserError as error:
        console.print(
            f"{setup.name}: {error}. The built-in twin stands in: its figures say nothing about the published.",
            markup=False,
        )
        return f"synthetic-{setup.stand_in}"
    return best


def _one_mask(source: str, seed: int, setup: Setup) -> str:
    """What the values of masks are said to mean: published figures are of one mask, whatever classes there are."""
    return "binary" if open_dataset(source, seed, setup.twin).learnt_classes else "auto"


def terminal_table(table: pd.DataFrame) -> Table:
    """The reproduction for the terminal; below it how sources were read that say two things."""
    shown = Table(title="As published, and here", title_justify="left")
    for heading in ("setup", "data", "figure", "published", "ours", "95 %", "images", "train min"):
        shown.add_column(heading, justify="left" if heading in ("setup", "data", "figure") else "right")
    for row in table.to_dict("records"):
        if pd.isna(row["ours"]):
            shown.add_row(row["setup"], escape(row["data"]), f"[red]{escape(row['note'][:80])}[/red]")
            continue
        shown.add_row(
            row["setup"],
            escape(row["data"]),
            row["figure"],
            f"{row['published']:.4f}",
            f"{row['ours']:.4f}",
            "" if pd.isna(row["low"]) else f"{row['low']:.4f} to {row['high']:.4f}",
            f"{row['images']:.0f}",
            f"{row['minutes']:.1f}",
        )
    notes = table[table["ours"].notna() & table["note"].fillna("").ne("")].drop_duplicates("setup")
    shown.caption = escape("\n".join(f"{row['setup']}: {row['note']}" for row in notes.to_dict("records"))) or None
    shown.caption_justify = "left"
    return shown


def _rows(setup: Setup, source: str, summary: Summary) -> list[dict[str, Any]]:
    record = find_one(summary.run_id)
    final = _final(record)
    minutes = final.metrics["train/seconds"] / 60  # of the training, in however many attempts
    found = {"test": read.table(record), "val": read.table(final, "scores/validation.csv")}
    tables = {side: table for side, table in found.items() if table is not None}
    rows, scene_of = [], read.scenes(record)
    for key, figure in setup.published.items():
        side, _, score = key.partition("_")
        row: dict[str, Any] = {"setup": setup.name, "data": source, "figure": key, "published": figure}
        row |= {"minutes": minutes, "note": setup.as_read}
        if side in tables and score != "loss":
            scenes = np.array([scene_of.get(image, image) for image in tables[side]["id"]])
            ours = intervals.pooled_interval(tables[side], score, scenes)
            row |= {"ours": ours.mean, "low": ours.low, "high": ours.high, "images": len(tables[side])}
        else:  # a training or loss figure: one number, no interval over images
            images = record.sides.get(SIDES.get(side, side), float("nan"))
            row |= {"ours": summary.figures[f"{side}/{score}"], "images": images}
        rows.append(row)
        mlflow.log_metrics({f"published/{setup.name}/{key}": figure, f"reproduced/{setup.name}/{key}": row["ours"]})
    return rows


def _final(record: read.Record) -> read.Record:
    return next(read.record(run) for run in read.children(record) if run.data.tags.get("role") == "final")
