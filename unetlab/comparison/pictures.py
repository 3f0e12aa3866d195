"""Pictures of the report: each function returns PNG or JPEG bytes."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter
from PIL import Image
from scipy import ndimage

from unetlab.search.trials import trained_in_full
from unetlab.tracking.class_figures import coloured
from unetlab.tracking.figures import caption

SERIES = ["#1f6fb4", "#d9730d", "#2b8a57", "#8e5bb5", "#b03a48", "#7a7a7a", "#14a0b8", "#a38a00"]

GREEN, MAGENTA = (0, 208, 96), (255, 47, 208)

MOST_PANELS = 24

LETTER, MARKER = 0.075, 0.55
"""Inches that a letter and a marker take in a legend."""


def cost_plot(table: pd.DataFrame, measure: str = "Dice") -> bytes:
    """Mean Dice, or another measure, with its interval against what it costs.

    `table` has columns name, dice, low, high and any of parameters, minutes, milliseconds; those without a value are
    left out.
    """
    words = {
        "parameters": "parameters",
        "minutes": "minutes of training of the final model",
        "milliseconds": "milliseconds an image",
    }
    shown = [name for name in words if name in table and table[name].notna().any()]
    figure = _figure(4.4 * max(len(shown), 1), 3.9)
    panels = list(figure.subplots(1, max(len(shown), 1), squeeze=False)[0])
    for axes, name in zip(panels, shown, strict=False):
        there = table[table[name].notna()]
        for k, row in enumerate(there.itertuples()):
            value = getattr(row, name)
            reach = [[row.dice - row.low], [row.high - row.dice]]
            axes.errorbar(
                [value], [row.dice], yerr=reach, fmt="o", color=SERIES[k % len(SERIES)], capsize=3, label=row.name
            )
        low, high = there[name].min(), there[name].max()
        if low > 0 and high / low > 8:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.margins(x=0.3)
        else:
            axes.set_xlim(0, high * 1.15)
        if name == "parameters":
            axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
        axes.set(xlabel=words[name], ylabel=f"mean {measure} on test")
        axes.grid(alpha=0.3)
    _legend(figure, panels)
    return _png(figure)


def hyperparameter_plot(trials: Mapping[str, pd.DataFrame]) -> bytes | None:
    """Validation score of every trial against each hyperparameter that varied, setups in colours; None if none did.

    `trials` maps setup to tables with columns number, status, objective, tuner_epochs and one a hyperparameter.
    """
    names = list(dict.fromkeys(name for table in trials.values() for name in _varied(table)))[:MOST_PANELS]
    if not names:
        return None
    columns = min(4, len(names))
    lines = -(-len(names) // columns)
    figure = _figure(3.3 * columns, 2.9 * lines + 0.5)
    panels = list(figure.subplots(lines, columns, squeeze=False).ravel())
    for axes, name in zip(panels, names, strict=False):
        _against(axes, name, {setup: table for setup, table in trials.items() if name in table})
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    _legend(figure, panels[: len(names)])
    return _png(figure)


def _varied(table: pd.DataFrame) -> list[str]:
    names = table.columns.drop(["number", "status", "objective", "tuner_epochs"], errors="ignore")
    return [name for name in names if table[name].nunique(dropna=True) > 1]


def _against(axes: Axes, name: str, trials: Mapping[str, pd.DataFrame]) -> None:
    every = pd.concat([table[name] for table in trials.values()])
    numeric = pd.api.types.is_numeric_dtype(every) and not pd.api.types.is_bool_dtype(every)
    words = [] if numeric else sorted(every.astype(str).unique())
    for k, (setup, table) in enumerate(trials.items()):
        place = table[name] if numeric else table[name].astype(str).map({word: i for i, word in enumerate(words)})
        color = SERIES[k % len(SERIES)]
        full = trained_in_full(table)
        whole = table.index.isin(full.index)  # the others were judged after fewer epochs
        axes.scatter(place[~whole], table["objective"][~whole], s=18, facecolors="none", edgecolors=color, alpha=0.8)
        axes.scatter(place[whole], table["objective"][whole], s=20, color=color, alpha=0.8, label=setup, linewidths=0)
        if full["objective"].notna().any():
            best = full["objective"].idxmax()
            axes.scatter(place[best], table["objective"][best], s=130, marker="*", color=color, edgecolors="black")
    if words:
        axes.set_xticks(range(len(words)), words, rotation=20 if sum(map(len, words)) > 20 else 0)
        axes.set_xlim(-0.5, len(words) - 0.5)
    elif every.min() > 0 and every.max() / every.min() >= 30:
        axes.set_xscale("log")
    axes.set(xlabel=name.replace("_", " "), ylabel="validation score")
    axes.grid(alpha=0.25)


def jpeg(png: bytes) -> bytes:
    """A picture as JPEG, a quarter of its size."""
    out = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").save(out, format="JPEG", quality=85)
    return out.getvalue()


def overlay(image: np.ndarray, truth: np.ndarray, mask: np.ndarray | None, size: int = 200) -> bytes:
    """An image as JPEG with the outline of the truth in green and, if given, of the prediction in magenta.

    Args:
        image: uint8 (h, w, 3), stretched to its own range.
        truth: bool (h, w).
        mask: bool (h, w), or None.
        size: pixels a side at least.
    """
    scale = max(1, -(-size // image.shape[0]))
    low, high = np.percentile(image, (0.5, 99.5))
    stretched = np.clip((image.astype(np.float32) - low) / max(high - low, 1.0), 0, 1) * 255
    picture = stretched.astype(np.uint8).repeat(scale, axis=0).repeat(scale, axis=1)
    for shape, color in ((truth, GREEN), (mask, MAGENTA)):
        if shape is not None:
            large = shape.repeat(scale, axis=0).repeat(scale, axis=1)
            picture[large & ~ndimage.binary_erosion(large, border_value=0)] = color
    out = io.BytesIO()
    Image.fromarray(picture).save(out, format="JPEG", quality=88, subsampling=0)
    return out.getvalue()


def class_overlay(image: np.ndarray, classes: np.ndarray, size: int = 200) -> bytes:
    """An image as JPEG with each class of an index map (h, w) in its colour; image and size as `overlay` takes them."""
    scale = max(1, -(-size // image.shape[0]))
    large = [each.repeat(scale, axis=0).repeat(scale, axis=1) for each in (image, classes.astype(np.uint8))]
    out = io.BytesIO()
    shown = coloured(large[0], large[1], int(large[1].max()))
    Image.fromarray(shown).save(out, format="JPEG", quality=88, subsampling=0)
    return out.getvalue()


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    """One legend above all panels, each label once."""
    found: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    names = [caption(name, 44) for name in found]
    fit = int(figure.get_figwidth() / (LETTER * max(map(len, names), default=1) + MARKER))
    columns = max(1, min(len(found), 6, fit))
    figure.legend(list(found.values()), names, loc="outside upper center", ncols=columns, fontsize=9)


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()
