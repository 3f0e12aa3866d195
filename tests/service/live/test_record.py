"""`live` without a page: files and films in, outlines out."""

import errno
import mimetypes
import os
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import blob, encoded
from PIL import Image
from small_live import predictor

from unetlab.errors import UserError
from unetlab.service.live import record as live_record
from unetlab.service.live.record import ahead, record
from unetlab.service.live.source import Camera, Film, open_source
from unetlab.service.live.video import Reader, Writer, is_film
from unetlab.service.overlays import overlay


@pytest.fixture
def images(tmp_path):
    """Three images and a file that is none."""
    folder = tmp_path / "images"
    folder.mkdir()
    for k in range(3):
        (folder / f"cell{k}.png").write_bytes(encoded(np.roll(blob(41, 60), 5 * k, axis=1)))
    (folder / "bad.png").write_bytes(b"hello")
    return folder


def test_a_folder_becomes_a_folder_of_what_predict_draws(images, tmp_path):
    out = tmp_path / "out"
    found = record(predictor(), open_source(str(images)), out, None)
    assert found.frames == 3 and found.failed == ["not shown: bad.png: not a PNG, JPEG, TIFF or BMP image"]
    assert str(found).startswith("3 frames in ") and str(found).endswith(" a second")
    assert sorted(path.name for path in out.iterdir()) == [f"{k + 1:06d}-cell{k}.png" for k in range(3)]
    image = blob(41, 60)[:, :, None]
    (answer,) = predictor().answers([image])
    assert np.array_equal(np.asarray(Image.open(out / "000001-cell0.png")), overlay(image, answer.labels))


def test_a_folder_that_holds_somebody_s_pictures_is_refused(images, tmp_path):
    out = tmp_path / "frames"
    out.mkdir()
    (out / ".hidden").write_text("")
    (out / "000001.png").write_bytes(encoded(blob(41, 60)))
    with pytest.raises(UserError, match="frames holds files already, which frames would lie among; give a new folder"):
        record(predictor(), open_source(str(images)), out, None)
    assert len(list(out.iterdir())) == 2


def test_a_threshold_replaces_the_model_s_own(images, tmp_path):
    record(predictor(), open_source(str(images / "cell0.png")), tmp_path / "out", 1.0)
    drawn = np.asarray(Image.open(tmp_path / "out" / "000000-cell0.png"))
    assert np.array_equal(drawn, np.dstack([blob(41, 60)] * 3))


def test_a_film_that_was_cut_is_said_to_be(images, tmp_path):
    pytest.importorskip("av")
    whole = tmp_path / "whole.mkv"
    writer = Writer(whole, 10.0)
    for k in range(60):
        writer.add(np.random.default_rng(k).integers(0, 255, (48, 64, 3), np.uint8))
    writer.close()
    assert record(predictor(), Film(whole), tmp_path / "a", None).failed == []
    (tmp_path / "cut.mkv").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    found = record(predictor(), Film(tmp_path / "cut.mkv"), tmp_path / "b", None)
    assert found.frames < 50 and found.failed[0].startswith("cut.mkv is damaged: ") and "of 6.0 s" in found.failed[0]


def test_a_film_whose_last_picture_stays_is_whole(tmp_path):
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "long.mkv"), "w") as film:
        stream = film.add_stream("libx264", rate=10)
        stream.width = stream.height = 64
        frames = [av.VideoFrame.from_ndarray(np.full((64, 64, 3), 9 * k, np.uint8)) for k in range(20)]
        packets = [packet for frame in (*frames, None) for packet in stream.encode(frame)]
        for packet in packets:
            if packet is packets[-1]:
                packet.duration = int(5 / packet.time_base)
            film.mux(packet)
    reader = Reader(tmp_path / "long.mkv")
    assert len(list(reader)) == 20 and reader.missing() == ""


