"""Which planes of a file are pages and which are channels, and what is no choice among them."""

import io

import numpy as np
import pytest
from PIL import Image
from small_tiffs import X, read, refused, stack, written


@pytest.mark.parametrize("kind", ["imagej", "ome", "shaped"])
@pytest.mark.parametrize("axes", ["ZYX", "TYX", "TZYX"])
def test_times_and_depths_are_pages(kind, axes):
    values = X[:4].reshape(2, 2, 20, 30) if len(axes) == 4 else X
    assert np.array_equal(read(stack(values, axes, kind))[..., 0], values.reshape(-1, 20, 30))


@pytest.mark.parametrize("kind", ["imagej", "ome", "shaped"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_channels_beside_pages_want_a_choice(kind, byteorder):
    values = np.random.default_rng(0).integers(0, 4000, (2, 3, 4, 9, 8)).astype(np.uint16)
    data = stack(values, "TZCYX", kind, byteorder=byteorder)
    said = refused(data)
    assert "6 pages of 4 channels each (T 2, Z 3, C 4)" in said and "channels=1 or channels=1,2,3" in said
    assert "pages=all" in said and "pages=1-10" in said
    assert np.array_equal(read(data, channels="2")[..., 0], values[:, :, 1].reshape(6, 9, 8))
    assert np.array_equal(read(data, channels="4", pages="2-3")[..., 0], values[0, 1:, 3])
    colours = np.moveaxis(values[:, :, [2, 0, 1]], 2, -1).reshape(6, 9, 8, 3)
    assert np.array_equal(read(data, channels="3,1,2"), colours)
    assert np.array_equal(read(data, channels="pages")[..., 0], values.reshape(24, 9, 8))


@pytest.mark.parametrize("kind", ["imagej", "ome", "shaped"])
@pytest.mark.parametrize("count", [2, 3, 5])
def test_one_and_three_channels_are_an_image_and_others_want_a_choice(kind, count):
    data = stack(X[:count], "CYX", kind)
    if count == 3:
        assert np.array_equal(read(data)[0], np.moveaxis(X[:3], 0, -1))
    else:
        assert f"it has {count} channels; an image is made of 1 or 3" in refused(data)
    assert np.array_equal(read(data, channels="2")[0, ..., 0], X[1])


@pytest.mark.parametrize("count", [2, 5])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_samples_of_a_pixel_are_no_pages_and_none_is_proposed(count, planar):
    values = np.moveaxis(X[:count], 0, -1) if planar == "contig" else X[:count]
    data = written(values, planarconfig=planar)
    assert refused(data).endswith("an image is made of 1 or 3: say which with channels=1 or channels=1,2,3")
    said = refused(data, channels="pages")
    assert f"it has {count} channels, samples of each pixel; channels=pages is for channels that are planes" in said
    assert np.array_equal(read(data, channels="2")[0, ..., 0], X[1])


@pytest.mark.parametrize("ending", ["png", "jpeg", "bmp", "tiff"])
def test_where_nothing_is_a_plane_channels_as_pages_change_nothing(ending):
    picture, buffer = Image.fromarray(np.moveaxis(X[:3], 0, -1)), io.BytesIO()
    picture.save(buffer, format=ending)
    assert np.array_equal(read(buffer.getvalue(), channels="pages"), read(buffer.getvalue()))


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"channels": "7"}, "channels=7: there is no channel 7; the image has 3 channels, 1 to 3"),
        ({"channels": "0"}, "there is no channel 0"),
        ({"channels": "1,2"}, "channels=1,2 are 2 channels"),
        ({"channels": "red"}, "channels=red is no choice"),
        ({"pages": "2"}, "pages=2: the file has 1 page; choose among 1 to 1"),
        ({"pages": "2-1"}, "pages=2-1 is no choice"),
        ({"pages": "0"}, "pages=0 is no choice"),
        ({"pages": "1-"}, "pages=1- is no choice"),
        ({"pages": "some"}, "pages=some is no choice"),
    ],
)
@pytest.mark.parametrize("axes", ["CYX", "YXS"])
def test_what_is_no_choice_is_said(choice, message, axes):
    values = X[:3] if axes == "CYX" else np.moveaxis(X[:3], 0, -1)
    assert message in refused(stack(values, axes, "ome"), **choice)
