"""Photographs of eggs and pans on tables, plates and stoves: eggs and pans are foreground, all else is not.

Five kinds of scenes, as in the kitchen photographs of the source: a desk from above with a pan, eggs, hands and other
things; a plate with an egg; a box of eggs close by; a dark stove with pots; a single egg in dim light. Objects are few
and mostly small: about 3 % of all pixels are foreground in the mean, and a few scenes have none.
"""

import functools
from collections.abc import Callable

import numpy as np
from scipy import ndimage

from unetlab.data.cache import Decoded
from unetlab.data.twins import optics
from unetlab.data.twins.shapes import Point, box, ellipse, paint, stroke

VERSION = 2
"""Counted up when the simulation changes."""

IMAGES = 40
SHELLS = np.array([[238, 226, 208], [216, 160, 116], [190, 120, 80], [246, 243, 238]]) / 255
SKIN = np.array([[224, 172, 140], [190, 135, 105], [235, 190, 165]]) / 255
WOOD = np.array([[178, 112, 48], [150, 110, 75], [205, 170, 120]]) / 255
GREY = np.array([[118, 122, 124], [90, 95, 105], [150, 150, 146]]) / 255


class Scene:
    """A picture under way: colours float64 (h, w, 3), labels uint16 (h, w), and the source of chance."""

    def __init__(self, rng: np.random.Generator, size: tuple[int, int]) -> None:
        self.rng, self.size = rng, size
        self.colours = np.zeros((*size, 3))
        self.labels = np.zeros(size, np.uint16)
        self.side = min(size)

    def place(self, low: float = 0.15, high: float = 0.85) -> Point:
        """A random place within these shares of height and width."""
        y, x = self.rng.uniform(low, high, 2)
        return y * self.size[0], x * self.size[1]

    def grey(self, low: float = 0.05, high: float = 0.9) -> np.ndarray:
        """A colour that is not far from grey."""
        return np.clip(self.rng.uniform(low, high) * (1 + self.rng.normal(0, 0.12, 3)), 0, 1)

    def pick(self, colours: np.ndarray) -> np.ndarray:
        """One of the colours, a little lighter or darker."""
        return np.asarray(colours[self.rng.integers(len(colours))] * self.rng.uniform(0.85, 1.1))


def jobs(seed: int, n: int = IMAGES) -> list[Callable[[], Decoded]]:
    """One job an image; the same for the same seed."""
    return [functools.partial(_photograph, seed, i) for i in range(n)]


def _photograph(seed: int, index: int) -> Decoded:
    rng = np.random.default_rng([seed, index, 3])
    kinds = {_desk: 0.48, _plate: 0.14, _eggbox: 0.06, _stove: 0.2, _single: 0.12}
    draw = list(kinds)[rng.choice(len(kinds), p=list(kinds.values()))]
    scene = Scene(rng, (320, 240) if draw is _single else (240, 320))
    draw(scene)
    lamp = optics.light(rng, scene.size, rng.uniform(0.1, 0.45))[..., None]
    tint = rng.choice([0.0, 1.0], p=[0.8, 0.2]) * np.array([-0.24, 0.03, 0.05]) + rng.normal(0, 0.025, 3)
    lit = ndimage.gaussian_filter(scene.colours, (0.6, 0.6, 0)) * lamp * (1 + tint) * rng.uniform(0.9, 1.35)
    noise = rng.uniform(1, 4)
    return Decoded(f"table-{index:04d}", optics.camera(rng, lit, photons=1500, read=noise), scene.labels, "uint8 RGB")


def _desk(scene: Scene) -> None:
    """From above: a table on a floor, a hob and a printed tag on it, and now and then a pan, eggs and an arm."""
    rng, side = scene.rng, scene.side
    scene.colours[:] = scene.grey(0.12, 0.3) * (1 + 0.15 * optics.clouds(rng, scene.size, 12))[..., None]
    for _ in range(int(rng.integers(2, 6))):
        _clutter(scene, scene.place(0, 1), rng.uniform(0.1, 0.25) * side)
    middle = (scene.size[0] * rng.uniform(0.48, 0.56), scene.size[1] * rng.uniform(0.42, 0.52))
    top = box(scene.size, middle, (0.56 * side, 0.34 * side), rng.normal(0.03, 0.06))
    colour = scene.pick(GREY if rng.random() < 0.75 else WOOD)
    spot = 1 + 0.35 * np.exp(-((top.along - rng.uniform(-0.5, 0.8)) ** 2 + top.across**2))
    texture = 1 + 0.04 * optics.clouds(rng, scene.size, 20) + 0.025 * optics.clouds(rng, scene.size, 3)
    paint(scene.colours, top, colour * (spot * texture)[..., None], 5)
    if rng.random() < 0.7:
        _hob(scene, (middle[0] - 0.1 * side, middle[1] - 0.5 * side), 0.13 * side)
    if rng.random() < 0.7:
        _tag(scene, (middle[0] - rng.uniform(0, 0.25) * side, middle[1] + 0.46 * side), 0.065 * side)
    for _ in range(int(rng.integers(0, 4))):
        _clutter(scene, scene.place(0.3, 0.75), rng.uniform(0.02, 0.06) * side)
    if rng.random() < 0.55:
        _pan(scene, scene.place(0.35, 0.7), rng.uniform(0.08, 0.13) * side)
    for _ in range(int(rng.choice([0, 1, 2, 3, 4], p=[0.06, 0.34, 0.3, 0.2, 0.1]))):
        at = scene.place(0.28, 0.75)
        held = rng.random() < 0.3
        _egg(scene, at, rng.uniform(0.023, 0.042) * side)
        if held:
            _arm(scene, (at[0] + 0.03 * side, at[1] + 0.02 * side), 0.045 * side)
    if rng.random() < 0.25:
        _arm(scene, scene.place(0.3, 0.8), 0.05 * side)


