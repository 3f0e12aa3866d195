"""What all layouts refuse: files left out, and two of one name."""

import pytest
import tifffile
from small_folders import GREY, SECTIONS, write_files, write_stack

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


def test_a_page_that_would_have_the_name_of_a_file_is_refused(tmp_path):
    write_stack(tmp_path / "a.tif", SECTIONS, photometric="minisblack")
    tifffile.imwrite(tmp_path / "a-001.tif", SECTIONS[0])
    with pytest.raises(UserError, match="would both be called a-001"):
        open_dataset(str(tmp_path))
