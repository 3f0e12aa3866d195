"""Soft-edged shapes painted over a scene, each with a shadow beside it."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

Point = tuple[float, float]


@dataclass(frozen=True)
class Shape:
    """Where a shape is.

    Args:
        depth: float64 (h, w), pixels inside of the outline, negative outside.
        along: coordinate along the shape's long axis, -1 to 1 within it.
        across: the same across it.
    """

    depth: np.ndarray
    along: np.ndarray
    across: np.ndarray

    @property
    def cover(self) -> np.ndarray:
        """How much of each pixel is covered, 0 to 1."""
        return np.clip(self.depth + 0.5, 0, 1)


def _axes(size: tuple[int, int], at: Point, radii: Point, turn: float) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.ogrid[: size[0], : size[1]]
    dy, dx = rows - at[0], columns - at[1]
    return (dx * np.cos(turn) + dy * np.sin(turn)) / radii[0], (-dx * np.sin(turn) + dy * np.cos(turn)) / radii[1]


def ellipse(size: tuple[int, int], at: Point, radii: Point, turn: float, blunt: float = 0.0) -> Shape:
    """An ellipse of two radii along its axes; `blunt` makes one end rounder, as of an egg."""
    along, across = _axes(size, at, radii, turn)
    radius = np.sqrt(along**2 + (across * (1 + blunt * np.clip(along, -1.3, 1.3))) ** 2)
    return Shape((1 - radius) * min(radii), along, across)


def box(size: tuple[int, int], at: Point, radii: Point, turn: float) -> Shape:
    """A rectangle of two half sides along its axes."""
    along, across = _axes(size, at, radii, turn)
    return Shape(np.minimum((1 - abs(along)) * radii[0], (1 - abs(across)) * radii[1]), along, across)


def stroke(size: tuple[int, int], start: Point, end: Point, wide: Point) -> Shape:
    """A line with round ends whose half width goes from the first of `wide` to the second."""
    rows, columns = np.ogrid[: size[0], : size[1]]
    step = np.subtract(end, start)
    length = max(float(np.hypot(*step)), 1e-6)
    share = np.clip(((rows - start[0]) * step[0] + (columns - start[1]) * step[1]) / length**2, 0, 1)
    far = np.hypot(rows - start[0] - share * step[0], columns - start[1] - share * step[1])
    half = wide[0] + (wide[1] - wide[0]) * share
    side = ((rows - start[0]) * step[1] - (columns - start[1]) * step[0]) / length / half
    return Shape(half - far, 2 * share - 1, side)


def paint(scene: np.ndarray, shape: Shape, colour: np.ndarray, height: float = 0.0) -> None:
    """Lays a colour, (3,) or (h, w, 3), over a scene (h, w, 3); `height` in pixels casts a shadow."""
    cover = shape.cover[..., None]
    if height > 0:
        step = max(1, round(height))
        cast = np.roll(cover[..., 0], (step, step), axis=(0, 1))
        cast[:step], cast[:, :step] = 0, 0
        scene *= 1 - 0.45 * ndimage.gaussian_filter(cast, 0.7 * height)[..., None]
    scene += cover * (colour - scene)
