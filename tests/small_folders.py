"""Small folders of images and masks, and stacks of sections, for the tests of reading."""

import io

import numpy as np
import tifffile
from PIL import Image


def png(array: np.ndarray, mode: str | None = None) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(buffer, format="PNG")
    return buffer.getvalue()


def write_files(folder, files):
    for name, array in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(array))
    return folder


GREY = np.arange(64, dtype=np.uint8).reshape(8, 8)


def write_stack(path, pages, **settings):
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, np.stack(pages), **settings)


SECTIONS = [np.full((12, 16), 20 * k, np.uint8) for k in range(4)]
TRUTH = [np.pad(np.full((4, 4), 255, np.uint8), ((k, 8 - k), (2, 10))) for k in range(4)]