def _plate(scene: Scene) -> None:
    """A white plate on wood with an egg, and a coin beside it."""
    rng, side = scene.rng, scene.side
    _grain(scene, scene.pick(WOOD))
    at = (scene.size[0] * rng.uniform(0.4, 0.6), scene.size[1] * rng.uniform(0.45, 0.7))
    radius = rng.uniform(0.36, 0.5) * side
    _dish(scene, at, radius, scene.grey(0.75, 0.9))
    _dish(scene, scene.place(0.3, 0.7)[:1] + (0.12 * scene.size[1],), 0.04 * side, scene.grey(0.4, 0.6))
    for _ in range(int(rng.choice([1, 2], p=[0.8, 0.2]))):
        offset = rng.uniform(-0.4, 0.4, 2) * radius
        _egg(scene, (at[0] + offset[0], at[1] + offset[1]), rng.uniform(0.085, 0.125) * side)


def _eggbox(scene: Scene) -> None:
    """Eggs in the cups of their box."""
    rng, side = scene.rng, scene.side
    scene.colours[:] = scene.grey(0.1, 0.4) * (1 + 0.05 * optics.clouds(rng, scene.size, 5))[..., None]
    at, pitch, turn = scene.place(0.42, 0.58), rng.uniform(0.26, 0.36) * side, rng.normal(0, 0.15)
    rows, columns = 2, int(rng.integers(2, 4))
    body = box(scene.size, at, (columns * 0.62 * pitch, rows * 0.68 * pitch), turn)
    pulp = scene.grey(0.5, 0.75) if rng.random() < 0.6 else np.array([0.8, 0.45, 0.2])
    bumps = 1 + 0.12 * np.cos(body.along * columns * 1.24 * np.pi) * np.cos(body.across * rows * 1.36 * np.pi)
    paint(scene.colours, body, pulp * (bumps + 0.04 * optics.clouds(rng, scene.size, 2))[..., None], 8)
    for row in range(rows):
        for column in range(columns):
            if rng.random() < 0.25:
                continue
            dx, dy = (column - (columns - 1) / 2) * pitch, (row - (rows - 1) / 2) * pitch
            place = (at[0] + dx * np.sin(turn) + dy * np.cos(turn), at[1] + dx * np.cos(turn) - dy * np.sin(turn))
            _egg(scene, place, 0.36 * pitch, round=0.93)


def _stove(scene: Scene) -> None:
    """A dark stove or sink with pots, which are not labelled, a pan, eggs and arms from below."""
    rng, side = scene.rng, scene.side
    scene.colours[:] = scene.grey(0.03, 0.12)
    edge = rng.uniform(0.3, 0.7) * scene.size[1]
    counter = box(scene.size, (0.5 * scene.size[0], edge + 0.5 * side), (0.5 * side, side), rng.normal(0, 0.2))
    paint(scene.colours, counter, scene.pick(WOOD) * (1 + 0.04 * optics.clouds(rng, scene.size, 8))[..., None], 4)
    for _ in range(int(rng.integers(8, 18))):
        _clutter(scene, scene.place(0, 1), rng.uniform(0.05, 0.2) * side)
    for _ in range(int(rng.integers(1, 4))):
        _dish(scene, scene.place(0, 0.8), rng.uniform(0.12, 0.2) * side, scene.grey(0.15, 0.55))
    if rng.random() < 0.5:
        _pan(scene, scene.place(0.25, 0.7), rng.uniform(0.11, 0.17) * side)
    for _ in range(int(rng.integers(1, 4))):
        at = scene.place(0.25, 0.7)
        _egg(scene, at, rng.uniform(0.025, 0.05) * side)
        if rng.random() < 0.4:
            _arm(scene, (at[0] + 0.03 * side, at[1]), 0.06 * side)