def test_a_film_that_is_interrupted_replaces_none(images, tmp_path, monkeypatch):
    pytest.importorskip("av")
    out = tmp_path / "out.mp4"
    record(predictor(), open_source(str(images)), out, None)
    before = out.read_bytes()
    real, drawn = live_record.overlay, []

    def interrupted(*told):
        drawn.append(real(*told))
        if len(drawn) == 3:
            raise KeyboardInterrupt
        return drawn[-1]

    monkeypatch.setattr(live_record, "overlay", interrupted)
    with pytest.raises(KeyboardInterrupt):
        record(predictor(), open_source(str(images)), out, None)
    assert out.read_bytes() == before and not list(tmp_path.glob(".building-*"))


def test_images_become_a_film_and_a_film_another(images, tmp_path):
    pytest.importorskip("av")
    first, second = tmp_path / "first.mp4", tmp_path / "second.mkv"
    assert record(predictor(), open_source(str(images)), first, None).frames == 3
    film = Reader(first)
    frames = list(film)
    assert (len(frames), film.rate, frames[0].shape) == (3, 10.0, (40, 60, 3))
    (answer,) = predictor().answers([blob(41, 60)[:, :, None]])
    expected = overlay(blob(41, 60)[:, :, None], answer.labels)[:40].astype(int)
    assert np.abs(frames[0].astype(int) - expected).mean() < 12  # the codec halves colours
    assert record(predictor(), Film(first), second, None).frames == 3
    assert len(list(Reader(second))) == 3


def bad_camera(images, tmp_path):
    return Camera(), tmp_path / "out", "the camera is the browser's"


def bad_same_folder(images, tmp_path):
    return open_source(str(images)), images, "would write where the source lies"


def bad_all(images, tmp_path):
    for path in images.glob("cell*"):
        path.unlink()
    return open_source(str(images)), tmp_path / "out", "no frame of the source can be read; not shown: bad.png"


def bad_out(images, tmp_path):
    (tmp_path / "taken").touch()
    return open_source(str(images)), tmp_path / "taken", "taken cannot be written"


def bad_film(images, tmp_path):
    (tmp_path / "film.mp4").write_bytes(np.random.default_rng(0).bytes(4000))
    return Film(tmp_path / "film.mp4"), tmp_path / "out", "film.mp4 has no frame that can be decoded"


def bad_sizes(images, tmp_path):
    (images / "cell9.png").write_bytes(encoded(blob(80, 60)))
    return open_source(str(images)), tmp_path / "out.mp4", "a video has frames of one size, and after 60 x 41 pixels"


def bad_ending(images, tmp_path):
    return open_source(str(images)), tmp_path / "out.webm", "out.webm: videos are written as .mp4, .mov, .mkv"


def bad_place(images, tmp_path):
    return open_source(str(images)), tmp_path / "nowhere" / "out.mp4", "out.mp4 cannot be written (No such file"


@pytest.mark.parametrize(
    "make", [bad_camera, bad_same_folder, bad_all, bad_out, bad_film, bad_sizes, bad_ending, bad_place]
)
def test_what_cannot_be_had_gets_one_line(make, images, tmp_path):
    if make in (bad_film, bad_sizes, bad_ending, bad_place):
        pytest.importorskip("av")
    source, out, message = make(images, tmp_path)
    with pytest.raises(UserError) as caught:
        record(predictor(), source, out, None)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_without_ffmpeg_the_line_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"pip install -e '.\[video\]', or open the video on the page"):
        Writer(tmp_path / "a.mp4", 10)


@pytest.mark.parametrize("name", ["film.mp4", "film.m3u8"])
def test_a_film_that_names_another_address_fetches_nothing(name, tmp_path):
    """A playlist in place of a film, which FFmpeg would follow."""
    pytest.importorskip("av")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.3)
        path = tmp_path / name
        path.write_text(f"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:{listening.getsockname()[1]}/part.ts\n#EXT-X-ENDLIST\n")
        with pytest.raises(UserError, match="no frame that can be decoded"):
            Reader(path)
        with pytest.raises(TimeoutError):
            listening.accept()


