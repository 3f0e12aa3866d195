"""Classes at the size at which a network works, and data sets that have several."""

import numpy as np
import pytest
from PIL import Image
from small_classes import NAMES, write_classes

from unetlab.data import open_dataset
from unetlab.data.check import check
from unetlab.data.classes import UNKNOWN
from unetlab.data.twins.mitoses import CLASSES
from unetlab.data.twins.mitoses import jobs as tissue
from unetlab.setup import Recipe

RECIPE = Recipe(image_size=20, channels=1, epochs=1, batch_size=1, classes=3)


@pytest.fixture
def cells(tmp_path):
    return write_classes(tmp_path / "cells", n=8)


def test_each_pixel_takes_the_class_that_covers_most_of_it(cells):
    data = open_dataset(str(cells))
    assert data.learnt_classes == 3 and data.classes == ("background", *NAMES)
    fitted = data.fitted(RECIPE).masks
    assert fitted.shape == (8, 20, 20, 1) and set(np.unique(fitted)) == {0, 1, 2, 3}
    index = data.class_map(1)
    blocks = index.reshape(20, 2, 20, 2).swapaxes(1, 2).reshape(20, 20, 4)
    sure = (blocks == blocks[..., :1]).all(axis=-1)
    assert np.array_equal(fitted[1, ..., 0][sure], blocks[..., 0][sure]) and sure.mean() > 0.8
    native = data.fitted(RECIPE.changed({"view": "patches"})).masks
    assert np.array_equal(native[1][..., 0], index)


def test_the_same_data_are_one_mask_where_the_recipe_says_so(cells):
    data = open_dataset(str(cells))
    one = data.fitted(RECIPE.changed({"classes": 0})).masks
    assert set(np.unique(one)) == {0, 1}
    binary = open_dataset(str(cells), masks="binary")
    assert binary.learnt_classes == 0 and np.array_equal(binary.fitted(RECIPE.changed({"classes": 0})).masks, one)


def test_unknown_stays_unknown_and_one_class_is_one_mask(cells):
    for path in (cells / "masks").iterdir():
        mask = np.asarray(Image.open(path)).copy()
        mask[:, :10] = 7
        Image.fromarray(np.where(mask == 7, 7, mask > 0).astype(np.uint8)).save(path)
    (cells / "classes.csv").write_text("value,name\n1,cell\n7,unknown\n")
    assert open_dataset(str(cells)).learnt_classes == 0
    (cells / "classes.csv").write_text("value,name\n1,cell\n2,mitosis\n7,unknown\n")
    data = open_dataset(str(cells))
    assert data.learnt_classes == 2
    fitted = data.fitted(RECIPE.changed({"classes": 2})).masks
    assert (fitted[:, :, :5] == UNKNOWN).all() and set(np.unique(fitted[:, :, 6:])) == {0, 1}
    assert "no mask shows the class mitosis" in "".join(finding.message for finding in check(data).findings)


def test_the_twin_of_tissue_has_two_rare_classes_that_differ_from_nuclei():
    made = [job() for job in tissue(0, n=12)]
    again = tissue(0, n=2)[1]()
    assert np.array_equal(made[1].image, again.image) and np.array_equal(made[1].labels, again.labels)
    pixels = sum(np.bincount(one.classes[one.labels].ravel(), minlength=4) for one in made)
    share = pixels / pixels.sum()
    assert len(CLASSES) == 4 and 0.05 < share[1] < 0.3 and (share[2:] > 0.001).all() and (share[2:] < 0.03).all()
    for one in made:
        assert len(one.classes) == one.labels.max() + 1 and len(np.unique(one.labels)) == len(one.classes)
    grey = {kind: [] for kind in range(4)}
    for one in made:
        index = one.classes[one.labels]
        for kind, found in grey.items():
            found += [one.image[index == kind].mean(axis=0)] if (index == kind).any() else []
    nuclei, mitoses, debris = (np.mean(grey[kind], axis=0) for kind in (1, 2, 3))
    assert mitoses.mean() < nuclei.mean() - 15  # darker
    assert debris[0] - debris[2] > 20 > nuclei[0] - nuclei[2]  # brown, not purple
