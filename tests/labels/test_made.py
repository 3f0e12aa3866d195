"""A data set with labels that were made."""

import io

from PIL import Image
from rich.console import Console

from unetlab.data import open_dataset
from unetlab.labels.made import made_labels


def test_flat_images_are_named_with_all_their_letters(pairs):
    Image.new("L", (40, 40), 90).save(pairs / "images" / "flat [b].png")
    Image.new("L", (40, 40), 0).save(pairs / "masks" / "flat [b].png")
    said = io.StringIO()
    made = made_labels(open_dataset(str(pairs)), "otsu", Console(file=said, width=200))
    assert said.getvalue() == "notice: 1 images of one flat colour are labelled background: flat [b]\n"
    assert not made.labels(made.ids.index("flat [b]")).any()
