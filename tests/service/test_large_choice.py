"""Channels and pages of images too large for memory."""

import numpy as np
import pandas as pd
import pytest
import tifffile
from conftest import log_tiny

from unetlab.errors import UserError
from unetlab.images import rows
from unetlab.service.predict import predict_folder


@pytest.fixture
def small(monkeypatch):
    """All that is large comes in small pieces."""
    monkeypatch.setattr(rows, "LARGE", 1000)
    monkeypatch.setattr(rows, "SPACE", 20_000)


def squares(seed):
    """uint8 (130, 150): bright squares here and there."""
    image, rng = np.zeros((130, 150), np.uint8), np.random.default_rng(seed)
    for y, x in rng.integers(0, 110, (9, 2)):
        image[y : y + 14, x : x + 14] = rng.integers(180, 255)
    return image


@pytest.mark.parametrize(
    ("channels", "pages"), [("1,2,3", "all"), ("", "1"), ("pages", "1-1"), ("2", "all"), ("3,2,1", "1")]
)
def test_channels_and_the_only_page_of_a_large_file_are_what_they_are_of_a_small_one(
    store, tmp_path, small, monkeypatch, channels, pages
):
    model = log_tiny(view="patches", image_size=64).model_uri
    image = np.stack([squares(seed) for seed in range(3)], axis=2).astype(np.uint16) * 30 + 400
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "a.tif", image, photometric="rgb")
    told = {"channels": channels, "pages": pages}
    found = predict_folder(model, tmp_path / "in", tmp_path / "large", **told)
    monkeypatch.setattr(rows, "LARGE", 10**6)
    whole = predict_folder(model, tmp_path / "in", tmp_path / "whole", **told)
    assert found["error"][0] == "" and (tmp_path / "large" / "masks" / "a.tif").exists()
    pd.testing.assert_frame_equal(found, whole, rtol=0.01)
    listed = (pd.read_csv(tmp_path / each / "objects.csv").sort_values(["top", "left"]) for each in ("large", "whole"))
    mean = next(listed)["mean_intensity"].to_numpy(), next(listed)["mean_intensity"].to_numpy()
    np.testing.assert_allclose(*mean, rtol=1e-3)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"channels": "4"}, "there is no channel 4"),
        ({"pages": "2"}, "pages=2: the file has 1 page"),
        ({"channels": "1,2"}, "2 channels"),
    ],
)
def test_what_a_large_file_has_not_is_one_line(store, tmp_path, small, told, said):
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "a.tif", np.zeros((60, 70, 3), np.uint8), photometric="rgb")
    with pytest.raises(UserError, match=said) as caught:
        predict_folder(log_tiny().model_uri, tmp_path / "in", tmp_path / "out", **told)
    assert "\n" not in str(caught.value)
