"""What a `source` names."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import pytest
import tifffile
from conftest import blob, encoded

from unetlab.errors import UserError
from unetlab.images.codecs import PixelError
from unetlab.service.live.source import Camera, Film, Frames, open_source


def stack(path, count=3):
    planes = np.stack([np.full((20, 30), 10 * k, np.uint8) for k in range(count)])
    tifffile.imwrite(path, planes, photometric="minisblack")
    return path


def test_a_folder_is_its_images_by_name_and_every_page_of_its_stacks(tmp_path):
    (tmp_path / "b.png").write_bytes(encoded(blob(20, 30)))
    stack(tmp_path / "c.tif")
    (tmp_path / "a.png").write_bytes(b"hello")
    (tmp_path / "notes.txt").write_text("no image")
    found = open_source(str(tmp_path))
    assert isinstance(found, Frames)
    names = ["a.png", "b.png", "c.tif page 1", "c.tif page 2", "c.tif page 3"]
    assert [found.name(k) for k in range(len(found))] == names
    assert np.array_equal(found.read(1)[..., 0], blob(20, 30))
    assert [int(found.read(k).max()) for k in (2, 4, 3)] == [0, 20, 10]
    with pytest.raises(PixelError, match="not a PNG"):
        found.read(0)
    with pytest.raises(PixelError, match="30 x 20 pixels is more than the 500 that UNETLAB_MAX_PIXELS lets in"):
        found.read(1, most=500)


def test_a_stack_is_one_whatever_its_ending(tmp_path):
    stack(tmp_path / "a.tif")
    (tmp_path / "a.tif").rename(tmp_path / "a.png")
    found = open_source(str(tmp_path))
    assert [found.name(k) for k in range(len(found))] == ["a.png page 1", "a.png page 2", "a.png page 3"]


def test_threads_share_the_pages_of_a_stack(tmp_path):
    with closing(open_source(str(stack(tmp_path / "c.tif", 20)))) as found, ThreadPoolExecutor(4) as threads:
        values = list(threads.map(lambda k: int(found.read(k).max()), range(20)))
    assert values == [10 * k for k in range(20)]


def test_pages_chooses_and_they_keep_their_numbers(tmp_path):
    with closing(open_source(str(stack(tmp_path / "c.tif", 5)), pages="2-3")) as found:
        assert [found.name(k) for k in range(len(found))] == ["c.tif page 2", "c.tif page 3"]
        assert int(found.read(0).max()) == 10


def test_a_source_that_cannot_be_opened_is_one_line(tmp_path):
    with pytest.raises(UserError, match="cannot be opened .File name too long.; give one that can"):
        open_source(str(tmp_path / ("x" * 300)))


@pytest.mark.parametrize("choice", [{"channels": "1"}, {"pages": "1-3"}])
def test_of_a_film_channels_and_pages_choose_nothing(tmp_path, choice):
    (tmp_path / "film.mp4").write_bytes(b"whatever")
    with pytest.raises(UserError, match="is a video, of which channels and pages choose nothing"):
        open_source(str(tmp_path / "film.mp4"), **choice)


def test_what_is_no_image_is_a_film_by_its_ending_and_camera_a_word(tmp_path):
    path = tmp_path / "film.mp4"
    path.write_bytes(b"whatever")
    assert open_source(str(path)) == Film(path)
    assert isinstance(open_source("camera"), Camera) and isinstance(open_source("CAMERA"), Camera)


def empty(folder):
    return folder


def zero_frames(folder):
    (folder / "film.mp4").touch()
    return folder / "film.mp4"


def no_image(folder):
    (folder / "notes.txt").write_text("no image")
    return folder / "notes.txt"


def damaged(folder):
    (folder / "a.png").write_bytes(encoded(blob(20, 30))[:20])
    return folder / "a.png"


def missing(folder):
    return folder / "nowhere"


BAD = [
    (empty, "holds no PNG, JPEG, TIFF or BMP image; give a folder that does"),
    (zero_frames, "film.mp4 is empty, so it has no frames"),
    (no_image, "notes.txt: not a PNG, JPEG, TIFF or BMP image, and no video by its ending"),
    (damaged, "a.png: truncated or damaged"),
    (missing, "nowhere: there is no such file or folder; give one, or camera"),
]


@pytest.mark.parametrize(("make", "message"), BAD)
def test_what_shows_nothing_gets_one_line(make, message, tmp_path):
    with pytest.raises(UserError) as caught:
        open_source(str(make(tmp_path)))
    assert message in str(caught.value) and "\n" not in str(caught.value)
