"""Pictures of objects: each in a colour of its own over the image, what is true beside what was found."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy import ndimage
from skimage.segmentation import find_boundaries

from unetlab.images import geometry
from unetlab.metrics.objects import hit_objects, score_objects
from unetlab.tracking.figures import caption, row_heights

OBJECTS = "objects.png"
"""Where a run keeps such a picture among its artifacts."""

COLOURS = np.array(
    [(230, 159, 0), (86, 180, 233), (0, 178, 130), (240, 228, 66), (40, 110, 230), (232, 90, 20), (214, 110, 180)],
    np.uint8,
)
"""That most people tell apart (after Okabe and Ito 2008), all bright enough for a dark field."""

SHARE = 0.4
"""Of an object's colour in what is shown within its outline."""

NEAR = 3
"""Pixels within which two objects have two colours."""

SHOWN = 512
"""Pixels a side of a picture at most; of a larger image the part with most objects is shown."""

ROOM = 400
"""Pixels a side that a picture in a panel has at least."""

HIT, MISSED, FALSE = (255, 255, 255), (0, 208, 96), (255, 47, 208)
"""Outlines, in the colours of a run's predictions.png."""


def coloured(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """An image uint8 (h, w, 1 or 3), dim ones brightened, with every object of a label image (h, w) in a colour, which
    no other within NEAR pixels along rows and columns has unless more than COLOURS crowd there; uint8 (h, w, 3)."""
    shown = _backdrop(image)
    colour = COLOURS[_apart(labels)]
    inside = labels > 0
    shown[inside] = (1 - SHARE) * shown[inside] + SHARE * colour[inside]
    line = find_boundaries(labels, mode="inner")
    shown[line] = colour[line]
    return shown


def matched(
    image: np.ndarray, labels: np.ndarray, truth: np.ndarray, hit: tuple[np.ndarray, np.ndarray] | None = None
) -> np.ndarray:
    """An image, darkened, with outlines: found and true white, missed green, false magenta; uint8 (h, w, 3).

    A found object is true if it overlaps a true one with an intersection over union greater than one half; of a part of
    an image `hit` says which are, as `hit_objects` has it of the whole.
    """
    shown = _backdrop(image) // 2
    true, found = hit_objects(truth, labels) if hit is None else hit
    for each, hits, colour in ((truth, true, MISSED), (labels, found, FALSE)):
        shown[find_boundaries(each, mode="inner") & ~np.isin(each, hits)] = colour
    shown[find_boundaries(labels, mode="inner") & np.isin(labels, found)] = HIT
    return shown


def object_panel(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """One line an image: true objects, found objects, and which of them are hit.

    Each row holds id (str), image (uint8 (h, w, 1 or 3)), truth and found (label images (h, w), 0 background); an
    optional label, such as "best", starts the line's title.
    """
    places = [crowded(row["truth"] if row["truth"].any() else row["found"]) for row in rows]
    heights = row_heights([row["truth"][place] for row, place in zip(rows, places, strict=True)], 4.0)
    figure = Figure(figsize=(12.6, sum(heights) + 0.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(rows), 3, squeeze=False, height_ratios=heights)
    for line, row, place in zip(panels, rows, places, strict=True):
        scores = score_objects(row["found"], row["truth"])
        label = f"{row['label']}: " if "label" in row else ""
        part = ", a part is shown" if max(row["truth"].shape) > SHOWN else ""
        hit = hit_objects(row["truth"], row["found"])
        image, truth, found = (row[name][place] for name in ("image", "truth", "found"))  # colours take much memory
        titles = (
            f"{label}{caption(row['id'], 30)}\n{scores['count_true']:,} true objects{part}",
            f"{scores['count_predicted']:,} found",
            f"AP50 {scores['ap50']:.3f}, AP_dsb {scores['ap_dsb']:.3f}",
        )
        drawn = (coloured(image, truth), coloured(image, found), matched(image, found, truth, hit))
        for axes, title, picture in zip(line, titles, drawn, strict=True):
            # of more pixels than there is room for, nearest ones would leave out parts of outlines
            axes.imshow(picture, interpolation="nearest" if max(picture.shape[:2]) <= ROOM else "antialiased")
            axes.set_title(title, fontsize=10)
            axes.set_axis_off()
    figure.suptitle(
        "Every object in a colour.   Right: found and true white, missed green, false magenta.", fontsize=11
    )
    return figure


def crowded(labels: np.ndarray, size: int = SHOWN) -> tuple[slice, slice]:
    """The square of `size` pixels a side, or what there is of it, that holds most of the objects' middles."""
    boxes = [box for box in ndimage.find_objects(labels.astype(np.int32)) if box is not None]
    middles = np.array([[(side.start + side.stop) // 2 for side in box] for box in boxes]).reshape(-1, 2)
    starts = [range(0, max(side - size, 0) + 1, max(size // 4, 1)) for side in labels.shape]

    def held(corner: tuple[int, int]) -> int:
        within = (middles >= corner) & (middles < np.add(corner, size))
        return int(within.all(axis=1).sum())

    row, column = max(((r, c) for r in starts[0] for c in starts[1]), key=held)
    return slice(row, row + size), slice(column, column + size)


def _backdrop(image: np.ndarray) -> np.ndarray:
    bright = np.rint(255 * geometry.normalise(image[None], "percentile")[0]).astype(np.uint8)
    return geometry.fit_channels(bright, 3).copy()


def _apart(labels: np.ndarray) -> np.ndarray:
    """An index of COLOURS for every pixel, (h, w): each object takes, in turn, the first that no neighbour has."""
    near: dict[int, set[int]] = {}
    for by in range(1, NEAR + 1):
        for one, other in ((labels[by:], labels[:-by]), (labels[:, by:], labels[:, :-by])):
            meet = (one != other) & (one > 0) & (other > 0)
            for a, b in np.unique(np.stack([one[meet], other[meet]]), axis=1).T.tolist():
                near.setdefault(a, set()).add(b)
                near.setdefault(b, set()).add(a)
    values, where = np.unique(labels, return_inverse=True)
    chosen: dict[int, int] = {}
    for k, number in enumerate(values.tolist()):
        taken = {chosen[other] for other in near.get(number, ()) if other in chosen}
        order = [(k + turn) % len(COLOURS) for turn in range(len(COLOURS))]
        chosen[number] = next((colour for colour in order if colour not in taken), order[0])
    return np.array([chosen[number] for number in values.tolist()], np.intp)[where].reshape(labels.shape)
