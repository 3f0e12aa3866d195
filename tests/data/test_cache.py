"""The cache: decoded once, whole or not at all, and anew when a file is another."""

import hashlib
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from conftest import can_mount, write_pairs
from PIL import Image

from unetlab.data import cache, dataset, open_dataset
from unetlab.errors import UserError


def test_a_second_start_opens_no_image(pairs, monkeypatch):
    first = open_dataset(str(pairs))
    monkeypatch.setattr(dataset.Reader, "read", lambda *_: pytest.fail("an image was opened"))
    second = open_dataset(str(pairs))
    assert second.digest == first.digest and np.array_equal(second.image(3), first.image(3))


def test_a_changed_file_is_read_again(pairs):
    first = open_dataset(str(pairs))
    path = pairs / "images" / "cell00.png"
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    os.utime(path, ns=(1, 1))
    second = open_dataset(str(pairs))
    assert second.digest != first.digest
    assert np.array_equal(second.image(0), 255 - first.image(0))


def test_a_killed_decode_leaves_nothing_that_counts(pairs, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(dataset.Reader, "read", killed)
        with pytest.raises(KeyboardInterrupt):
            open_dataset(str(pairs))
    assert not list(cache.root().glob(".building-*"))
    assert len(open_dataset(str(pairs))) == 12


def test_what_a_process_killed_long_ago_left_is_swept_away(pairs, tmp_path, monkeypatch):
    monkeypatch.setenv("UNETLAB_CACHE", str(tmp_path / "cache"))
    old, young = tmp_path / "cache" / ".building-old", tmp_path / "cache" / ".building-young"
    for folder in (old, young):
        folder.mkdir(parents=True)
        (folder / "images.bin").write_text("half")
    for path in (old / "images.bin", old):
        os.utime(path, (1, 1))
    open_dataset(str(pairs))
    assert not old.exists() and young.exists()


def test_a_cache_that_cannot_be_written_is_said_clearly(pairs, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("UNETLAB_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(UserError, match="set UNETLAB_CACHE"):
        open_dataset(str(pairs))
    out = tmp_path / "file" / "out" / "part"  # as predict's
    with pytest.raises(UserError, match="out .Not a directory.; give a folder that can"), cache.new_folder(out):
        pass


def test_the_faster_of_two_processes_wins(pairs):
    first = open_dataset(str(pairs))
    slower = {"name": "slower", "label": "slower", "has_masks": True, "content": hashlib.sha256()}
    cache.build(first.folder, slower, [lambda: cache.Decoded("x", first.image(0), first.labels(0), "uint8 grey")])
    assert open_dataset(str(pairs)).ids == first.ids and not list(cache.root().glob(".building-*"))


def test_two_folders_of_one_name_with_files_of_one_name_size_and_time_are_two(tmp_path):
    first = write_pairs(tmp_path / "a" / "cells", n=3)
    second = tmp_path / "b" / "cells"
    shutil.copytree(first, second)
    for folder, value in ((first, 9), (second, 200)):
        path = folder / "images" / "cell00.tif"
        (folder / "images" / "cell00.png").unlink()
        path.write_bytes(tifffile_bytes(np.full((40, 40), value, np.uint8)))
        for file in folder.rglob("*"):
            os.utime(file, ns=(10**18, 10**18))
    assert open_dataset(str(first)).image(0).max() == 9
    assert open_dataset(str(second)).image(0).max() == 200


def tifffile_bytes(array: np.ndarray) -> bytes:
    """An image as an uncompressed TIFF, whose size does not depend on what it shows."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array)
    return buffer.getvalue()


def test_a_file_replaced_by_one_of_its_size_and_time_is_read_anew(tmp_path):
    folder = write_pairs(tmp_path / "cells", n=3)
    path = folder / "images" / "cell00.tif"
    (folder / "images" / "cell00.png").unlink()
    for value in (9, 200):
        path.write_bytes(tifffile_bytes(np.full((40, 40), value, np.uint8)))
        os.utime(path, ns=(10**18, 10**18))
        assert open_dataset(str(folder)).image(0).max() == value


def test_labels_take_one_byte_a_pixel_where_that_is_enough(pairs):
    data = open_dataset(str(pairs))
    assert (data.folder / "labels.bin").stat().st_size == 12 * 40 * 40
    many = np.arange(1600, dtype=np.uint16).reshape(40, 40)
    (pairs / "masks" / "cell00.png").unlink()
    Image.fromarray(many).save(pairs / "masks" / "cell00.png")
    data = open_dataset(str(pairs), masks="objects")
    assert data.labels(0).dtype == np.uint16 and np.array_equal(data.labels(0), many)
    assert data.labels(1).dtype == np.uint8


@pytest.mark.skipif(not can_mount(), reason="no disk of one's own on this machine")
def test_a_disk_too_small_for_an_array_is_an_error_and_ends_no_process(tmp_path):
    code = (
        "import sys; import numpy as np; from pathlib import Path; from unetlab.data import cache\n"
        "rows = (np.ones(2**16, np.uint8) for _ in range(64))\n"
        "try: cache.write_array(Path('a.npy'), (64, 2**16), rows)\n"
        "except OSError as error: print(error.strerror, list(Path().iterdir()))"
    )
    mounted = 'mount -t tmpfs -o size=1m tmpfs "$1" && cd "$1" && exec "$2" -c "$3"'
    command = ["unshare", "-rm", "sh", "-c", mounted, "sh", str(tmp_path), sys.executable, code]
    environment = {**os.environ, "PYTHONPATH": str(Path(cache.__file__).parents[2])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "No space left on device []"), done.stderr


def test_rows_that_are_too_few_or_too_many_leave_no_file(tmp_path):
    for rows in ([np.zeros(5, np.uint8)], [np.zeros(5, np.uint8)] * 3):
        with pytest.raises(ValueError, match="of rows.npy, not the"):
            cache.write_array(tmp_path / "rows.npy", (2, 5), rows)
    assert not list(tmp_path.iterdir())
    cache.write_array(tmp_path / "rows.npy", (2, 5), [np.arange(5), np.arange(5)[::-1].astype(np.uint8)])
    assert np.load(tmp_path / "rows.npy", mmap_mode="r").tolist() == [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0]]
