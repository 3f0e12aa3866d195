"""The twin of three classes: simulated stained tissue with nuclei, a few of them in mitosis, and debris.

Nuclei are those of the twin of nuclei. A mitosis is a plate or a clump of condensed chromatin: darker, smaller, without
the round shape and the texture of a nucleus. Debris are small brown grains, some out of focus. Nuclei are in every
image, mitoses and debris in part of them, so that two classes are rare. They differ in colour, darkness and shape, and
no threshold of the grey tells one from another.
"""

import functools
from collections.abc import Callable

import numpy as np
from scipy import ndimage

from unetlab.data.cache import Decoded
from unetlab.data.twins import optics
from unetlab.data.twins.nuclei import EOSIN, HAEMATOXYLIN, draw

VERSION = 1
"""Counted up when the simulation changes."""

CLASSES = ("background", "nuclei", "mitoses", "debris")

IMAGES = 120
SIDE = 192
BROWN = np.array([0.27, 0.57, 0.78])
"""Optical density of pigment in red, green and blue: that of DAB (Ruifrok and Johnston 2001)."""

SHARES = {"mitoses": 0.6, "debris": 0.7}
"""Of the images that show any."""


def jobs(seed: int, n: int = IMAGES) -> list[Callable[[], Decoded]]:
    """One job an image; the same for the same seed."""
    return [functools.partial(_tissue, seed, i) for i in range(n)]


def _tissue(seed: int, index: int) -> Decoded:
    rng = np.random.default_rng([seed, index])
    shape = (SIDE, SIDE)
    labels, chromatin, pigment = np.zeros(shape, np.uint16), np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    kinds, placed = [0], []

    def place(size: float, kind: int, make: Callable[[float, float], bool]) -> None:
        """Tries a few places for an object of about `size` pixels of radius."""
        for _ in range(12):
            y, x = rng.uniform(0, SIDE, 2)
            if all((y - b) ** 2 + (x - a) ** 2 > (0.85 * (size + r)) ** 2 for b, a, r in placed) and make(y, x):
                placed.append((y, x, size))
                kinds.append(kind)
                return

    if rng.random() < SHARES["mitoses"]:
        for _ in range(int(rng.integers(1, 4))):
            size = rng.uniform(8, 12)
            place(size, 2, lambda y, x, size=size: _mitosis(rng, labels, chromatin, (y, x), size, len(kinds)))
    if rng.random() < SHARES["debris"]:
        for _ in range(int(rng.integers(1, 7))):
            size = rng.uniform(3.5, 7)
            place(size, 3, lambda y, x, size=size: _grain(rng, labels, pigment, (y, x), size, len(kinds)))
    for _ in range(int(rng.integers(12, 32))):
        size = 9 * rng.lognormal(0, 0.15)
        place(size, 1, lambda y, x, size=size: draw(rng, labels, chromatin, y, x, size, len(kinds)))
    image = _stained(rng, chromatin, pigment)
    return Decoded(f"tissue-{index:04d}", image, labels, "uint8 RGB", len(set(kinds)), np.array(kinds, np.uint8))


def _ragged(rng: np.random.Generator, at: tuple[float, float], radii: tuple[float, float], rough: float) -> np.ndarray:
    """An ellipse of two radii, turned at random, whose outline is as rough as noise makes it: bool of the field."""
    y, x = np.ogrid[:SIDE, :SIDE]
    turn = rng.uniform(0, np.pi)
    dy, dx = y - at[0], x - at[1]
    along, across = dx * np.cos(turn) + dy * np.sin(turn), -dx * np.sin(turn) + dy * np.cos(turn)
    noise = ndimage.gaussian_filter(rng.normal(0, 1, (SIDE, SIDE)), 1.5)
    radius = np.sqrt((along / radii[0]) ** 2 + (across / radii[1]) ** 2)
    regions, _ = ndimage.label(radius + rough * noise / max(float(noise.std()), 1e-6) < 1)
    inside = (int(np.clip(round(at[0]), 0, SIDE - 1)), int(np.clip(round(at[1]), 0, SIDE - 1)))
    return np.asarray((regions == regions[inside]) & (regions > 0))


def _mark(labels: np.ndarray, found: np.ndarray, number: int, least: int) -> np.ndarray | None:
    """Writes an object where nothing is yet; None if less than `least` pixels would be its."""
    own = found & (labels == 0)
    if own.sum() < least:
        return None
    labels[own] = number
    return own


def _mitosis(
    rng: np.random.Generator,
    labels: np.ndarray,
    chromatin: np.ndarray,
    at: tuple[float, float],
    size: float,
    number: int,
) -> bool:
    plate = rng.random() < 0.6
    radii = (size, size * rng.uniform(0.32, 0.45)) if plate else (0.75 * size, 0.75 * size * rng.uniform(0.7, 1))
    own = _mark(labels, _ragged(rng, at, radii, 0.1 if plate else 0.2), number, 20)
    if own is None:
        return False
    chromatin[own] += np.float32(rng.uniform(1.9, 2.6))
    return True


def _grain(
    rng: np.random.Generator,
    labels: np.ndarray,
    pigment: np.ndarray,
    at: tuple[float, float],
    size: float,
    number: int,
) -> bool:
    own = _mark(labels, _ragged(rng, at, (size, size * rng.uniform(0.5, 1)), 0.25), number, 8)
    if own is None:
        return False
    grain = ndimage.gaussian_filter(own.astype(np.float32), rng.choice([0.4, 1.2]))
    pigment += grain * np.float32(rng.uniform(0.8, 1.6))
    return True


def _stained(rng: np.random.Generator, chromatin: np.ndarray, pigment: np.ndarray) -> np.ndarray:
    """Haematoxylin and eosin as in the twin of nuclei, and pigment, which takes no stain."""
    shape = chromatin.shape
    blurred = ndimage.gaussian_filter(np.minimum(chromatin, 2.6), rng.uniform(0.6, 1.2))
    fibres = optics.clouds(rng, shape, rng.uniform(10, 24)) + 0.4 * optics.clouds(rng, shape, 4)
    pink = np.clip(rng.uniform(0.1, 0.4) * (1 + 0.2 * fibres), 0.02, None)
    purple = blurred * rng.uniform(0.5, 0.9) + np.clip(rng.uniform(0.08, 0.2) * (1 + 0.15 * fibres), 0, None)
    optical = purple[..., None] * HAEMATOXYLIN + (pink * (1 - 0.4 * np.minimum(blurred, 1)))[..., None] * EOSIN
    optical = optical + pigment[..., None] * BROWN
    lit = np.exp(-optical) * optics.light(rng, shape, rng.uniform(0, 0.15))[..., None] * rng.uniform(0.85, 0.98)
    return optics.camera(rng, lit, photons=2500, read=1.0)
