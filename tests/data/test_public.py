"""Public data by name: fetched from a local server, checked against its pin, clear when offline."""

import contextlib
import dataclasses
import functools
import http.server
import io
import threading
import zipfile

import numpy as np
import pytest
from PIL import Image

from unetlab.data import cache, open_dataset, public
from unetlab.errors import UserError


def _png(row: int) -> bytes:
    array = np.zeros((8, 8), np.uint8)
    array[row : row + 4] = 200
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG")
    return buffer.getvalue()


def _zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in {"README.md": b"not used", **files}.items():
            archive.writestr(f"repo-123/{name}", data)
    return out.getvalue()


def _archive() -> tuple[bytes, dict[str, bytes]]:
    kinds = (("images", "id{}"), ("masks", "nucleus"))
    files = {f"stage1_train/id{i}/{kind}/{name.format(i)}.png": _png(i) for i in range(3) for kind, name in kinds}
    return _zipped(files), files


@pytest.fixture
def served(tmp_path, monkeypatch):
    """dsb2018 points to a server on this machine; the cache is empty. Yields the pin's setter."""
    data, files = _archive()
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "a.zip").write_bytes(data)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "www"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source = dataclasses.replace(
            public.SOURCES["dsb2018"],
            url=f"http://127.0.0.1:{server.server_port}/a.zip",
            files=len(files),
            sha256=public.content_sha256(files),
        )
        monkeypatch.setitem(public.SOURCES, "dsb2018", source)
        monkeypatch.setenv("UNETLAB_CACHE", str(tmp_path / "cache"))
        with contextlib.redirect_stderr(io.StringIO()):
            yield source
        server.shutdown()


def test_a_named_set_is_fetched_once_and_read(served, tmp_path):
    data = open_dataset("dsb2018")
    assert data.name == "dsb2018" and data.ids == ("id0", "id1", "id2")
    (tmp_path / "www" / "a.zip").unlink()
    assert open_dataset("dsb2018").digest == data.digest


def test_other_content_than_published_is_refused(served, monkeypatch):
    monkeypatch.setitem(public.SOURCES, "dsb2018", dataclasses.replace(served, sha256="0" * 64))
    with pytest.raises(UserError, match="does not hold what was published"):
        open_dataset("dsb2018")
    assert not list(cache.root().glob("*/index.json"))


def test_a_page_in_place_of_a_zip_is_not_kept(served, tmp_path):
    path = tmp_path / "www" / "a.zip"
    archive = path.read_bytes()
    path.write_text("<html>sign in first</html>")
    with pytest.raises(UserError, match=r"data=dsb2018: what .* sent is no zip; try again"):
        open_dataset("dsb2018")
    path.write_bytes(archive)
    assert open_dataset("dsb2018").name == "dsb2018"


def test_offline_is_said_clearly(served, monkeypatch):
    monkeypatch.setitem(public.SOURCES, "dsb2018", dataclasses.replace(served, url="http://127.0.0.1:9/a.zip"))
    with pytest.raises(UserError, match=r"data=dsb2018: .* could not be fetched .* give the path of a copy"):
        open_dataset("dsb2018")


def test_the_pin_is_that_of_the_published_files():
    # sha256 of the one line "a.png\0<sha256 of b'x'>\n", worked out by hand with sha256sum
    import hashlib

    line = b"a.png\0" + hashlib.sha256(b"x").hexdigest().encode() + b"\n"
    assert public.content_sha256({"a.png": b"x"}) == hashlib.sha256(line).hexdigest()


@pytest.mark.parametrize(
    ("name", "inside", "pinned"),
    [
        ("dsb2018", "repo-1/stage1_train/ab/images/ab.png", "stage1_train/ab/images/ab.png"),
        ("dsb2018", "repo-1/stage1_train/ab/notes.txt", None),
        ("isbi2012", "unet-1/data/membrane/train/image/0.png", "image/0.png"),
        ("isbi2012", "unet-1/data/membrane/test/0.png", None),
        ("kitchen", "repo-1/dataset/dataset/train/masks/a b.JPG", "masks/a b.JPG"),
        ("vnc", "repo-1/stack1/raw/00.tif", "stack1/raw/00.tif"),
        ("vnc", "repo-1/stack2/raw/00.tif", None),
    ],
)
def test_pins_are_over_paths_as_published(name, inside, pinned):
    assert public.SOURCES[name].relative(inside) == pinned


@pytest.mark.parametrize("name", ["isbi2012", "kitchen", "vnc"])
def test_other_sets_are_pinned_by_paths_below_their_folder(served, tmp_path, monkeypatch, name):
    source = public.SOURCES[name]
    images, masks = source.folders
    used = {f"{folder}/{i}.png": _png(i) for folder in (images, masks) for i in range(3)}
    other = {"other/0.png": b"not used"}
    inside = {f"{source.base}/{path}".lstrip("/"): data for path, data in (used | other).items()}
    (tmp_path / "www" / "a.zip").write_bytes(_zipped(inside))
    pinned = dataclasses.replace(source, url=served.url, files=len(used), sha256=public.content_sha256(used))
    monkeypatch.setitem(public.SOURCES, name, pinned)
    data = open_dataset(name)
    assert data.name == name and data.ids == ("0", "1", "2") and data.has_masks
