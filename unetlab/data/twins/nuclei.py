"""The built-in twin: simulated nuclei, so that everything can be tried without an image at hand.

Nuclei are ellipses with wavy outlines and chromatin texture, scattered and clustered at several magnifications, seen by
a microscope: blurred by its optics, lit unevenly, with the shot noise of photons and the read noise of a camera.
Three kinds, as in the Data Science Bowl: fluorescence (bright on dark, some dim), haematoxylin and eosin (purple on
pink) and grey bright field (dark on light).
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from unetlab.data.cache import Decoded
from unetlab.data.twins import optics

VERSION = 1
"""Counted up when the simulation changes."""

IMAGES = 120
KINDS = {"fluorescence": 0.7, "stained": 0.18, "bright": 0.12}
SIZES = {(256, 256): 0.5, (256, 320): 0.25, (360, 360): 0.17, (520, 696): 0.08}
HAEMATOXYLIN = np.array([0.65, 0.70, 0.29])
EOSIN = np.array([0.07, 0.99, 0.11])
"""Optical densities of the stains in red, green and blue (Ruifrok and Johnston 2001)."""


@dataclass(frozen=True)
class Field:
    """What lies under the microscope: labels uint16 (h, w), and stain density float32 (h, w), about 1 in nuclei."""

    labels: np.ndarray
    density: np.ndarray


def jobs(seed: int, n: int = IMAGES) -> list[Callable[[], Decoded]]:
    """One job an image; the same for the same seed."""
    return [functools.partial(_nuclei, seed, i) for i in range(n)]


def _nuclei(seed: int, index: int) -> Decoded:
    rng = np.random.default_rng([seed, index])
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    shape = list(SIZES)[rng.choice(len(SIZES), p=list(SIZES.values()))]
    field = scatter(rng, shape, radius=float(rng.choice([7.0, 10.0, 14.0, 22.0])))
    image = {"fluorescence": fluorescence, "stained": _stained, "bright": _bright}[kind](rng, field)
    mode = f"uint8 {'grey' if image.shape[2] == 1 else 'RGB'}"
    return Decoded(f"{kind}-{index:04d}", image, field.labels, mode)


def scatter(rng: np.random.Generator, shape: tuple[int, int], radius: float) -> Field:
    """Places nuclei of about this radius in pixels one by one, a third of them against an earlier one; they touch and
    overlap a little. 6 to 35 % of the field are wanted."""
    labels, density = np.zeros(shape, np.uint16), np.zeros(shape, np.float32)
    wanted = max(3, int(rng.uniform(0.06, 0.35) * shape[0] * shape[1] / (np.pi * radius**2)))
    placed: list[tuple[float, float, float]] = []
    for _ in range(4 * wanted):
        if len(placed) == wanted:
            break
        size = radius * rng.lognormal(0, 0.18)
        y, x = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        if placed and rng.random() < 0.35:
            other = placed[rng.integers(len(placed))]
            angle = rng.uniform(0, 2 * np.pi)
            reach = (size + other[2]) * rng.uniform(0.8, 1.05)
            y, x = other[0] + reach * np.sin(angle), other[1] + reach * np.cos(angle)
        if any((y - b) ** 2 + (x - a) ** 2 < (0.75 * (size + r)) ** 2 for b, a, r in placed):
            continue
        if draw(rng, labels, density, y, x, size, len(placed) + 1):
            placed.append((y, x, size))
    return Field(labels, density)


def draw(
    rng: np.random.Generator, labels: np.ndarray, density: np.ndarray, y: float, x: float, size: float, number: int
) -> bool:
    """Draws a nucleus of radius `size` into labels and density (h, w); False if too little of it lies within."""
    reach = int(1.7 * size) + 2
    top, left = max(0, int(y) - reach), max(0, int(x) - reach)
    window = (slice(top, int(y) + reach + 1), slice(left, int(x) + reach + 1))
    if labels[window].size == 0:
        return False
    height, width = labels[window].shape
    dy, dx = np.mgrid[top : top + height, left : left + width].astype(np.float32)
    dy, dx = dy - y, dx - x
    turn, stretch = rng.uniform(0, np.pi), rng.uniform(1.0, 1.55)
    along, across = dx * np.cos(turn) + dy * np.sin(turn), -dx * np.sin(turn) + dy * np.cos(turn)
    angle = np.arctan2(across, along)
    wave = sum(rng.normal(0, 0.09 / k) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in range(2, 6))
    distance = np.sqrt((along / stretch**0.5) ** 2 + (across * stretch**0.5) ** 2) / (size * (1 + wave))
    inside = distance < 1
    if inside.sum() < 12:
        return False
    labels[window][inside & (labels[window] == 0)] = number
    chromatin = ndimage.gaussian_filter(rng.normal(0, 1, inside.shape), size * 0.14)
    chromatin /= max(float(chromatin.std()), 1e-6)
    rounded = np.sqrt(np.clip(1 - 0.75 * distance**2, 0, 1))  # a ball is thicker in its middle
    shade = rng.lognormal(0, 0.3) * rounded * np.clip(1 + 0.22 * chromatin, 0.3, None)
    density[window] += np.where(inside, shade, 0).astype(np.float32)
    return True


def fluorescence(rng: np.random.Generator, field: Field) -> np.ndarray:
    """What a fluorescence microscope makes of a field: uint8 (h, w, 1), bright on dark."""
    shape = field.labels.shape
    sharp = ndimage.gaussian_filter(field.density, rng.uniform(0.7, 1.8))
    haze = ndimage.gaussian_filter(field.density, rng.uniform(8, 20)) * rng.uniform(0.03, 0.2)
    ground = rng.uniform(0.01, 0.06) * (1 + 0.15 * optics.clouds(rng, shape, 40))
    exposure = rng.choice([0.12, 0.3, 0.6], p=[0.3, 0.4, 0.3]) * rng.uniform(0.8, 1.2)
    signal = (sharp + haze) * exposure * optics.light(rng, shape, rng.uniform(0, 0.5)) + ground
    return optics.camera(rng, signal, photons=rng.uniform(150, 900), read=rng.uniform(0.5, 2.5))[:, :, None]


def _stained(rng: np.random.Generator, field: Field) -> np.ndarray:
    shape = field.labels.shape
    nuclei = ndimage.gaussian_filter(np.minimum(field.density, 1.6), rng.uniform(0.6, 1.2))
    fibres = optics.clouds(rng, shape, rng.uniform(10, 24)) + 0.4 * optics.clouds(rng, shape, 4)
    pink = np.clip(rng.uniform(0.05, 0.4) * (1 + 0.2 * fibres), 0.02, None)
    purple = nuclei * rng.uniform(0.55, 1.1) + np.clip(rng.uniform(0.1, 0.25) * (1 + 0.15 * fibres), 0, None)
    optical = purple[..., None] * HAEMATOXYLIN + (pink * (1 - 0.4 * np.minimum(nuclei, 1)))[..., None] * EOSIN
    lit = np.exp(-optical) * optics.light(rng, shape, rng.uniform(0, 0.15))[..., None] * rng.uniform(0.85, 0.98)
    return optics.camera(rng, lit, photons=2500, read=1.0)


def _bright(rng: np.random.Generator, field: Field) -> np.ndarray:
    shape = field.labels.shape
    nuclei = ndimage.gaussian_filter(np.minimum(field.density, 1.6), rng.uniform(0.8, 1.8))
    lit = np.exp(-rng.uniform(0.35, 0.8) * nuclei - 0.03 * np.abs(optics.clouds(rng, shape, 12)))
    return optics.camera(rng, lit * rng.uniform(0.7, 0.92) * optics.light(rng, shape, 0.2), photons=1500, read=1.5)[
        :, :, None
    ]
