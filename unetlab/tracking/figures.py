"""Figures of a run. Every function returns a Figure of its own and touches no global state, so threads may draw."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from unetlab.errors import printable
from unetlab.metrics.calibration import Stack, calibration_bins, error_of

GREEN, MAGENTA, GREY = "#00d060", "#ff2fd0", "#8a8a8a"

SHOWN = 1024
"""Pixels a side of a picture at most."""

SERIES = ["#1f6fb4", "#d9730d", "#7a7a7a", "#2b8a57", "#8e5bb5", "#b03a48"]


def learning_curves(history: pd.DataFrame) -> Figure:
    """Loss, Dice and accuracy over epochs, training and validation; a dashed line marks the epoch that is kept, whose
    validation loss is the lowest.

    `history` has a column epoch (from 1) and any of loss, dice, accuracy and their val_ twins.
    """
    names = [name for name in ("loss", "dice", "accuracy") if name in history]
    figure = _figure(4.2 * len(names), 3.8)
    best = int(history["val_loss"].argmin()) if "val_loss" in history else None
    for axes, name in zip(_row(figure, len(names)), names, strict=True):
        marker = "o" if len(history) < 25 else None
        axes.plot(history["epoch"], history[name], color=SERIES[0], marker=marker, markersize=4, label="training")
        if f"val_{name}" in history:
            axes.plot(
                history["epoch"],
                history[f"val_{name}"],
                color=SERIES[1],
                marker=marker,
                markersize=4,
                label="validation",
            )
        if best is not None:
            axes.axvline(history["epoch"].iloc[best], color=GREY, linestyle="--", linewidth=1)
        title = {"loss": "Loss", "dice": "Dice (soft)", "accuracy": "Pixel accuracy"}[name]
        axes.set(title=title, xlabel="epoch", ylabel=title)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(fontsize=9)
    if best is not None:
        row = history.iloc[best]
        dice = f", soft Dice {row['val_dice']:.4f}" if "val_dice" in row else ""
        said = f"epoch {row['epoch']:.0f} of {len(history)}: validation loss {row['val_loss']:.4f}, the lowest{dice}"
        figure.suptitle(f"Kept is {said}")
    return figure


def prediction_panel(rows: Sequence[Mapping[str, Any]], truth_is: str = "truth") -> Figure:
    """One line an image: image with both outlines, probability, errors.

    Each row holds id (str), image (uint8 (h, w, 1 or 3)), truth and mask (bool or {0, 1} (h, w)), probability
    (float (h, w) in [0, 1]; the plain image is shown where there is none) and dice; an optional `known`, bool (h, w),
    says where errors count; an optional label, such as "best", starts the line's title. Large ones are drawn with every
    so many-th pixel, and errors are counted before. `truth_is` is what the title calls the one outline.
    """
    heights = row_heights([row["truth"] for row in rows], 3.6)
    figure = _figure(12, sum(heights) + 0.7)
    grid = figure.subplots(len(rows), 3, squeeze=False, height_ratios=heights)
    for line, row in zip(grid, rows, strict=True):
        missed, false = errors(*(_known(row, name) for name in ("truth", "mask")))
        row = _reduced(row)
        truth, mask = np.asarray(row["truth"]).astype(bool), np.asarray(row["mask"]).astype(bool)
        label = f"{row['label']}: " if "label" in row else ""
        _show_image(line[0], row["image"])
        _outline(line[0], truth, GREEN, 1.3)
        _outline(line[0], mask, MAGENTA, 1.0)
        line[0].set_title(f"{label}Dice {row['dice']:.3f}\n{caption(row['id'])}", fontsize=10)
        if "probability" in row:
            shown = line[1].imshow(row["probability"], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            line[1].set_title("foreground probability", fontsize=10)
            figure.colorbar(shown, ax=line[1], shrink=0.85)
        else:
            _show_image(line[1], row["image"])
            line[1].set_title("image", fontsize=10)
        wrong = _errors(_known(row, "truth"), _known(row, "mask"))
        wrong[~np.asarray(row.get("known", np.ones_like(truth)))] = 110
        line[2].imshow(wrong, interpolation="nearest")
        line[2].set_title(f"errors: {missed:,} px missed, {false:,} px false", fontsize=10)
        for axes in line:
            axes.set_xticks([])
            axes.set_yticks([])
    figure.suptitle(
        f"Outlines: {truth_is} green, prediction magenta.   Errors: missed green, false magenta, hit white"
        + (", unknown grey." if any("known" in row for row in rows) else "."),
        fontsize=11,
    )
    return figure


def _known(row: Mapping[str, Any], name: str) -> np.ndarray:
    """A row's truth or mask, bool (h, w), where it is known what is right."""
    return np.asarray(row[name]).astype(bool) & np.asarray(row.get("known", True))


