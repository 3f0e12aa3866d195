"""Where files come from: a folder or a zip, and what is wrong with either."""

import os
import shutil
import unicodedata
import zipfile

import numpy as np
import pytest
from small_folders import GREY, SECTIONS, TRUTH, png, write_stack

from unetlab.data import open_dataset
from unetlab.data.dataset import refuse_missing
from unetlab.data.scenes import scenes_of
from unetlab.errors import UserError
from unetlab.images import codecs


@pytest.mark.parametrize("name", ["../escape.png", "/absolute.png"])
def test_a_zip_that_leads_out_is_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr(name, png(np.zeros((4, 4), np.uint8)))
    with pytest.raises(UserError, match="leads out of the zip"):
        open_dataset(str(tmp_path / "evil.zip"))


def test_missing_empty_and_other_files(tmp_path):
    with pytest.raises(UserError, match="no folder or zip at .*nowhere"):
        open_dataset(str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty holds no files"):
        open_dataset(str(tmp_path / "empty"))
    (tmp_path / "notes.zip").write_text("no zip")
    with pytest.raises(UserError, match=r"notes\.zip is no readable zip"):
        open_dataset(str(tmp_path / "notes.zip"))
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "readme.txt").write_text("nothing to see")
    with pytest.raises(UserError, match="text holds no PNG, JPEG, TIFF or BMP image"):
        open_dataset(str(tmp_path / "text"))


def test_the_home_folder_of_nobody_is_no_folder(pairs):
    with pytest.raises(UserError, match="no folder or zip at ~nobody-here/cells"):
        open_dataset("~nobody-here/cells")
    with pytest.raises(UserError, match="no folder or zip at ~nobody-here/cells"):
        refuse_missing("~nobody-here/cells")
    with pytest.raises(UserError, match="groups: ~nobody-here/g.csv cannot be read"):
        scenes_of(open_dataset(str(pairs)), "~nobody-here/g.csv")


def test_a_name_that_is_a_data_set_and_a_folder_is_neither(pairs, monkeypatch):
    monkeypatch.chdir(pairs.parent)
    for name in ("isbi2012", "synthetic-cells"):
        shutil.copytree(pairs, pairs.parent / name)
        for look in (refuse_missing, open_dataset):
            with pytest.raises(UserError, match=rf"{name} is a named data set and a folder here; .* write \./{name}"):
                look(name)
        assert len(open_dataset(f"./{name}")) == 12


def test_a_folder_whose_own_name_is_no_text_is_refused(pairs):
    odd = os.fsdecode(os.fsencode(pairs.parent) + b"/M\xe4use")
    os.rename(pairs, odd)
    for look in (refuse_missing, open_dataset):
        with pytest.raises(UserError, match=r"M\\udce4use is no text in UTF-8; rename it"):
            look(odd)


def test_a_folder_that_can_be_listed_and_not_entered_is_said_so(pairs, monkeypatch):
    real = os.stat

    def barred(path, *told, **more):  # root, who may run the tests, enters whatever folder
        if str(path).endswith(".png"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *told, **more)

    monkeypatch.setattr(os, "stat", barred)
    with pytest.raises(UserError, match=r"\.png cannot be read \(Permission denied\); check its permissions"):
        open_dataset(str(pairs))


def test_hidden_files_are_left_out(pairs):
    (pairs / "images" / "._cell00.png").write_text("resource fork")
    (pairs / "images" / "Thumbs.db").write_text("thumbnails")
    assert len(open_dataset(str(pairs))) == 12


@pytest.mark.parametrize("ending", [".zarr", ".ZARR", ".ome.zarr"])
def test_zarr_folders_are_images_and_masks(tmp_path, ending):
    zarr = pytest.importorskip("zarr")
    arrays = {}
    for kind, stack in (("images", np.stack(SECTIONS)), ("masks", np.stack(TRUTH))):
        path = tmp_path / "data" / kind / f"a{ending}"
        arrays[kind] = zarr.create_array(path, shape=stack.shape, dtype=stack.dtype, chunks=(1, *stack.shape[1:]))
        arrays[kind][...] = stack
    data = open_dataset(str(tmp_path / "data"))
    assert data.ids == tuple(f"a-{k:03d}" for k in range(len(SECTIONS)))
    assert np.array_equal(data.image(1)[..., 0], SECTIONS[1])
    assert np.array_equal(data.objects(1) > 0, TRUTH[1] > 0)
    arrays["images"][1] = 7
    assert (open_dataset(str(tmp_path / "data")).image(1) == 7).all()
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "data")
    with pytest.raises(UserError, match=f"holds a{ending}, which is read from a folder only; unpack the zip"):
        open_dataset(packed)


def test_damaged_bytes_inside_a_zip_are_named(tmp_path):
    path = tmp_path / "damaged.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images/a.png", b"A" * 200 + png(GREY))
        archive.writestr("masks/a.png", png(GREY))
    data = bytearray(path.read_bytes())
    start = 30 + len("images/a.png")  # after the local file header
    data[start : start + 20] = b"\xff" * 20
    path.write_bytes(data)
    with pytest.raises(UserError, match="images/a.png cannot be read"):
        open_dataset(str(path))


