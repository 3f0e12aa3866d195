"""Serial sections of nerve tissue in an electron microscope: cells parted by dark membranes, drifting with depth.

Cells are the basins of a warped distance to drifting centres of spread sizes, so that neighbouring sections are near
copies. Membranes are dark lines of varying width and contrast, fainter where they run obliquely; inside lie
mitochondria, vesicles and the grain of cytoplasm. Foreground is the inside of cells, as in the ISBI 2012 challenge.
"""

import functools
from collections.abc import Callable

import numpy as np
from scipy import ndimage

from unetlab.data.cache import Decoded
from unetlab.data.twins import optics

VERSION = 1
"""Counted up when the simulation changes."""

SECTIONS = 24
SIDE = 512
CELLS = 420


def jobs(seed: int, n: int = SECTIONS) -> list[Callable[[], Decoded]]:
    """One job a section of one stack; the same for the same seed."""
    return [functools.partial(_section, seed, i) for i in range(n)]


def _section(seed: int, depth: int) -> Decoded:
    stack = np.random.default_rng([seed, 2])  # what all sections share
    own = np.random.default_rng([seed, 2, depth + 1])
    cells, clarity = _cells(stack, depth)
    tone = stack.normal(0.72, 0.05, CELLS + 1)  # cells take up stain differently
    edge = _edges(cells)
    distance = ndimage.distance_transform_edt(~edge)
    width = 1.9 + 0.6 * optics.clouds(own, cells.shape, 60)
    membrane = distance < np.clip(width, 1.0, 3.6)
    labels = ndimage.label(~membrane)[0].astype(np.uint16)
    return Decoded(
        f"section-{depth:03d}", _photograph(own, tone[cells], distance, width, clarity), labels, "uint8 grey"
    )


def _cells(rng: np.random.Generator, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """Cell numbers int32 (SIDE, SIDE) at a depth, and how steeply membranes run there, float32 in about 0.3..1."""
    start, drift = rng.uniform(-40, SIDE + 40, (CELLS, 2)), rng.normal(0, 1.2, (CELLS, 2))
    size = np.minimum(rng.lognormal(0, 0.9, CELLS) * 8, 55)
    grow = rng.normal(0, 0.15, CELLS)
    phases = rng.uniform(0, 2 * np.pi, (2, 6))
    waves = rng.normal(0, 1, (2, 6, 2)) * 2 * np.pi / 130
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    bend = [
        sum(
            4 * np.sin(waves[axis, k, 0] * y + waves[axis, k, 1] * x + phases[axis, k] + 0.06 * depth) for k in range(6)
        )
        for axis in range(2)
    ]
    where = start + drift * depth
    best = np.full((SIDE, SIDE), np.inf, np.float32)
    cells = np.zeros((SIDE, SIDE), np.int32)
    for k in range(CELLS):
        far = np.hypot(y + bend[0] - where[k, 0], x + bend[1] - where[k, 1]) - max(4.0, size[k] + grow[k] * depth)
        nearer = far < best
        best[nearer], cells[nearer] = far[nearer], k + 1
    return cells, np.clip(0.8 + 0.25 * optics.clouds(rng, (SIDE, SIDE), 50), 0.25, 1.0)


def _edges(cells: np.ndarray) -> np.ndarray:
    """True where a pixel's right or lower neighbour belongs to another cell."""
    edge = np.zeros(cells.shape, bool)
    edge[:-1] |= cells[:-1] != cells[1:]
    edge[:, :-1] |= cells[:, :-1] != cells[:, 1:]
    return edge


def _photograph(
    rng: np.random.Generator, tone: np.ndarray, distance: np.ndarray, width: np.ndarray, clarity: np.ndarray
) -> np.ndarray:
    """uint8 (SIDE, SIDE, 1)."""
    shape = tone.shape
    grain = 0.07 * optics.clouds(rng, shape, 3) + 0.04 * optics.clouds(rng, shape, 9)
    dark = 0.42 * clarity * np.exp(-((distance / (width.clip(0.8) + 0.6)) ** 2))
    for _ in range(int(rng.integers(8, 18))):
        _organelle(rng, distance, dark)
    y, x = (rng.integers(0, SIDE, 900) for _ in range(2))
    dots = np.zeros(shape, np.float32)
    dots[y, x] = rng.uniform(0.5, 2.5, 900) * (distance[y, x] > 4)
    signal = ndimage.gaussian_filter(tone + grain - dark, rng.uniform(0.6, 0.9)) - ndimage.gaussian_filter(dots, 1.6)
    return optics.camera(rng, signal * optics.light(rng, shape, 0.12), photons=120, read=6.0)[:, :, None]


def _organelle(rng: np.random.Generator, distance: np.ndarray, dark: np.ndarray) -> None:
    """Adds a mitochondrion inside a large cell: a grey ellipse with a dark rim and folds."""
    places = np.argwhere(distance > 12)
    if not len(places):
        return
    y, x = places[rng.integers(len(places))]
    long, short, turn = rng.uniform(9, 24), rng.uniform(7, 13), rng.uniform(0, np.pi)
    reach = 26
    window = (slice(max(0, y - reach), y + reach), slice(max(0, x - reach), x + reach))
    rows, columns = np.ogrid[: distance.shape[0], : distance.shape[1]]
    rows, columns = rows[window[0]], columns[:, window[1]]
    along = (columns - x) * np.cos(turn) + (rows - y) * np.sin(turn)
    across = -(columns - x) * np.sin(turn) + (rows - y) * np.cos(turn)
    radius = np.sqrt((along / long) ** 2 + (across / short) ** 2)
    inside = (radius < 1) & (distance[window] > 2.5)
    folds = 0.07 * np.sin(along * 1.3)
    dark[window] += np.where(inside, 0.16 + folds + 0.16 * (radius > 0.82), 0)
