"""From images to masks and objects, in both views: sizes, batches, the head, thresholds, symmetries."""

from types import SimpleNamespace

import numpy as np
import pytest

from unetlab.images import view
from unetlab.inference import predict, spool, tiles
from unetlab.inference.predict import Predictor, mask_at, thresholds

SIZES = [(40, 50), (1, 1), (50, 40), (40, 50), (64, 64), (3, 90), (40, 50), (700, 530)]


def recipe(**changes):
    own = {"image_size": 32, "channels": 1, "normalise": "scale", "threshold": 0.5, "view": "patches", "scale": 1.0}
    return SimpleNamespace(
        **{
            **own,
            "tta": 0,
            "objects": "components",
            "seeds": 0.0,
            "least_object": 0,
            "confidence": 0.0,
            "classes": 0,
            **changes,
        }
    )


def bright(images):
    """The mean of the channels, and as head its complement."""
    mean = images.mean(axis=-1)
    return np.stack([mean, 1 - mean], axis=-1).astype(np.float32)


def image_of(height, width, channels=1, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels)).astype(np.uint8)


def fitted(seen, sizes=SIZES):
    return [view.fitted(image_of(*size, seed=k), seen) for k, size in enumerate(sizes)]


@pytest.mark.parametrize("normalise", ["scale", "percentile"])
@pytest.mark.parametrize("seen", ["whole", "patches"])
def test_images_of_several_sizes_together_are_as_each_alone(seen, normalise):
    own = recipe(view=seen, normalise=normalise)
    predictor, images = Predictor(bright, own), fitted(own)
    together = predictor.maps(images)
    for k, image in enumerate(images):
        alone = predictor.maps([image])
        assert together.mask[k].shape == together.head[k].shape == image.shape[:2]
        np.testing.assert_allclose(together.mask[k], alone.mask[0], atol=1e-6)
        np.testing.assert_allclose(together.head[k], alone.head[0], atol=1e-6)


def test_images_of_one_size_are_seen_together_and_no_more_than_memory_holds(monkeypatch):
    asked = []

    def counting(images):
        asked.append(images.shape)
        return bright(images)

    own = recipe()
    Predictor(counting, own).maps(fitted(own, [(40, 50)] * 5 + [(64, 64)]))
    assert sorted(shape[0] for shape in asked) == [6]  # both are seen as 64 x 64
    asked.clear()
    monkeypatch.setattr(tiles, "BATCH_PIXELS", 2 * 64 * 64)
    Predictor(counting, own).maps(fitted(own, [(40, 50)] * 5))
    assert [shape[0] for shape in asked] == [2, 2, 1]


def test_only_the_rows_asked_for_are_seen_and_in_their_order():
    own = recipe()
    images = fitted(own)
    found = Predictor(bright, own).maps(images, np.array([5, 0]))
    assert [each.shape for each in found.mask] == [(3, 90), (40, 50)]
    np.testing.assert_allclose(found.mask[1], images[0][..., 0] / 255, atol=1e-6)


@pytest.mark.parametrize("seen", ["whole", "patches"])
def test_a_network_of_one_channel_has_no_head(seen):
    own = recipe(view=seen)
    maps = Predictor(lambda images: bright(images)[..., :1], own).maps(fitted(own))
    assert maps.head is None and maps.head_of(0) is None


def test_levels_and_mean_are_those_of_the_whole_image_and_of_no_tile():
    image = np.full((600, 1200, 1), 40, np.uint8)
    image[:, 600:] = 120
    image[100:110, 100:110], image[100:110, 700:710] = 80, 200
    own = recipe(normalise="percentile", threshold="mean")
    maps = Predictor(bright, own).maps([view.fitted(image, own)])
    assert maps.mask[0][300, 20] == 0 and maps.mask[0][300, 1180] == 1  # a tile alone would have stretched each half
    (cut,) = thresholds(maps.mask, own.threshold)
    assert cut == pytest.approx(maps.mask[0].mean()) and 0.4 < cut < 0.6
    (answer,) = Predictor(bright, own).answers([image])
    assert answer.mask[:, 600:].all() and not answer.mask[300, :600].any()


@pytest.mark.parametrize("seen", ["whole", "patches"])
def test_answers_have_the_images_own_sizes_and_a_threshold_can_be_given(seen):
    own = recipe(view=seen, scale=0.5)
    images = [image_of(*size, channels=3, seed=k) for k, size in enumerate(SIZES)]
    for image, answer in zip(images, Predictor(bright, own).answers(images), strict=True):
        assert answer.mask.shape == answer.labels.shape == image.shape[:2]
        assert answer.mask.dtype == bool and np.array_equal(answer.labels > 0, answer.mask)
    assert all(answer.mask.all() for answer in Predictor(bright, own).answers(images[:1], -0.1))
    assert not any(answer.mask.any() for answer in Predictor(bright, own).answers(images[:1], 1.0))


def test_objects_are_parted_by_the_head_at_the_images_own_size():
    image = np.zeros((60, 100, 1), np.uint8)
    image[10:50, 10:48], image[10:50, 52:90] = 255, 255
    image[10:50, 48:52] = 180  # foreground that the head calls border

    def network(images):
        seen = images[..., 0]
        return np.stack([seen, (np.abs(seen - 180 / 255) < 0.1).astype(np.float32)], axis=-1)

    counts = {}
    for how in ("components", "border"):
        (answer,) = Predictor(network, recipe(objects=how, scale=2.0)).answers([image])
        counts[how] = answer.labels.max()
        assert answer.mask[20, 20] and answer.mask[20, 50]
    assert counts == {"components": 1, "border": 2}


