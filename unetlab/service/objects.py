"""Objects as files that others open: tables of them, and label images for Fiji, napari and QuPath."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from skimage.measure import regionprops_table

from unetlab.images import geometry

PROPERTIES = {
    "label": "label",
    "area": "area",
    "centroid-0": "centroid_row",
    "centroid-1": "centroid_column",
    "bbox-0": "top",
    "bbox-1": "left",
    "bbox-2": "bottom",
    "bbox-3": "right",
    "intensity_mean": "mean_intensity",
    "eccentricity": "eccentricity",
}
"""scikit-image's names to those of the columns."""

COLUMNS = ("image", *PROPERTIES.values())
"""Of objects.csv; `image` is the name of the mask, without its ending. A model of classes adds `class`, a name, behind
the label."""

WHOLE = ("label", "area", "top", "left", "bottom", "right")

LUMA = (0.299, 0.587, 0.114)
"""Shares of red, green and blue (ITU-R BT.601)."""

TABLE = "objects.csv"

COUNTS = "class_counts.csv"

COUNT_COLUMNS = ("image", "class", "objects", "area", "area_fraction")
"""Of class_counts.csv."""


def objects_table(
    labels: np.ndarray, image: np.ndarray, kinds: np.ndarray | None = None, classes: Sequence[str] = ()
) -> pd.DataFrame:
    """A row an object, in the order of their numbers.

    Args:
        labels: unsigned or non-negative integer (h, w), 0 background.
        image: (h, w, 1 or 3), the values of the file, of any real dtype.
        kinds: with classes, the class of each object by its number, integer (n + 1,), 1 for the first of `classes`.
        classes: their names, without background; none where there is one mask.

    Returns the columns label; class, where there are some; area in pixels; centroid_row and centroid_column, 0 in the
    middle of the first pixel; the bounding box in pixels, top and left within, bottom and right just outside;
    mean_intensity of the image's own values, of colours their luma (ITU-R BT.601); eccentricity of the ellipse of the
    same second moments, 0 for a circle, towards 1 for a line.
    """
    wanted = ("label", "area", "centroid", "bbox", "intensity_mean", "eccentricity")
    found = pd.DataFrame(regionprops_table(labels.astype(np.int32), _grey(image), properties=wanted))
    found = found.rename(columns=PROPERTIES)[list(PROPERTIES.values())]
    found = found.astype({name: "int64" if name in WHOLE else "float64" for name in found})
    if kinds is not None:
        found.insert(1, "class", [classes[kinds[label] - 1] for label in found["label"]])
    return found


def _grey(image: np.ndarray) -> np.ndarray:
    if image.dtype == np.uint8:
        return geometry.fit_channels(image, 1)[:, :, 0]
    return image[:, :, 0].astype(np.float64) if image.shape[2] == 1 else image @ np.array(LUMA)


def counts_table(classes: Sequence[str], kinds: np.ndarray, area: np.ndarray) -> pd.DataFrame:
    """What there is of each class in an image, a row a class, those that are not there too.

    Args:
        classes: their names, without background.
        kinds: the class of each object by its number, integer (n + 1,), 0 for background first.
        area: pixels of background and of each class, integer (k + 1,).

    Returns the columns class; objects, how many there are; area in pixels, of specks too that are no objects; and
    area_fraction, of the image.
    """
    objects = np.bincount(kinds[1:], minlength=1 + len(classes))
    columns = {"class": list(classes), "objects": objects[1:], "area": area[1:], "area_fraction": area[1:] / area.sum()}
    return pd.DataFrame(columns)


def begin_tables(folder: Path, classes: Sequence[str] = ()) -> tuple[str, ...]:
    """An objects.csv without objects, and where there are classes a class_counts.csv without images.

    Returns the names of the tables.
    """
    columns = [*COLUMNS[:2], "class", *COLUMNS[2:]] if classes else list(COLUMNS)
    pd.DataFrame(columns=columns).to_csv(folder / TABLE, index=False)
    if not classes:
        return (TABLE,)
    pd.DataFrame(columns=list(COUNT_COLUMNS)).to_csv(folder / COUNTS, index=False)
    return TABLE, COUNTS


def append_table(folder: Path, name: str, rows: pd.DataFrame, table: str = TABLE) -> None:
    """Writes an image's rows below those that are there, so that a folder of any length needs no memory."""
    found = rows.copy()
    found.insert(0, "image", name)
    found.to_csv(folder / table, mode="a", header=False, index=False, float_format="%.9g")


def label_tiff(path: Path, labels: np.ndarray) -> None:
    """Writes a label image, non-negative integer (h, w), as a TIFF compressed by zlib.

    Up to 65,535 objects it is 16 bits a pixel and says what ImageJ wants to know, the range to show among it. More take
    32 bits, which napari and QuPath read as they are; ImageJ has no such integers and opens them as floats, exact up to
    16,777,216 objects.
    """
    most = int(labels.max(initial=0))
    if most <= np.iinfo(np.uint16).max:
        shown = {"axes": "YX", "min": 0.0, "max": float(max(most, 1))}
        tifffile.imwrite(path, labels.astype(np.uint16), imagej=True, compression="zlib", metadata=shown)
    else:
        wide = labels.astype(np.uint32)
        tifffile.imwrite(path, wide, photometric="minisblack", compression="zlib", metadata={"axes": "YX"})
