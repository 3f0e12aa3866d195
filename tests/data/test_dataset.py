"""An opened data set: squeezed to a model's size, relabelled, and real."""

import numpy as np
import pytest

from unetlab.data import classes, dataset, open_dataset
from unetlab.setup import Recipe


def test_fitted_squeezes_images_and_keeps_masks_binary(pairs):
    data = open_dataset(str(pairs))
    images, masks = data.fitted(Recipe(image_size=32, channels=3, epochs=1, batch_size=1))
    assert images.shape == (12, 32, 32, 3) and images.dtype == np.uint8
    assert masks.shape == (12, 32, 32, 1) and set(np.unique(masks)) == {0, 1}
    native = np.mean([(data.labels(i) > 0).mean() for i in range(12)])
    assert masks.mean() == pytest.approx(native, abs=0.01)
    assert isinstance(images, np.memmap)


def test_images_relabelled_keep_their_pixels_and_know_what_nobody_knows(pairs):
    data = open_dataset(str(pairs))

    def label(image):
        found = (image[:, :, 0] > 110).astype(np.uint8)
        found[:4] = classes.UNKNOWN
        found[2:4] = classes.LEANING
        return found

    made = dataset.relabelled(data, "made", "bright 1", label)
    assert made.ids == data.ids and made.sha == data.sha and made.digest != data.digest and made.name == "made"
    assert not made.known(0)[:4].any() and made.known(0)[4:].all()
    rather = classes.rather_foreground(made.labels(0))
    assert not rather[:2].any() and rather[2:4].all()
    assert np.array_equal(made.labels(0)[4:] > 0, data.image(0)[4:, :, 0] > 110)
    masks = made.fitted(Recipe(image_size=40, channels=1, epochs=1, batch_size=1)).masks
    assert set(np.unique(masks)) == {0, 1, classes.UNKNOWN} and (masks[:, :4] == classes.UNKNOWN).all()
    again = dataset.relabelled(data, "made", "bright 1", lambda image: pytest.fail("labelled twice"))
    assert again.digest == made.digest