def test_a_file_that_may_not_be_read_is_named(pairs, monkeypatch):
    def denied(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.read_bytes", denied)
    with pytest.raises(UserError, match=r"cell00\.png: cannot be opened \(Permission denied\)"):
        open_dataset(str(pairs))


def test_a_large_stack_in_a_zip_is_read_from_disk(tmp_path, monkeypatch):
    write_stack(tmp_path / "a-volume.tif", SECTIONS, photometric="minisblack")
    write_stack(tmp_path / "a-labels.tif", TRUTH, photometric="minisblack")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("a-volume.tif", "a-labels.tif"):
            archive.write(tmp_path / name, name)
    monkeypatch.setattr("unetlab.data.files.LARGE", 100)
    opened, original = [], codecs.open_pages
    monkeypatch.setattr(codecs, "open_pages", lambda source, *rest: opened.append(source) or original(source, *rest))
    data = open_dataset(str(tmp_path / "a.zip"))
    assert len(data) == 4 and all(isinstance(source, type(tmp_path)) for source in opened)
    assert not any(source.exists() for source in opened)  # the copies are gone


@pytest.mark.parametrize("pair", [("imgs", "gts"), ("a", "z"), ("z", "a"), ("frames", "gt")])
def test_links_that_are_called_images_and_masks_are_followed(tmp_path, pair):
    for folder, page, called in zip(pair, (GREY, GREY // 200 * 255), ("images", "masks"), strict=True):
        (tmp_path / "elsewhere" / folder).mkdir(parents=True)
        (tmp_path / "elsewhere" / folder / "x.png").write_bytes(png(page))
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / called).symlink_to(tmp_path / "elsewhere" / folder)
    assert open_dataset(str(tmp_path / "data")).has_masks


def test_links_back_have_an_end(pairs):
    (pairs / "again").symlink_to(pairs)
    (pairs / "again2").symlink_to(pairs.parent)
    assert len(open_dataset(str(pairs))) == 12


@pytest.mark.parametrize("place", ["groups.csv", "images/Groups.csv", "masks/GROUPS.CSV"])
@pytest.mark.parametrize("packed", ["", "/", "\\"])
def test_groups_are_found_wherever_they_lie(pairs, tmp_path, place, packed):
    (pairs / place).write_text("id,group\n" + "".join(f"cell{k:02d},g{k // 2}\n" for k in range(12)))
    data = pairs
    if packed:
        data = tmp_path / "packed.zip"
        with zipfile.ZipFile(data, "w") as archive:
            for file in sorted(path for path in pairs.rglob("*") if path.is_file()):
                name = str(file.relative_to(pairs.parent))
                info = zipfile.ZipInfo("x")
                info.filename = name.replace("/", packed) if file.suffix.lower() == ".csv" else name
                archive.writestr(info, file.read_bytes())
    assert scenes_of(open_dataset(str(data))).scene.tolist() == [k // 2 for k in range(12)]


def test_a_zip_of_powershell_is_read_like_any_other(tmp_path, monkeypatch):
    monkeypatch.setattr("unetlab.data.files.LARGE", 100)  # so that files are copied, too
    files = {"d/classes.csv": b"value,name\n1,cell\n", "d/images/": b""}
    files |= {f"d/{kind}/{id}.png": png(np.tile(GREY // 40, (9, 9))) for kind in ("images", "masks") for id in "ab"}
    with zipfile.ZipFile(tmp_path / "w.zip", "w") as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo("x")
            info.filename = name.replace("/", "\\")
            archive.writestr(info, content)
    data = open_dataset(str(tmp_path / "w.zip"))
    assert data.ids == ("a", "b") and data.has_masks and data.classes == ("background", "cell")


def test_names_in_utf_8_are_read_though_the_zip_does_not_say_that_they_are(tmp_path):
    with zipfile.ZipFile(tmp_path / "mac.zip", "w") as archive:
        for kind in ("images", "masks"):
            archive.writestr(f"{kind}/zelle_XX.png", png(GREY // 40))
    (tmp_path / "mac.zip").write_bytes((tmp_path / "mac.zip").read_bytes().replace(b"_XX", "_ä".encode()))
    assert open_dataset(str(tmp_path / "mac.zip")).ids == ("zelle_ä",)


def test_two_groups_and_an_empty_one_are_refused(pairs):
    (pairs / "groups.csv").write_text(" \n")
    with pytest.raises(UserError, match=r"groups.csv is empty; give it the columns id and group"):
        open_dataset(str(pairs))
    (pairs / "images" / "groups.csv").write_text("id,group\n")
    with pytest.raises(UserError, match=r"holds groups.csv and images/groups.csv; keep one"):
        open_dataset(str(pairs))


def test_a_folder_that_may_not_be_read_is_named(pairs, monkeypatch):
    def walk(top, followlinks, onerror):
        onerror(PermissionError(13, "Permission denied", str(pairs / "masks")))
        return iter(())

    monkeypatch.setattr("os.walk", walk)
    with pytest.raises(UserError, match="masks cannot be read .Permission denied.; check its permissions"):
        open_dataset(str(pairs))


def test_a_hidden_folder_that_may_not_be_read_is_left_out(pairs, monkeypatch):
    (pairs / ".Trash-0").mkdir()
    (pairs / ".Trash-0" / "x.png").write_bytes(b"nothing")
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: real("/nowhere" if ".Trash" in str(path) else path))
    assert len(open_dataset(str(pairs))) == 12


def test_names_pair_however_their_letters_are_put_together(tmp_path):
    for folder, form in (("Images", "NFC"), ("Masks", "NFD")):
        (tmp_path / folder).mkdir()
        for k in range(2):
            (tmp_path / folder / f"{unicodedata.normalize(form, 'zelle_ä')}{k}.png").write_bytes(png(GREY // 200 * 255))
    (tmp_path / "groups.csv").write_text(unicodedata.normalize("NFD", "id,group\nzelle_ä0,a\nzelle_ä1,b\n"))
    data = open_dataset(str(tmp_path))
    assert len(data) == 2 and data.has_masks and scenes_of(data).scene.tolist() == [0, 1]
