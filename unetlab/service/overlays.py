"""Pictures for people: what was found, drawn over its image, and what the colours mean."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.font_manager import findfont
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage
from skimage.segmentation import find_boundaries

from unetlab.data import class_table
from unetlab.images import geometry
from unetlab.images.palette import colours

OUTLINE = (255, 0, 200)
"""A magenta that is seen on dark fluorescence and on purple stains alike; a black rim sets it off from bright ones."""

DIM, PERCENTILES = 128, (1, 99)
"""Colour images are brightened, to these percentiles, the second of which is below DIM, whatever a few pixels shine."""

A_PIXEL_MORE, THICKEST = 600, 4
"""An outline is one pixel more for so many of the longer side, up to the other."""

LINE = 28
"""Pixels a class takes in a legend, from top to bottom."""

LEGEND = "legend.png"


def overlay(image: np.ndarray, labels: np.ndarray, kinds: np.ndarray | None = None, classes: int = 0) -> np.ndarray:
    """Outlines of objects over an image, within them and thicker the larger it is. Grey images and dim ones are
    brightened; other colours stay, since a stain is known by its own.

    Args:
        image: uint8 (h, w, 1 or 3).
        labels: a label image or a bool mask (h, w).
        kinds: with classes, the class of each object by its number, integer (n + 1,): outlines have its colour.
        classes: how many there are, without background.

    Returns uint8 (h, w, 3).
    """
    grey = image.shape[2] == 1
    low, high = geometry.levels(image, "percentile") if grey else np.percentile(image, PERCENTILES)
    high = max(high, low + 1)
    if grey or high < DIM:
        image = (geometry.stretch(image, low, high) * 255).astype(np.uint8)
    drawn = geometry.fit_channels(image, 3).copy()
    line = find_boundaries(labels, mode="inner")
    drawn[ndimage.binary_dilation(line) & (labels == 0)] = 0
    if thicker := min(max(image.shape[:2]) // A_PIXEL_MORE, THICKEST - 1):
        line = ndimage.binary_dilation(line, iterations=thicker) & (labels > 0)
    drawn[line] = OUTLINE if kinds is None else colours(classes)[kinds[labels[line]]]
    return drawn


def write_legend(pictures: Path, tables: Path, classes: Sequence[str]) -> None:
    """Writes what the colours of classes mean: `legend.png` into one folder, and `classes.csv` into that of their maps,
    which can be read as masks with it (`masks=classes`)."""
    names, shades = ["background", *classes], colours(len(classes))
    hexed = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in shades.tolist()]
    table = pd.DataFrame({"value": range(len(names)), "name": names, "colour": hexed})
    table.to_csv(tables / class_table.TABLE, index=False)
    font = ImageFont.truetype(findfont("DejaVu Sans"), 16)  # Pillow's own has English letters only
    width = int(max(font.getlength(name) for name in names))
    picture = Image.new("RGB", (LINE * 2 + width, LINE * len(names)), "white")
    draw = ImageDraw.Draw(picture)
    for k, (name, shade) in enumerate(zip(names, hexed, strict=True)):
        draw.rectangle((6, k * LINE + 6, LINE - 6, (k + 1) * LINE - 6), fill=shade, outline="black")
        draw.text((LINE + 4, (k + 0.5) * LINE), name, fill="black", font=font, anchor="lm")
    picture.save(pictures / LEGEND)
