"""Weights of PyTorch are read without it, and a file that would run something is refused."""

import os
import pickle
import struct
from collections import OrderedDict

import numpy as np
import pytest

from unetlab.models.encoders.torchfile import MAGIC, PROTOCOL, read_state_dict


class FloatStorage:
    """Stands for torch.FloatStorage, which a pickle names."""


class Storage:
    def __init__(self, key, count, kind="FloatStorage"):
        self.key, self.count, self.kind = key, count, kind


class Tensor:
    def __init__(self, *arguments):
        self.arguments = arguments


class _Pickler(pickle._Pickler):  # the one in Python, whose global names can be chosen
    def persistent_id(self, value):
        if not isinstance(value, Storage):
            return None
        return ("storage", _Named("torch", value.kind), value.key, "cpu", value.count, None)

    def save(self, value, save_persistent_id=True):
        if isinstance(value, _Named):
            self.write(b"c" + f"{value.module}\n{value.name}\n".encode())
        elif isinstance(value, Tensor):
            self.save(_Named("torch._utils", "_rebuild_tensor_v2"))
            self.save(value.arguments)
            self.write(pickle.REDUCE)
        else:
            super().save(value, save_persistent_id)


class _Named:
    def __init__(self, module, name):
        self.module, self.name = module, name


def _write(path, tensors, storages, magic=MAGIC, little=True):
    with open(path, "wb") as file:
        for value in (magic, PROTOCOL, {"protocol_version": PROTOCOL, "little_endian": little, "type_sizes": {}}):
            pickle.dump(value, file, protocol=2)
        _Pickler(file, 2).dump(tensors)
        pickle.dump(list(storages), file, protocol=2)
        for values in storages.values():
            file.write(struct.pack("<q", values.size) + values.tobytes())
    return path


NUMBERS = np.arange(12, dtype="<f4")


def _tensor(offset=0, shape=(2, 3), strides=(3, 1), kind="FloatStorage", key="1"):
    return Tensor(Storage(key, 12, kind), offset, shape, strides, False, OrderedDict())


def test_tensors_are_views_of_their_storage(tmp_path):
    tensors = OrderedDict(a=_tensor(), b=_tensor(3, (3, 2), (1, 4)), c=_tensor(shape=(), strides=()))
    tensors["whole"] = _tensor(shape=(2,), strides=(1,), kind="LongStorage", key="2")
    path = _write(tmp_path / "w.pth", tensors, {"2": np.array([7, -8], "<i8"), "1": NUMBERS})
    read = read_state_dict(path)
    assert list(read) == ["a", "b", "c", "whole"]
    assert read["a"].tolist() == [[0, 1, 2], [3, 4, 5]] and read["a"].dtype == np.float32
    assert read["b"].tolist() == [[3, 7], [4, 8], [5, 9]]
    assert read["c"].shape == () and read["c"] == 0 and read["whole"].tolist() == [7, -8]


class _Harm:
    def __reduce__(self):
        return os.mkdir, ("harm",)


def test_a_file_that_would_run_something_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place in range(2):
        path = tmp_path / f"{place}.pth"
        if place:
            path = _write(path, {"a": _Harm()}, {})
        else:
            path.write_bytes(pickle.dumps(_Harm()))
        with pytest.raises(ValueError, match=r"it names .*mkdir, which no file of weights needs"):
            read_state_dict(path)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("name", ["torch._utils\n_rebuild_parameter", "builtins\neval", "torch\nload"])
def test_other_names_are_refused(tmp_path, name):
    path = tmp_path / "w.pth"
    path.write_bytes(b"\x80\x02c" + name.encode() + b"\n.")
    with pytest.raises(ValueError, match="which no file of weights needs"):
        read_state_dict(path)


def test_other_and_damaged_files_are_refused(tmp_path):
    good = _write(tmp_path / "good.pth", {"a": _tensor()}, {"1": NUMBERS}).read_bytes()
    bad = tmp_path / "bad.pth"
    for content in (b"", b"PK\x03\x04" + bytes(40), good[:30], good[:-1], good[:-60], b"\x89HDF\r\n\x1a\n", good[40:]):
        bad.write_bytes(content)
        with pytest.raises(ValueError, match=r"damaged|cut off|no file of PyTorch"):
            read_state_dict(bad)
    with pytest.raises(ValueError, match="no file of PyTorch"):
        read_state_dict(_write(bad, {}, {}, magic=5))
    with pytest.raises(ValueError, match="big-endian"):
        read_state_dict(_write(bad, {}, {}, little=False))


@pytest.mark.parametrize(
    "tensor", [_tensor(offset=7), _tensor(strides=(9, 2)), _tensor(strides=(-3, 1)), _tensor(offset=-1)]
)
def test_a_tensor_that_reaches_beyond_its_storage_is_refused(tmp_path, tensor):
    with pytest.raises(ValueError, match="beyond its storage"):
        read_state_dict(_write(tmp_path / "w.pth", {"a": tensor}, {"1": NUMBERS}))


def test_a_storage_of_an_unknown_kind_or_a_view_of_one_is_refused(tmp_path):
    with pytest.raises(ValueError, match="torch.QInt8Storage"):
        read_state_dict(_write(tmp_path / "w.pth", {"a": _tensor(kind="QInt8Storage")}, {"1": NUMBERS}))
