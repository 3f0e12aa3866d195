"""The figure of how long an exported network takes."""

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from unetlab.tracking.figures import SERIES


def speed_plot(table: pd.DataFrame, title: str) -> Figure:
    """Median time of an image over its side, a panel a number of threads; a line goes up to the 95th percentile.

    `table` as `service.exports.speed` has it: threads, side, network, p50_ms, p95_ms, exported.
    """
    counts = sorted(table["threads"].unique())
    figure = Figure(figsize=(4.2 * len(counts), 4.0), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(counts), squeeze=False, sharey=True)[0]
    for axes, threads in zip(panels, counts, strict=True):
        here = table[table["threads"] == threads]
        for colour, (name, rows) in zip(SERIES, here.groupby("network", sort=True), strict=False):
            above = [[0.0] * len(rows), rows["p95_ms"] - rows["p50_ms"]]
            axes.errorbar(rows["side"], rows["p50_ms"], above, color=colour, marker="o", capsize=3, label=name)
        sides = sorted(here["side"].unique())
        axes.set(xscale="log", yscale="log", xlabel="side of the image in pixels")
        axes.set_xticks(sides, [str(side) for side in sides])
        axes.minorticks_off()
        axes.axhline(1000 / 30, color="#8a8a8a", linestyle="--", linewidth=1)
        axes.annotate("30 a second", (sides[0], 1000 / 30), xytext=(0, 3), textcoords="offset points", fontsize=8)
        axes.set_title(f"{threads} thread{'s' if threads > 1 else ''}", fontsize=10)
        axes.grid(axis="y", alpha=0.3)
    panels[0].set_ylabel("milliseconds an image (median, up to 95 %)")
    panels[0].legend(fontsize=9, loc="upper left")
    figure.suptitle(title, fontsize=11)
    return figure
