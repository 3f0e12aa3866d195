"""Objects as files: what the table says of shapes known by hand, and label images that other readers read."""

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from unetlab.images import codecs
from unetlab.service.objects import COLUMNS, append_table, begin_tables, label_tiff, objects_table


def shapes() -> np.ndarray:
    """A pixel in the corner, a line, and a square that touches it; numbers with gaps."""
    labels = np.zeros((12, 15), np.int32)
    labels[0, 0], labels[4, 2:9], labels[5:9, 2:6] = 3, 5, 9
    return labels


def test_the_table_says_what_one_counts_by_hand():
    image = np.zeros((12, 15, 3), np.uint8)
    image[4, 2:9] = (255, 255, 255)
    image[5:9, 2:6] = (255, 0, 0)
    table = objects_table(shapes(), image)
    assert tuple(table.columns) == COLUMNS[1:]
    dot, line, square = table.to_dict("records")
    assert (dot["label"], dot["area"], dot["eccentricity"], dot["mean_intensity"]) == (3, 1, 0, 0)
    assert (line["label"], line["area"], line["centroid_row"], line["centroid_column"]) == (5, 7, 4, 5)
    assert (line["top"], line["left"], line["bottom"], line["right"]) == (4, 2, 5, 9)
    assert line["eccentricity"] == 1 and line["mean_intensity"] == 255
    assert (square["area"], square["eccentricity"]) == (16, 0)
    assert square["mean_intensity"] == 76  # the luma of pure red


@pytest.mark.parametrize("dtype", ["uint16", ">u2", "int16", "float32", "float64"])
@pytest.mark.parametrize("channels", [1, 3])
def test_intensities_are_those_of_the_file(dtype, channels):
    image = np.full((12, 15, channels), 30_000, dtype)
    image[4, 2:9] = 402
    found = objects_table(shapes(), image)["mean_intensity"]
    assert list(found) == pytest.approx([30_000, 402, 30_000])
    image[..., -1] = 0
    assert objects_table(shapes(), image)["mean_intensity"][1] == pytest.approx(402 * (0.886 if channels == 3 else 0))


def test_no_objects_make_a_table_of_no_rows_with_the_same_columns_and_kinds():
    nothing = objects_table(np.zeros((4, 4), np.int32), np.zeros((4, 4, 1), np.uint8))
    pd.testing.assert_series_equal(nothing.dtypes, objects_table(shapes(), np.zeros((12, 15, 1), np.uint8)).dtypes)
    assert len(nothing) == 0


def test_the_file_grows_image_by_image_and_replaces_an_older_one(tmp_path):
    for _ in range(2):
        begin_tables(tmp_path)
        append_table(tmp_path, "a", objects_table(shapes(), np.full((12, 15, 1), 7, np.uint8)))
        nothing = objects_table(np.zeros((4, 4), np.int32), np.zeros((4, 4, 1), np.uint8))
        append_table(tmp_path, "none, nothing", nothing)
        append_table(tmp_path, "b,c", objects_table(shapes()[:3], np.full((3, 15, 1), 8, np.uint8)))
    table = pd.read_csv(tmp_path / "objects.csv")
    assert tuple(table.columns) == COLUMNS
    assert table["image"].tolist() == ["a", "a", "a", "b,c"] and table["label"].tolist() == [3, 5, 9, 3]


@pytest.mark.parametrize(
    ("most", "dtype"), [(0, np.uint16), (300, np.uint16), (65_535, np.uint16), (70_000, np.uint32)]
)
def test_a_label_tiff_holds_every_object_whoever_reads_it(tmp_path, most, dtype):
    labels = np.zeros((300, 250), np.int32)
    labels.flat[: most + 1] = np.arange(most + 1)
    label_tiff(tmp_path / "a.tif", labels)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        page = file.pages[0]
        assert (
            page.dtype == dtype and page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE and page.shape == (300, 250)
        )
        assert file.is_imagej == (dtype is np.uint16)
        if file.is_imagej:
            assert file.imagej_metadata["max"] == max(most, 1)
        assert np.array_equal(page.asarray(), labels)
    if dtype is np.uint16:  # Pillow reads no unsigned integers of 32 bits
        with Image.open(tmp_path / "a.tif") as image:
            assert np.array_equal(np.asarray(image), labels)
    with codecs.open_pages(tmp_path / "a.tif") as opened:
        assert np.array_equal(opened.read(0)[:, :, 0], labels)


def test_a_label_tiff_of_few_objects_is_small(tmp_path):
    labels = np.kron(np.arange(1, 101).reshape(10, 10), np.ones((100, 100), int))
    label_tiff(tmp_path / "a.tif", labels)
    assert (tmp_path / "a.tif").stat().st_size < 0.02 * 2 * labels.size
