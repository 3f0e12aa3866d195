"""Images and masks side by side, paired by a word in their names."""

import numpy as np
import pytest
import tifffile
from small_folders import SECTIONS, TRUTH, png, write_stack

from unetlab.data import open_dataset
from unetlab.errors import UserError


@pytest.mark.parametrize(
    ("image", "mask", "id"),
    [
        ("images.tif", "masks.tif", "images"),
        ("train-volume.tif", "train-labels.tif", "train-volume"),
        ("cell 1.png", "cell 1_mask.png", "cell 1"),
        ("image_07.png", "label_07.tif", "image_07"),
        ("image_07.png", "image_07_mask.png", "image_07"),
        ("raw_1.tif", "raw_1_labels.tif", "raw_1"),
        ("image7.png", "image7_mask.png", "image7"),
        ("volume_volumetric.tif", "labels_volumetric.tif", "volume_volumetric"),
    ],
)
def test_files_side_by_side_pair_by_a_word_in_their_names(tmp_path, image, mask, id):
    for name, page in ((image, SECTIONS[1]), (mask, TRUTH[1])):
        (tmp_path / name).write_bytes(png(page)) if name.endswith("png") else tifffile.imwrite(tmp_path / name, page)
    data = open_dataset(str(tmp_path))
    assert data.ids == (id,) and np.array_equal(data.labels(0) > 0, TRUTH[1] > 0)


def test_a_volume_without_labels_is_named_with_what_is_wanted(tmp_path):
    for name in ("train-volume", "train-labels", "test-volume"):
        write_stack(tmp_path / f"{name}.tif", TRUTH, photometric="minisblack")
    with pytest.raises(UserError, match=r"test-volume.tif has no mask; add test-labels.tif or take the image away"):
        open_dataset(str(tmp_path))