def _single(scene: Scene) -> None:
    """One egg on a dark plain ground, lit from a side."""
    rng, side = scene.rng, scene.side
    fall = np.linspace(1.3, 0.6, scene.size[0])[:: int(rng.choice([-1, 1])), None]
    ground = scene.grey(0.1, 0.3) * (fall * (1 + 0.04 * optics.clouds(rng, scene.size, 6)))[..., None]
    scene.colours[:] = ground
    for _ in range(int(rng.integers(0, 4))):
        _clutter(scene, (rng.uniform(0, 0.2) * scene.size[0], rng.uniform(0, 1) * scene.size[1]), 0.12 * side)
    if rng.random() < 0.9:
        _egg(scene, scene.place(0.35, 0.7), rng.uniform(0.1, 0.19) * side)
    if rng.random() < 0.3:
        _arm(scene, scene.place(0.1, 0.4), 0.1 * side)


def _egg(scene: Scene, at: Point, size: float, round: float | None = None) -> None:
    rng = scene.rng
    slim = round or rng.uniform(0.72, 0.84)
    shape = ellipse(scene.size, at, (size, slim * size), rng.uniform(0, 2 * np.pi), blunt=0.12)
    dome = np.sqrt(np.clip(1 - shape.along**2 - shape.across**2, 0, 1))
    light = np.array(at)[:, None, None] + np.array([-0.35, -0.3])[:, None, None] * size
    rows, columns = np.ogrid[: scene.size[0], : scene.size[1]]
    far = ((rows - light[0]) ** 2 + (columns - light[1]) ** 2) / size**2
    shade = 0.62 + 0.3 * dome + 0.16 * np.exp(-far / 0.5)
    glare = rng.uniform(0.05, 0.35) * np.exp(-far / 0.04)
    shell = scene.pick(SHELLS)
    paint(scene.colours, shape, shell * shade[..., None] + glare[..., None], max(1.0, 0.22 * size))
    scene.labels[shape.depth > 0] = scene.labels.max() + 1


def _pan(scene: Scene, at: Point, size: float) -> None:
    """A pan with its handle, now and then with a fried egg in it."""
    rng, number = scene.rng, scene.labels.max() + 1
    colour, turn = scene.grey(0.06, 0.2), rng.uniform(0, 2 * np.pi)
    tip = (at[0] + 2.1 * size * np.sin(turn), at[1] + 2.1 * size * np.cos(turn))
    handle = stroke(scene.size, at, tip, (0.13 * size, 0.16 * size))
    paint(scene.colours, handle, colour * (1.15 - 0.3 * abs(handle.across))[..., None], 0.12 * size)
    body = ellipse(scene.size, at, (size, rng.uniform(0.9, 1.0) * size), 0)
    radius = np.hypot(body.along, body.across)
    rim = 0.5 * np.exp(-(((radius - 0.95) / 0.05) ** 2)) - 0.25 * np.exp(-(((radius - 0.83) / 0.07) ** 2))
    floor = rng.uniform(0.0, 1.2) * (radius < 0.78) * (0.7 + 0.5 * body.across - 0.3 * body.along)
    paint(scene.colours, body, np.clip(colour * (1 + rim + floor)[..., None], 0, 1), 0.15 * size)
    if rng.random() < 0.25:
        white = ellipse(scene.size, at, (0.5 * size, 0.4 * size), rng.uniform(0, np.pi), 0.3)
        paint(scene.colours, white, np.array([0.95, 0.93, 0.86]))
        paint(scene.colours, ellipse(scene.size, at, (0.17 * size,) * 2, 0), np.array([0.95, 0.7, 0.15]))
    scene.labels[(body.depth > 0) | (handle.depth > 0)] = number


