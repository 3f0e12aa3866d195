"""Each label maker finds plain objects, on dark, light and coloured ground, and never sees a mask."""

import numpy as np
import pytest

from unetlab import labels
from unetlab.labels import consensus

MAKERS = list(labels.MAKERS)


def _scene(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (96, 120, 1 or 3) with three disks and the bool mask of them."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:96, :120]
    mask = np.zeros((96, 120), bool)
    for cy, cx, r in ((30, 30, 13), (62, 84, 17), (28, 88, 10)):
        mask |= (y - cy) ** 2 + (x - cx) ** 2 < r**2
    if kind == "colour":
        image = np.where(mask[..., None], [225, 190, 70], [60, 90, 110]) + rng.normal(0, 6, (96, 120, 3))
    else:
        light, dark = (190, 40) if kind == "bright" else (30, 18) if kind == "dim" else (60, 200)
        image = np.where(mask, light, dark)[..., None] + rng.normal(0, 1 if kind == "dim" else 6, (96, 120, 1))
    return np.clip(image, 0, 255).astype(np.uint8), mask


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("kind", ["bright", "dark", "dim", "colour"])
@pytest.mark.parametrize("maker", MAKERS)
def test_plain_objects_are_found(maker, kind):
    image, mask = _scene(kind)
    found = labels.label(image, maker)
    assert found.shape == mask.shape and found.dtype == np.uint8 and set(np.unique(found)) <= {0, 1}
    assert _dice(found == 1, mask) > (0.8 if maker == "slic" else 0.9)  # superpixels are coarse at this size
    assert np.array_equal(found, labels.label(image, maker))


@pytest.mark.parametrize("kind", ["bright", "colour"])
def test_the_consensus_is_right_where_it_is_sure(kind):
    image, mask = _scene(kind)
    found = labels.label(image, "consensus")
    known = found != consensus.UNSURE
    assert known.mean() > 0.9 and _dice((found == 1) & known, mask & known) > 0.97
    assert _dice(labels.majority(image), mask) > 0.95


def test_disagreement_is_unsure():
    votes = [np.array([[vote]], dtype=bool) for vote in (1, 1, 1, 0, 0)]
    assert consensus.agreed(votes)[0, 0] == consensus.UNSURE and consensus.majority(votes)[0, 0]
    assert consensus.agreed([*votes[:3], votes[0], votes[4]])[0, 0] == 1


@pytest.mark.parametrize("maker", [*MAKERS, "consensus"])
@pytest.mark.parametrize("shape", [(40, 50, 1), (16, 16, 3)])
def test_flat_and_tiny_images_do_no_harm(maker, shape):
    blank = np.full(shape, 120, np.uint8)
    assert labels.flat(blank) and not labels.label(blank, maker).any()
    two = blank.copy()
    two[4:9, 4:9] = 250
    assert labels.label(two, maker).shape == shape[:2]
