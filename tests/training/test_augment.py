"""Image and mask are augmented together, masks keep their values, and a seed gives the same in every version."""

import hashlib

import numpy as np
import pytest
from small_batches import PLAIN, image_and_mask

from unetlab.training.augment import CHANGES, augment

AUGMENTATIONS = [
    {"flips": "horizontal"},
    {"flips": "both"},
    {"quarter_turns": True},
    {"invert": 1.0},
    {"brightness": 0.4},
    {"flips": "both", "quarter_turns": True, "invert": 0.5, "brightness": 0.4},
]


GEOMETRIC = AUGMENTATIONS[:3]
WARPS = [{"rotation": 20.0}, {"shift": 0.1}, {"shear": 10.0}, {"zoom": 0.2}]


@pytest.mark.parametrize("changes", AUGMENTATIONS, ids=str)
def test_masks_stay_binary_and_keep_their_area(changes):
    images, masks = image_and_mask()
    _, after = augment(images, masks, PLAIN.changed(changes), np.random.default_rng(1))
    assert set(np.unique(after)) == {0, 1}
    assert after.sum(axis=(1, 2, 3)).tolist() == masks.sum(axis=(1, 2, 3)).tolist()


@pytest.mark.parametrize("changes", GEOMETRIC, ids=str)
def test_image_and_mask_move_together(changes):
    images, masks = image_and_mask()
    moved, after = augment(images, masks, PLAIN.changed(changes), np.random.default_rng(1))
    assert np.array_equal(moved[..., :1], after * 200)
    assert not np.array_equal(after, masks)


@pytest.mark.parametrize("changes", [{"invert": 1.0}, {"brightness": 0.4}], ids=str)
def test_changes_of_light_leave_the_mask_alone(changes):
    images, masks = image_and_mask()
    lit, after = augment(images, masks, PLAIN.changed(changes), np.random.default_rng(1))
    assert np.array_equal(after, masks)
    assert not np.array_equal(lit, images)


def test_no_augmentation_changes_nothing():
    images, masks = image_and_mask()
    same, after = augment(images, masks, PLAIN, np.random.default_rng(1))
    assert np.array_equal(same, images) and np.array_equal(after, masks)


@pytest.mark.parametrize("changes", WARPS, ids=str)
def test_warps_move_image_and_mask_together_and_keep_two_values(changes):
    y, x = np.mgrid[:64, :64]
    masks = np.stack([((y - 30) ** 2 + (x - c) ** 2 < 150) for c in (22, 32, 42)]).astype(np.uint8)[..., None]
    images = np.repeat(masks * 200, 3, axis=3)
    moved, after = augment(images, masks, PLAIN.changed(changes), np.random.default_rng(1))
    assert set(np.unique(after)) == {0, 1} and not np.array_equal(after, masks)
    # linear against nearest: they may differ by half a pixel along the outline
    assert np.mean((moved[..., :1] > 100) != after) < 0.01


def test_warped_masks_keep_the_pixels_nobody_knows():
    images, masks = image_and_mask()
    masks[:, :8] = 2
    _, after = augment(images, masks, PLAIN.changed({"rotation": 30.0, "zoom": 0.2}), np.random.default_rng(1))
    assert set(np.unique(after)) == {0, 1, 2}


# changes, the random number drawn after them, a hash of image and mask, the sums of either
PINNED = [
    ({}, 2032329983, "f3217b5b083b94c9", 773879, 618),
    ({"flips": "horizontal"}, 2765224490, "f23d73c1d90c401c", 773879, 618),
    ({"flips": "both"}, 4195779083, "810d1ea181471379", 773879, 618),
    ({"quarter_turns": True}, 1070428841, "07c7a7ebf9b05269", 773879, 618),
    ({"rotation": 20.0}, 232488946, "", 774553, 613),
    ({"shift": 0.1}, 232488946, "", 774574, 615),
    ({"shear": 10.0}, 232488946, "", 773886, 625),
    ({"zoom": 0.2}, 232488946, "", 771148, 586),
    ({"invert": 0.5}, 2765224490, "bdd38ba10a7033c7", 781147, 618),
    ({"brightness": 0.4}, 4195779083, "", 815147, 618),
]


PUBLISHED = {name: value for changes, *_ in PINNED for name, value in changes.items()}


