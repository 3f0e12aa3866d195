"""`mlflow models serve` of a registered champion, and of a model of classes, over HTTP."""

import base64
import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import tifffile
from conftest import blob, encoded, log_tiny
from fake_runs import IDS, difficulty, log_finished_run
from PIL import Image

from unetlab.images import codecs
from unetlab.images.palette import colours
from unetlab.service.registry import register_run

STARTS_WITHIN = 120
DICE = difficulty() - 0.1


def champions() -> None:
    """A champion that finds nothing, replaced by one that finds what is bright, challenged by one that finds nothing.

    The server must answer as the second does.
    """
    for threshold, dice, promoted in ((1.0, DICE, True), (0.5, DICE + 0.05, True), (1.0, DICE, False)):
        info = log_tiny(threshold=threshold)
        decision = register_run(log_finished_run(info.model_id, dice, IDS))
        assert decision.promoted is promoted, decision


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def served(model: str, tmp_path: Path):
    """The address of a model, served as long as the context lasts."""
    port, log = free_port(), tmp_path / "server.log"
    bin_folder = str(Path(sys.executable).parent)  # MLflow starts `uvicorn` from PATH
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", model]
    with log.open("w") as output:
        server = subprocess.Popen(
            [*command, "--env-manager", "local", "--port", str(port)],
            cwd=tmp_path,
            env={**os.environ, "PATH": bin_folder + os.pathsep + os.environ["PATH"]},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/ping", server, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


@pytest.fixture
def address(store, tmp_path):
    """The address of a served champion, which the server looks up as it starts; it ends with the test."""
    champions()
    with served("models:/unetlab-tiny@champion", tmp_path) as at:
        yield at


def wait_for(url: str, server: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()[-3000:]
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(log.read_text()[-3000:])


def post(address: str, rows: list[bytes], **more) -> tuple[int, dict]:
    table = {"columns": ["image"], "data": [[base64.b64encode(row).decode()] for row in rows]}
    body = json.dumps({"dataframe_split": table, **more}).encode()
    request = urllib.request.Request(f"{address}/invocations", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_images_of_four_kinds_get_masks_and_a_bad_row_a_readable_400(address):
    images = {
        (700, 1000): encoded(np.stack([blob(700, 1000)] * 3, 2)),
        (90, 120): encoded(blob(90, 120).astype(np.uint16) * 16, "TIFF"),
        (80, 60): encoded(blob(80, 60), mode="RGBA"),
        (50, 200): encoded(blob(50, 200), mode="P"),
    }
    status, answer = post(address, list(images.values()))
    assert status == 200
    for size, row in zip(images, answer["predictions"], strict=True):
        mask = codecs.decode_mask(base64.b64decode(row["mask"]))
        assert mask.shape == size
        assert (mask != (blob(*size) > 127)).mean() < 0.04
        assert row["object_count"] == 2 and row["foreground_fraction"] == pytest.approx(mask.mean())
        assert list(row) == ["mask", "foreground_fraction", "object_count", "labels"]

    status, answer = post(address, [images[80, 60]], params={"threshold": 1.0})
    assert status == 200 and answer["predictions"][0]["foreground_fraction"] == 0

    for rows, more, reason in (
        ([images[80, 60], b"hello"], {}, "row 1: not a PNG, JPEG, TIFF or BMP image"),
        ([images[700, 1000][:500]], {}, "row 0: truncated or damaged"),
        ([images[80, 60]], {"params": {"threshold": 2.0}}, "threshold must lie in [0, 1]"),
    ):
        status, answer = post(address, rows, **more)
        assert status == 400 and reason in answer["message"]
        assert "Traceback" not in answer["message"] and "stack_trace" not in answer


def two_classes(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (h, w, 3) and its classes: what `blob` shows, the first square red and the second green, which touches a
    blue one."""
    classes = (blob(height, width) > 0).astype(np.uint8)
    classes[height // 2 :] *= 2
    classes[height * 7 // 8 :, width * 5 // 8 : width * 7 // 8] = 3
    return (np.eye(4, dtype=np.uint8)[classes] * 255)[..., 1:], classes


def test_classes_are_answered_in_colours_and_by_name_for_small_images_and_in_tiles(store, tmp_path):
    names = ["nuclei", "mitoses", "débris"]
    model = log_tiny(classes=names, view="patches", objects="watershed").model_uri
    sizes = [(60, 90), (1100, 700), (90, 120)]
    scenes = [two_classes(*size) for size in sizes]
    tiff = io.BytesIO()
    tifffile.imwrite(tiff, scenes[2][0], photometric="rgb", compression="zlib")
    with served(model, tmp_path) as address:
        status, answer = post(address, [*(encoded(image) for image, _ in scenes[:2]), tiff.getvalue()])
        assert status == 200
        for (_, truth), row in zip(scenes, answer["predictions"], strict=True):
            drawn = base64.b64decode(row["classes"])
            with Image.open(io.BytesIO(drawn)) as picture:
                assert picture.format == "PNG" and picture.mode == "P"
                assert np.array_equal(np.asarray(picture), truth)
                assert np.array_equal(np.asarray(picture.convert("RGB")), colours(3)[truth])
            assert row["class_names"] == ["background", *names]
            assert np.array_equal(codecs.decode_mask(base64.b64decode(row["mask"])), truth > 0)
            labels = codecs.decode_labels(base64.b64decode(row["labels"]))
            assert row["object_classes"] == [0, 1, 2, 3] and row["object_count"] == labels.max() == 3
            assert np.array_equal(np.array(row["object_classes"])[labels], truth)
        status, answer = post(address, [encoded(scenes[0][0])], params={"threshold": 0.5})
        assert status == 400 and "to which no threshold applies" in answer["message"]
