"""One door for all formats."""

import io

import numpy as np
import pytest
import tifffile
from conftest import encoded
from PIL import Image

from unetlab.images import codecs

RAMP = np.add.outer(np.arange(24), np.arange(32)).astype(np.uint16)


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF"])
def test_content_decides_whatever_the_ending(tmp_path, form):
    image = RAMP.astype(np.uint8)
    (tmp_path / "a.jpg").write_bytes(encoded(image, form))
    with codecs.open_pages(tmp_path / "a.jpg") as opened:
        assert np.array_equal(opened.read(0)[..., 0], image) and not opened.lossy


def test_jpeg_says_that_it_is_lossy():
    with codecs.open_pages(encoded(RAMP.astype(np.uint8), "JPEG")) as opened:
        assert opened.lossy and opened.mode == "uint8 grey"
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, RAMP.astype(np.uint8), compression="jpeg")
    with codecs.open_pages(buffer.getvalue()) as opened:
        assert opened.lossy


def test_channels_of_a_colour_png():
    colour = np.dstack([RAMP, RAMP * 2, RAMP * 3]).astype(np.uint8)
    assert np.array_equal(codecs.decode(encoded(colour), channels="3")[0][..., 0], colour[..., 2])
    with pytest.raises(codecs.PixelError, match="channels=7: there is no channel 7; the image has 3"):
        codecs.open_pages(encoded(colour), channels="7")
    with pytest.raises(codecs.PixelError, match="channels=2: there is no channel 2; the image has 1 channel"):
        codecs.open_pages(encoded(colour[..., 0]), channels="2")
    with pytest.raises(codecs.PixelError, match="pages=2: the file has 1 page"):
        codecs.open_pages(encoded(colour), pages="2")


def test_what_cannot_be_opened(tmp_path):
    with pytest.raises(codecs.PixelError, match="cannot be opened"):
        codecs.open_pages(tmp_path / "none.png")
    for data in (b"", b"hello"):
        with pytest.raises(codecs.PixelError, match="not a PNG, JPEG, TIFF or BMP image"):
            codecs.open_pages(data)


def test_the_table_of_endings():
    assert {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".zarr", ".czi", ".nd2", ".lif"} == codecs.ENDINGS
    assert codecs.ENDINGS > codecs.STACKS > codecs.CONTAINERS


@pytest.mark.parametrize("most", [0, 1, 255, 256, 3_500, 65_535])
@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.int64])
def test_labels_come_back_from_a_png_of_16_bits(most, dtype):
    labels = np.zeros((260, 253), dtype)
    labels.flat[: most + 1] = np.arange(most + 1)
    data = codecs.encode_labels(labels)
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode.startswith("I") and np.array_equal(np.asarray(image), labels)
    found = codecs.decode_labels(data)
    assert found.dtype == np.int32 and np.array_equal(found, labels)


def test_labels_that_no_png_holds_are_refused():
    with pytest.raises(
        codecs.PixelError, match="^65,536 objects, a PNG can tell 65,535 apart; send the image in parts$"
    ):
        codecs.encode_labels(np.array([[0, 65_536]]))
    with pytest.raises(codecs.PixelError, match="0 is background. Received: -1$"):
        codecs.encode_labels(np.array([[0, -1]], np.int32))
