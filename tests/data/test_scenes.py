"""Scenes: what belongs together is joined, what does not stays apart."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy.ndimage import gaussian_filter

from unetlab.data import open_dataset
from unetlab.data.scenes import scenes_of
from unetlab.data.takes import telling
from unetlab.errors import UserError


def _field(rng, height, width=None):
    noise = gaussian_filter(rng.normal(0, 1, (height, width or height)), 1.5)
    return 120 + 30 * noise / noise.std()


def _open(folder, images, groups=None):
    (folder / "images").mkdir(parents=True)
    for name, image in images.items():
        Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(folder / "images" / f"{name}.png")
    if groups is not None:
        (folder / "groups.csv").write_text(groups)
    return open_dataset(str(folder))


def _alone(scenes):
    return len(np.unique(scenes.scene)) == len(scenes.scene)


def _tiles(names):
    """Four tiles of a field each."""
    rng, tiles = np.random.default_rng(0), {}
    for name in names:
        field = _field(rng, 192) + rng.normal(0, 2, (192, 192))
        tiles |= {f"{name}{y}{x}": field[96 * y :, 96 * x :][:96, :96] for y in range(2) for x in range(2)}
    return tiles


def test_tiles_of_a_field_are_one_scene_and_fields_are_not(tmp_path):
    tiles = _tiles("ab")
    scenes = scenes_of(_open(tmp_path / "d", tiles))
    assert scenes.scene.tolist() == [0] * 4 + [1] * 4
    assert {pair.kind for pair in scenes.joined} == {"tile"}


def test_tiles_of_more_than_8_bits_are_found_though_each_has_a_range_of_its_own(tmp_path):
    (tmp_path / "d").mkdir()
    rng = np.random.default_rng(3)
    for name, tile in _tiles("abc").items():
        values = tile.astype(np.uint16) * 20 + 300
        values[20:30, 20:30] += np.uint16(rng.integers(0, 20_000))  # what is bright in one tile alone
        tifffile.imwrite(tmp_path / "d" / f"{name}.tif", values)
    scenes = scenes_of(open_dataset(str(tmp_path / "d")))
    assert scenes.scene.tolist() == np.repeat(np.arange(3), 4).tolist()
    fields = [_field(rng, 96).astype(np.uint16) * 20 + rng.integers(0, 3000) for _ in range(40)]
    (tmp_path / "other").mkdir()
    for k, field in enumerate(fields):
        tifffile.imwrite(tmp_path / "other" / f"{k:02d}.tif", field.astype(np.uint16))
    assert _alone(scenes_of(open_dataset(str(tmp_path / "other"))))


def test_shifted_frames_are_one_take_and_copies_of_another_size_are_found(tmp_path):
    rng = np.random.default_rng(1)
    take, other = _field(rng, 140), _field(rng, 128)
    images = {f"f{k}": take[k : k + 128, 2 * k : 2 * k + 128] + rng.normal(0, 3, (128, 128)) for k in range(4)}
    images["x"] = other
    images["y"] = np.asarray(Image.fromarray(other.astype(np.uint8)).resize((96, 96)))
    scenes = scenes_of(_open(tmp_path / "d", images))
    assert scenes.scene.tolist() == [0] * 4 + [1] * 2
    assert {pair.kind for pair in scenes.joined} >= {"copy"}


TURNS = {"rot90": np.rot90, "rot180": lambda a: a[::-1, ::-1], "flip": np.fliplr, "t": np.transpose, "up": np.flipud}


@pytest.mark.parametrize("way", ["png", "jpeg", "dim"])
def test_copies_turned_or_flipped_are_one_scene(tmp_path, way):
    rng = np.random.default_rng(8)
    fields = {name: _field(rng, 96, 128) for name in "abcdef"}
    images = {}
    for name, field in fields.items():
        images[name] = field
        for turn, make in TURNS.items():
            buffer = io.BytesIO()
            Image.fromarray(np.clip(make(field), 0, 255).astype(np.uint8)).save(buffer, format="JPEG", quality=60)
            changed = {"png": make(field), "jpeg": np.asarray(Image.open(buffer)), "dim": make(field) * 0.7 + 10}
            images[f"{name}_{turn}"] = changed[way]
    data = _open(tmp_path / "d", images)
    scenes = scenes_of(data)
    of = dict(zip(data.ids, scenes.scene.tolist(), strict=True))
    assert all(of[f"{name}_{turn}"] == of[name] for name in fields for turn in TURNS) and len(set(of.values())) == 6
    assert {pair.kind for pair in scenes.joined} <= {"copy", "turned"}
    assert len(np.unique(scenes.copies([""] * len(data)))) == 6  # where blocks part a stack, they stay together too


def test_sections_of_something_round_are_no_copies_of_each_other(tmp_path):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1:1:128j, -1:1:128j]
    images = {}
    for number, z in enumerate(np.linspace(-0.7, 0.7, 40)):
        ball = 180 / (1 + np.exp(30 * (np.hypot(x - 0.1, y) - np.sqrt(0.64 - z**2))))
        images[f"z{number:02d}"] = 20 + ball + rng.normal(0, 8, x.shape)
    images["z40"] = np.clip(images["z11"], 0, 255)[::-1]  # but this is one
    scenes = scenes_of(_open(tmp_path / "d", images))
    assert "turned" in {pair.kind for pair in scenes.joined}
    copies = scenes.copies(["z"] * 41)
    assert len(np.unique(copies)) == 40 and copies[40] == copies[11]


def test_turned_copies_do_not_hide_that_tiles_go_on_in_each_other(tmp_path):
    tiles = _tiles("abcdef")
    tiles |= {f"flip_{name}": tile[:, ::-1] for name, tile in tiles.items()}
    scenes = scenes_of(_open(tmp_path / "d", tiles))
    assert scenes.scene.tolist() == np.repeat(np.arange(6), 4).tolist() * 2


def test_channels_of_one_plane_are_one_scene(tmp_path):
    rng = np.random.default_rng(9)
    (tmp_path / "d").mkdir()
    for name in ("x", "y"):
        planes = np.stack([_field(rng, 48) for _ in range(12)]).astype(np.uint8).reshape(2, 3, 2, 48, 48)
        tifffile.imwrite(tmp_path / "d" / f"{name}.tif", planes, imagej=True, metadata={"axes": "TZCYX"})
    data = open_dataset(str(tmp_path / "d"), channels="pages")
    assert data.ids[:3] == ("x-000", "x-001", "x-002")
    scenes = scenes_of(data)
    assert scenes.scene.tolist() == np.repeat(np.arange(12), 2).tolist()
    assert scenes.copies(["x"] * 12 + ["y"] * 12).tolist() == scenes.scene.tolist()
    assert _alone(scenes_of(open_dataset(str(tmp_path / "d"), channels="1")))


def test_different_fields_under_one_vignette_stay_apart(tmp_path):
    rng = np.random.default_rng(2)
    y, x = np.mgrid[-1:1:128j, -1:1:128j]
    light = 1 - 0.6 * (y**2 + x**2)
    assert _alone(scenes_of(_open(tmp_path / "d", {f"{k:02d}": _field(rng, 128) * light for k in range(40)})))


def test_blank_and_dim_images_are_not_all_one(tmp_path):
    rng = np.random.default_rng(3)
    images = {f"flat{k}": np.full((64, 64), 10 * k) for k in range(5)}
    images |= {f"noise{k}": 20 + rng.normal(0, 3, (64, 64)) for k in range(5)}
    images |= {f"dim{k}": _field(rng, 64) / 12 for k in range(5)}
    assert _alone(scenes_of(_open(tmp_path / "d", images)))


@pytest.mark.parametrize("size", [40, 128])
def test_disks_at_different_places_are_different_scenes(tmp_path, size):
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:size, :size]
    places = rng.permutation(np.mgrid[0.25:0.75:4j, 0.25:0.75:3j].reshape(2, 12).T) * size
    disks = [((y - cy) ** 2 + (x - cx) ** 2 < (size // 5) ** 2) * 130 for cy, cx in places]
    images = {f"cell{k:02d}": disk + rng.normal(50, 20, (size, size)) for k, disk in enumerate(disks)}
    assert _alone(scenes_of(_open(tmp_path / "d", images)))


def test_borders_that_look_alike_by_chance_join_next_to_nothing(tmp_path):
    rng = np.random.default_rng(6)
    y, x = np.mgrid[:128, :128]
    images = {}
    for k in range(120):
        blobs = np.zeros((128, 128))
        for cy, cx in rng.uniform(0, 128, (rng.integers(1, 40), 2)):
            a, b = rng.uniform(5, 14, 2)
            blobs = np.maximum(blobs, ((y - cy) / a) ** 2 + ((x - cx) / b) ** 2 < 1)
        images[f"{k:03d}"] = gaussian_filter(blobs * rng.uniform(60, 150), 1) + 20 + rng.normal(0, 4, (128, 128))
    assert len(np.unique(scenes_of(_open(tmp_path / "d", images)).scene)) >= 118


def _room(rng, colour):
    """Another view of a room: a few patches of its colours, each time elsewhere."""
    image = np.full((96, 96, 3), colour, float)
    for _ in range(6):
        cy, cx = rng.integers(0, 80, 2)
        image[cy : cy + 16, cx : cx + 16] = np.roll(colour, 1)
    return image + rng.normal(0, 2, image.shape)


def test_views_of_a_room_are_told_by_colours_and_the_order_of_names_where_colours_tell(tmp_path):
    rng = np.random.default_rng(7)
    rooms = [tuple(rng.permutation(np.linspace(20, 220, 5))[:3]) for _ in range(24)]
    rooms = list(dict.fromkeys(rooms))
    images = {f"frame_{3 * room + view}": _room(rng, rooms[room]) for room in range(len(rooms)) for view in range(3)}
    scenes = scenes_of(_open(tmp_path / "rooms", images))
    place = dict(zip(sorted(images), scenes.scene.tolist(), strict=True))
    assert all(len({place[f"frame_{3 * room + view}"] for view in range(3)}) == 1 for room in range(len(rooms)))
    assert len(set(place.values())) >= len(rooms) - 1
    stained = {f"frame_{k}": _room(rng, (200, 120, 180)) for k in range(20)}
    assert _alone(scenes_of(_open(tmp_path / "stain", stained)))


def test_pairs_to_compare_grow_with_the_number_of_images(tmp_path):
    rng = np.random.default_rng(4)
    for n in (60, 120):
        data = _open(tmp_path / str(n), {f"{k:03d}": _field(rng, 64) for k in range(n)})
        assert scenes_of(data).compared <= 22 * n


IMAGES = {name: _field(np.random.default_rng(k), 48) for k, name in enumerate("abcd")}


def test_groups_beside_the_images_or_named_or_off(tmp_path):
    data = _open(tmp_path / "d", IMAGES, "id,group\na,1\nb,1\nc,2\nd,3\n")
    assert scenes_of(data).scene.tolist() == [0, 0, 1, 2] and scenes_of(data).source == "groups.csv"
    (tmp_path / "own.csv").write_text("group,id\nx,a\ny,b\ny,c\nx,d\n")
    assert scenes_of(data, str(tmp_path / "own.csv")).scene.tolist() == [0, 1, 1, 0]
    assert _alone(scenes_of(data, "off"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,group\na,1\nb,1\nc,2\nd,3\ne,4\n", "names e, which d does not hold"),
        ("id,group\na,1\nb,1\nc,2\n", "no line for d"),
        ("id,group\na,1\na,2\nb,1\nc,2\nd,3\n", "has a twice"),
        ("name,group\na,1\n", "lacks the column id"),
        ("id;group\na;1\nb;2\n", "lacks the column group and id; separate its columns by commas, not semicolons"),
        ("id,group\na,1\nb,1\nc,1\nd,1\n", "leaves one scene, three sides need three"),
        ("id,group\na,\nb,1\nc,1\nd,1\n", "no group for a"),
    ],
)
def test_bad_groups_are_one_line(tmp_path, text, said):
    with pytest.raises(UserError, match=said) as caught:
        scenes_of(_open(tmp_path / "d", IMAGES, text))
    assert "\n" not in str(caught.value)


def test_grey_images_are_not_joined_by_what_colours_would_tell():
    grey, red = None, np.sqrt(np.array([1, 0], np.float16))
    blue = np.sqrt(np.array([0, 1], np.float16))
    assert not telling([grey] * 20, np.arange(20)) and not telling([grey] * 19 + [red], np.arange(20))
    assert telling([red, blue] * 10, np.array([0, 1] * 10))


def test_copies_are_those_pairs_that_are_copies(tmp_path):
    rng = np.random.default_rng(0)
    first, second = _field(rng, 96), _field(rng, 96)
    images = {"a": first, "b": second, "c": first + rng.normal(0, 1, first.shape), "d": np.roll(second, 6, axis=1)}
    found = scenes_of(_open(tmp_path / "d", images))
    assert found.scene.tolist() == [0, 1, 0, 1] and found.copies("abcd").tolist() == [0, 1, 0, 2]
    assert found.copies("aaaa").tolist() == [0, 1, 2, 3]  # neighbours of a stack may look like copies
    same = scenes_of(_open(tmp_path / "same", {"a": first, "b": second, "c": first}))
    assert same.copies("aaa").tolist() == [0, 1, 0]


def test_an_id_that_ends_in_a_blank_is_an_id(tmp_path):
    data = _open(tmp_path / "d", dict(zip(("a", "b ", "c", "d"), IMAGES.values(), strict=True)))
    assert "b " in data.ids
    (tmp_path / "g.csv").write_text("id,group\na ,1\nb ,1\nc,2\nd,3\n")
    assert scenes_of(data, str(tmp_path / "g.csv")).scene.tolist() == [0, 0, 1, 2]
