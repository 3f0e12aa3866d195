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


def test_a_full_disk_is_not_called_a_damaged_file(tmp_path, monkeypatch):
    class Full:
        def __getattr__(self, name):
            raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((64, 64), np.uint8), compression="zlib", photometric="minisblack")
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Full())
    with pytest.raises(codecs.PixelError, match="unpacked beside the results first: No space left on device"):
        rows.Rows(path, tmp_path)
