"""Serial sections of nerve tissue in an electron microscope: cells parted by dark membranes, drifting with depth.

Cells are the basins of a warped distance to drifting centres of spread sizes, so that neighbouring sections are alike.
Membranes are dark lines of varying width and contrast, blurred where they run obliquely; there are mitochondria with
folds that last for several sections, vesicles in some cells more than in others, stained clefts, and the grain of
cytoplasm. Foreground is the inside of cells, as in the ISBI 2012 challenge, whose grey values, line widths and share of
foreground are the model.
"""

import functools
from collections.abc import Callable

import numpy as np
from scipy import ndimage

from unetlab.data.cache import Decoded
from unetlab.data.twins import optics

VERSION = 2
"""Counted up when the simulation changes."""

SECTIONS = 24
SIDE = 512
CELLS = 330
MITOCHONDRIA = 50
"""In the whole stack; each lasts for some sections."""

REACH = 48
"""How far beyond its radius a cell can extend, in pixels."""


def jobs(seed: int, n: int = SECTIONS) -> list[Callable[[], Decoded]]:
    """One job a section of one stack; the same for the same seed."""
    return [functools.partial(_section, seed, i) for i in range(n)]


def _section(seed: int, depth: int) -> Decoded:
    stack = np.random.default_rng([seed, 2])  # what all sections share
    own = np.random.default_rng([seed, 2, depth + 1])
    centres, radii, large = _centres(stack, depth)
    bend = _bend(stack, depth)
    cells = _basins(centres, radii, bend)
    distance = ndimage.distance_transform_edt(~_edges(cells))
    width = np.clip(2.6 + 0.7 * optics.clouds(own, cells.shape, 55), 1.6, 5.0)
    labels = ndimage.label(distance >= width)[0].astype(np.uint16)
    tone = stack.normal(0.0, 0.035, CELLS + 1)  # cells take up stain differently
    crowd = np.minimum(stack.exponential(1.0, CELLS + 1), 2.5)  # and hold more or fewer vesicles
    signal = tone[cells] + _cytoplasm(own, crowd[cells], distance)
    signal = _mitochondria(stack, signal, distance, (centres[large], radii[large]), depth)
    signal = signal - _lines(own, distance, width)
    return Decoded(f"section-{depth:03d}", _photograph(own, signal), labels, "uint8 grey")