@pytest.mark.parametrize(
    ("changes", "draw", "digest", "light", "area"), [*PINNED, (PUBLISHED, 2407019644, "", 837569, 619)]
)
def test_a_seed_gives_the_same_images_and_uses_up_the_same_luck_in_every_version(changes, draw, digest, light, area):
    rng = np.random.default_rng(5)
    images = rng.integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
    masks = (rng.random((8, 16, 16, 1)) < 0.3).astype(np.uint8)
    rng = np.random.default_rng(1)
    changed, after = augment(images, masks, PLAIN.changed(changes), rng)
    assert int(rng.integers(1 << 32)) == draw
    # changes that round may differ by a last digit between processors, which is why those have sums and no hash
    assert not digest or hashlib.sha256(changed.tobytes() + after.tobytes()).hexdigest()[:16] == digest
    assert changed.sum(dtype=int) == pytest.approx(light, rel=1e-4)
    assert after.sum(dtype=int) == pytest.approx(area, abs=2)


# changes, hashes of images and masks: colour at 64 pixels a side, grey at 33
EXACT = [
    ({"flips": "both", "quarter_turns": True}, "2ef0ede524a630cb", "0ddeafb19adaa36f"),
    ({"rotation": 15.0, "shift": 0.1, "shear": 10.0, "zoom": 0.2}, "22cc13fed657bace", "7f8e69dae4ef5fdd"),
    ({"rotation": 0.5, "shift": 0.5, "shear": 0.5, "zoom": 0.5}, "4850e1c7da42c180", "9ebb636bab14bed9"),
    ({"rotation": 180.0}, "da39f0b6e5652ef7", "8f282b0f7762a8d7"),
    ({"shift": 0.3}, "36d2a4a44bf27406", "c7638c77dc42ba14"),
    ({"invert": 0.5, "brightness": 0.2}, "6dc61fbe330e7085", "9c14df8252dc4a72"),
    (
        {
            **{"flips": "both", "quarter_turns": True, "invert": 0.3, "brightness": 0.4},
            **{"rotation": 15.0, "shift": 0.1, "shear": 10.0, "zoom": 0.2},
        },
        "3ac508c7ff52ac0a",
        "4a9e6eec9f9ef474",
    ),
]


@pytest.mark.parametrize(("changes", "colour", "grey"), EXACT)
def test_what_published_recipes_change_is_the_same_to_the_last_pixel_in_every_version(changes, colour, grey):
    for digest, size, channels in ((colour, 64, 3), (grey, 33, 1)):
        rng = np.random.default_rng(7)
        images = rng.integers(0, 256, (6, size, size, channels), dtype=np.uint8)
        images[:3] //= 3
        masks = rng.integers(0, 3, (6, size, size, 1), dtype=np.uint8)
        changed, after = augment(images, masks, PLAIN.changed(changes), np.random.default_rng(11))
        assert hashlib.sha256(changed.tobytes() + after.tobytes()).hexdigest()[:16] == digest


NEW = {
    **{"scale_jitter": 0.4, "elastic": 0.05},
    **{"stain": 0.2, "colour": 0.1, "grey": 0.5, "gamma": 0.5, "blur": 1.5, "noise": 0.05},
}
MOVES = ("scale_jitter", "elastic")


@pytest.mark.parametrize("name", [name for name in NEW if name not in MOVES])
def test_a_change_of_light_leaves_what_it_is_given_and_is_the_same_for_a_seed(name):
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    image.setflags(write=False)
    recipe = PLAIN.changed({name: 1.0 if name == "grey" else NEW[name]})
    (change,) = [row.of for row in CHANGES if name in row.switches]
    mask = np.ones((16, 16, 2), np.uint8)
    lit, same = change(image, mask, recipe, np.random.default_rng(1))
    again, _ = change(image, mask, recipe, np.random.default_rng(1))
    other, _ = change(image[:, ::-1], mask, recipe, np.random.default_rng(1))
    assert lit.dtype == np.uint8 and lit.shape == image.shape and same is mask
    assert not np.array_equal(lit, image) and np.array_equal(lit, again)
    assert other.shape == image.shape


def test_all_changes_at_once_keep_shapes_dtypes_and_what_masks_may_be():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    masks = rng.choice([0, 100, 255], (8, 32, 32, 3)).astype(np.uint8)
    masks[..., 0] = rng.integers(0, 3, (8, 32, 32))
    before = images.copy(), masks.copy()
    changed, after = augment(images, masks, PLAIN.changed({**PUBLISHED, **NEW}), rng)
    assert (changed.shape, after.shape) == (images.shape, masks.shape) and changed.dtype == after.dtype == np.uint8
    assert set(np.unique(after[..., 0])) <= {0, 1, 2} and set(np.unique(after[..., 1:])) <= {0, 100, 255}
    assert np.array_equal(images, before[0]) and np.array_equal(masks, before[1])


def test_every_change_has_switches_that_are_off_by_default_and_is_tested():
    names = [name for change in CHANGES for name in change.switches]
    assert len(names) == len(set(names)) and set(names) == {*PUBLISHED, *NEW}
    assert not any(getattr(PLAIN, name) not in (0, False, "none") for name in names)
