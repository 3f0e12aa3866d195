"""The command `live`: what it begins with, and what it refuses in one line."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import blob, encoded, log_tiny

from unetlab.cli.main import main
from unetlab.errors import UserError
from unetlab.service.live.serve import listen

ROOT = Path(__file__).parents[3]


def refused(*words):
    """The one line that a call gets."""
    result = CliRunner().invoke(main, ["live", *map(str, words)])
    assert result.exit_code == 2 and result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    assert "Traceback" not in result.output
    return result.stderr


def test_a_port_that_is_taken_is_said_before_a_model_is_loaded(store, tmp_path):
    with listen(0) as taken:
        port = taken.getsockname()[1]
        said = refused("--model", "models:/nowhere@champion", "--port", port)
    assert f"port={port} cannot be listened on (Address already in use); give another port" in said
    with listen(port), pytest.raises(UserError, match="cannot be listened on"):
        listen(port)


def test_what_is_not_there_gets_one_line(store, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "film.mp4").touch()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = ("--port", probe.getsockname()[1])
    assert "there is no model in" in refused(*port)
    assert "model=models:/nowhere@champion cannot be loaded" in refused("--model", "models:/nowhere@champion", *port)
    for source, message in (
        ("nowhere", "there is no such file or folder; give one, or camera"),
        ("empty", "holds no PNG, JPEG, TIFF or BMP image"),
        ("notes.txt", "not a PNG, JPEG, TIFF or BMP image, and no video by its ending"),
        ("film.mp4", "is empty, so it has no frames"),
    ):
        assert message in refused("--source", tmp_path / source, *port)
    assert "out= wants a source=" in refused("--out", tmp_path / "out")
    assert "1.5 is not in the range 0<=x<=1" in refused("--threshold", "1.5")


def test_files_are_written_without_a_page(store, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for k in range(2):
        (folder / f"cell{k}.png").write_bytes(encoded(blob(40, 60)))
    (folder / "bad.png").write_bytes(b"hello")
    words = ["--model", log_tiny().model_uri, "--source", str(folder), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, ["live", *words])
    assert result.exit_code == 0, result.output
    first, last = result.stdout.splitlines()
    assert first == "not shown: bad.png: not a PNG, JPEG, TIFF or BMP image"
    assert last.startswith("2 frames in ") and last.endswith(f" a second: {tmp_path / 'out'}")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"000001-cell0.png", "000002-cell1.png"}


def test_the_command_serves_a_page_with_the_model_s_example_until_it_is_interrupted(store, tmp_path):
    model = log_tiny().model_uri
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path / "live.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "unetlab", "live", "--model", model, "--port", str(port)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=output,
        )
    try:
        end = time.monotonic() + 300
        while "look at" not in log.read_text():
            assert process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        assert log.read_text() == f"{model}: look at http://127.0.0.1:{port}, end with Ctrl-C\n"
        about = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/about", timeout=30))
        assert about["model"] == model and about["source"] == {"kind": "frames", "count": 1, "name": "Example"}
        asked = urllib.request.Request(f"http://127.0.0.1:{port}/frame?number=0", method="POST")
        with urllib.request.urlopen(asked, timeout=30) as answer:
            assert json.loads(answer.headers["x-answer"])["objects"] == 2
        process.send_signal(signal.SIGINT)
        process.wait(120)
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in log.read_text() and log.read_text().count("\n") == 1
