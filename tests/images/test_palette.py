"""Colours of classes."""

import numpy as np
import pytest

from unetlab.images.palette import OKABE_ITO, colours


def test_background_is_black_and_classes_begin_with_the_table():
    found = colours(3)

    assert found.dtype == np.uint8 and found.shape == (4, 3)
    assert found[0].tolist() == [0, 0, 0]
    assert [tuple(row) for row in found[1:].tolist()] == list(OKABE_ITO[:3])


@pytest.mark.parametrize("k", [1, 7, 64])
def test_every_class_has_a_colour_of_its_own(k):
    assert len(np.unique(colours(k), axis=0)) == k + 1


def test_more_classes_change_no_colour():
    np.testing.assert_array_equal(colours(64)[:6], colours(5))
