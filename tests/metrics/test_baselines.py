"""Otsu's threshold on images whose answer is plain."""

import numpy as np
import pytest

from unetlab.images.otsu import otsu_mask
from unetlab.metrics import baselines


def square(ground: int, inside: int) -> tuple[np.ndarray, np.ndarray]:
    """A 6 x 8 grey image with a 3 x 3 square, and the square's mask."""
    image = np.full((6, 8, 1), ground, dtype=np.uint8)
    image[1:4, 2:5] = inside
    mask = np.zeros((6, 8), dtype=bool)
    mask[1:4, 2:5] = True
    return image, mask


@pytest.mark.parametrize(("ground", "inside"), [(20, 200), (200, 20), (3, 4), (0, 255)])
def test_foreground_is_the_smaller_side(ground, inside):
    image, mask = square(ground, inside)
    assert np.array_equal(otsu_mask(image), mask)


def test_of_equal_sides_the_brighter():
    image = np.array([[[10], [200]]] * 4, dtype=np.uint8)
    assert otsu_mask(image).tolist() == [[False, True]] * 4


@pytest.mark.parametrize("value", [0, 130, 255])
def test_flat_image_is_background(value):
    assert not otsu_mask(np.full((5, 5, 3), value, dtype=np.uint8)).any()


def test_colour_is_cut_by_luma():
    # Luma of pure green is 150, of pure blue 29: a green square on blue is bright.
    image = np.zeros((6, 8, 3), dtype=np.uint8)
    image[..., 2] = 255
    image[1:4, 2:5] = (0, 255, 0)
    assert np.array_equal(otsu_mask(image), square(0, 1)[1])


def membranes_like() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Two bright cells with a dark line between them, foreground the cells: more than half of the image."""
    image = np.full((6, 8, 1), 180, dtype=np.uint8)
    image[:, 4] = 40
    return [image, image + np.uint8(20)], [(image[:, :, 0] > 100).astype(np.uint16)] * 2


def test_polarity_is_the_side_that_fits_the_training_masks():
    images, labels = membranes_like()
    assert baselines.otsu_polarity(images, labels) == "bright"
    assert baselines.otsu_polarity(images, [1 - truth for truth in labels]) == "smaller"  # dark fits as well
    assert np.array_equal(otsu_mask(images[0], "bright"), labels[0] > 0)
    assert np.array_equal(otsu_mask(images[0], "dark"), labels[0] == 0)
    both = [square(20, 200), square(200, 20)]  # stains of either kind: no one side fits both
    assert baselines.otsu_polarity([image for image, _ in both], [mask for _, mask in both]) == "smaller"
    large_dark = np.where(square(0, 1)[0] > 0, np.uint8(200), np.uint8(20))
    assert baselines.otsu_polarity([large_dark], [large_dark[:, :, 0] < 100]) == "dark"
    assert not otsu_mask(np.full((5, 5, 1), 9, dtype=np.uint8), "dark").any()
    with pytest.raises(ValueError, match="one of smaller, bright, dark. Received: 'larger'"):
        otsu_mask(images[0], "larger")


def test_the_constant_answer_is_the_one_with_the_better_dice():
    _, labels = membranes_like()
    assert baselines.constant_answer(labels) == "foreground"
    small = square(0, 1)[1]
    assert baselines.constant_answer([small]) == "foreground"  # Dice 2 * 9 / (9 + 48), and nothing found has 0
    assert baselines.constant_answer([small, np.zeros((6, 8))]) == "background"  # (0 + 1) / 2 against 0.16
    assert (
        baselines.constant_mask("foreground", (2, 3)).all() and not baselines.constant_mask("background", (2, 3)).any()
    )


def test_large_sets_are_judged_by_images_from_end_to_end():
    rows = np.arange(1000, 2000)
    some = baselines.few(rows)
    assert len(set(some)) == baselines.MOST_IMAGES and (some[0], some[-1]) == (1000, 1999)
    assert baselines.few([4, 7]) == [4, 7]


def test_rivals_of_classes_are_one_class_for_all_and_otsu_taken_for_one():
    names = ("background", "eggs", "pans")
    bright, mask = square(20, 200)
    dark, _ = square(200, 20)
    pans, eggs = mask.astype(np.uint8) * 2, mask.astype(np.uint8)
    found = baselines.class_rivals([bright, bright, dark], [pans, pans, eggs], names)
    assert (found.otsu_class, found.constant, found.polarity) == ("pans", "pans", "smaller")
    assert found.tags() == {"otsu_polarity": "smaller", "constant_answer": "pans", "otsu_class": "pans"}
    alone = baselines.class_rivals([dark, dark], [eggs, eggs], names)
    assert (alone.otsu_class, alone.constant) == ("eggs", "eggs")
    assert "otsu_class" not in baselines.Rivals().tags()


def test_rivals_are_settled_where_labels_are_known():
    alone = np.zeros((10, 10), np.uint8)
    alone[:2, :2] = 1
    seen = np.zeros(alone.shape, bool)
    seen[:2, :3] = True
    nothing = np.zeros_like(alone)
    labels, there = [alone] * 7 + [nothing] * 3, [seen] * 10
    assert baselines.constant_answer(labels) == "background"
    assert baselines.constant_answer(labels, there) == "foreground"  # 0.7 * 0.8 against 0.3
    bright, dark = np.full((2, 10, 10, 1), 20, np.uint8)
    bright[:, 5:] = bright[:2] = 200  # the right half is known to nobody
    left, top = np.indices((10, 10))[1] < 5, np.indices((10, 10))[0] < 2
    dark[2:] = 200
    few = top & (np.arange(100).reshape(10, 10) < 7)
    truths, known = [top & left, few], [left, np.ones_like(left)]
    assert baselines.otsu_polarity([bright, dark], truths) == "smaller"  # 0.29 and 0, 0 and 0.52
    assert baselines.otsu_polarity([bright, dark], truths, known) == "bright"  # 1 and 0, 0 and 0.52
    names = ("background", "pans")
    found = baselines.class_rivals([bright] * 10, labels, names, there)
    assert found.constant == "pans" and baselines.class_rivals([bright] * 10, labels, names).constant == "background"