def _arm(scene: Scene, hand: Point, wide: float) -> None:
    """A sleeve, an arm and a hand that reach in from the lower edge; what they cover is no foreground."""
    rng = scene.rng
    far = (scene.size[0] * rng.uniform(1.0, 1.3), scene.size[1] * rng.uniform(0, 1))
    wrist = (hand[0] + 0.16 * (far[0] - hand[0]), hand[1] + 0.16 * (far[1] - hand[1]))
    elbow = (hand[0] + 0.6 * (far[0] - hand[0]), hand[1] + 0.6 * (far[1] - hand[1]))
    skin = scene.pick(SKIN)
    turn = np.arctan2(hand[0] - wrist[0], hand[1] - wrist[1])
    parts = [stroke(scene.size, elbow, wrist, (1.2 * wide, 0.75 * wide)), ellipse(scene.size, wrist, (wide, wide), 0)]
    for finger in np.linspace(-0.6, 0.6, 4):
        length = np.hypot(hand[0] - wrist[0], hand[1] - wrist[1]) * rng.uniform(0.75, 1.0)
        end = (wrist[0] + length * np.sin(turn + finger), wrist[1] + length * np.cos(turn + finger))
        parts.append(stroke(scene.size, wrist, end, (0.45 * wide, 0.24 * wide)))
    sleeve = stroke(scene.size, far, elbow, (1.7 * wide, 1.4 * wide))
    for part, colour in [*((part, skin) for part in parts), (sleeve, scene.grey(0.05, 0.4))]:
        paint(scene.colours, part, colour * (1.05 - 0.35 * np.clip(part.across, -1, 1) ** 2)[..., None], 0.25 * wide)
        scene.labels[part.depth > 0] = 0


def _clutter(scene: Scene, at: Point, size: float) -> None:
    """A jar, a box, a bottle, a cable or a cloth: shapes of the table's other things."""
    rng, colour = scene.rng, scene.grey()
    kind = rng.choice(["jar", "box", "bottle", "cable", "cloth"], p=[0.25, 0.35, 0.2, 0.1, 0.1])
    if rng.random() < 0.15:
        colour = np.clip(rng.uniform(0, 1, 3), 0.05, 0.95)
    turn, other = rng.uniform(0, np.pi), scene.place(0, 1)
    if kind == "jar":
        return _dish(scene, at, 0.7 * size, colour)
    if kind == "cable":
        return paint(scene.colours, stroke(scene.size, at, other, (1.2, 1.2)), scene.grey(0, 0.2), 1)
    if kind == "bottle":
        end = (at[0] + size * np.sin(turn), at[1] + size * np.cos(turn))
        shape = stroke(scene.size, at, end, (0.3 * size, 0.15 * size))
        return paint(scene.colours, shape, colour * (1.1 - 0.4 * abs(shape.across))[..., None], 0.15 * size)
    shape = box(scene.size, at, (size, rng.uniform(0.35, 0.9) * size), turn)
    pattern = 1 + 0.1 * shape.along
    if kind == "cloth":
        pattern = pattern + 0.3 * np.sign(np.sin(9 * shape.along)) * np.sign(np.sin(7 * shape.across))
    paint(scene.colours, shape, np.clip(colour * pattern[..., None], 0, 1), 0.12 * size)


def _dish(scene: Scene, at: Point, radius: float, colour: np.ndarray) -> None:
    """A plate, a pot or a lid from above: rings of light and shade."""
    shape = ellipse(scene.size, at, (radius, scene.rng.uniform(0.85, 1.0) * radius), 0)
    out = np.hypot(shape.along, shape.across)
    rim = 0.12 * np.exp(-(((out - 0.93) / 0.05) ** 2)) - 0.16 * np.exp(-(((out - 0.7) / 0.06) ** 2))
    shade = 1 + rim - 0.08 * shape.along - 0.08 * shape.across
    paint(scene.colours, shape, np.clip(colour * shade[..., None], 0, 1), 0.1 * radius)


def _hob(scene: Scene, at: Point, size: float) -> None:
    """A white electric plate: a dark disc that is no pan."""
    paint(
        scene.colours, box(scene.size, at, (size, 0.9 * size), scene.rng.normal(0.05, 0.08)), scene.grey(0.8, 0.95), 4
    )
    _dish(scene, (at[0], at[1] - 0.1 * size), 0.6 * size, scene.grey(0.03, 0.1))


def _tag(scene: Scene, at: Point, size: float) -> None:
    """A white square with a black pattern, as cameras are calibrated by."""
    shape = box(scene.size, at, (size, size), scene.rng.normal(0, 0.3))
    cells = scene.rng.integers(0, 2, (6, 6))
    cells[[0, -1]], cells[:, [0, -1]] = 1, 1
    ink = cells[tuple(np.clip(((part / 0.8 + 1) * 3).astype(int), 0, 5) for part in (shape.across, shape.along))]
    black = ink * (np.maximum(abs(shape.along), abs(shape.across)) < 0.8)
    paint(scene.colours, shape, (0.95 - 0.88 * black)[..., None] * np.ones(3))


def _grain(scene: Scene, colour: np.ndarray) -> None:
    """Fills the picture with wood."""
    fibres = ndimage.gaussian_filter(scene.rng.normal(0, 1, scene.size), (0.8, 25))
    pattern = 0.05 * fibres / fibres.std() + 0.06 * optics.clouds(scene.rng, scene.size, 50)
    scene.colours[:] = colour * (1 + pattern)[..., None]
