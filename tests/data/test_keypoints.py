"""Points: a view from elsewhere is told, what only looks alike or is written into every image is not."""

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from unetlab.data import open_dataset
from unetlab.data.keypoints import points, same_place
from unetlab.data.scenes import POINTS, scenes_of


def _place(seed, size=600, blobs=500):
    """A coloured place with things on it of many sizes, uint8 (size, size, 3)."""
    rng = np.random.default_rng(seed)
    picture = Image.new("RGB", (size, size), tuple(rng.integers(60, 200, 3)))
    draw = ImageDraw.Draw(picture)
    for _ in range(blobs):
        y, x, a, b = *rng.uniform(0, size, 2), *rng.uniform(6, 40, 2)
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape((x, y, x + a, y + b), fill=tuple(rng.integers(0, 255, 3)))
    soft = gaussian_filter(np.asarray(picture, float), (1, 1, 0))
    return np.clip(soft + rng.normal(0, 3, soft.shape), 0, 255).astype(np.uint8)


def _view(place, turn, zoom, side=256):
    """A square of the place's middle, turned by degrees and zoomed."""
    picture = Image.fromarray(place).rotate(turn, resample=Image.Resampling.BICUBIC)
    half, middle = side / zoom / 2, len(place) / 2
    return np.asarray(picture.crop((middle - half,) * 2 + (middle + half,) * 2).resize((side, side)))


def _dated(image):
    """With a date and a scale bar written into it."""
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 216, 256, 256), fill="black")
    draw.text((6, 218), "2017-03-08 14:15:16  HV 5 kV", fill="white", font_size=16)
    draw.text((6, 236), "50 um   x 2,000   lab 7", fill="white", font_size=16)
    draw.rectangle((190, 240, 250, 250), fill="white")
    return np.asarray(picture)


@pytest.mark.parametrize(("turn", "zoom"), [(35, 1.0), (0, 1.8), (90, 1.3), (-20, 0.7)])
def test_a_view_that_turned_or_came_closer_is_the_same_place(turn, zoom):
    place = _place(0)
    one, other = points(_view(place, 0, 1.0)), points(_view(place, turn, zoom))
    assert same_place(one, other) >= POINTS and same_place(other, one) >= POINTS


def test_other_places_are_not_even_if_the_same_is_written_into_each():
    plain = [points(_view(_place(seed), 0, 1.0)) for seed in range(6)]
    dated = [points(_dated(_view(_place(seed), 0, 1.0))) for seed in range(6)]
    for seen in (plain, dated):
        assert max(same_place(seen[i], seen[j]) for i in range(6) for j in range(i)) <= POINTS - 2


def test_nothing_or_a_grid_has_no_movement():
    nothing = points(np.full((64, 64, 1), 90, np.uint8))
    assert len(nothing.places) == 0 and same_place(nothing, nothing) == 0
    y, x = np.mgrid[:256, :256]
    grids = [np.uint8(80 + 90 * ((y + k) % 16 < 3) + 40 * ((x - k) % 16 < 3))[:, :, None] for k in (0, 5)]
    assert same_place(*map(points, grids)) < POINTS
    tiny = points(np.zeros((1, 7, 3), np.uint8))
    assert same_place(tiny, points(_view(_place(0), 0, 1.0))) == 0


def test_views_that_share_no_block_are_one_scene_and_dated_places_are_not(tmp_path):
    images = {f"view{k}": _view(_place(0), turn, zoom) for k, (turn, zoom) in enumerate([(0, 1.0), (70, 1.2)])}
    images |= {f"other{seed}": _dated(_view(_place(seed), 0, 1.0)) for seed in range(1, 7)}
    (tmp_path / "images").mkdir()
    for name, image in images.items():
        Image.fromarray(image).save(tmp_path / "images" / f"{name}.png")
    data = open_dataset(str(tmp_path))
    scenes = scenes_of(data)
    views = [i for i, name in enumerate(data.ids) if name.startswith("view")]
    assert scenes.scene[views[0]] == scenes.scene[views[1]] and len(np.unique(scenes.scene)) == 7
    assert [pair.kind for pair in scenes.joined] == ["points"]
