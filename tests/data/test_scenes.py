"""Scenes: what belongs together is joined, what does not stays apart."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from unetlab.data import open_dataset
from unetlab.data.scenes import scenes_of
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


def test_tiles_of_a_field_are_one_scene_and_fields_are_not(tmp_path):
    rng = np.random.default_rng(0)
    tiles = {}
    for name in "ab":
        field = _field(rng, 192) + rng.normal(0, 2, (192, 192))
        tiles |= {f"{name}{y}{x}": field[96 * y :, 96 * x :][:96, :96] for y in range(2) for x in range(2)}
    scenes = scenes_of(_open(tmp_path / "d", tiles))
    assert scenes.scene.tolist() == [0] * 4 + [1] * 4
    assert {pair.kind for pair in scenes.joined} == {"tile"}


def test_shifted_frames_are_one_take_and_copies_of_another_size_are_found(tmp_path):
    rng = np.random.default_rng(1)
    take, other = _field(rng, 140), _field(rng, 128)
    images = {f"f{k}": take[k : k + 128, 2 * k : 2 * k + 128] + rng.normal(0, 3, (128, 128)) for k in range(4)}
    images["x"] = other
    images["y"] = np.asarray(Image.fromarray(other.astype(np.uint8)).resize((96, 96)))
    scenes = scenes_of(_open(tmp_path / "d", images))
    assert scenes.scene.tolist() == [0] * 4 + [1] * 2
    assert {pair.kind for pair in scenes.joined} >= {"copy"}


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
        ("id,group\na,1\nb,1\nc,1\nd,1\n", "leaves one scene, three sides need three"),
        ("id,group\na,\nb,1\nc,1\nd,1\n", "no group for a"),
    ],
)
def test_bad_groups_are_one_line(tmp_path, text, said):
    with pytest.raises(UserError, match=said) as caught:
        scenes_of(_open(tmp_path / "d", IMAGES, text))
    assert "\n" not in str(caught.value)


def test_real_scenes(real_data):
    kitchen = open_dataset(str(real_data / "kitchen"))
    scenes = scenes_of(kitchen)
    sizes = np.bincount(scenes.scene)
    desk = [i for i, name in enumerate(kitchen.ids) if name.isdigit()]
    assert 30 <= len(sizes) <= 45 and sizes.max() == len(desk) == (scenes.scene[desk] == scenes.scene[desk[0]]).sum()
    nuclei = scenes_of(open_dataset(str(real_data / "stage1_train.zip")))
    assert Counter(pair.kind for pair in nuclei.joined)["tile"] >= 230 and np.bincount(nuclei.scene).max() <= 20
