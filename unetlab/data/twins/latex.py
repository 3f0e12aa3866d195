"""Latex clusters: bright spheres of spread sizes that aggregate, on a textured and noisy ground.

Clusters grow by diffusion-limited aggregation (Witten and Sander 1981): each sphere comes from a random direction,
wanders, and stays where it first touches the cluster. A sphere is shaded as a ball lit from above, and its rim is soft.
"""

import functools
from collections.abc import Callable

import numpy as np
from scipy import ndimage

from unetlab.data.cache import Decoded
from unetlab.data.twins import optics

VERSION = 1
"""Counted up when the simulation changes."""

IMAGES = 120
SIDE = 256
SHARE = (0.04, 0.2)
"""Foreground of an image, lowest and highest; 0.11 in the mean, as in the published report."""

WANDER = 0.9
"""How far a sphere strays on its way, in steps of its own size; 0 would give straight flight and compact arms."""


def jobs(seed: int, n: int = IMAGES) -> list[Callable[[], Decoded]]:
    """One job an image; the same for the same seed."""
    return [functools.partial(_latex, seed, i) for i in range(n)]


def _latex(seed: int, index: int) -> Decoded:
    rng = np.random.default_rng([seed, index, 1])
    wanted = SHARE[0] + (SHARE[1] - SHARE[0]) * rng.beta(2, 2.6)
    radius = float(rng.choice([4.0, 5.5, 7.5, 10.0]))
    labels = np.zeros((SIDE, SIDE), np.uint16)
    height = np.zeros((SIDE, SIDE), np.float32)
    for number in range(1, 40):
        covered = float((labels > 0).mean())
        if covered >= wanted:
            break
        room = (wanted - covered) * SIDE * SIDE / (np.pi * radius**2)
        _draw(
            rng, labels, height, _cluster(rng, radius, max(1, min(int(room + 0.5), int(rng.integers(1, 40))))), number
        )
    return Decoded(f"latex-{index:04d}", _photograph(rng, labels, height), labels, "uint8 grey")


def _cluster(rng: np.random.Generator, radius: float, count: int) -> np.ndarray:
    """Spheres of one aggregate: float64 (count, 3), y, x and radius."""
    spheres = np.empty((count, 3))
    spheres[0] = [*rng.uniform(0, SIDE, 2), radius * rng.lognormal(0, 0.2)]
    for k in range(1, count):
        placed, size = spheres[:k], radius * rng.lognormal(0, 0.2)
        middle = placed[:, :2].mean(axis=0)
        reach = np.linalg.norm(placed[:, :2] - middle, axis=1).max() + 4 * radius
        angle = rng.uniform(0, 2 * np.pi)
        place = middle + reach * np.array([np.sin(angle), np.cos(angle)])
        for _ in range(400):
            home = middle - place
            place = place + size * (0.35 * home / max(np.linalg.norm(home), 1e-6) + WANDER * rng.normal(0, 1, 2) * 0.5)
            gaps = np.linalg.norm(placed[:, :2] - place, axis=1) - placed[:, 2] - size
            if gaps.min() <= 0.0:
                break
        nearest = placed[np.argmin(np.linalg.norm(placed[:, :2] - place, axis=1) - placed[:, 2])]
        away = place - nearest[:2]
        touching = nearest[:2] + away / max(np.linalg.norm(away), 1e-6) * (nearest[2] + size) * 0.96
        spheres[k] = [*touching, size]
    return spheres


def _draw(rng: np.random.Generator, labels: np.ndarray, height: np.ndarray, spheres: np.ndarray, number: int) -> None:
    for y, x, size in spheres:
        top, left = max(0, int(y - size) - 1), max(0, int(x - size) - 1)
        window = (slice(top, max(0, int(y + size) + 2)), slice(left, max(0, int(x + size) + 2)))
        if labels[window].size == 0:
            continue
        rows, columns = np.ogrid[: labels.shape[0], : labels.shape[1]]
        rows, columns = rows[window[0]], columns[:, window[1]]
        rise = 1 - ((rows - y) ** 2 + (columns - x) ** 2) / size**2
        inside = rise > 0
        labels[window][inside] = number
        dome = np.sqrt(np.maximum(rise, 0)) * rng.uniform(0.85, 1.1)
        height[window] = np.maximum(height[window], np.where(inside, dome, 0))


def _photograph(rng: np.random.Generator, labels: np.ndarray, height: np.ndarray) -> np.ndarray:
    """uint8 (SIDE, SIDE, 1): secondary electrons, brighter towards the rims of the spheres."""
    shape = labels.shape
    texture = 0.5 * optics.clouds(rng, shape, rng.uniform(20, 50)) + 0.35 * optics.clouds(rng, shape, rng.uniform(2, 5))
    ground = rng.uniform(0.2, 0.42) * (1 + rng.uniform(0.08, 0.25) * texture)
    rim = np.where(height > 0, rng.uniform(0.05, 0.25) * (1 - height), 0)
    ball = np.where(labels > 0, rng.uniform(0.5, 0.75) + 0.2 * height + rim, 0)
    glow = ndimage.gaussian_filter((labels > 0).astype(np.float32), rng.uniform(3, 7)) * rng.uniform(0, 0.12)
    soft = ndimage.gaussian_filter(np.where(labels > 0, ball, ground) + glow, rng.uniform(0.6, 1.4))
    lit = soft * optics.light(rng, shape, rng.uniform(0, 0.35))
    return optics.camera(rng, lit, photons=rng.uniform(40, 160), read=rng.uniform(2, 7))[:, :, None]
