"""Contact sheets of pairs of images."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from unetlab.data import Dataset
from unetlab.data.scenes import Pair
from unetlab.tracking.figures import caption

PAIRS = 40
"""Pairs on a sheet."""

COLUMNS = 4
"""Pairs beside each other."""


def sheet(dataset: Dataset, pairs: Sequence[Pair]) -> Figure:
    """The first PAIRS pairs side by side, with their ids, what they were compared by, and the score."""
    shown = pairs[:PAIRS]
    rows = -(-len(shown) // COLUMNS)
    figure = Figure(figsize=(4 * COLUMNS, 2.1 * rows), dpi=80, layout="constrained")
    axes = figure.subplots(rows, 2 * COLUMNS, squeeze=False).ravel()
    for axis in axes:
        axis.axis("off")
    for k, pair in enumerate(shown):
        for axis, row in zip(axes[2 * k : 2 * k + 2], (pair.first, pair.second), strict=True):
            image = dataset.image(row)
            step = max(1, max(image.shape[:2]) // 256)
            axis.imshow(image[::step, ::step].squeeze(), cmap="gray")
            axis.set_title(caption(dataset.ids[row], 20), fontsize=7)
        axes[2 * k].text(
            0, -0.08, f"{pair.kind} {pair.score:.2f} of {pair.limit:g}", fontsize=7, transform=axes[2 * k].transAxes
        )
    return figure
