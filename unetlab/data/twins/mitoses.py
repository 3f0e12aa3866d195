"""The twin of three classes: simulated stained tissue with nuclei, a few of them in mitosis, and debris.

Nuclei are those of the twin of nuclei. A mitosis is a plate or a clump of condensed chromatin: darker, smaller, without
the round shape and the texture of a nucleus. Debris are small brown grains, some out of focus. Nuclei are in every
image, mitoses and debris in part of them, so that two classes are rare. They differ in colour, darkness and shape, and
no threshold of the grey tells one from another.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field

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


@dataclass
class Field:
    """What lies under the microscope so far.

    Args:
        rng: of everything.
        labels: uint16 (h, w).
        chromatin, pigment: optical densities, float32 (h, w).
        kinds: class of each object by its number, 0 first.
        placed: middle and radius of each object.
    """

    rng: np.random.Generator
    labels: np.ndarray
    chromatin: np.ndarray
    pigment: np.ndarray
    kinds: list[int] = field(default_factory=lambda: [0])
    placed: list[tuple[float, float, float]] = field(default_factory=list)

    def place(self, kind: int, size: float) -> None:
        """Tries a few places for an object of a class and about `size` pixels of radius."""
        for _ in range(12):
            y, x = (float(each) for each in self.rng.uniform(0, SIDE, 2))
            apart = all((y - b) ** 2 + (x - a) ** 2 > (0.85 * (size + r)) ** 2 for b, a, r in self.placed)
            if apart and MAKERS[kind](self, (y, x), size):
                self.placed.append((y, x, size))
                self.kinds.append(kind)
                return


def _tissue(seed: int, index: int) -> Decoded:
    rng = np.random.default_rng([seed, index])
    here = Field(rng, np.zeros((SIDE, SIDE), np.uint16), *(np.zeros((SIDE, SIDE), np.float32) for _ in range(2)))
    if rng.random() < SHARES["mitoses"]:
        for _ in range(int(rng.integers(1, 4))):
            here.place(2, rng.uniform(8, 12))
    if rng.random() < SHARES["debris"]:
        for _ in range(int(rng.integers(1, 7))):
            here.place(3, rng.uniform(3.5, 7))
    for _ in range(int(rng.integers(12, 32))):
        here.place(1, 9 * rng.lognormal(0, 0.15))
    image, kinds = _stained(here), np.array(here.kinds, np.uint8)
    return Decoded(f"tissue-{index:04d}", image, here.labels, "uint8 RGB", len(set(here.kinds)), kinds)


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


def _nucleus(here: Field, at: tuple[float, float], size: float) -> bool:
    return draw(here.rng, here.labels, here.chromatin, *at, size, len(here.kinds))


def _mitosis(here: Field, at: tuple[float, float], size: float) -> bool:
    rng = here.rng
    plate = rng.random() < 0.6
    radii = (size, size * rng.uniform(0.32, 0.45)) if plate else (0.75 * size, 0.75 * size * rng.uniform(0.7, 1))
    own = _mark(here.labels, _ragged(rng, at, radii, 0.1 if plate else 0.2), len(here.kinds), 20)
    if own is None:
        return False
    here.chromatin[own] += np.float32(rng.uniform(1.9, 2.6))
    return True


def _grain(here: Field, at: tuple[float, float], size: float) -> bool:
    rng = here.rng
    own = _mark(here.labels, _ragged(rng, at, (size, size * rng.uniform(0.5, 1)), 0.25), len(here.kinds), 8)
    if own is None:
        return False
    grain = ndimage.gaussian_filter(own.astype(np.float32), rng.choice([0.4, 1.2]))
    here.pigment += grain * np.float32(rng.uniform(0.8, 1.6))
    return True


MAKERS: dict[int, Callable[[Field, tuple[float, float], float], bool]] = {1: _nucleus, 2: _mitosis, 3: _grain}
"""Draws an object of a class at a place, of a radius; False if there is no room."""


def _stained(here: Field) -> np.ndarray:
    """Haematoxylin and eosin as in the twin of nuclei, and pigment, which takes no stain."""
    rng, shape = here.rng, (SIDE, SIDE)
    blurred = ndimage.gaussian_filter(np.minimum(here.chromatin, 2.6), rng.uniform(0.6, 1.2))
    fibres = optics.clouds(rng, shape, rng.uniform(10, 24)) + 0.4 * optics.clouds(rng, shape, 4)
    pink = np.clip(rng.uniform(0.1, 0.4) * (1 + 0.2 * fibres), 0.02, None)
    purple = blurred * rng.uniform(0.5, 0.9) + np.clip(rng.uniform(0.08, 0.2) * (1 + 0.15 * fibres), 0, None)
    optical = purple[..., None] * HAEMATOXYLIN + (pink * (1 - 0.4 * np.minimum(blurred, 1)))[..., None] * EOSIN
    optical = optical + here.pigment[..., None] * BROWN
    lit = np.exp(-optical) * optics.light(rng, shape, rng.uniform(0, 0.15))[..., None] * rng.uniform(0.85, 0.98)
    return optics.camera(rng, lit, photons=2500, read=1.0)
