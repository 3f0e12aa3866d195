"""Objects as files that others open: a table of them, and label images for Fiji, napari and QuPath."""

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
"""Of objects.csv; `image` is the name of the mask, without its ending."""

WHOLE = ("label", "area", "top", "left", "bottom", "right")

TABLE = "objects.csv"


def objects_table(labels: np.ndarray, image: np.ndarray) -> pd.DataFrame:
    """A row an object, in the order of their numbers.

    Args:
        labels: unsigned or non-negative integer (h, w), 0 background.
        image: uint8 (h, w, 1 or 3).

    Returns the columns label; area in pixels; centroid_row and centroid_column, 0 in the middle of the first pixel; the
    bounding box in pixels, top and left within, bottom and right just outside; mean_intensity of the grey image, 0 to
    255, as luma where it has colours; eccentricity of the ellipse of the same second moments, 0 for a circle, towards 1
    for a line.
    """
    wanted = ("label", "area", "centroid", "bbox", "intensity_mean", "eccentricity")
    grey = geometry.fit_channels(image, 1)[:, :, 0]
    found = pd.DataFrame(regionprops_table(labels.astype(np.int32), grey, properties=wanted))
    found = found.rename(columns=PROPERTIES)[list(PROPERTIES.values())]
    return found.astype({name: "int64" if name in WHOLE else "float64" for name in found})


def begin_table(folder: Path) -> None:
    """An objects.csv without objects; an older one is replaced."""
    pd.DataFrame(columns=list(COLUMNS)).to_csv(folder / TABLE, index=False)


def add_to_table(folder: Path, name: str, labels: np.ndarray, image: np.ndarray) -> None:
    """Writes an image's objects below those that are there, so that a folder of any length needs no memory."""
    append_table(folder, name, objects_table(labels, image))


def append_table(folder: Path, name: str, table: pd.DataFrame) -> None:
    """The same for a table as `objects_table` makes it."""
    found = table.copy()
    found.insert(0, "image", name)
    found.to_csv(folder / TABLE, mode="a", header=False, index=False, float_format="%.6g")


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
