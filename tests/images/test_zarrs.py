"""Zarr and OME-Zarr: folders that are one image or stack."""

import json
import sys

import numpy as np
import pytest

from unetlab.images import codecs

zarr = pytest.importorskip("zarr")

VALUES = np.random.default_rng(0).integers(0, 4000, (2, 3, 20, 30)).astype(np.uint16)


def ome(path, values, axes, version="0.4"):
    """Writes an OME-Zarr of two resolutions."""
    group = zarr.open_group(str(path), mode="w", zarr_format=2 if version == "0.4" else 3)
    for name, array in (("0", values), ("1", values[..., ::2, ::2])):
        chunks = (*[1] * (array.ndim - 2), 16, 16)
        group.create_array(name, shape=array.shape, dtype=array.dtype, chunks=chunks)[...] = array
    names = [{"name": axis, "type": {"c": "channel", "t": "time"}.get(axis, "space")} for axis in axes]
    scales = {"multiscales": [{"axes": names, "datasets": [{"path": "0"}, {"path": "1"}]}]}
    group.attrs.update(scales if version == "0.4" else {"ome": {"version": "0.5", **scales}})
    return path


def read(path, **choice):
    with codecs.open_pages(path, **choice) as opened:
        return np.stack([opened.read(page) for page in range(opened.count)]), opened.mode


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_every_plane_of_an_ome_zarr_is_a_page_at_its_finest(tmp_path, version):
    pages, mode = read(ome(tmp_path / "a.ome.zarr", VALUES, "tzyx", version))
    assert np.array_equal(pages[..., 0], VALUES.reshape(6, 20, 30)) and mode == "uint16 grey"


def test_channels_and_z_want_a_choice(tmp_path):
    path = ome(tmp_path / "a.zarr", VALUES, "czyx")
    with pytest.raises(
        codecs.PixelError, match=r"3 pages of 2 channels each \(C 2, Z 3\).*channels=1 or channels=1,2,3"
    ):
        codecs.open_pages(path)
    assert np.array_equal(read(path, channels="2", pages="2-3")[0][..., 0], VALUES[1, 1:])
    with pytest.raises(codecs.PixelError, match="channels=7: there is no channel 7; the image has 2"):
        codecs.open_pages(path, channels="7")


def test_three_channels_are_colours(tmp_path):
    pages, mode = read(ome(tmp_path / "a.zarr", VALUES[0], "cyx"))
    assert np.array_equal(pages[0], np.moveaxis(VALUES[0], 0, -1)) and mode == "uint16 RGB"


@pytest.mark.parametrize("version", [2, 3])
def test_a_bare_array_is_a_stack_of_pages(tmp_path, version):
    path = tmp_path / "a.zarr"
    zarr.save_array(str(path), VALUES, zarr_format=version)
    assert np.array_equal(read(path)[0][..., 0], VALUES.reshape(6, 20, 30))


def test_images_of_bioformats2raw_are_pages_of_one_stack(tmp_path):
    path = tmp_path / "a.zarr"
    zarr.open_group(str(path), mode="w", zarr_format=2).attrs["bioformats2raw.layout"] = 3
    for series in "01":
        ome(path / series, VALUES[int(series)], "zyx")
    assert np.array_equal(read(path)[0][..., 0], VALUES.reshape(6, 20, 30))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: (path / ".zattrs").write_text("{}"), "a Zarr without an image"),
        (lambda path: (path / ".zattrs").write_text("{"), "truncated or damaged Zarr"),
        (lambda path: (path / "0" / ".zarray").unlink(), "truncated or damaged Zarr"),
        (lambda path: [each.unlink() for each in path.glob(".z*")], "truncated or damaged Zarr"),
        (lambda path: _axes(path, "zyx"), r"speak of 3 axes \(z, y, x\), the array has 4"),
        (lambda path: _axes(path, "yxzt"), "its axes are YXZT; they must end in rows Y and columns X"),
    ],
)
def test_what_is_wrong_with_a_zarr_is_said_in_one_line(tmp_path, spoil, message):
    path = ome(tmp_path / "a.zarr", VALUES, "tzyx")
    spoil(path)
    with pytest.raises(codecs.PixelError, match=message) as caught:
        codecs.open_pages(path)
    assert "\n" not in str(caught.value)


def _axes(path, axes):
    found = json.loads((path / ".zattrs").read_text())
    found["multiscales"][0]["axes"] = [{"name": axis} for axis in axes]
    (path / ".zattrs").write_text(json.dumps(found))


def test_a_damaged_chunk_is_named(tmp_path):
    path = ome(tmp_path / "a.zarr", VALUES, "tzyx")
    chunk = next(file for file in (path / "0").rglob("*") if file.is_file() and not file.name.startswith("."))
    chunk.write_bytes(b"none")
    with pytest.raises(codecs.PixelError, match="truncated or damaged"):
        read(path)


def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    path = ome(tmp_path / "a.zarr", VALUES, "tzyx")
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(codecs.PixelError, match=r"wants the package zarr: .*pip install -e '.\[microscopy\]'"):
        codecs.open_pages(path)


def test_a_folder_is_one_image_by_its_ending(tmp_path):
    assert codecs.is_container(ome(tmp_path / "a.ome.zarr", VALUES, "tzyx")) and not codecs.is_container(tmp_path)


@pytest.mark.parametrize("shape", [(48, 32, 3), (5, 48, 32, 3)])
def test_colours_without_a_name_are_not_taken_for_pages(tmp_path, shape):
    zarr.save_array(str(tmp_path / "a.zarr"), np.zeros(shape, np.uint8))
    with pytest.raises(codecs.PixelError, match="its axes have no names, and .* may be colours or pages"):
        codecs.open_pages(tmp_path / "a.zarr")
