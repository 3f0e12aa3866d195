"""The layout of the Data Science Bowl: a folder an image, a mask an object."""

import zipfile

import numpy as np
from PIL import Image
from small_folders import GREY, png, write_files

from unetlab.data import open_dataset


def _bowl(folder, n=3):
    """The Data Science Bowl's layout: two nuclei an image, one PNG each."""
    for i in range(n):
        for kind in ("images", "masks"):
            (folder / f"id{i}" / kind).mkdir(parents=True)
        rng = np.random.default_rng(i)
        rgba = np.dstack([rng.integers(0, 255, (20, 30, 3), dtype=np.uint8), np.full((20, 30), 255, np.uint8)])
        (folder / f"id{i}" / "images" / f"id{i}.png").write_bytes(png(rgba))
        for k, rows in enumerate((slice(0, 5), slice(8, 12))):
            mask = np.zeros((20, 30), np.uint8)
            mask[rows, 3:9] = 255
            (folder / f"id{i}" / "masks" / f"nucleus{k}.png").write_bytes(png(mask))
    return folder


def _zipped(folder, path):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.png")):
            archive.write(file, f"stage1_train/{file.relative_to(folder).as_posix()}")
    return path


def test_bowl_folder_and_zip_give_the_same_data(tmp_path):
    folder = _bowl(tmp_path / "bowl")
    one = open_dataset(str(folder))
    two = open_dataset(str(_zipped(folder, tmp_path / "bowl.zip")))
    assert one.digest == two.digest and one.ids == ("id0", "id1", "id2")
    assert one.labels(0).max() == 2 and (one.labels(0) > 0).sum() == 6 * (5 + 4)
    assert one.image(1).shape == (20, 30, 3) and one.modes[0] == "uint8 RGBA"


def test_a_bowl_folder_without_any_mask_has_no_masks(tmp_path):
    data = open_dataset(str(write_files(tmp_path / "test", {f"{name}/images/{name}.png": GREY for name in "ab"})))
    assert data.ids == ("a", "b") and not data.has_masks


def test_one_mask_an_image_is_read_by_its_values(tmp_path):
    labels = np.zeros((20, 30), np.uint8)
    labels[2:6, 3:9], labels[8:12, 3:9], labels[14:18, 3:9] = 1, 2, 3
    for i in range(2):
        for kind, page in (("images", labels * 50), ("masks", labels)):
            (tmp_path / f"s{i}" / kind).mkdir(parents=True)
            (tmp_path / f"s{i}" / kind / "x.png").write_bytes(png(page))
    assert open_dataset(str(tmp_path)).objects(0).max() == 3
    assert open_dataset(str(tmp_path), masks="binary").meaning == "binary"


def test_an_object_s_mask_may_have_a_palette(tmp_path):
    _bowl(tmp_path, 1)
    for path in (tmp_path / "id0" / "masks").iterdir():
        made = Image.open(path).convert("RGB").quantize(2)
        made.putpalette([255, 255, 255, 0, 0, 0])
        made.putdata(1 - np.asarray(Image.open(path)).ravel() // 255)
        made.save(path)
    data = open_dataset(str(tmp_path))
    assert data.objects(0).max() == 2 and (data.objects(0) > 0).sum() == 6 * (5 + 4)
