"""Images and masks in two folders."""

import numpy as np
import pytest
import tifffile
from PIL import Image
from small_folders import SECTIONS, TRUTH, png

from unetlab.data import open_dataset


@pytest.mark.parametrize("folders", [("image", "label"), ("raw", "membranes"), ("images", "masks")])
def test_folders_of_sections_may_have_their_fields_names(tmp_path, folders):
    for k in range(3):
        for folder, pages in zip(folders, (SECTIONS, TRUTH), strict=True):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(pages[k]).save(tmp_path / folder / f"{k}.png")
    data = open_dataset(str(tmp_path))
    assert data.ids == ("0", "1", "2") and data.has_masks


def test_images_that_differ_in_their_endings_pair_with_masks_of_the_same_name(tmp_path):
    for ending, k in ((".png", 0), (".bmp", 1)):
        for kind, pages in (("images", SECTIONS), ("masks", TRUTH)):
            (tmp_path / kind).mkdir(exist_ok=True)
            Image.fromarray(pages[k]).save(tmp_path / kind / f"a{ending}")
    data = open_dataset(str(tmp_path))
    assert data.ids == ("a.bmp", "a.png")
    assert np.array_equal(data.labels(1) > 0, TRUTH[0] > 0)


def test_images_alone_may_differ_in_their_endings_only(tmp_path):
    (tmp_path / "images").mkdir()
    for ending, page in ((".png", SECTIONS[0]), (".bmp", SECTIONS[1])):
        Image.fromarray(page).save(tmp_path / "images" / f"a{ending}")
    data = open_dataset(str(tmp_path))
    assert data.ids == ("a.bmp", "a.png") and not data.has_masks


def test_ome_is_a_part_of_the_ending(tmp_path):
    for kind, name, pages in (("images", "a.ome.tif", SECTIONS), ("masks", "a.png", TRUTH)):
        (tmp_path / kind).mkdir()
        path = tmp_path / kind / name
        path.write_bytes(png(pages[1])) if kind == "masks" else tifffile.imwrite(path, pages[1], ome=True)
    assert open_dataset(str(tmp_path)).ids == ("a",)
