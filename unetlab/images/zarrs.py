"""Zarr and OME-Zarr (versions 0.4 and 0.5): a folder that is one image or stack, read chunk by chunk."""

from pathlib import Path
from typing import Any

import numpy as np

from .contract import PixelError
from .grid import Grid

ENDING = ".zarr"

WANTED = "a Zarr wants the package zarr: .venv/bin/pip install -e '.[microscopy]'"


def open_zarr(source: bytes | Path, channels: str = "", pages: str = "all") -> Grid:
    """Opens a folder: an array, or a group whose attributes say by `multiscales` which array is the image.

    Of several resolutions the first, which is the finest, counts. Axes have the names that OME gives them, or those of
    the array's dimensions; without any, what comes before rows and columns are pages.

    Raises PixelError as `codecs.open_pages` does, and if the package zarr is missing.
    """
    try:
        import zarr
    except ModuleNotFoundError as error:
        raise PixelError(WANTED) from error
    if isinstance(source, bytes):
        raise PixelError("a Zarr is a folder; give its path")
    try:
        node = zarr.open(str(source), mode="r")
        found = [(node, [])] if isinstance(node, zarr.Array) else _images(node)
    except PixelError:
        raise
    except Exception as error:  # zarr raises many types for broken files
        raise PixelError("truncated or damaged Zarr") from error
    if not found:
        raise PixelError("a Zarr without an image: its attributes name no multiscales (a plate is read field by field)")
    arrays = [array for array, _ in found]
    axes = {_axes(array, names) for array, names in found}
    if len(axes) > 1 or len({array.dtype for array in arrays}) > 1:
        raise PixelError("its images have different axes or kinds; give each of them by its own path")

    def fetch(scene: int, index: tuple[int, ...]) -> np.ndarray:
        return np.asarray(arrays[scene][index])

    shapes = [tuple(array.shape) for array in arrays]
    return Grid(axes.pop(), shapes, arrays[0].dtype, fetch, channels, pages)


def _images(group: Any) -> list[tuple[Any, list[str]]]:
    """The finest array of each image in a group, with the names of its axes; images 0, 1 and on as bioformats2raw."""
    attributes = dict(group.attrs)
    scales = attributes.get("ome", attributes).get("multiscales")
    if scales:
        names = [axis["name"] if isinstance(axis, dict) else str(axis) for axis in scales[0].get("axes", [])]
        return [(group[scales[0]["datasets"][0]["path"]], names)]
    numbered = sorted((name for name in group.group_keys() if name.isdigit()), key=int)
    return [image for name in numbered for image in _images(group[name])]


def _axes(array: Any, names: list[str]) -> str:
    """A capital letter an axis, by OME's names, the array's own, or its shape."""
    named = names or [name for name in getattr(array.metadata, "dimension_names", None) or [] if name]
    if named:
        if len(named) != array.ndim:
            raise PixelError(
                f"its attributes speak of {len(named)} axes ({', '.join(named)}), the array has {array.ndim}"
            )
        return "".join(name[0] for name in named).upper()
    if array.ndim < 2:
        raise PixelError(f"an array of {array.ndim} axes is no image")
    if array.ndim >= 3 and array.shape[-1] <= 4 < array.shape[-2]:
        raise PixelError(f"its axes have no names, and {array.shape} may be colours or pages; name its dimensions")
    return "I" * (array.ndim - 2) + "YX"
