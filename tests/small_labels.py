"""Label images of touching objects, and folders of them."""

import numpy as np
from PIL import Image

GREY = np.arange(1024, dtype=np.uint8).reshape(32, 32)


def touching(dtype=np.uint8, first=1) -> np.ndarray:
    """Two objects side by side, and one of its own in two pieces."""
    labels = np.zeros((32, 32), dtype)
    labels[4:14, 4:10], labels[4:14, 10:16] = first, first + 1
    labels[20:24, 4:8], labels[26:30, 20:24] = first + 2, first + 2
    return labels


def written(folder, masks, write=None):
    """images/ and masks/ with one image a mask."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "masks").mkdir(exist_ok=True)
    for k, mask in enumerate(masks):
        Image.fromarray(np.roll(GREY, k)).save(folder / "images" / f"{k}.png")
        (write or (lambda path, mask: Image.fromarray(mask).save(path.with_suffix(".png"))))(
            folder / "masks" / f"{k}.png", mask
        )
    return folder
