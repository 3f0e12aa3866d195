"""What a served model answers: masks of the images' own size, in their order, and what it refuses."""

import io
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import tifffile
from conftest import blob, encoded, log_tiny
from mlflow.exceptions import MlflowException
from PIL import Image

from unetlab.images import codecs


def answers(info, *images: bytes, **params) -> pd.DataFrame:
    segmenter = mlflow.pyfunc.load_model(info.model_uri)
    return segmenter.predict(pd.DataFrame({"image": list(images)}), params=params or None)


@pytest.mark.parametrize(
    "image",
    [
        encoded(np.stack([blob(700, 1000)] * 3, 2)),
        encoded(blob(40, 50).astype(np.uint16) * 16, "TIFF"),
        encoded(blob(40, 50), mode="RGBA"),
        encoded(blob(40, 50), mode="P"),
        encoded(blob(33, 200), mode="1"),
        encoded(blob(40, 50), "BMP"),
        encoded(blob(160, 200), "JPEG"),
    ],
    ids=["RGB", "uint16 TIFF", "RGBA", "palette", "1 bit", "BMP", "JPEG"],
)
def test_any_mode_and_size_gives_a_mask_of_the_images_own_size(image, store):
    answer = answers(log_tiny(), image).iloc[0]
    mask = codecs.decode_mask(answer["mask"])
    truth = codecs.decode(image)[0].max(axis=2) > 127
    assert mask.shape == truth.shape
    assert (mask != truth).mean() < 0.04
    assert answer["object_count"] == 2
    assert answer["foreground_fraction"] == pytest.approx(mask.mean())


def test_more_images_than_a_batch_keep_their_order(store):
    sizes = [(30 + i, 60 - i) for i in range(19)]
    table = answers(log_tiny(), *(encoded(blob(*size)) for size in sizes))
    assert [codecs.decode_mask(mask).shape for mask in table["mask"]] == sizes


def test_threshold_is_the_models_own_unless_one_is_given(store):
    grey = encoded(np.full((20, 20), 140, np.uint8))  # probability 0.73
    info = log_tiny()
    assert answers(info, grey)["foreground_fraction"][0] == 1
    assert answers(info, grey, threshold=0.9)["foreground_fraction"][0] == 0
    assert answers(info, grey, threshold=-1.0)["foreground_fraction"][0] == 1
    assert answers(info, grey, threshold=1)["foreground_fraction"][0] == 0  # an int is safely a double
    with pytest.raises(MlflowException, match=r"threshold must lie in \[0, 1\].*Received: 1.5"):
        answers(info, grey, threshold=1.5)


def test_the_mean_threshold_follows_each_image(store):
    dim = encoded(blob(40, 50) // 3)
    assert answers(log_tiny(), dim)["object_count"][0] == 0
    assert answers(log_tiny(threshold="mean"), dim)["object_count"][0] == 2


def test_percentile_normalisation_and_one_channel(store):
    dim = encoded(np.stack([blob(40, 50) // 5] * 3, 2))
    assert answers(log_tiny(channels=1, normalise="percentile"), dim)["object_count"][0] == 2


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"hello", "not a PNG, JPEG, TIFF or BMP image"), (encoded(blob(40, 50))[:60], "truncated"), (b"", "not a PNG")],
)
def test_a_row_that_is_no_image_is_named_in_one_line(data, reason, store):
    with pytest.raises(MlflowException, match=f"^row 1: {reason}") as caught:
        answers(log_tiny(), encoded(blob(40, 50)), data)
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"
    assert "\n" not in caught.value.message


def test_a_stack_is_refused_unless_one_page_is_named(store):
    pages = io.BytesIO()
    tifffile.imwrite(pages, np.stack([blob(40, 50), np.zeros((40, 50), np.uint8)]), photometric="minisblack")
    info = log_tiny()
    with pytest.raises(
        MlflowException, match=r"^row 1: a stack of 2 pages.*send each page as a row, or name one"
    ) as caught:
        answers(info, encoded(blob(40, 50)), pages.getvalue())
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"
    assert [answers(info, pages.getvalue(), pages=page)["object_count"][0] for page in ("1", "2")] == [2, 0]
    channels = io.BytesIO()
    tifffile.imwrite(channels, np.zeros((5, 40, 50), np.uint8), imagej=True, metadata={"axes": "CYX"})
    with pytest.raises(MlflowException, match="row 0: it has 5 channels.*channels=1 or channels=1,2,3"):
        answers(info, channels.getvalue())
    assert answers(info, channels.getvalue(), channels="5")["object_count"][0] == 0


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (700, 1000), (40, 50), (1100, 600)])
@pytest.mark.parametrize("objects", ["components", "watershed"])
def test_a_model_of_patches_answers_images_of_any_size_with_mask_and_labels(store, size, objects):
    info = log_tiny(view="patches", objects=objects)
    answer = answers(info, encoded(blob(*size))).iloc[0]
    mask, labels = codecs.decode_mask(answer["mask"]), codecs.decode_labels(answer["labels"])
    assert np.array_equal(mask, blob(*size) > 127) and mask.shape == size
    with Image.open(io.BytesIO(answer["labels"])) as stored:
        assert stored.format == "PNG" and stored.mode.startswith("I;16")
    assert np.array_equal(labels > 0, mask)
    assert labels.max() == answer["object_count"] == (2 if mask.any() and min(size) > 1 else 0)


def test_a_model_of_patches_has_its_own_scale_and_symmetries(store):
    info = log_tiny(view="patches", scale=0.5, tta=8, channels=1)
    segmenter = mlflow.pyfunc.load_model(info.model_uri)
    assert segmenter.unwrap_python_model().predictor.recipe.tta == 8
    answer = answers(info, encoded(blob(300, 700)), encoded(blob(80, 33))).iloc[0]
    assert answer["object_count"] == 2
    assert (codecs.decode_mask(answer["mask"]) != (blob(300, 700) > 127)).mean() < 0.01


def test_a_view_that_the_code_does_not_know_is_told_as_the_model_loads(store):
    info = log_tiny(view="patches")
    folder = mlflow.artifacts.download_artifacts(info.model_uri)
    (settings,) = Path(folder).rglob("settings.json")
    settings.write_text(settings.read_text().replace('"patches"', '"spiral"'))
    with pytest.raises(MlflowException, match="looks at images in a view 'spiral', and this code knows whole, patches"):
        mlflow.pyfunc.load_model(folder)
