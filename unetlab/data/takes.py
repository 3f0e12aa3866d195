"""Frames of one take told by their colours and by the order of their names, where what they show has moved too far."""

import re
from collections.abc import Iterator, Sequence

import numpy as np
from skimage.color import rgb2lab

BINS = (10, 12, 12)
"""Of a palette: lightness, and the two axes of colour of CIELAB from -60 to 60."""

NEXT = 0.80
"""Likeness of palettes from which on two images whose names follow each other are one take."""

CLOSE = 0.85
"""The same for names up to REACH apart."""

REACH = 6

AGREE = 0.5
"""Likeness of palettes that frames have at least which show the same thing in some blocks."""

RARE = 0.05
"""Share of pairs of different scenes that are as alike as NEXT at most, or palettes tell nothing in a data set."""

_DRAWN = 4000


def palette(colours: np.ndarray) -> np.ndarray | None:
    """How common each colour of an image is, float16, the square root of a share each; None for a grey image.

    Args:
        colours: float32 (h, w, c), 0 to 255.
    """
    if colours.shape[2] == 1 or np.ptp(colours, axis=2).max() < 1:
        return None
    lab = rgb2lab(colours / 255).reshape(-1, 3)
    counts = np.histogramdd(lab, bins=BINS, range=((0, 100.001), (-60, 60), (-60, 60)))[0].ravel()
    return np.sqrt(counts / max(1.0, counts.sum())).astype(np.float16)


def alike(one: np.ndarray | None, other: np.ndarray | None) -> float:
    """How alike two palettes are (Bhattacharyya's coefficient), 0 to 1; 0 if an image is grey."""
    return 0.0 if one is None or other is None else float(one.astype(np.float32) @ other.astype(np.float32))


def telling(palettes: Sequence[np.ndarray | None], scene: np.ndarray) -> bool:
    """Whether palettes tell scenes apart: few pairs of different scenes are as alike as NEXT.

    Sections in one stain all look alike in colour, rooms do not. Looked at are random pairs of images in colour, the
    same ones each time.

    Args:
        palettes: of each image.
        scene: int (n,): what is known of scenes so far.
    """
    rows = np.random.default_rng(0).integers(0, len(palettes), (_DRAWN, 2))
    coloured = np.array([each is not None for each in palettes])
    apart = [(i, j) for i, j in rows.tolist() if scene[i] != scene[j] and coloured[i] and coloured[j]]
    shares = [alike(palettes[i], palettes[j]) >= NEXT for i, j in apart]
    return bool(shares) and float(np.mean(shares)) <= RARE


def natural(name: str) -> tuple[str, tuple[int, ...]]:
    """A key to sort names by in which 9 comes before 10: the name with each number left out, and the numbers."""
    return re.sub(r"\d+", "#", name), tuple(map(int, re.findall(r"\d+", name)))


def neighbours(ids: Sequence[str], rows: Sequence[int]) -> Iterator[tuple[int, int, float]]:
    """Pairs of rows whose names differ in numbers only and are near in their order, with the likeness they need."""
    ordered = sorted(rows, key=lambda row: natural(ids[row]))
    for step in range(1, REACH + 1):
        for i, j in zip(ordered, ordered[step:], strict=False):
            if natural(ids[i])[0] == natural(ids[j])[0]:
                yield i, j, NEXT if step == 1 else CLOSE
