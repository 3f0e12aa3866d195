"""Photographs of a table with eggs, bowls and pans among clutter: the eggs are foreground, all else is not.

A wooden, tiled or plain table in perspective light carries plates, pans and boxes as clutter; eggs of several shades
lie on them, each with its shading, glare and shadow, some partly hidden. Objects are few and small, as in the kitchen
photographs of the source, where about a twentieth of all pixels is foreground.
"""

import functools
from collections.abc import Callable

import numpy as np
from scipy import ndimage

from unetlab.data.cache import Decoded
from unetlab.data.twins import optics

VERSION = 1
"""Counted up when the simulation changes."""

IMAGES = 40
SHAPES = ((256, 320), (240, 320), (320, 240))
SHELLS = np.array([[236, 222, 200], [214, 170, 128], [196, 142, 100], [244, 240, 232]]) / 255
TABLES = np.array([[150, 110, 75], [190, 185, 178], [90, 95, 105], [205, 190, 160], [120, 60, 50]]) / 255


def jobs(seed: int, n: int = IMAGES) -> list[Callable[[], Decoded]]:
    """One job an image; the same for the same seed."""
    return [functools.partial(_table, seed, i) for i in range(n)]


def _table(seed: int, index: int) -> Decoded:
    rng = np.random.default_rng([seed, index, 3])
    shape = SHAPES[int(rng.integers(len(SHAPES)))]
    scene = _ground(rng, shape)
    for _ in range(int(rng.integers(1, 5))):
        _clutter(rng, scene)
    labels = np.zeros(shape, np.uint16)
    size = rng.uniform(0.05, 0.11) * min(shape)
    for number in range(1, int(rng.integers(2, 8))):
        _egg(rng, scene, labels, size * rng.uniform(0.85, 1.15), number)
    blurred = ndimage.gaussian_filter(scene, (0.7, 0.7, 0))
    lit = blurred * optics.light(rng, shape, rng.uniform(0.2, 0.7))[..., None] * rng.uniform(0.75, 1.1)
    return Decoded(f"table-{index:04d}", optics.camera(rng, lit, photons=600, read=3.0), labels, "uint8 RGB")


def _ground(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """A table top, float64 (h, w, 3) in about 0..1: grain of wood, joints of tiles, or plain."""
    colour = TABLES[int(rng.integers(len(TABLES)))] * rng.uniform(0.8, 1.1)
    y, x = np.mgrid[: shape[0], : shape[1]]
    kind = rng.choice(["wood", "tiles", "plain"])
    pattern = 0.06 * optics.clouds(rng, shape, 25)
    if kind == "wood":
        grain = ndimage.gaussian_filter1d(rng.normal(0, 1, shape), 30, axis=1)
        pattern = pattern + 0.12 * grain / grain.std()
    elif kind == "tiles":
        side = int(rng.integers(40, 90))
        pattern = pattern - 0.25 * (((y + 7) % side < 2) | ((x + 11) % side < 2))
    return np.asarray(colour * (1 + pattern + 0.03 * rng.normal(0, 1, shape))[..., None])


def _ellipse(
    shape: tuple[int, int], y: float, x: float, tall: float, wide: float, turn: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Squared radius, 1 on the outline, and the coordinates along and across the ellipse's axes, in its radii."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    along = ((columns - x) * np.cos(turn) + (rows - y) * np.sin(turn)) / wide
    across = (-(columns - x) * np.sin(turn) + (rows - y) * np.cos(turn)) / tall
    return along**2 + across**2, along, across


def _clutter(rng: np.random.Generator, scene: np.ndarray) -> None:
    """A plate or a pan (rings of light and shade), or a box."""
    shape = scene.shape[:2]
    y, x = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
    colour = rng.uniform(0.08, 0.9) * (1 + rng.normal(0, 0.18, 3))
    size = rng.uniform(0.12, 0.3) * min(shape)
    radius, along, across = _ellipse(shape, y, x, size * rng.uniform(0.6, 1), size, rng.uniform(0, np.pi))
    if rng.random() < 0.35:
        radius = np.maximum(along**2, across**2)
    _shadow(scene, radius, size)
    rim = 0.25 * np.exp(-(((np.sqrt(radius) - 0.9) / 0.05) ** 2)) - 0.15 * np.exp(
        -(((np.sqrt(radius) - 0.72) / 0.07) ** 2)
    )
    surface = colour * (1 + 0.15 * along + rim)[..., None]
    scene[radius < 1] = surface[radius < 1]


def _egg(rng: np.random.Generator, scene: np.ndarray, labels: np.ndarray, size: float, number: int) -> None:
    shape = labels.shape
    y, x = rng.uniform(0.1, 0.9, 2) * shape
    radius, along, across = _ellipse(shape, y, x, size * rng.uniform(0.7, 0.85), size, rng.uniform(0, 2 * np.pi))
    radius = radius * (1 + 0.22 * np.clip(along, -1.2, 1.2))  # one end is blunter
    _shadow(scene, radius, size)
    inside = radius < 1
    dome = np.sqrt(np.clip(1 - radius, 0, 1))
    shade = 0.5 + 0.5 * dome + 0.12 * along + 0.1 * across
    glare = 0.35 * np.exp(-(((along + 0.3) / 0.22) ** 2) - ((across + 0.3) / 0.18) ** 2)
    shell = SHELLS[int(rng.integers(len(SHELLS)))] * rng.uniform(0.85, 1.05)
    surface = shell * shade[..., None] + glare[..., None]
    scene[inside] = surface[inside]
    labels[inside] = number


def _shadow(scene: np.ndarray, radius: np.ndarray, size: float) -> None:
    """Darkens the ground beside an object, away from the light."""
    step = max(1, round(0.18 * size))
    cast = ndimage.gaussian_filter((np.roll(radius, (step, step), axis=(0, 1)) < 1.05).astype(np.float32), 0.12 * size)
    scene *= (1 - 0.45 * cast)[..., None]
