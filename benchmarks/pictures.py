"""The pictures of the README, from finished runs: masks of the best of them, and the report that compares them.

    mlflow run . -e showdown --env-manager local -P repeats=1 -P encoder_weights=none
    python -m benchmarks.pictures --out docs/pictures

Writes masks.png (the first of the ranking) and comparison.png. Runs on the built-in twin show no image of anybody's.
"""

import io
import textwrap
from pathlib import Path

import click
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from unetlab.cli.base import OneLineErrors
from unetlab.comparison.compare import Comparison, compare
from unetlab.errors import UserError
from unetlab.metrics.table import word_of
from unetlab.tracking import read, thumbnails
from unetlab.tracking.read import Record

SHOWN = 5
"""Test images in a row."""

COLOURS = 64
"""Of a picture's palette: a third of the size, and nothing that one would see."""

HIT, MISSED, FALSE, BACKGROUND = (235, 235, 235), (0, 208, 96), (255, 47, 208), (40, 40, 40)
"""As in a run's own predictions.png."""

GREEN, GREY, RED = "#2b8a57", "#8894a5", "#b03a48"
"""The report's own."""


def spread(dice: np.ndarray, n: int = SHOWN) -> np.ndarray:
    """Indices of at most n images, evenly spread from the worst Dice to the best, both among them."""
    order = np.argsort(dice, kind="stable")
    return order[np.unique(np.linspace(0, len(order) - 1, n).round().astype(int))]


def masks_picture(record: Record) -> Image.Image:
    """Test images of a run, worst to best, above the masks it predicted: hit white, missed green, false magenta.

    Raises UserError for a run that kept no pictures of its test images.
    """
    content, scores = read.artifact(record, thumbnails.PATH), read.table(record)
    if content is None or scores is None:
        raise UserError(f"run {record.run_id} has no {thumbnails.PATH} among its artifacts; name runs that have")
    album = thumbnails.unpack(content)
    dice = pd.Series(scores["native_dice"].to_numpy(), scores["id"].astype(str))[list(album.ids)].to_numpy()
    chosen = spread(dice)
    figure = Figure(figsize=(2.0 * len(chosen), 4.5), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    for axes in figure.subplots(2, len(chosen), squeeze=False).ravel():
        axes.set_axis_off()
    for k, i in enumerate(chosen):
        truth, mask = album.truth[i] > 0, album.masks[i] > 0  # of classes their union
        shown = np.full((*truth.shape, 3), BACKGROUND, np.uint8)
        shown[truth & mask], shown[truth & ~mask], shown[mask & ~truth] = HIT, MISSED, FALSE
        figure.axes[k].imshow(album.images[i], interpolation="nearest")
        axes = figure.axes[len(chosen) + k]
        axes.imshow(shown, interpolation="nearest")
        axes.set_title(f"Dice {dice[i]:.2f}", fontsize=11)
    title = f"{record.tags['setup']}: test images from the worst to the best.  Hit white, missed green, false magenta."
    figure.suptitle(title, fontsize=11)
    return _drawn(figure)


def comparison_picture(comparison: Comparison) -> Image.Image:
    """The report's ranking: each setup's mean Dice and its difference to the first, with 95 % intervals; of membranes
    V_rand.

    Green are the best and all that cannot be told from it, as in the report; the conclusion stands above.
    """
    ranking = comparison.ranking()
    places = np.arange(len(ranking))
    figure = Figure(figsize=(9.6, 1.7 + 0.55 * len(ranking)), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    ranks = comparison.metric
    for axes, mean, prefix in ((left, ranks, ranks), (right, "behind_best", "behind")):
        for k, row in enumerate(ranking.to_dict("records")):
            if axes is right and k == 0:
                continue
            color = GREEN if row["among_best"] else GREY
            axes.plot([row[f"{prefix}_low"], row[f"{prefix}_high"]], [k, k], color=color, linewidth=2)
            axes.plot(row[mean], k, "o", color=color, markersize=8)
            axes.annotate(f"{row[mean]:{'+.3f' if axes is right else '.3f'}}", (row[mean], k - 0.22), ha="center")
        axes.grid(axis="x", alpha=0.3)
    left.set_yticks(places, [f"{rank}  {name}" for rank, name in zip(ranking["rank"], ranking["name"], strict=True)])
    left.set(xlabel=f"{word_of(ranks)} at the images' own size", ylim=(len(ranking) - 0.5, -0.6))
    right.axvline(0, color=RED, linestyle="--", linewidth=1)
    right.set_xlabel(f"difference to {ranking['name'].iloc[0]}")
    figure.suptitle(textwrap.fill(comparison.conclusion(), 75), fontsize=11)
    return _drawn(figure)


def _drawn(figure: Figure) -> Image.Image:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Image.open(buffer).convert("RGB")


@click.command(cls=OneLineErrors)
@click.option("--runs", default="", help="Ids of finished runs, with commas between; else a whole experiment.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for masks.png and comparison.png.")
def main(runs: str, out: Path) -> None:
    """Writes the two pictures into a folder, made if need be, and prints their sizes."""
    found = compare([each.strip() for each in runs.split(",") if each.strip()])
    pictures = {"masks.png": masks_picture(found.records[0][0]), "comparison.png": comparison_picture(found)}
    out.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        picture.quantize(COLOURS).save(out / name, optimize=True)
        click.echo(f"{out / name}: {picture.width} x {picture.height}, {(out / name).stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