def test_items_ahead_are_the_same_and_an_error_comes_through():
    assert list(ahead(range(5))) == [0, 1, 2, 3, 4] and list(ahead([])) == []

    def broken():
        yield 1
        raise ValueError("here")

    items = ahead(broken())
    assert next(items) == 1
    with pytest.raises(ValueError, match="here"):
        next(items)


def test_a_film_that_was_taken_upright_is_shown_upright(tmp_path):
    av = pytest.importorskip("av")
    path, picture = tmp_path / "turned.mp4", np.zeros((48, 96, 3), np.uint8)
    picture[:24, :24] = 255
    with av.open(str(path), "w") as film:
        stream = film.add_stream("libx264", rate=10, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 96, 48, "yuv420p"
        stream.set_display_rotation(90)
        for _ in range(3):
            film.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        film.mux(stream.encode(None))
    with av.open(str(path)) as film:
        turn = next(film.decode(video=0)).rotation
    assert abs(turn) == 90
    (frame, *_) = list(Reader(path))
    assert frame.shape == (96, 48, 3)
    assert np.abs(frame.astype(int) - np.rot90(picture, turn // 90)).mean() < 10


def test_frames_that_h264_does_not_take_are_one_line_and_leave_no_file(tmp_path):
    pytest.importorskip("av")
    writer = Writer(tmp_path / "o.mp4", 10.0)
    with pytest.raises(UserError, match="H.264 does not take frames of 20000 x 16 pixels; give a folder"):
        try:
            writer.add(np.zeros((16, 20000, 3), np.uint8))
        finally:
            writer.close()
    assert not (tmp_path / "o.mp4").exists()


def test_a_film_that_is_refused_leaves_the_one_that_was_there(images, tmp_path):
    pytest.importorskip("av")
    out = tmp_path / "out.mp4"
    out.write_bytes(b"an earlier film")
    (images / "cell9.png").write_bytes(encoded(blob(80, 60)))
    with pytest.raises(UserError, match="frames of one size"):
        record(predictor(), open_source(str(images)), out, None)
    assert out.read_bytes() == b"an earlier film" and not list(tmp_path.glob(".building-*"))
    (images / "cell9.png").unlink()
    record(predictor(), open_source(str(images)), out, None)
    assert len(list(Reader(out))) == 3 and not list(tmp_path.glob(".building-*"))


@pytest.mark.parametrize(
    ("number", "way"), [(errno.ENOSPC, "make room there"), (errno.EACCES, "give a place that can")]
)
def test_room_is_asked_for_only_where_it_is_wanting(number, way, tmp_path):
    pytest.importorskip("av")
    writer = Writer(tmp_path / "o.mp4", 10.0)
    writer.add(np.zeros((16, 16, 3), np.uint8))

    class Full:
        def mux(self, packets):
            raise OSError(number, os.strerror(number))

        def close(self):
            pass

    writer.container.close()
    writer.container = Full()
    with pytest.raises(UserError, match=rf"cannot be written \({os.strerror(number)}\); {way}"):
        writer.close()
    assert not list(tmp_path.iterdir())


def test_films_are_known_where_the_system_has_no_table_of_endings(monkeypatch):
    monkeypatch.setattr(mimetypes, "guess_type", mimetypes.MimeTypes(filenames=()).guess_type)
    assert all(is_film(Path(f"a{ending}")) for ending in (".mp4", ".MKV", ".webm", ".ogv"))
    assert not is_film(Path("folder")) and not is_film(Path("a.png"))


def test_a_film_in_a_folder_that_is_not_there_is_said_before_the_first_frame(tmp_path):
    pytest.importorskip("av")
    with pytest.raises(UserError, match="cannot be written .No such file or directory.; give a place that can"):
        Writer(tmp_path / "nowhere" / "o.mp4", 10.0)
    (tmp_path / "o.mp4").mkdir()
    with pytest.raises(UserError, match="cannot be written .Is a directory.; give a place that can"):
        Writer(tmp_path / "o.mp4", 10.0)
