"""Tensors of a state dict that PyTorch has saved, read without PyTorch and without running what the file names.

A pickle may call whatever it names. This reader lets it name an ordered dictionary, one function that rebuilds a tensor
and the kinds of storage, each as a stand-in that only holds numbers; anything else is refused.
"""

import math
import pickle
import pickletools
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
"""What a file in PyTorch's format of before 1.6 begins with, as a pickled number."""

PROTOCOL = 1001
"""The version of that format; there never was another."""

MOST_NUMBERED = 10_000_000
"""A pickle numbers its parts, and takes room for all numbers up to the largest."""

STORAGES: dict[str, np.dtype] = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
}


class _Refused(ValueError):
    """What is raised here, with a line of its own."""


class _Tensor(NamedTuple):
    """A view of a storage; the arguments of torch._utils._rebuild_tensor_v2 that matter here."""

    storage: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild(storage: str, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *rest: Any) -> _Tensor:
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


class _Reader(pickle.Unpickler):
    """Unpickles numbers, texts, containers and stand-ins, nothing else."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.file = file
        self.storages: dict[str, np.dtype] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if module == "torch" and name in STORAGES:
            return name
        raise _Refused(f"it names {module}.{name}, which no file of weights needs")

    def persistent_load(self, pid: Any) -> str:
        kind, dtype, key, _, _, view = pid
        if kind != "storage" or dtype not in STORAGES or view is not None:
            raise _Refused(f"it holds a {kind} of {dtype}, where plain storages are expected")
        self.storages[str(key)] = STORAGES[dtype]
        return str(key)


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """Reads a state dict saved by torch.save before version 1.6: three pickles of identity, the tensors' pickle, the
    storages' keys, and each storage as its length (int64) and its numbers, all little-endian.

    Returns arrays by name, in the file's order.

    Raises:
        ValueError: if the file is no such thing, is cut off, or names what no file of weights needs.
    """
    with open(path, "rb") as file:
        try:
            if _load(_Reader(file)) != MAGIC or _load(_Reader(file)) != PROTOCOL:
                raise _Refused("it is no file of PyTorch's format before 1.6")
            if not _load(_Reader(file))["little_endian"]:
                raise _Refused("its numbers are big-endian")
            reader = _Reader(file)
            tensors = _load(reader)
            keys = _load(_Reader(file))
            storages = {key: _read_storage(file, reader.storages[key]) for key in keys}
            return {name: _view(storages[tensor.storage], tensor) for name, tensor in tensors.items()}
        except _Refused:
            raise
        except Exception as error:  # a broken pickle raises anything, MemoryError too
            said = " ".join(ascii(str(error) or type(error).__name__)[1:-1].split())[:120]
            raise _Refused(f"it is damaged, or no state dict of PyTorch ({said})") from error


def _load(reader: _Reader) -> Any:
    """The next pickle of a file, once it is known that its numbering of what it holds takes no room beyond that."""
    start = reader.file.tell()
    for code, value, _ in pickletools.genops(reader.file):
        if code.name in ("PUT", "BINPUT", "LONG_BINPUT") and isinstance(value, int) and value > MOST_NUMBERED:
            raise _Refused(f"it numbers more than {MOST_NUMBERED:,} parts")
    reader.file.seek(start)
    return reader.load()


def _read_storage(file: BinaryIO, dtype: np.dtype) -> np.ndarray:
    (count,) = struct.unpack("<q", file.read(8))
    data = file.read(count * dtype.itemsize) if count >= 0 else b""
    if len(data) != count * dtype.itemsize:
        raise _Refused("it is cut off")
    return np.frombuffer(data, dtype)


def _view(storage: np.ndarray, tensor: _Tensor) -> np.ndarray:
    last = tensor.offset + sum((side - 1) * step for side, step in zip(tensor.shape, tensor.strides, strict=True))
    if tensor.offset < 0 or min((*tensor.shape, *tensor.strides), default=0) < 0 or last >= storage.size:
        raise _Refused("a tensor reaches beyond its storage")
    if math.prod(tensor.shape) > storage.size:  # by a stride of 0
        raise _Refused("a tensor is larger than its storage")
    steps = [step * storage.itemsize for step in tensor.strides]
    return np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, steps, writeable=False).copy()
