"""How alike two images are: texture compared block by block, and borders that continue each other."""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.fft import dct, dctn, irfft2, rfft2
from scipy.ndimage import convolve, gaussian_filter, gaussian_filter1d, maximum_filter

from unetlab.data.takes import palette
from unetlab.images import geometry

SIDE = 64
"""Images are compared as squares of so many pixels a side."""

BLOCK = 8
"""Pixels a side of a block; blocks may move each on its own, so that a hand or an egg that moved spoils few of them."""

REACH = 12
"""Pixels of SIDE by which one frame may be shifted against the next."""

SLACK = 2
"""Pixels of SIDE by which a block may lie off the shift of its image, for frames that turn or come closer."""

COUNT = SIDE // BLOCK
"""Blocks a side."""

MATCH = 0.75
"""Correlation at and above which two blocks show the same."""

AGREE = 4
"""Of the eight blocks around a block, how many must match as it does."""

_AROUND = np.ones((1, 1, 3, 3), np.int8)
_AROUND[0, 0, 1, 1] = 0

FLOOR = 0.5
"""Grey levels (root mean square) that a block or a border must vary by, its shading taken out, to say anything."""

EDGE_TERMS = 32
"""Cosine terms of a border that the index of borders holds."""

TEXTURE_TERMS = 8
"""Cosine terms a side of an image's texture that the index of images holds."""


@functools.lru_cache(maxsize=64)
def _shadings(length: int, degree: int) -> np.ndarray:
    """Orthonormal polynomials on a line, float64 (length, degree + 1)."""
    return np.linalg.qr(np.vander(np.linspace(-1, 1, length), degree + 1))[0]


def _square_shadings() -> np.ndarray:
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    terms = [(x**i * y**j).ravel() for i in range(5) for j in range(5 - i)]
    return np.linalg.qr(np.stack(terms, axis=1))[0].astype(np.float32)


_SQUARE = _square_shadings()


@dataclass(frozen=True)
class Look:
    """What is kept of an image to compare it by.

    Args:
        texture: float16 (SIDE, SIDE), grey, with smooth shading (a vignette, say) taken out.
        spectrum: complex64 (SIDE, SIDE / 2 + 1), Fourier transform of the levelled texture.
        edges: left, right, top and bottom border, each uint8 (2, length): the outermost line and the one inside it.
        palette: how common each colour is, as `takes.palette` has it; None for a grey image.
        own_range: whether its levels are of its own range, as those of images of more than 8 bits are, so that one
            value is another level in another image.
    """

    texture: np.ndarray
    spectrum: np.ndarray
    edges: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
    palette: np.ndarray | None
    own_range: bool = False


def look(image: np.ndarray, own_range: bool = False) -> Look:
    """Looks at an image, uint8 (h, w, c)."""
    grey = geometry.fit_channels(image, 1)[:, :, 0]
    small = geometry.resize_map(grey.astype(np.float32), SIDE, SIDE).ravel()
    small = (small - _SQUARE @ (_SQUARE.T @ small)).reshape(SIDE, SIDE)
    texture = (small - gaussian_filter(small, SIDE / 16)).astype(np.float32)
    inner = min(1, grey.shape[0] - 1), min(1, grey.shape[1] - 1)
    columns = grey[:, [0, inner[1], -1, -1 - inner[1]]].T
    rows = grey[[0, inner[0], -1, -1 - inner[0]]]
    edges = (columns[:2].copy(), columns[2:].copy(), rows[:2].copy(), rows[2:].copy())
    spectrum = rfft2(levelled(texture)).astype(np.complex64)
    return Look(texture.astype(np.float16), spectrum, edges, _palette(image), own_range)


def _palette(image: np.ndarray) -> np.ndarray | None:
    if image.shape[2] == 1:
        return None
    bands = [geometry.resize_map(image[:, :, band].astype(np.float32), SIDE, SIDE) for band in range(3)]
    return palette(np.clip(np.stack(bands, axis=2), 0, 255))


