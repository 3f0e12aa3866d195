"""What the page asks for, over HTTP: frames in, planes out; and who is turned away."""

import contextlib
import http.client
import json
import threading
from contextlib import closing
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np
import pytest
import tifffile
from conftest import blob, encoded
from small_live import bright, in_classes, page, predictor, serving, three_objects

from unetlab.images import codecs
from unetlab.service.live import frame as frame_of
from unetlab.service.live import serve
from unetlab.service.live.frame import OUTLINE
from unetlab.service.live.source import Film, Frames

RAW = {"content-type": "application/octet-stream"}


def ask(address, method, path, body=None, **headers):
    """Status, headers and body of an answer."""
    line = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
    try:
        line.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = line.getresponse()
        return answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()
    finally:
        line.close()


def plane_in(headers, body):
    """What an answer says, its pixels (h, w, 4) or None, and its plane."""
    said = json.loads(headers["x-answer"])
    plane = np.frombuffer(body, np.uint8)[-said["width"] * said["height"] :]
    shape = said["height"], said["width"]
    held = None if said["held"] else np.frombuffer(body, np.uint8)[: -plane.size].reshape(*shape, 4)
    return said, held, plane.reshape(shape)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Three frames: an image that is none, then a stack of two."""
    folder = tmp_path_factory.mktemp("source")
    (folder / "bad.png").write_bytes(b"hello")
    stack = np.stack([blob(40, 50), np.zeros((40, 50), np.uint8)])
    tifffile.imwrite(folder / "cells.tif", stack.astype(np.uint16) * 9, photometric="minisblack")
    with closing(Frames([(path.name, path) for path in sorted(folder.iterdir())])) as found:
        yield found


@pytest.fixture(scope="module")
def address(source):
    with serving(page(source)) as found:
        yield found


def frame(height=48, width=64):
    """Pixels as a canvas holds them."""
    return np.dstack([blob(height, width)] * 3 + [np.full((height, width), 255, np.uint8)])


def test_a_frame_of_a_canvas_gets_the_mask_that_scoring_makes_of_it(address):
    pixels = frame()
    status, headers, body = ask(address, "POST", "/pixels?width=64&height=48", pixels.tobytes(), **RAW)
    said, held, plane = plane_in(headers, body)
    (expected,) = predictor().answers([blob(48, 64)[:, :, None]])
    assert status == 200 and held is None
    assert np.array_equal(plane & (OUTLINE - 1) > 0, expected.mask)
    assert said["objects"] == 2 and said["foreground"] == pytest.approx(expected.mask.mean(), abs=1e-6)
    assert set(said["ms"]) == {"wait", "decode", "model", "encode"}
    edge = plane & OUTLINE > 0
    assert edge.any() and not edge[~expected.mask].any() and (expected.mask & ~edge).any()


def test_a_threshold_is_the_frame_s_own(address):
    for threshold, objects in (("", 2), ("&threshold=1", 0), ("&threshold=0.4", 2)):
        path = f"/pixels?width=64&height=48{threshold}"
        said, _, plane = plane_in(*ask(address, "POST", path, frame().tobytes(), **RAW)[1:])
        assert said["objects"] == objects and bool(plane.any()) is bool(objects)


def test_a_dropped_file_comes_back_as_pixels_with_its_mask(address):
    grey = blob(60, 90)
    for data, pages in ((encoded(grey), 1), (encoded(grey, "BMP"), 1)):
        said, held, plane = plane_in(*ask(address, "POST", "/file", data, **RAW)[1:])
        assert (said["pages"], said["objects"]) == (pages, 2)
        assert np.array_equal(held[..., :3], np.dstack([grey] * 3)) and (held[..., 3] == 255).all()
        assert plane.shape == grey.shape


def test_frames_of_the_source_have_names_and_a_bad_one_does_not_stop_the_others(address):
    status, _, body = ask(address, "POST", "/frame?number=0")
    assert (status, json.loads(body)) == (400, {"message": "bad.png: not a PNG, JPEG, TIFF or BMP image"})
    for number, name, objects in ((1, "cells.tif page 1", 2), (2, "cells.tif page 2", 0)):
        said, held, _ = plane_in(*ask(address, "POST", f"/frame?number={number}")[1:])
        assert (said["name"], said["objects"]) == (name, objects)
        assert held.shape == (40, 50, 4)
    about = json.loads(ask(address, "GET", "/about")[2])
    assert about["source"] == {"kind": "frames", "count": 3, "name": "the source"}
    assert (about["own_threshold"], about["threshold"]) == (0.5, None)


BAD = [
    ("/file", b"hello", 400, "not a PNG, JPEG, TIFF or BMP image"),
    ("/file", b"", 400, "not a PNG, JPEG, TIFF or BMP image"),
    ("/file", encoded(blob(60, 90))[:100], 400, "truncated or damaged"),
    ("/file?page=7", encoded(blob(60, 90)), 400, "there is no page 8; the file has 1"),
    ("/file?threshold=2", encoded(blob(60, 90)), 400, "threshold: Input should be less than or equal to 1"),
    ("/file?threshold=nan", encoded(blob(60, 90)), 400, "threshold: Input should be"),
    ("/pixels?width=64", b"", 400, "height: Field required"),
    ("/pixels?width=-1&height=-1", b"\0\0\0\0", 400, "Input should be greater than or equal to 1"),
    ("/pixels?width=4&height=4", b"\0" * 63, 400, "4 x 4 pixels take 64 bytes. Received: 63"),
    ("/pixels?width=99999&height=99999", b"\0", 413, "99999 x 99999 pixels is more than 25,000,000"),
    ("/frame?number=3", None, 404, "there is no frame 4"),
    ("/frame?number=-1", None, 400, "number: Input should be greater than or equal to 0"),
]


@pytest.mark.parametrize(("path", "body", "status", "message"), BAD)
def test_what_is_no_frame_gets_one_line(address, path, body, status, message):
    found, _, answer = ask(address, "POST", path, body, **RAW)
    assert found == status and message in json.loads(answer)["message"]
    assert "\n" not in json.loads(answer)["message"] and b"Traceback" not in answer


def test_bytes_and_pixels_are_limited_before_anything_is_decoded(monkeypatch):
    monkeypatch.setenv("UNETLAB_MAX_BYTES", "20000")
    monkeypatch.setenv("UNETLAB_MAX_PIXELS", "5000")
    with serving(page()) as found:
        status, _, answer = ask(found, "POST", "/pixels?width=100&height=100", b"\0" * 40000, **RAW)
        assert status == 413 and "more than 20,000 bytes" in json.loads(answer)["message"]
        status, _, answer = ask(found, "POST", "/file", encoded(blob(60, 90)), **RAW)
        assert (
            status == 400
            and "90 x 60 pixels is more than the 5,000 that UNETLAB_MAX_PIXELS lets in" in json.loads(answer)["message"]
        )
        assert ask(found, "POST", "/file", encoded(blob(60, 80)), **RAW)[0] == 200


def test_other_origins_and_other_names_of_this_machine_are_turned_away(address):
    own = urlsplit(address).netloc
    data = encoded(blob(60, 90))
    assert ask(address, "POST", "/file", data, Origin=f"http://{own}", Sec_Fetch_Site="same-origin")[0] == 200
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": f"https://{own}"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"},  # a form that another page sends
    ):
        status, told, answer = ask(address, "POST", "/file", data, **headers)
        assert status == 403 and "of another origin" in json.loads(answer)["message"]
        assert "x-answer" not in told
    for name in ("evil.example", "127.0.0.1.evil.example:80", "unetlab"):
        assert ask(address, "GET", "/about", Host=name)[0] == 400  # a name that has been made to mean this machine
    assert ask(address, "GET", "/about", Sec_Fetch_Site="cross-site")[0] == 403
    link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
    assert ask(address, "GET", "/", **link)[0] == 200


def test_the_page_is_all_there_and_may_ask_nobody_else(address):
    status, headers, body = ask(address, "GET", "/")
    assert status == 200 and headers["content-type"].startswith("text/html")
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'" and policy["script-src"] == policy["connect-src"] == "'self'"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    parts = ("live.css", "live.js", "wire.js", "draw.js", "sources.js", "icon.svg")
    for name in parts:
        status, headers, part = ask(address, "GET", f"/{name}")
        assert status == 200 and "content-security-policy" in headers
        assert b"http" not in part.replace(b"http://www.w3.org/2000/svg", b"")
    assert b"http" not in body and b" on" + b"click" not in body
    for path in ("/docs", "/openapi.json", "/../app.py", "/%2e%2e/app.py", "/film", "/nowhere"):
        assert ask(address, "GET", path)[0] == 404


def test_a_film_is_sent_in_the_parts_that_a_browser_asks_for(tmp_path):
    path = tmp_path / "film.webm"
    path.write_bytes(bytes(range(200)))
    with serving(page(Film(path))) as found:
        status, headers, body = ask(found, "GET", "/film", Range="bytes=10-19")
        assert (status, body, headers["content-type"]) == (206, bytes(range(10, 20)), "video/webm")
        assert json.loads(ask(found, "GET", "/about")[2])["source"]["kind"] == "film"


def test_frames_are_refused_rather_than_queued():
    going, free = threading.Semaphore(0), threading.Event()

    def slow(images):
        going.release()
        free.wait(30)
        return bright(images)

    with serving(page(network=slow)) as found:
        statuses = []
        ask_one = lambda: statuses.append(ask(found, "POST", "/file", encoded(blob(30, 30)), **RAW)[0])  # noqa: E731
        threads = [threading.Thread(target=ask_one) for _ in range(14)]
        for thread in threads:
            thread.start()
        going.acquire()
        going.acquire()
        for thread in threads:
            thread.join(0.5)
            if len(statuses) == 4:
                break
        assert statuses == [503] * 4  # two are worked on and eight wait
        free.set()
        for thread in threads:
            thread.join(30)
    assert sorted(statuses) == [200] * 10 + [503] * 4


def test_a_fault_of_the_server_says_so_and_keeps_its_trace(capsys):
    def broken(_):
        raise RuntimeError("secret")

    with serving(page(network=broken)) as found:
        status, headers, answer = ask(found, "POST", "/file", encoded(blob(30, 30)), **RAW)
        assert status == 500 and json.loads(answer) == {"message": "the server failed; its log says why"}
        assert "content-security-policy" in headers
    assert "secret" in capsys.readouterr().err


def test_classes_have_colours_and_a_count_each():
    image = three_objects()[:, :, None]
    with serving(page(network=in_classes, classes=("cell", "mitosis"))) as found:
        about = json.loads(ask(found, "GET", "/about")[2])
        assert about["classes"] == [
            {"name": "cell", "colour": "#e69f00"},
            {"name": "mitosis", "colour": "#56b4e9"},
        ]
        said, _, plane = plane_in(*ask(found, "POST", "/file", encoded(three_objects()), **RAW)[1:])
    assert (said["objects"], said["by_class"]) == (3, [2, 1])
    (expected,) = predictor(in_classes, classes=("cell", "mitosis")).answers([image])
    assert np.array_equal(plane & (OUTLINE - 1), expected.classes)
    assert set(np.unique(plane)) == {0, 1, 2, 1 | OUTLINE, 2 | OUTLINE}


def test_answers_of_models_from_before_there_were_classes_are_shown():
    class Old(NamedTuple):
        mask: np.ndarray
        labels: np.ndarray

    found = Old(*predictor().answers([blob(40, 50)[:, :, None]])[0][:2])
    assert set(np.unique(frame_of.plane_of(found))) == {0, 1, 1 | OUTLINE}
    assert frame_of.said_of(found, 0)["objects"] == 2


def test_equal_channels_of_a_canvas_are_grey_to_a_network_of_one_channel():
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (40, 40, 1), dtype=np.uint8)
    for channels in (1, 3):
        one, other = predictor(channels=channels).answers([grey, np.repeat(grey, 3, axis=2)])
        assert np.array_equal(one.mask, other.mask)
    assert codecs.decode(encoded(np.repeat(grey, 3, axis=2)))[0].shape[2] == 1


def test_a_page_that_ends_while_it_answers_says_so_without_a_traceback(monkeypatch, caplog):
    monkeypatch.setattr(serve, "LEAVING", 0.2)
    begun, held = threading.Event(), threading.Event()

    def slow(images):
        begun.set()
        held.wait(20)
        return bright(images)

    sock, server = serve.listen(0), serve.server_of(page(network=slow))
    running = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    running.start()
    image, answers = encoded(blob(32, 32)), []

    def one():
        with contextlib.suppress(OSError, http.client.HTTPException):  # the line may be closed before it is answered
            answers.append(ask(serve.address(sock), "POST", "/file", image, **RAW)[0])

    asking = threading.Thread(target=one)
    asking.start()
    assert begun.wait(20)
    server.should_exit = True
    running.join(20)
    held.set()
    asking.join(20)
    assert not running.is_alive() and "Traceback" not in caplog.text and answers in ([], [503])
    assert not [record for record in caplog.records if record.exc_info]
