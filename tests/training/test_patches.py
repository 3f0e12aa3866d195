"""Patches: which are drawn, and what is cut."""

from pathlib import Path

import numpy as np
import pytest

from unetlab.data.ragged import Ragged
from unetlab.images.view import mirrored
from unetlab.models.scratch import scratch_unet
from unetlab.setup import Recipe
from unetlab.training.batches import PatchBatches, batches_of
from unetlab.training.fit import fit
from unetlab.training.patches import FOREGROUND, Patch, Sampler, covering, cut

RECIPE = Recipe(image_size=32, channels=1, epochs=2, batch_size=4, view="patches", model={"filters": 2, "depth": 2})


def corner(height, width, side=8):
    """A mask that is foreground in one corner."""
    mask = np.zeros((height, width, 1), np.uint8)
    mask[:side, :side] = 1
    return mask


def images_of(masks):
    return [(mask * 150 + 20).astype(np.uint8) for mask in masks]


def test_a_third_of_the_patches_is_laid_around_foreground():
    sampler = Sampler([corner(200, 200)], np.array([0]), 0)
    drawn = sampler.draw(3000, 0.0, np.random.default_rng(0))
    inside = np.mean([patch.y < 8 and patch.x < 8 for patch in drawn])
    assert inside == pytest.approx(FOREGROUND, abs=0.03)


def test_a_large_image_is_drawn_more_often_than_a_small_one_but_not_by_its_pixels():
    sampler = Sampler([corner(40, 40), corner(160, 160)], np.array([0, 1]), 0)
    rows = [patch.row for patch in sampler.draw(4000, 0.0, np.random.default_rng(0))]
    assert np.mean(rows) == pytest.approx(4 / 5, abs=0.03)  # 16 times the pixels, 4 times as often


def test_a_patch_lies_within_the_image_where_there_is_room():
    image = np.arange(50 * 40, dtype=np.uint16).reshape(50, 40, 1).astype(np.uint8)
    assert np.array_equal(cut(image, Patch(0, 0, 39, 1.0), 32, nearest=True), image[:32, 8:])
    assert np.array_equal(cut(image, Patch(0, 25, 20, 1.0), 32, nearest=False), image[9:41, 4:36])


def test_a_small_image_is_mirrored_to_size():
    image = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)
    found = cut(image, Patch(0, 1, 1, 1.0), 8, nearest=True)
    assert np.array_equal(found, image[mirrored(2, 8)[:, None], mirrored(3, 8)])


def test_enlarged_masks_keep_their_values():
    mask = np.random.default_rng(0).choice(np.array([0, 1, 2, 200], np.uint8), (64, 64, 2))
    for zoom in (0.5, 0.77, 1.3, 2.0):
        found = cut(mask, Patch(0, 30, 30, zoom), 32, nearest=True)
        assert found.shape == (32, 32, 2) and set(np.unique(found)) <= {0, 1, 2, 200}


def test_an_epoch_shows_as_many_pixels_as_there_are_unless_told():
    masks = [corner(64, 64), corner(20, 20)]
    assert covering(np.array([[64, 64], [20, 20]]), 32) == 5
    batches = PatchBatches(images_of(masks), masks, np.array([0, 1]), RECIPE, 0, training=True)
    assert sum(len(batches[i][0]) for i in range(len(batches))) == 5
    told = PatchBatches(images_of(masks), masks, np.array([0, 1]), RECIPE.changed({"draws": 9}), 0, training=True)
    assert sum(len(told[i][0]) for i in range(len(told))) == 9


def test_image_and_mask_are_cut_alike_and_epochs_differ():
    masks = [corner(60, 80), corner(100, 50)]
    recipe = RECIPE.changed({"scale_jitter": 0.5, "flips": "both", "quarter_turns": True, "draws": 16})
    batches = batches_of(images_of(masks), masks, np.array([0, 1]), recipe, 3, training=True)
    first = [batches[i] for i in range(len(batches))]
    for images, targets in first:
        assert images.dtype == targets.dtype == np.float32 and targets.shape[1:] == (32, 32, 1)
        assert np.abs((images > 0.35) == targets).mean() > 0.97  # an enlarged edge is soft in the image
    batches.on_epoch_end()
    assert not np.array_equal(batches[0][0], first[0][0])
    again = batches_of(images_of(masks), masks, np.array([0, 1]), recipe, 3, training=True)
    assert all(np.array_equal(again[i][0], first[i][0]) for i in range(len(again)))


