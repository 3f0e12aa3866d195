"""Figures of a run that tells classes apart, in the colours of `images.palette`; as `figures` has those of one mask."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from skimage.segmentation import find_boundaries

from unetlab.images import geometry
from unetlab.images.palette import colours
from unetlab.tracking.figures import SHOWN, caption, row_heights

SHARE = 0.45
"""Of a class's colour in what is shown within its outline."""

MOST_LABELLED = 12
"""With more classes the cells of a confusion are too small for numbers."""


def coloured(image: np.ndarray, classes: np.ndarray, k: int) -> np.ndarray:
    """An image uint8 (h, w, 1 or 3), dim ones brightened, with each of k classes of an index map (h, w) in its colour;
    uint8 (h, w, 3)."""
    shown = backdrop(image)
    colour = colours(k)[classes]
    inside = classes > 0
    shown[inside] = (1 - SHARE) * shown[inside] + SHARE * colour[inside]
    line = find_boundaries(classes, mode="inner") & inside
    shown[line] = colour[line]
    return shown


def backdrop(image: np.ndarray) -> np.ndarray:
    """An image uint8 (h, w, 1 or 3) stretched between its percentiles, in three channels."""
    bright = np.rint(255 * geometry.normalise(image[None], "percentile")[0]).astype(np.uint8)
    return geometry.fit_channels(bright, 3).copy()


def class_panel(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Figure:
    """One line an image: image, true classes, found classes, and where the found class is wrong.

    Each row holds id (str), image (uint8 (h, w, 1 or 3)), truth and found (index maps (h, w)) and dice; an optional
    label, such as "best", starts the line's title. `names` are those of the classes, background first. Large ones are
    drawn with every so many-th pixel, and errors are counted before.
    """
    heights = row_heights([row["truth"] for row in rows], 3.6)
    figure = _figure(15.5, sum(heights) + 0.9)
    for line, row in zip(figure.subplots(len(rows), 4, squeeze=False, height_ratios=heights), rows, strict=True):
        said, k = _errors(row["truth"] != row["found"]), len(names) - 1
        step = -(-max(row["truth"].shape) // SHOWN)
        image, truth, found = (row[name][::step, ::step] for name in ("image", "truth", "found"))
        wrong = truth != found
        label = f"{row['label']}: " if "label" in row else ""
        drawn = (
            (image, f"{label}{caption(row['id'])}\nmean Dice {row['dice']:.3f}"),
            (coloured(image, truth, k), "truth"),
            (coloured(image, found, k), "found"),
            (colours(k)[np.where(wrong, truth, 0)] + np.where(wrong & (truth == 0), 110, 0)[..., None], said),
        )
        for place, (axes, (picture, title)) in enumerate(zip(line, drawn, strict=True)):
            shown = backdrop(picture) if place == 0 else picture.astype(np.uint8)
            axes.imshow(shown, interpolation="nearest")
            axes.set_title(title, fontsize=10)
            axes.set_axis_off()
    _legend(figure, names[1:])
    return figure


def _errors(wrong: np.ndarray) -> str:
    return f"{int(wrong.sum()):,} px of another class:\nthe true one's colour, grey where background"


def confusion(matrix: np.ndarray, names: Sequence[str]) -> Figure:
    """Pixels by truth (rows) and prediction (columns), int (k, k), background first, with the share of each row."""
    k = len(matrix)
    cell = 0.95 if k <= MOST_LABELLED else 0.35
    figure = _figure(3.2 + cell * k, 2.4 + cell * k)
    axes = figure.subplots()
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    shown = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    if k <= MOST_LABELLED:
        for i, j in np.ndindex(k, k):
            colour = "white" if share[i, j] > 0.55 else "black"
            text = f"{100 * share[i, j]:.1f} %\n{int(matrix[i, j]):,}"
            axes.text(j, i, text, ha="center", va="center", color=colour, fontsize=9)
    words = [_short(name) for name in names]
    axes.set_xticks(range(k), words, rotation=90 if k > 4 else 0)
    axes.set_yticks(range(k), words)
    _tinted(axes, k)
    axes.set(title=f"Confusion of {int(matrix.sum()):,} pixels", xlabel="predicted", ylabel="truth")
    figure.colorbar(shown, ax=axes, label="share of the true class", shrink=0.85)
    return figure


def class_strips(dice: Mapping[str, np.ndarray], names: Sequence[str]) -> Figure:
    """Dice of each class on the images in which it is there, a strip of points with their mean; `dice` maps the names
    of metrics to a value an image, NaN where a class is not there, in the order of `names`."""
    figure = _figure(6.8, 0.9 * len(dice) + 1.7)
    axes = figure.subplots()
    labels = []
    for k, (name, values) in enumerate(zip(names, dice.values(), strict=True)):
        there = values[~np.isnan(values)]
        spread = 0.5 * ((np.arange(len(there)) * 0.618034) % 1 - 0.5)  # by no chance, so that it is the same each time
        axes.scatter(there, k + spread, s=16, color=_unit(len(names))[k + 1], linewidths=0.3, edgecolors="#404040")
        if len(there):
            axes.plot([there.mean()] * 2, [k - 0.36, k + 0.36], color="black", linewidth=2)
        mean = f"mean {there.mean():.3f}, " if len(there) else ""
        labels.append(f"{_short(name)}\n{mean}{len(there)} image{'s' * (len(there) != 1)}")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set(title="Dice of each class (bar: mean)", xlabel="Dice of an image", xlim=(-0.02, 1.02))
    axes.grid(axis="x", alpha=0.3)
    return figure


def _legend(figure: Figure, names: Sequence[str]) -> None:
    """Names of classes beside their colours, under all panels."""
    handles = [
        Patch(facecolor=colour, edgecolor="#404040", label=_short(name))
        for colour, name in zip(_unit(len(names))[1:], names, strict=True)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 6), fontsize=10)


def _tinted(axes: Axes, k: int) -> None:
    """A square of each class's colour before its name."""
    for place, colour in enumerate(_unit(k - 1)):
        axes.plot([-0.5], [place], marker="s", markersize=8, color=colour, clip_on=False, zorder=5)


def _unit(k: int) -> np.ndarray:
    return np.asarray(colours(k) / 255)


def _short(name: str) -> str:
    return caption(name, 20)


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure
