"""The files microscopes write: CZI (Zeiss), ND2 (Nikon), LIF (Leica); by bioio's readers, an optional extra."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .contract import PixelError
from .grid import Grid


def opener(name: str, module: str) -> Callable[[bytes | Path, str, str], Grid]:
    """How a format is opened: its name, and bioio's reader for it, which is imported with the first such file."""

    def open_file(source: bytes | Path, channels: str = "", pages: str = "all") -> Grid:
        if isinstance(source, bytes):
            raise PixelError(f"a file of the format {name} is read from a folder only; unpack it")
        try:
            reader = importlib.import_module(module).Reader
        except ModuleNotFoundError as error:
            package = module.replace("_", "-")
            wanted = f"a file of the format {name} wants {package}: .venv/bin/pip install -e '.[microscopy]'"
            raise PixelError(wanted) from error
        return _open(reader, name, source, channels, pages)

    return open_file


def _open(reader: Callable[[Path], Any], name: str, path: Path, channels: str, pages: str) -> Grid:
    try:
        image = reader(path)
        shapes, orders = [], []
        for scene in image.scenes:
            image.set_scene(scene)
            shapes.append(tuple(image.shape))
            orders.append(image.dims.order)
        dtype = image.dtype
    except Exception as error:  # each reader raises types of its own for broken files
        raise PixelError(f"truncated or damaged {name}") from error
    if len(set(orders)) > 1:
        raise PixelError(f"its scenes have different axes ({', '.join(sorted(set(orders)))}); save each as a file")

    def fetch(scene: int, index: tuple[int, ...]) -> np.ndarray:
        image.set_scene(image.scenes[scene])
        plane = image.dask_data[index]
        if plane.ndim == 2:
            return np.asarray(plane.compute(scheduler="synchronous"))
        # a colour scene is read whole: bioio-czi 3.0.1 gives its first sample for all three plane by plane
        return np.asarray(image.data[index])

    return Grid(orders[0], shapes, dtype, fetch, channels, pages)