def _centres(rng: np.random.Generator, depth: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where cells lie at a depth, float64 (CELLS, 2), their radii (CELLS,), and which are large at most depths."""
    start, drift = rng.uniform(-50, SIDE + 50, (CELLS, 2)), rng.normal(0, 1.6, (CELLS, 2))
    size = np.minimum(rng.lognormal(0.1, 0.95, CELLS) * 9, 62)
    pulse = 1 + 0.25 * np.sin(0.35 * depth * rng.uniform(0.5, 1.5, CELLS) + rng.uniform(0, 2 * np.pi, CELLS))
    return start + drift * depth, np.maximum(size * pulse, 3.0), np.argsort(size)[-CELLS // 4 :]


def _bend(rng: np.random.Generator, depth: int) -> np.ndarray:
    """How far each pixel is displaced, float32 (2, SIDE, SIDE): long waves and short ones, moving with depth."""
    grid = np.arange(SIDE)
    bend = np.zeros((2, SIDE, SIDE), np.float32)
    for axis in range(2):
        for length, height in ((140, 3.6), (45, 1.0)):
            down, across = rng.normal(0, 2 * np.pi / length, (2, 5))
            y = np.outer(grid, down) + rng.uniform(0, 2 * np.pi, 5) + 0.12 * depth
            x = np.outer(grid, across)
            bend[axis] += height * (np.sin(y) @ np.cos(x).T + np.cos(y) @ np.sin(x).T)  # sums of sin(y + x)
    return bend


def _basins(centres: np.ndarray, radii: np.ndarray, bend: np.ndarray) -> np.ndarray:
    """The nearest cell of each pixel, counted from 1, int32 (SIDE, SIDE); distances are to the cells' rims."""
    best = np.full((SIDE, SIDE), np.inf, np.float32)
    cells = np.zeros((SIDE, SIDE), np.int32)
    grid = np.arange(SIDE, dtype=np.float32)
    for k, ((y, x), radius) in enumerate(zip(centres, radii, strict=True)):
        reach = radius + REACH
        rows, columns = (slice(max(0, int(c - reach)), max(0, int(c + reach))) for c in (y, x))
        if best[rows, columns].size == 0:
            continue
        dy = grid[rows, None] + bend[0, rows, columns] - np.float32(y)
        dx = grid[None, columns] + bend[1, rows, columns] - np.float32(x)
        far = np.hypot(dy, dx) - np.float32(radius)
        nearer = far < best[rows, columns]
        best[rows, columns][nearer] = far[nearer]
        cells[rows, columns][nearer] = k + 1
    if (cells == 0).any():  # out of every cell's reach
        nearest = ndimage.distance_transform_edt(cells == 0, return_distances=False, return_indices=True)
        cells = cells[tuple(nearest)]
    return cells


def _edges(cells: np.ndarray) -> np.ndarray:
    """True where a pixel's right or lower neighbour belongs to another cell."""
    edge = np.zeros(cells.shape, bool)
    edge[:-1] |= cells[:-1] != cells[1:]
    edge[:, :-1] |= cells[:, :-1] != cells[:, 1:]
    return edge


def _cytoplasm(rng: np.random.Generator, crowd: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Brightness inside cells: grain of several sizes, dark dots, and vesicles, which are rings of 8 pixels."""
    shape = crowd.shape
    grain = sum(
        share * _noise(rng, shape, sigma) for sigma, share in ((0.8, 0.02), (1.4, 0.035), (2.4, 0.036), (5.0, 0.036))
    )
    inside = distance > 5
    places = rng.random(shape) < 0.003 * crowd * inside
    dots = rng.random(shape) < 0.005 * inside
    near, far = (ndimage.gaussian_filter(places.astype(np.float32), sigma) for sigma in (1.7, 3.0))
    rings = far * 2 * np.pi * 9.0 - 0.55 * near * 2 * np.pi * 2.9
    specks = ndimage.gaussian_filter(dots * rng.uniform(0.3, 1.2, shape), 1.3) * 2 * np.pi * 1.7
    return np.asarray(0.63 + grain - 0.24 * np.clip(rings, -0.6, 1.2) - 0.18 * np.clip(specks, 0, 1.2))


def _noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> np.ndarray:
    field = ndimage.gaussian_filter(rng.standard_normal(shape, np.float32), sigma, mode="wrap")
    return np.asarray(field / field.std())


def _lines(rng: np.random.Generator, distance: np.ndarray, width: np.ndarray) -> np.ndarray:
    """How much darker membranes make the section: lines, wide and faint where they run obliquely, and clefts."""
    shape = distance.shape
    slant = np.clip(0.55 * optics.clouds(rng, shape, 45) - 0.35, 0, 1)
    contrast = (0.36 + 0.05 * optics.clouds(rng, shape, 30)) * (1 - 0.55 * slant)
    lines = contrast * np.exp(-((distance / (width * (0.75 + 1.5 * slant))) ** 2))
    clefts = np.zeros(shape, np.float32)
    rims = np.argwhere(distance < 1)
    for y, x in rims[rng.integers(len(rims), size=int(rng.integers(4, 11)))]:
        clefts[y, x] = rng.uniform(0.4, 1.0)
    size = rng.uniform(6, 11)
    spread = ndimage.gaussian_filter(clefts, size) * 2 * np.pi * size**2
    ragged = np.clip(1 + 0.5 * _noise(rng, shape, 2.0), 0, None)
    return np.asarray(lines + 0.3 * np.minimum(spread, 1) * ragged)


def _mitochondria(
    rng: np.random.Generator,
    signal: np.ndarray,
    distance: np.ndarray,
    cells: tuple[np.ndarray, np.ndarray],
    depth: int,
) -> np.ndarray:
    """Darkens ellipses with a rim and folds that lie in large cells, each for a range of depths."""
    signal, (centres, radii) = signal.copy(), cells
    for home in rng.integers(len(radii), size=MITOCHONDRIA):
        first, last = rng.integers(-8, SECTIONS), rng.integers(5, 14)
        long, slim, turn = rng.uniform(14, 42), rng.uniform(0.55, 0.95), rng.uniform(0, np.pi)
        pitch, bow = rng.uniform(0.6, 1.1), rng.uniform(0.08, 0.2)
        offset, tone, wave = rng.uniform(-0.5, 0.5, 2), rng.uniform(0.12, 0.24), rng.uniform(0, 2 * np.pi)
        phase = (depth - first) / last
        if not 0 <= phase <= 1:
            continue
        long = min(long, 0.75 * radii[home]) * np.sqrt(max(0.15, 1 - (2 * phase - 1) ** 2))
        y, x = centres[home] + offset * radii[home] * 0.6
        reach = int(long) + 3
        rows, columns = (slice(max(0, int(c) - reach), max(0, int(c) + reach)) for c in (y, x))
        if signal[rows, columns].size == 0:
            continue
        dy, dx = np.arange(SIDE)[rows, None] - y, np.arange(SIDE)[None, columns] - x
        along, across = dx * np.cos(turn) + dy * np.sin(turn), -dx * np.sin(turn) + dy * np.cos(turn)
        radius = np.sqrt((along / long) ** 2 + (across / (slim * long)) ** 2)
        inside = (radius < 1) & (distance[rows, columns] > 4)
        folds = 0.06 * np.sin(along * pitch + 1.5 * np.sin(across * bow + wave))
        dark = tone + folds + 0.12 * np.exp(-(((radius - 0.94) * long / 2.2) ** 2))
        signal[rows, columns] -= np.where(inside, dark, 0)
    return signal


def _photograph(rng: np.random.Generator, signal: np.ndarray) -> np.ndarray:
    """uint8 (SIDE, SIDE, 1): each section exposed and stained a little differently."""
    seen = ndimage.gaussian_filter(signal, rng.uniform(0.5, 0.8)) + 0.035 * optics.clouds(rng, signal.shape, 90)
    seen = (seen - 0.55) * rng.uniform(0.95, 1.15) + rng.uniform(0.47, 0.6)
    noise = _noise(rng, signal.shape, 0.55) * rng.uniform(8, 15)
    return np.clip(seen * 255 + noise, 0, 255).astype(np.uint8)[:, :, None]
