"""How large objects are, and the scale at which they are seen."""

import numpy as np
import pytest

from unetlab.data.scale import LARGE, SMALL, objects_of, scale_for


class Labels:
    """Label images, as a data set has them."""

    learnt_classes, object_classes = 0, ()

    def __init__(self, *labels):
        self.each = labels

    def objects(self, i):
        return self.each[i]


def squares(side, count, size=100, specks=0):
    labels = np.zeros((size, size), np.uint16)
    for k in range(count):
        labels[(side + 1) * k : (side + 1) * k + side, :side] = k + 1
    for k in range(specks):
        labels[k * 2, -1] = count + k + 1
    return labels


def test_specks_do_not_make_the_typical_object():
    found = objects_of(Labels(squares(20, 4, specks=30)), [0])
    assert found.diameter == pytest.approx(2 * 20 / np.sqrt(np.pi))
    assert found.mean == 34 and found.touching == 0
    assert found.share == pytest.approx(found.diameter / 100)


def test_of_few_objects_none_is_a_speck():
    assert objects_of(Labels(squares(20, 4, specks=1)), [0]).least == 1
    assert objects_of(Labels(squares(9, 9), squares(8, 9)), [0, 1]).least == 64
    assert objects_of(Labels(*[squares(9, 9)] * 30, squares(3, 1)), range(31)).least == 81


def test_of_a_rare_small_class_no_object_is_a_speck():
    two = Labels(squares(6, 300, size=2200), squares(3, 2))
    assert objects_of(two, [0, 1]).least == 36
    two.learnt_classes = 2
    two.object_classes = (np.r_[0, np.full(300, 1)].astype(np.uint8), np.array([0, 2, 2], np.uint8))
    assert objects_of(two, [0, 1]).least == 9


def test_touching_is_the_share_of_images():
    together = np.repeat([[1, 2]], 4, axis=0).repeat(2, axis=1).astype(np.uint16)
    assert objects_of(Labels(together, squares(3, 2)), [0, 1]).touching == 0.5


def test_nothing_to_see_leaves_the_scale():
    empty = objects_of(Labels(np.zeros((5, 5), np.uint16)), [0])
    assert empty.diameter == empty.share == empty.mean == 0
    assert scale_for(empty.diameter) == 1


@pytest.mark.parametrize(
    ("diameter", "scale"), [(12, 1), (48, 1), (30, 1), (96, 0.5), (8, 1.5), (2, 2), (10_000, 1 / 16)]
)
def test_objects_come_to_lie_where_networks_see_them(diameter, scale):
    assert scale_for(diameter) == pytest.approx(scale)
    if 6 < diameter < 700:
        assert SMALL - 0.5 <= diameter * scale_for(diameter) <= LARGE + 0.5
