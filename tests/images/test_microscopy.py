"""CZI, ND2 and LIF: by bioio's readers where they are installed, with the extra's name where they are not."""

import subprocess
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from unetlab.images import codecs

FILES = {
    "bioio_czi": b"ZISRAWFILE" + b"\0" * 50,
    "bioio_nd2": b"\xda\xce\xbe\n" + b"\0" * 50,
    "bioio_lif": b"\x70\0\0\0" + b"\0" * 50,
}


class Lazy(np.ndarray):
    """An array that is computed like dask's."""

    def compute(self, scheduler):
        return np.asarray(self)


def pretend(monkeypatch, module, order, *scenes):
    """Puts a reader with bioio's interface in the place of a real one."""

    class Reader:
        def __init__(self, path):
            self.scenes, self.dims, self.dtype = (
                tuple(range(len(scenes))),
                SimpleNamespace(order=order),
                scenes[0].dtype,
            )
            self.set_scene(0)

        def set_scene(self, scene):
            self.dask_data = scenes[scene].view(Lazy)
            self.shape = scenes[scene].shape

    stand_in = ModuleType(module)
    stand_in.Reader = Reader
    monkeypatch.setitem(sys.modules, module, stand_in)


@pytest.mark.parametrize(("module", "content"), FILES.items())
def test_each_scene_and_plane_is_a_page(tmp_path, monkeypatch, module, content):
    (tmp_path / "a.bin").write_bytes(content)
    values = np.random.default_rng(0).integers(0, 4000, (2, 3, 2, 4, 9, 8)).astype(np.uint16)
    pretend(monkeypatch, module, "TCZYX", *values)
    with pytest.raises(codecs.PixelError, match=r"it holds 24 pages of 2 channels each \(T 3, C 2, Z 4\)"):
        codecs.open_pages(tmp_path / "a.bin")
    with codecs.open_pages(tmp_path / "a.bin", channels="2") as opened:
        pages = np.stack([opened.read(page) for page in range(opened.count)])
    assert np.array_equal(pages[..., 0], values[:, :, 1].reshape(24, 9, 8))


def test_scenes_of_several_sizes_are_refused(tmp_path, monkeypatch):
    (tmp_path / "a.lif").write_bytes(FILES["bioio_lif"])
    pretend(monkeypatch, "bioio_lif", "ZYX", np.zeros((2, 9, 8)), np.zeros((2, 9, 7)))
    with pytest.raises(codecs.PixelError, match="scene 2 is 2 x 9 x 7, scene 1 2 x 9 x 8"):
        codecs.open_pages(tmp_path / "a.lif")


@pytest.mark.parametrize(("module", "content"), FILES.items())
def test_without_the_reader_the_extra_is_named(tmp_path, monkeypatch, module, content):
    (tmp_path / "a.bin").write_bytes(content)
    monkeypatch.setitem(sys.modules, module, None)
    wanted = rf"wants {module.replace('_', '-')}: .*pip install -e '.\[microscopy\]'"
    with pytest.raises(codecs.PixelError, match=wanted):
        codecs.open_pages(tmp_path / "a.bin")
    with pytest.raises(codecs.PixelError, match="is read from a folder only"):
        codecs.open_pages(content)


def test_a_real_czi(tmp_path):
    pytest.importorskip("bioio_czi")
    writer = pytest.importorskip("pylibCZIrw.czi")
    values = np.random.default_rng(0).integers(0, 255, (3, 20, 30, 3)).astype(np.uint8)
    with writer.create_czi(str(tmp_path / "a.czi")) as file:
        for z in range(3):
            file.write(data=values[z], plane={"Z": z})
    with codecs.open_pages(tmp_path / "a.czi") as opened:
        assert all(np.array_equal(opened.read(z), values[z]) for z in range(3))


def test_nothing_optional_is_imported_with_unetlab():
    code = (
        "import sys; import unetlab.images.codecs, unetlab.data;"
        "print([name for name in ('zarr', 'bioio_czi', 'bioio_nd2', 'bioio_lif', 'dask') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