def _block_sums(squares: np.ndarray) -> np.ndarray:
    """(..., SIDE, SIDE) to the sum over each block, (..., COUNT, COUNT)."""
    before = squares.shape[:-2]
    rows = squares.reshape(*before, COUNT, BLOCK, SIDE).sum(axis=-2)
    return np.asarray(rows.reshape(*before, COUNT, COUNT, BLOCK).sum(axis=-1))


def levelled(texture: np.ndarray) -> np.ndarray:
    """Texture of about the same strength everywhere."""
    return np.asarray(texture / np.maximum(np.sqrt(gaussian_filter(texture * texture, BLOCK / 2)), FLOOR))


def _shift(one: np.ndarray, other: np.ndarray) -> tuple[int, int]:
    """The shift within REACH that lays `other` best on `one`, by correlation; both are spectra of a Look."""
    product = irfft2(one * np.conj(other), s=(SIDE, SIDE))
    near = np.roll(product, (REACH, REACH), (0, 1))[: 2 * REACH + 1, : 2 * REACH + 1]
    y, x = np.unravel_index(near.argmax(), near.shape)
    return int(y) - REACH, int(x) - REACH


def same_view(first: Look, second: Look) -> tuple[float, int]:
    """How much of two images shows the same thing, and in how many blocks.

    The second is shifted onto the first as a whole, then each block by up to SLACK more; blocks without texture in
    either say nothing. As blocks answer each for themselves, what moved between two frames costs only its own blocks,
    and a light that changed costs none. Round things look alike wherever they lie, so a block that matches counts
    only where AGREE of the eight around it match as well, moved by about the same.

    Returns:
        The share of blocks with texture that match, 0 to 1, and how many match.
    """
    one, other = first.texture.astype(np.float32), second.texture.astype(np.float32)
    dy, dx = _shift(first.spectrum, second.spectrum)
    inside = np.zeros((SIDE, SIDE), bool)
    inside[max(0, dy) : SIDE + min(0, dy), max(0, dx) : SIDE + min(0, dx)] = True
    moved = np.pad(np.roll(other, (dy, dx), (0, 1)), SLACK, mode="wrap")
    views = sliding_window_view(moved, (SIDE, SIDE))[::-1, ::-1]
    pixels = BLOCK * BLOCK
    sums, own = _block_sums(views), _block_sums(one)
    theirs = np.maximum(_block_sums(views * views) - sums * sums / pixels, 0)
    mine = np.maximum(_block_sums(one * one) - own * own / pixels, 0)
    products = _block_sums(views * one) - sums * own / pixels
    textured = np.maximum(mine, theirs[SLACK, SLACK]) >= (FLOOR * BLOCK) ** 2
    textured &= inside.reshape(COUNT, BLOCK, COUNT, BLOCK).all(axis=(1, 3))
    matches = (products >= MATCH * np.sqrt(np.maximum(mine * theirs, 1e-6))) & textured
    if matches.any(axis=(0, 1)).sum() <= AGREE:
        return 0.0, 0
    near = maximum_filter(matches.astype(np.int8), size=(3, 3, 1, 1))
    around = convolve(near, _AROUND, mode="constant")
    agreed = int((matches & (around >= AGREE)).any(axis=(0, 1)).sum())
    return agreed / max(1, int(textured.sum())), agreed


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of two textures as they lie, -1 to 1; 0 if either has none."""
    a, b = one.astype(np.float32).ravel(), other.astype(np.float32).ravel()
    a, b = a - a.mean(), b - b.mean()
    norms = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    return float(a @ b) / (norms[0] * norms[1]) if min(norms) >= FLOOR * SIDE else 0.0


def texture_key(texture: np.ndarray) -> np.ndarray | None:
    """Where an image lies in the index, float32 (TEXTURE_TERMS squared - 1,), of length 1; None without texture."""
    texture = texture.astype(np.float32)
    if np.sqrt(np.mean(texture * texture)) < FLOOR:
        return None
    key = dctn(levelled(texture), norm="ortho")[:TEXTURE_TERMS, :TEXTURE_TERMS].ravel()[1:]
    norm = np.linalg.norm(key)
    return np.asarray(key / norm, np.float32) if norm > 1e-6 else None


def detail(line: np.ndarray, floor: float = FLOOR) -> np.ndarray:
    """A border without its shading, float64 (length,), of length 1; zeros where that leaves less than `floor`."""
    shades = _shadings(len(line), 3)
    line = line - shades @ (shades.T @ line)
    line = line - gaussian_filter1d(line, len(line) / 16)
    norm = np.linalg.norm(line)
    return line / norm if norm >= floor * np.sqrt(len(line)) else np.zeros_like(line)


def edge_key(edge: np.ndarray) -> np.ndarray | None:
    """Where a border lies in the index, float32 (EDGE_TERMS,); None if it is too short or too plain to tell.

    Two keys lie no further apart than the borders' details: a cosine transform keeps distances, leaving terms out
    only shortens them. So the index loses no pair.
    """
    if edge.shape[1] < EDGE_TERMS:
        return None
    fine = detail(edge[0].astype(np.float64))
    return np.asarray(dct(fine, norm="ortho")[:EDGE_TERMS], np.float32) if fine.any() else None


class Seam(NamedTuple):
    """How one border goes on in another.

    Args:
        detail: correlation of the outermost lines without their shading.
        step: the step across the seam over the step between the two lines inside each: about 1 where a field was
            cut, as the next line of pixels is the next line; larger where borders only look alike.
        sigmas: how far `detail` lies above what borders with so little, or so much, in them have by chance.
    """

    detail: float
    step: float
    sigmas: float


def facing(first: Look, second: Look, sides: tuple[int, int], mirrored: bool) -> tuple[np.ndarray, np.ndarray]:
    """The borders of two looks that would lie at a seam, (2, length) each, the second's read backwards if `mirrored`.

    Where levels are of each image's own range, those of the second become what they would be in the first's: its border
    varies as much, and lies where the lines beside the seam lead.
    """
    one, other = first.edges[sides[0]], second.edges[sides[1]]
    other = other[:, ::-1] if mirrored else other
    if not (first.own_range or second.own_range):
        return one, other
    a, b = one.astype(np.float64), other.astype(np.float64)
    gain = a[0].std() / max(float(b[0].std()), FLOOR)
    led = (a[0] - a[1]).mean() + gain * (b[1] - b[0]).mean()
    return a, gain * (b - b[0].mean()) + a[0].mean() + led / 2


def continues(one: np.ndarray, other: np.ndarray) -> Seam:
    """How a border goes on in another one of the same length.

    Args:
        one, other: (2, length), as `facing` has them: the outermost line and the one inside it.
    """
    (a, inside_a), (b, inside_b) = one.astype(np.float64), other.astype(np.float64)
    fine = detail(a), detail(b)
    shared = float(np.clip(fine[0] @ fine[1], -1, 1))
    within = (rms(a - inside_a) + rms(b - inside_b)) / 2
    return Seam(shared, rms(a - b) / max(within, FLOOR), sigmas(*fine))


def sigmas(one: np.ndarray, other: np.ndarray) -> float:
    """How far the correlation of two lines lies above chance, in standard errors.

    A smooth line has few independent values: as many as the product of both lines' powers over the sum of the
    products of their spectra (Bartlett's formula for the variance of a correlation). Fisher's transform of the
    correlation, with that many values less 3, one at least, gives the rest.

    Args:
        one, other: float64 (length,), of length 1 or zeros.
    """
    power = [dct(line, norm="ortho") ** 2 for line in (one, other)]
    values = power[0].sum() * power[1].sum() / max(float((power[0] * power[1]).sum()), 1e-12)
    shared = float(np.clip(one @ other, -0.9999, 0.9999))
    return float(np.arctanh(shared) * np.sqrt(max(values - 3, 1)))


def rms(values: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(values * values)))
