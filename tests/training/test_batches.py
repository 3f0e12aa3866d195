"""Batches: each row once an epoch, the same for a seed, and unchanged in validation."""

import numpy as np
from small_batches import PLAIN, image_and_mask

from unetlab.training.batches import Batches


def test_the_same_seed_gives_the_same_batches_and_another_epoch_does_not():
    images, masks = image_and_mask()
    recipe = PLAIN.changed({"flips": "both", "brightness": 0.2})
    first, second = (Batches(images, masks, np.arange(32), recipe, seed=3, training=True) for _ in range(2))
    for (a, b), (c, d) in zip((first[i] for i in range(8)), (second[i] for i in range(8)), strict=True):
        assert np.array_equal(a, c) and np.array_equal(b, d)
    before = first[0][0]
    first.on_epoch_end()
    assert not np.array_equal(before, first[0][0])


def test_an_epoch_sees_every_row_once_and_the_last_batch_may_be_short():
    images, masks = image_and_mask(10)
    images[:, 0, 0, 0] = np.arange(10)
    batches = Batches(images, masks, np.arange(10), PLAIN, seed=0, training=True)
    assert len(batches) == 3
    seen = np.concatenate([batches[i][0][:, 0, 0, 0] for i in range(3)])
    assert sorted(np.rint(seen * 255).astype(int)) == list(range(10))
    assert batches[0][1].dtype == np.float32


def test_validation_batches_are_in_order_and_unchanged():
    images, masks = image_and_mask(6)
    recipe = PLAIN.changed({"flips": "both", "quarter_turns": True, "invert": 1.0})
    x, y = Batches(images, masks, np.arange(6), recipe, seed=0, training=False)[0]
    assert np.allclose(x, images[:4] / 255) and np.array_equal(y, masks[:4])


def test_symmetries_give_each_image_eight_times_an_epoch_with_its_mask():
    images, masks = image_and_mask(3)
    batches = Batches(images, masks, np.array([0, 2]), PLAIN.changed({"symmetries": True}), seed=0, training=True)
    assert len(batches) == 4
    x, y = (np.concatenate(parts) for parts in zip(*(batches[i] for i in range(4)), strict=True))
    assert np.allclose(x[..., :1] * 255, y * 200)
    assert len(np.unique(y.reshape(16, -1), axis=0)) == 16
    validation = Batches(images, masks, np.arange(3), PLAIN.changed({"symmetries": True}), seed=0, training=False)
    assert len(validation) == 1


def test_light_changes_an_image_that_is_stretched_too():
    rng = np.random.default_rng(0)
    images = rng.integers(80, 170, (1, 64, 64, 1)).astype(np.uint8)
    recipe = PLAIN.changed({"normalise": "percentile", "flips": "none"})

    def first(**changes):
        return Batches(images, images * 0, np.array([0]), recipe.changed(changes), 0, training=True)[0][0]

    assert np.abs(first(brightness=0.2) - first()).mean() > 0.01
    whole = Batches(images, images * 0, np.array([0]), recipe, 0, training=False)[0][0]
    assert np.abs(first() - whole).max() <= 0.5 / 255 + 1e-6  # as prediction has it, but for rounding


def test_an_epoch_of_so_many_draws_goes_on_where_the_one_before_ended():
    images, masks = image_and_mask(10)
    images[:, 0, 0, 0] = np.arange(10)
    recipe = PLAIN.changed({"draws": 4, "flips": "none"})
    batches, seen = Batches(images, masks, np.arange(10), recipe, seed=0, training=True), []
    for _ in range(5):
        assert len(batches) == 1
        seen += np.rint(batches[0][0][:, 0, 0, 0] * 255).astype(int).tolist()
        batches.on_epoch_end()
    assert len(set(seen[:8])) == len(set(seen[12:])) == 8 and sorted(seen) == sorted([*range(10)] * 2)
    assert seen[:8] != seen[12:]
    more = Batches(images, masks, np.arange(10), recipe.changed({"draws": 25}), seed=0, training=True)
    drawn = np.concatenate([more[i][0][:, 0, 0, 0] for i in range(len(more))])
    assert len(drawn) == 25 and np.bincount(np.rint(drawn * 255).astype(int)).min() == 2
    looks = [Batches(images, masks, np.arange(10), recipe, seed=0, training=False) for _ in range(2)]
    looks[1].on_epoch_end()
    assert [len(look.order) for look in looks] == [4, 4] and np.array_equal(looks[0].order, looks[1].order)
