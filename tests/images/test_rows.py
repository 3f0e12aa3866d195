"""Files that cannot be read by rows, and what is said of them."""

import errno
import tempfile

import numpy as np
import pytest
import tifffile

from unetlab.images import codecs, rows


def test_planes_behind_one_directory_are_no_single_page(tmp_path, monkeypatch):
    stack = np.zeros((5, 64, 64), np.uint8)
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, stack, imagej=True, truncate=True, metadata={"axes": "ZYX"})  # as Fiji beyond 4 GB
    monkeypatch.setattr(rows, "LARGE", 1000)
    with codecs.open_pages(path) as opened:
        assert opened.count == 5
    assert not rows.by_rows(path)
    with pytest.raises(codecs.PixelError, match="from one page of 8 or 16 bits.*, 5 pages"):
        rows.Rows(path, tmp_path)


def test_one_file_of_a_set_that_describes_all_of_them_is_a_single_page(tmp_path):
    one = '<TiffData FirstZ="{0}" PlaneCount="1"><UUID FileName="{0}.ome.tif">urn:uuid:{0}</UUID></TiffData>'
    size = 'DimensionOrder="XYZCT" Type="uint8" SizeX="64" SizeY="64" SizeZ="3" SizeC="1" SizeT="1"'
    parts = "".join(one.format(k) for k in range(3))
    for k in range(3):
        about = (
            f'<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{k}">'
            f'<Image ID="Image:0"><Pixels ID="Pixels:0" {size}>{parts}</Pixels></Image></OME>'
        )
        plane = np.full((64, 64), k, np.uint8)
        tifffile.imwrite(tmp_path / f"{k}.ome.tif", plane, description=about, metadata=None, photometric="minisblack")
    with tifffile.TiffFile(tmp_path / "1.ome.tif") as opened:
        assert opened.series[0].shape == (3, 64, 64)  # as tifffile sees it
    opened = rows.Rows(tmp_path / "1.ome.tif", tmp_path)
    assert opened.shape[:2] == (64, 64) and (opened.read(0, 64) == 1).all()
    opened.close()


def test_a_full_disk_is_not_called_a_damaged_file(tmp_path, monkeypatch):
    class Full:
        def __getattr__(self, name):
            raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((64, 64), np.uint8), compression="zlib", photometric="minisblack")
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Full())
    with pytest.raises(codecs.PixelError, match="unpacked beside the results first: No space left on device"):
        rows.Rows(path, tmp_path)


def _says_less(path, bytes_of, height, channels=1):
    """An uncompressed TIFF of one strip that says it is `height` rows and `bytes_of` bytes, and ends there."""
    shape = (64, 64, channels) if channels > 1 else (64, 64)
    tifffile.imwrite(path, np.zeros(shape, np.uint8), photometric="rgb" if channels > 1 else "minisblack")
    with tifffile.TiffFile(path) as opened:
        page = opened.pages[0]
        start = page.dataoffsets[0]
        tags = {name: page.tags[name].valueoffset for name in ("StripByteCounts", "ImageLength", "RowsPerStrip")}
        kinds = {name: page.tags[name].dtype for name in tags}
    data = bytearray(path.read_bytes()[: start + bytes_of])
    for name, value in (("StripByteCounts", bytes_of), ("ImageLength", height), ("RowsPerStrip", height)):
        data[tags[name] : tags[name] + (2 if kinds[name] == 3 else 4)] = value.to_bytes(
            2 if kinds[name] == 3 else 4, "little"
        )
    path.write_bytes(data)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("bytes_of", "height"), [(100, 64), (64 * 64 - 1, 64), (64 * 64, 6400)])
def test_a_strip_that_does_not_hold_its_rows_is_a_damaged_file(tmp_path, bytes_of, height, channels):
    path = tmp_path / "cut.tif"
    _says_less(path, bytes_of, height, channels)
    with pytest.raises(codecs.PixelError, match="^truncated or damaged TIFF$"):
        rows.Rows(path, tmp_path)


def test_a_file_that_is_cut_while_it_is_read_is_a_damaged_file(tmp_path):
    path = tmp_path / "whole.tif"
    tifffile.imwrite(path, np.zeros((64, 64), np.uint8), photometric="minisblack")
    with rows.Rows(path, tmp_path) as opened:
        with path.open("r+b") as file:
            file.truncate(opened.start + 100)
        with pytest.raises(codecs.PixelError, match="^truncated or damaged TIFF$"):
            opened.read(0, 64)
