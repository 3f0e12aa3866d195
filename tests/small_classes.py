"""A folder of small images with three classes, told apart by their grey."""

from pathlib import Path

import numpy as np
from PIL import Image

NAMES = ("cell", "mitosis", "debris")


def write_classes(folder: Path, n: int = 16, size: int = 40, seed: int = 0, names=NAMES) -> Path:
    """images/ and masks/ with n noisy images, each a disk of the first class and squares of others in some, and a
    classes.csv; the last class is in every fourth image."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    y, x = np.mgrid[:size, :size]
    for i in range(n):
        index = np.zeros((size, size), np.uint8)
        cy, cx = rng.integers(size // 4, 3 * size // 4, 2)
        index[(y - cy) ** 2 + (x - cx) ** 2 < (size // 6) ** 2] = 1
        if i % 2:
            index[2:9, 2:9] = 2
        if i % 4 == 0 and len(names) > 2:
            index[-8:-2, -9:-2] = 3
        light = np.array([40, 110, 170, 235])[index] + rng.normal(0, 8, index.shape)
        Image.fromarray(np.clip(light, 0, 255).astype(np.uint8)).save(folder / "images" / f"i{i:02d}.png")
        Image.fromarray(index).save(folder / "masks" / f"i{i:02d}.png")
    lines = [f"{value},{name}" for value, name in enumerate(names, start=1)]
    (folder / "classes.csv").write_text("\n".join(["value,name", *lines, ""]))
    return folder
