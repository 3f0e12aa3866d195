"""What all layouts refuse: files left out, and two of one name."""

import zipfile

import pytest
import tifffile
from small_folders import GREY, SECTIONS, png, write_files, write_stack

from unetlab.data import open_dataset
from unetlab.errors import UserError


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a/x/images/x", "a/x/masks/1", "b/x/images/x", "b/x/masks/1"), "a/x/images/x.png and b/x/images/x.png have"),
        (("x/images/x", "x/masks/1", "y/masks/1"), "y/masks/1.png has no image"),
        (("x/images/x", "x/masks/1", "y/images/y"), "y/images/y.png has no mask"),
        (("masks/a", "masks/b"), "masks/a.png has no image"),
        (("images/a", "masks/a", "images/more/b"), "images/more/b.png lies too deep"),
        (("images/train/a", "masks/train/a"), "images/train/a.png lies too deep; put files right into images/ and"),
        (("d/images/train/a", "d/masks/train/a_gt"), "d/images/train/a.png lies too deep"),
        (
            ("val/images/a", "val/images/b", "train/images/b", "train/images/c", "train/images/d", "train/masks/b"),
            "train/images holds 3 images, .* into one images/ and one masks/, or name one .*: data=.*/data/train$",
        ),
        (("images/a", "images/b", "test/images/b"), "images holds 2 images, .* data=.*/data/test$"),
        (("x/images/x", "x/masks/1", "y/images/y"), "into y/masks, or one black PNG if it shows none"),
        (
            ("images/a", "masks/m_a"),
            r"images/a.png has no mask, and masks/m_a.png no image; a mask has the name of its",
        ),
        (("images/a", "images/b", "images/c", "masks/a"), r"images/b.png has no mask \(nor have 1 more\)"),
    ],
)
def test_no_file_is_left_out_in_silence(tmp_path, names, message):
    write_files(tmp_path / "data", {f"{name}.png": GREY for name in names})
    with pytest.raises(UserError, match=message):
        open_dataset(str(tmp_path / "data"))


@pytest.mark.parametrize("name", ["masks/a.npy", "masks/a.gif", "images/b.webp"])
def test_an_image_that_is_not_read_is_not_left_out_in_silence(tmp_path, name):
    write_files(tmp_path, {"images/a.png": GREY, name: GREY})
    with pytest.raises(UserError, match=f"{name} is no PNG, JPEG, TIFF or BMP image; convert it"):
        open_dataset(str(tmp_path))


@pytest.mark.parametrize("names", [("x.jpg", "x_mask.gif"), ("image_1.lsm", "label_1.png"), ("images/a.lsm",)])
def test_an_ending_that_is_not_read_is_named_wherever_a_word_says_what_it_is(tmp_path, names):
    write_files(tmp_path, dict.fromkeys(names, GREY))
    with pytest.raises(UserError, match=r"(mask\.gif|\.lsm) is no PNG, JPEG, TIFF or BMP image; convert it"):
        open_dataset(str(tmp_path))


def test_pictures_beside_the_folders_of_images_and_masks_are_nobody_s(tmp_path):
    write_files(tmp_path, {"images/a.png": GREY, "masks/a.png": GREY, "sample_image.gif": GREY, "logo.gif": GREY})
    assert len(open_dataset(str(tmp_path))) == 1


def test_a_zip_of_parts_is_not_named_by_a_path_into_it(tmp_path):
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        for name in ("train/images/a.png", "train/images/b.png", "test/images/c.png"):
            archive.writestr(name, png(GREY))
    with pytest.raises(UserError, match=r"put all into one images/ and one masks/$"):
        open_dataset(str(tmp_path / "d.zip"))


def test_a_page_that_would_have_the_name_of_a_file_is_refused(tmp_path):
    write_stack(tmp_path / "a.tif", SECTIONS, photometric="minisblack")
    tifffile.imwrite(tmp_path / "a-001.tif", SECTIONS[0])
    with pytest.raises(UserError, match="would both be called a-001"):
        open_dataset(str(tmp_path))
