"""A data set labelled by a label maker instead of by people."""

import math

from rich.console import Console

from unetlab.data import Dataset
from unetlab.data.dataset import relabelled
from unetlab.errors import UserError
from unetlab.labels import VERSION, flat, label
from unetlab.labels.view import WORK

FIELD = 1024
"""Pixels of a side above which small objects are lost in the copies that label makers look at."""

NARROW = 7
"""Pixels of a copy, about the side of one of SLIC's superpixels."""


def made_labels(dataset: Dataset, maker: str, console: Console) -> Dataset:
    """The same images with the labels of a label maker, made once and cached; the given masks are not looked at.

    Raises UserError if all images are of one flat colour, which says nothing about what is foreground.
    """
    blank = [id for i, id in enumerate(dataset.ids) if flat(dataset.image(i))]
    if len(blank) == len(dataset):
        raise UserError(f"{dataset.name}: every image is of one flat colour, so labels={maker} has nothing to go by")
    if blank:
        said = f"notice: {len(blank)} images of one flat colour are labelled background: {', '.join(blank[:3])}"
        console.print(said, highlight=False, markup=False)
    if maker != "otsu" and len(dataset) and int(dataset.sizes.max()) > FIELD:
        narrow = math.ceil(NARROW * int(dataset.sizes.max()) / WORK)
        said = (
            f"notice: labels={maker} looks at copies of {WORK} pixels, and the largest image has {dataset.sizes.max()}"
        )
        way = "labels=otsu sees all of it, or cut the images into tiles of about 512"
        console.print(
            f"{said}: objects narrower than {narrow} pixels may be missing in its labels; {way}",
            highlight=False,
            soft_wrap=True,
            markup=False,
        )
    return relabelled(dataset, f"{dataset.name} by {maker}", f"{maker} {VERSION}", lambda image: label(image, maker))