def test_patches_are_stretched_by_the_levels_of_their_image():
    image = np.zeros((64, 64, 1), np.uint8)
    image[:32] = 100  # the lower half alone is dark: its own percentiles would make noise of it
    recipe = RECIPE.changed({"normalise": "percentile", "draws": 40})
    batches = PatchBatches([image], [corner(64, 64)], np.array([0]), recipe, 0, training=True)
    assert {float(v) for i in range(len(batches)) for v in np.unique(batches[i][0])} == {0.0, 1.0}


@pytest.mark.parametrize("objects", [pytest.param("components", marks=pytest.mark.slow), "border"])
def test_a_network_learns_from_patches(objects):
    rng = np.random.default_rng(0)
    images, masks = [], []
    for size in (48, 64, 80, 40):
        mask = np.zeros((size, size, 1 if objects == "components" else 2), np.uint8)
        mask[8:24, 8:30, 0] = 1
        mask[8:24, 18:20, 1:] = 255
        images.append((mask[..., :1] * 120 + rng.integers(0, 60, (size, size, 1))).astype(np.uint8))
        masks.append(mask)
    recipe = RECIPE.changed({"objects": objects, "learning_rate": 1e-2, "draws": 64, "epochs": 6, "loss": "bce_dice"})
    fitted = fit(scratch_unet, recipe, images, masks, np.arange(3), np.arange(3, 4), seed=0, precision="float32")
    assert fitted.history["val_dice"].iloc[-1] > 0.7 > fitted.history["val_dice"].iloc[0]
    assert fitted.model.output_shape == (None, None, None, 1 if objects == "components" else 2)
    assert fitted.model(np.zeros((1, 96, 64, 1), np.float32)).shape[1:3] == (96, 64)


def test_patches_come_in_all_eight_symmetries_where_the_recipe_has_them():
    image, mask = images_of([corner(32, 32)]), [corner(32, 32)]
    recipe = RECIPE.changed({"symmetries": True})
    batches = PatchBatches(image, mask, np.array([0]), recipe, 0, training=True)
    drawn = [batches[i] for i in range(len(batches))]
    assert sum(len(images) for images, _ in drawn) == 8
    corners = {tuple(np.argwhere(target[..., 0])[0]) for _, targets in drawn for target in targets}
    assert len(corners) > 2 and all(np.array_equal(images > 0.35, targets) for images, targets in drawn)
    assert len(PatchBatches(image, mask, np.array([0]), recipe, 0, training=False)) == 1


def test_validation_looks_at_no_more_patches_than_an_epoch_draws():
    masks = [corner(200, 200)]
    batches = PatchBatches(images_of(masks), masks, np.array([0]), RECIPE.changed({"draws": 6}), 0, training=False)
    assert batches.count == 6 < covering(np.array([[200, 200]]), 32)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux says what a process holds")
def test_drawing_patches_does_not_map_all_images_at_once(tmp_path):
    def resident():
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("RssFile")) / 1024

    sizes = np.full((256, 2), 256)
    for name, channels in (("images", 3), ("masks", 1)):
        flat = np.lib.format.open_memmap(tmp_path / f"{name}.npy", "w+", np.uint8, (256 * 256 * 256 * channels,))
        flat[::3] = 1
        flat.flush()
        del flat
    flats = [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("images", "masks")]
    images, masks = (Ragged(flat, sizes, channels) for flat, channels in zip(flats, (3, 1), strict=True))
    before = resident()
    recipe = RECIPE.changed({"channels": 3, "normalise": "percentile"})
    batches = batches_of(images, masks, np.arange(256), recipe, 0, training=True)
    assert resident() - before < 20 and len(batches.levels) == 256  # of 64 MB