@pytest.mark.parametrize("tta", [4, 8])
@pytest.mark.parametrize("seen", ["whole", "patches"])
def test_symmetries_undo_what_a_network_shifts(seen, tta):
    def shifting(images):
        return np.roll(bright(images), 1, axis=2)

    own = recipe(view=seen)
    image = fitted(own, [(64, 64)])
    plain = Predictor(shifting, own).maps(image).mask[0]
    mean = Predictor(shifting, recipe(view=seen, tta=tta)).maps(image).mask[0]
    assert np.abs(plain - plain[:, ::-1]).max() > 0.1
    turned = [np.ascontiguousarray(image[0][:, ::-1])]
    mirrored = Predictor(shifting, recipe(view=seen, tta=tta)).maps(turned).mask[0]
    np.testing.assert_allclose(mirrored[:, ::-1], mean, atol=1e-6)


def test_a_map_is_resized_before_it_is_cut():
    probability = np.float32([[0.0, 1.0]])
    assert mask_at(probability, 0.5, (1, 4)).tolist() == [[False, False, True, True]]
    assert predict.thresholds([probability, probability / 2], "mean").tolist() == [0.5, 0.25]


@pytest.mark.parametrize("seen", ["whole", "patches"])
def test_answers_in_a_file_are_those_in_memory(seen, monkeypatch):
    own = recipe(view=seen)
    images = fitted(own)
    held = Predictor(bright, own).maps(images)
    monkeypatch.setattr(spool, "HELD", 1000)
    monkeypatch.setattr(predict, "WINDOW", 4000)  # a few images at a time
    found = Predictor(bright, own).maps(images)
    assert isinstance(held.mask, np.ndarray if seen == "whole" else list) and isinstance(found.mask, spool.Made)
    assert len(found.mask) == len(found.head) == len(images)
    for i in range(len(images)):
        np.testing.assert_allclose(found.mask[i], held.mask[i], atol=1e-6)
        np.testing.assert_allclose(found.head_of(i), held.head_of(i), atol=1e-6)
    plain = Predictor(lambda images: bright(images)[..., :1], own).maps(images)
    assert plain.head is None


@pytest.mark.parametrize("heads", [1, 2])
def test_a_large_image_is_answered_in_bands_as_one_in_one_piece(heads, monkeypatch):
    own = recipe(scale=0.7, objects="border" if heads > 1 else "components", normalise="percentile")
    images = [image_of(*size, seed=k) for k, size in enumerate([(40, 50), (700, 530), (60, 40)])]
    predictor = Predictor(lambda seen: bright(seen)[..., :heads], own)
    whole = predictor.answers(images)
    monkeypatch.setattr(predict, "IN_BANDS", 100_000)
    asked = []
    monkeypatch.setattr(
        predictor, "native_bands", lambda *told, real=predictor.native_bands: asked.append(1) or real(*told)
    )
    for one, other in zip(whole, predictor.answers(images), strict=True):
        assert np.mean(one.mask != other.mask) < 1e-4 and other.labels.dtype == np.int32
        assert np.array_equal(other.labels > 0, other.mask)
    assert len(asked) == 1
    predictor.answers(images, "mean")
    assert len(asked) == 1  # two looks would cost more than they save


def test_an_image_that_is_enlarged_is_counted_as_the_network_sees_it(monkeypatch):
    own = recipe(scale=4.0)
    images = [image_of(40, 50), image_of(150, 100, seed=1), image_of(50, 40, seed=2), image_of(30, 30, seed=3)]
    predictor = Predictor(bright, own)
    whole = predictor.answers(images)
    monkeypatch.setattr(predict, "IN_BANDS", 100_000)  # 15,000 pixels, which the network sees as 240,000
    monkeypatch.setattr(predict, "WINDOW", 60_000)
    banded, at_once = [], []
    bands, several = predictor.native_bands, predictor._answers_at_once
    monkeypatch.setattr(
        predictor, "native_bands", lambda image, *told: banded.append(image.shape) or bands(image, *told)
    )
    monkeypatch.setattr(
        predictor, "_answers_at_once", lambda some, *told: at_once.append(len(some)) or several(some, *told)
    )
    for one, other in zip(whole, predictor.answers(images), strict=True):
        assert np.mean(one.mask != other.mask) < 1e-3
    assert [shape[:2] for shape in banded] == [(150, 100)] and at_once == [2, 1]
    assert predict.most_pixels((40, 50), own) == 160 * 200
    assert (
        predict.most_pixels((40, 50), recipe(scale=0.5)) == predict.most_pixels((40, 50), recipe(view="whole")) == 2000
    )


def test_objects_it_is_not_sure_of_stay_in_the_mask_and_are_none(monkeypatch):
    image = np.zeros((64, 96, 1), np.uint8)
    image[8:24, 8:24], image[30:50, 30:50], image[10:60, 60:90] = 150, 200, 250
    sure = Predictor(bright, recipe(confidence=0.7))
    for banded in (False, True):
        monkeypatch.setattr(predict, "IN_BANDS", 1 if banded else 10**9)
        (answer,) = sure.answers([image])
        assert answer.mask.sum() == 16 * 16 + 20 * 20 + 50 * 30
        assert answer.labels.max() == 2 and not answer.labels[answer.mask & (image[..., 0] < 160)].any()
        # who asks for another threshold wants to see what is above it
        (asked,) = sure.answers([image], 0.51)
        assert asked.labels.max() == 3
        (asked,) = sure.answers([image], 0.5)  # its own
        assert asked.labels.max() == 2
        old = recipe()
        del old.confidence, old.least_object  # of a model that was logged before there were these
        (answer,) = Predictor(bright, old).answers([image])
        assert answer.labels.max() == 3