def _reduced(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with pictures of SHOWN pixels a side at most: an outline takes 24 bytes for each of their pixels."""
    step = -(-max(row["truth"].shape) // SHOWN)
    names = ("image", "truth", "mask", "probability", "known")
    pictures = {name: row[name][::step, ::step] for name in names if name in row}
    return {**row, **pictures}


def errors(truth: np.ndarray, mask: np.ndarray) -> tuple[int, int]:
    """Pixels that are missed and that are falsely found, of bool (h, w)."""
    return int(np.count_nonzero(truth & ~mask)), int(np.count_nonzero(mask & ~truth))


def confusion(matrix: np.ndarray) -> Figure:
    """Pixels by truth (rows) and prediction (columns), int (2, 2), background first, with the share of each row."""
    figure = _figure(5.4, 4.6)
    axes = figure.subplots()
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    shown = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for i in range(2):
        for j in range(2):
            color = "white" if share[i, j] > 0.55 else "black"
            text = f"{100 * share[i, j]:.1f} %\n{int(matrix[i, j]):,} px"
            axes.text(j, i, text, ha="center", va="center", color=color, fontsize=13)
    names = ["background", "foreground"]
    axes.set_xticks([0, 1], names)
    axes.set_yticks([0, 1], names, rotation=90, va="center")
    axes.set(title=f"Confusion of {int(matrix.sum()):,} pixels", xlabel="predicted", ylabel="truth")
    figure.colorbar(shown, ax=axes, label="share of the true class", shrink=0.85)
    return figure


def reliability(probabilities: Stack, masks: Stack) -> Figure:
    """Share of foreground against predicted probability, and how many pixels each bin holds."""
    count, predicted, observed = calibration_bins(probabilities, masks)
    filled = count > 0
    figure = _figure(5.4, 5.4)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    top.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="calibrated")
    top.plot(predicted[filled], observed[filled], color=SERIES[0], marker="o", label="this model")
    error = error_of(count, predicted, observed)
    top.set(
        title=f"Calibration of pixels (expected error {error:.4f})", ylabel="share of foreground", ylim=(-0.03, 1.03)
    )
    top.legend(loc="upper left", fontsize=9)
    edges = np.linspace(0, 1, len(count) + 1)
    bottom.bar(edges[:-1], count, width=np.diff(edges), align="edge", color=SERIES[0], edgecolor="white")
    bottom.yaxis.set_minor_formatter(NullFormatter())
    bottom.set(xlabel="predicted probability of foreground", ylabel="pixels", yscale="log", xlim=(0, 1))
    return figure


def dice_strips(dice: Mapping[str, Sequence[float]]) -> Figure:
    """Per-image Dice of several predictors of the same images, each a strip of points with its mean.

    `dice` maps names, such as "final", "reference", "Otsu", to the values of the same images in the same order.
    Thin lines join the values of one image.
    """
    values = np.array([np.asarray(v, dtype=float) for v in dice.values()])
    n_images = values.shape[1]
    figure = _figure(6.8, 1.15 * len(values) + 1.7)
    axes = figure.subplots()
    # Spread points by a fixed sequence, not by chance, so that the same scores give the same picture.
    offset = 0.5 * ((np.arange(n_images) * 0.618034) % 1 - 0.5)
    y = np.arange(len(values))[:, None] + offset
    axes.plot(values, y, color=GREY, linewidth=0.4, alpha=0.35, zorder=1)
    for k, scores in enumerate(values):
        axes.scatter(scores, y[k], s=14, color=SERIES[k % len(SERIES)], alpha=0.75, linewidths=0, zorder=2)
        axes.plot([scores.mean()] * 2, [k - 0.36, k + 0.36], color="black", linewidth=2, zorder=3)
    names = [f"{name}\nmean {scores.mean():.3f}" for name, scores in zip(dice, values, strict=True)]
    axes.set_yticks(range(len(values)), names)
    axes.invert_yaxis()
    axes.set(title=f"Dice of each of {n_images} images (bar: mean)", xlabel="Dice per image", xlim=(-0.02, 1.02))
    axes.grid(axis="x", alpha=0.3)
    return figure


def trials_plot(trials: pd.DataFrame, measure: str = "validation Dice", winner: int | None = None) -> Figure:
    """The objective over trials with its running best, and against each hyperparameter that varied.

    `trials` has columns number, objective (higher is better; NaN for a failed trial) and one a hyperparameter,
    numbers or words; the lowest number is the reference trial. `measure` says in words what the objective is.
    `winner` is the number of the trial that won, by default the one with the highest objective: where some were judged
    after a few epochs it need not be.
    """
    trials = trials.sort_values("number").astype({"objective": float})
    own = ["number", "objective", "short"]
    varied = [name for name in trials.columns.drop(own, errors="ignore") if trials[name].nunique(dropna=True) > 1]
    if winner is None and trials["objective"].notna().any():
        winner = int(trials.loc[trials["objective"].idxmax(), "number"])
    columns = min(4, 1 + len(varied))
    lines = -(-(1 + len(varied)) // columns)
    figure = _figure(max(5.5, 3.7 * columns), 3.2 * lines + 0.4)
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    _progress(panels[0], trials, winner)
    panels[0].set_ylabel(measure)
    for axes, name in zip(panels[1:], varied, strict=False):
        _against(axes, trials, name, winner)
        axes.set_ylabel(measure)
    for axes in panels[1 + len(varied) :]:
        axes.set_axis_off()
    failed = int(trials["objective"].isna().sum())
    figure.suptitle(
        f"{len(trials)} trials" + (f", {failed} failed" if failed else "") + "; star: the winner, diamond: reference"
    )
    return figure


def _progress(axes: Axes, trials: pd.DataFrame, winner: int | None) -> None:
    done = trials.dropna(subset="objective")
    full = done[~_short(done)]
    axes.step(full["number"], full["objective"].cummax(), where="post", color=SERIES[1], label="highest so far")
    _dots(axes, done, done["number"])
    _mark(axes, trials, trials["number"], winner)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("trial")
    axes.legend(fontsize=8, loc="best")


def _short(trials: pd.DataFrame) -> pd.Series:
    """Which trials were judged after fewer epochs than they ask for."""
    return trials["short"].astype(bool) if "short" in trials else pd.Series(False, trials.index)


def _dots(axes: Axes, trials: pd.DataFrame, place: pd.Series) -> None:
    """A dot a trial, hollow where it was judged after fewer epochs: it is no equal of the others."""
    short = _short(trials)
    axes.scatter(place[~short], trials["objective"][~short], s=22, color=SERIES[0], label="trial", zorder=2)
    if short.any():
        hollow = axes.scatter(place[short], trials["objective"][short], s=20, edgecolors=SERIES[0], zorder=2)
        hollow.set(facecolors="none", label="judged after fewer epochs")


def _against(axes: Axes, trials: pd.DataFrame, name: str, winner: int | None) -> None:
    column = trials[name]
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        place = column
        positive = column.dropna()
        few = sorted(positive.unique())
        names = [f"{value:.3g}" for value in few]
        if positive.min() > 0 and positive.max() / positive.min() >= 30:
            axes.set_xscale("log")
        elif len(few) <= 4 and _fit_side_by_side(few, names):
            axes.set_xticks(few, names)
        else:
            axes.locator_params(axis="x", nbins=4)
    else:
        words = column.astype(str)
        names = sorted(words.unique())
        place = words.map({word: i for i, word in enumerate(names)})
        turn = max(map(len, names)) * len(names) > 22
        axes.set_xticks(range(len(names)), names, rotation=20 if turn else 0, ha="right" if turn else "center")
        axes.set_xlim(-0.5, len(names) - 0.5)
    _dots(axes, trials, place)
    _mark(axes, trials, place, winner)
    axes.set_xlabel(name.replace("_", " "))


def _fit_side_by_side(places: Sequence[float], names: Sequence[str]) -> bool:
    """Whether labels under a panel of a trials plot, some 30 letters wide, leave each other room."""
    closest = np.diff(places).min()
    return bool(30 * closest > max(map(len, names)) * (places[-1] - places[0]))


def _mark(axes: Axes, trials: pd.DataFrame, place: pd.Series, winner: int | None) -> None:
    """Rings the reference trial and the winner; `place` is where each trial lies on the x axis."""
    objective = trials["objective"].to_numpy()
    where = place.to_numpy()
    if not np.isnan(objective[0]):
        axes.scatter(where[0], objective[0], s=70, marker="D", facecolors="none", edgecolors="black", zorder=3)
    for best in np.flatnonzero(trials["number"] == winner):
        axes.scatter(where[best], objective[best], s=150, marker="*", color=SERIES[5], edgecolors="white", zorder=4)


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _row(figure: Figure, columns: int) -> list[Axes]:
    return list(figure.subplots(1, columns, squeeze=False)[0])


def _show_image(axes: Axes, image: np.ndarray) -> None:
    """Shows grey or colour, stretched to the image's own range, or dim micrographs would be black squares."""
    low, high = np.percentile(image, (0.5, 99.5))
    stretched = np.clip((image.astype(np.float32) - low) / max(high - low, 1.0), 0, 1)
    axes.imshow(stretched[:, :, 0] if image.shape[2] == 1 else stretched, cmap="gray", vmin=0, vmax=1)


def _outline(axes: Axes, mask: np.ndarray, color: str, width: float) -> None:
    """Draws the outline half way between mask and background pixels, along the frame too."""
    if mask.any():
        padded = np.pad(mask, 1).astype(np.float32)
        rows, columns = (np.arange(-1, size + 1) for size in mask.shape)
        axes.contour(columns, rows, padded, levels=[0.5], colors=color, linewidths=width)
    axes.set_xlim(-0.5, mask.shape[1] - 0.5)
    axes.set_ylim(mask.shape[0] - 0.5, -0.5)


def _errors(truth: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Hits white, misses green, false ones magenta, on dark grey: uint8 (h, w, 3)."""
    shown = np.full((*truth.shape, 3), 40, dtype=np.uint8)
    shown[truth & mask] = 235
    shown[truth & ~mask] = (0, 208, 96)
    shown[mask & ~truth] = (255, 47, 208)
    return shown


def row_heights(pictures: Sequence[np.ndarray], width: float) -> list[float]:
    """Inches for each row of a figure whose pictures, (h, w) or (h, w, c), are `width` inches wide, their titles
    included; a picture much higher than wide is drawn narrower."""
    shapes = [np.asarray(picture).shape[:2] for picture in pictures]
    return [0.5 + width * min(height / max(length, 1), 1.25) for height, length in shapes]


def best_median_worst(table: pd.DataFrame) -> list[tuple[str, int]]:
    """Which images of a score table are shown, by what ranks, and what each is called; of one or two images fewer."""
    membranes = "native_v_rand" in table
    order = np.argsort(table["native_v_rand" if membranes else "native_dice"].to_numpy(), kind="stable")
    places = dict.fromkeys([order[-1], order[len(order) // 2], order[0]])
    labels = ("best", "median", "worst") if len(places) == 3 else ("best", "worst")
    by = " by V_rand" if membranes else ""
    return [(f"{label}{by}", int(place)) for label, place in zip(labels, places, strict=False)]


def caption(name: str, most: int = 26) -> str:
    """The name of a file as matplotlib writes it: shortened in its middle, and no formula, whatever signs it has."""
    short = name if len(name) <= most else f"{name[: most - 12]}...{name[-8:]}"
    return printable(short).replace("$", r"\$")
