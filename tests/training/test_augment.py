"""Image and mask are augmented together, and masks keep their two values."""

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


EVERY = {name: value for changes, *_ in PINNED for name, value in changes.items()}


@pytest.mark.parametrize(
    ("changes", "draw", "digest", "light", "area"), [*PINNED, (EVERY, 2407019644, "", 837569, 619)]
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


def test_every_change_has_switches_that_are_off_by_default_and_is_pinned():
    names = [name for change in CHANGES for name in change.switches]
    assert len(names) == len(set(names)) and set(names) == set(EVERY)
    assert not any(getattr(PLAIN, name) not in (0, False, "none") for name in names)
