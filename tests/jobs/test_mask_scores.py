"""One mask: how its objects are parted, as validation says, and what symmetries gain, by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
from conftest import write_pairs
from tiny_setup import RECIPE

from unetlab.data import open_dataset
from unetlab.inference.predict import Maps
from unetlab.jobs import final, mask_scores

Y, X = np.mgrid[:60, :60]
TWO = [(Y - 30) ** 2 + (X - middle) ** 2 < 144 for middle in (19, 41)]  # discs that touch
DISCS = np.where(TWO[0], 1, np.where(TWO[1], 2, 0))
HALVES = np.where((abs(Y - 30) < 12) & (abs(X - 30) < 20), 1 + (X >= 30), 0)  # of a square, which has no neck
WAIST = (DISCS > 0).astype(int)  # one thing that only looks like two
NONE = np.zeros((60, 60), np.float32)
STRIPES = (X % 8 < 3).astype(np.float32)  # of a head that has learnt nothing
MIDDLE = (abs(X - 29.5) < 2).astype(np.float32)


@pytest.mark.parametrize(
    ("truth", "head", "asked", "chosen"),
    [
        (HALVES, MIDDLE, "border", "border"),  # nothing else knows of the line between them
        (DISCS, STRIPES, "border", "watershed"),
        (DISCS, NONE, "watershed", "watershed"),
        (WAIST, STRIPES, "border", "components"),
        (WAIST, NONE, "watershed", "components"),
        (DISCS, MIDDLE, "border", "watershed"),  # of equals the plainer
        (DISCS, NONE, "components", "components"),  # which validation is not asked about
    ],
)
def test_objects_are_parted_as_validation_says(truth, head, asked, chosen):
    data = SimpleNamespace(
        objects=lambda row: truth, known=lambda row: np.ones(truth.shape, bool), sizes=np.array([truth.shape] * 2)
    )
    maps = Maps(np.stack([(truth > 0) * np.float32(0.9)] * 2), np.stack([head] * 2))
    recipe = RECIPE.changed({"objects": asked})
    found = mask_scores.with_objects(SimpleNamespace(dataset=data, made=False), recipe, maps, np.arange(2))
    assert found.objects == chosen
    assert mask_scores.with_objects(SimpleNamespace(dataset=data, made=True), recipe, maps, np.arange(2)) == recipe


def test_how_sure_of_an_object_to_be_is_what_leaves_out_what_is_none():
    truth = DISCS * (DISCS == 1)  # the other one the network is hardly sure of, and it is none
    data = SimpleNamespace(
        objects=lambda row: truth, known=lambda row: np.ones(truth.shape, bool), sizes=np.array([truth.shape])
    )
    sure = np.where(DISCS == 1, 0.9, np.where(DISCS == 2, 0.6, 0)).astype(np.float32)[None]
    recipe = RECIPE.changed({"objects": "watershed"})
    found = mask_scores.with_objects(SimpleNamespace(dataset=data, made=False), recipe, Maps(sure), np.arange(1))
    assert found.objects == "watershed" and 0.6 < found.confidence <= 0.9


@pytest.mark.parametrize(("right", "gains"), [(0.45, True), (0.05, False)])
def test_the_gain_of_symmetries_is_what_they_find_more_than_the_image_as_it_is(tmp_path, right, gains):
    """A network that answers 0.9 on the left and on the right what is below one half: the mean of mirror images finds
    all of a disc, or nothing."""
    data, rows = open_dataset(str(write_pairs(tmp_path / "pairs", n=6))), np.arange(6)
    recipe = RECIPE.changed({"image_size": 40, "tta": 4})

    def network(images):
        seen = images[..., :1] > 0.45  # noise above it is no more than a pixel here and there
        return np.where(np.arange(40)[:, None] < 20, np.float32(0.9), np.float32(right)) * seen

    bench = SimpleNamespace(
        truth=data,
        split=SimpleNamespace(test=rows),
        setup=SimpleNamespace(membranes=False),
        objective="native_dice",
        test_scenes=None,
    )
    trained = SimpleNamespace(served=recipe, val={"best_threshold": 0.5})
    table = mask_scores.score(bench, network, recipe, rows, data, 0.5).table
    found = final._without_symmetries(bench, network, trained, table)
    alone, whole = [], []
    for row in rows:
        seen, truth = data.image(row)[..., 0] > 0.45 * 255, data.objects(row) > 0
        left = seen & (np.arange(40) < 20)
        alone.append(2 * (left & truth).sum() / (left.sum() + truth.sum()))
        whole.append(2 * (seen & truth).sum() / (seen.sum() + truth.sum()))
    expected = np.mean(whole if gains else np.zeros(6)) - np.mean(alone)
    assert found["gain/of_tta"] == pytest.approx(expected) and (expected > 0.2 if gains else expected < -0.2)
    assert found["gain/of_tta_low"] <= found["gain/of_tta"] <= found["gain/of_tta_high"]
    plain = SimpleNamespace(served=recipe.changed({"tta": 0}), val=trained.val)
    assert final._without_symmetries(bench, network, plain, table) == {}
