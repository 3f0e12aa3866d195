"""PNG, JPEG and BMP, all their bits, and which are refused."""

import io

import imagecodecs
import numpy as np
import pytest
from conftest import encoded
from PIL import Image, ImageOps

from unetlab.images import codecs, contract

RAMP = np.add.outer(np.arange(24), np.arange(32)).astype(np.uint16)
MPO = {"format": "MPO", "save_all": True, "append_images": [Image.new("RGB", (8, 8))]}
DEEP = np.dstack([RAMP * 7 + 1, RAMP * 1000, RAMP + 300, RAMP * 0 + 65535]).astype(np.uint16)


@pytest.mark.parametrize(
    ("channels", "kept", "mode"), [(1, 1, "grey"), (2, 1, "grey+alpha"), (3, 3, "RGB"), (4, 3, "RGBA")]
)
def test_png_of_16_bits_keeps_them_all(channels, kept, mode):
    data = imagecodecs.png_encode(np.ascontiguousarray(DEEP[..., :channels] if channels > 1 else DEEP[..., 0]))
    with codecs.open_pages(data) as opened:
        assert np.array_equal(opened.read(0), DEEP[..., :kept]) and opened.mode == f"uint16 {mode}"


def test_a_palette_png_is_read_by_index():
    index = (RAMP % 5).astype(np.uint8)
    image = Image.fromarray(index).convert("P")
    image.putpalette([k * 10 + c for k in range(5) for c in range(3)])
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    with codecs.open_pages(buffer.getvalue()) as opened:
        found, colours = opened.read(0)[..., 0], opened.palette
    assert np.array_equal(colours[found], np.stack([index * 10 + c for c in range(3)], axis=2))


def test_an_animated_png_is_refused():
    buffer = io.BytesIO()
    frames = [Image.fromarray((RAMP + k).astype(np.uint8)) for k in range(3)]
    frames[0].save(buffer, format="PNG", save_all=True, append_images=frames[1:])
    with pytest.raises(codecs.PixelError, match="an animated PNG; save its frames"):
        codecs.open_pages(buffer.getvalue())


@pytest.mark.parametrize("data", [encoded(RAMP.astype(np.uint8)), imagecodecs.png_encode(DEEP[..., :3].copy())])
def test_a_truncated_png_is_refused(data):
    for cut in range(8, len(data) - 30, 7):
        with pytest.raises(codecs.PixelError, match="truncated or damaged"), codecs.open_pages(data[:cut]) as opened:
            opened.read(0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    "second", [{}, {"format": "MPO", "save_all": True, "append_images": [Image.new("RGB", (8, 8))]}]
)
def test_a_photograph_is_the_way_up_that_its_camera_says(tmp_path, orientation, second):
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:16, :16], picture[-16:, :16] = (250, 20, 20), (20, 250, 20)
    about = Image.Exif()
    about[0x0112] = orientation
    Image.fromarray(picture).save(tmp_path / "a.jpg", exif=about, quality=95, subsampling=0, **second)
    with codecs.open_pages(tmp_path / "a.jpg") as opened:
        found = opened.read(0)
        assert opened.size == found.shape[:2] == ((64, 48) if orientation > 4 else (48, 64))
    with Image.open(tmp_path / "a.jpg") as stored:
        upright = np.asarray(ImageOps.exif_transpose(stored).convert("RGB"))
    assert np.array_equal(found, upright)
    corners = [(0, 0), (0, -1), (-1, -1), (-1, 0)] * 2
    corner = corners[orientation - 1]
    assert found[corner][0] > 200 > found[corner][1]  # where the red corner belongs


def jpeg(progressive):
    buffer = io.BytesIO()
    Image.fromarray(RAMP.astype(np.uint8)).save(buffer, format="JPEG", progressive=progressive)
    return buffer.getvalue()


@pytest.mark.parametrize("progressive", [False, True])
def test_what_a_phone_appends_to_a_photograph_counts_for_nothing(progressive):
    picture = jpeg(progressive)
    behind = picture + b"\xff\xda" * 2 * contract.MOST_SCANS
    with codecs.open_pages(behind) as opened, codecs.open_pages(picture) as plain:
        assert np.array_equal(opened.read(0), plain.read(0))


@pytest.mark.parametrize("between", [b"", b"\xff\x01", b"\xff\xfe\x00\x06\xff\xd9.."])
def test_a_photograph_of_many_scans_is_refused_whatever_lies_between(between):
    picture = jpeg(True)
    last = picture[picture.rindex(b"\xff\xda") : -2]
    with pytest.raises(codecs.PixelError, match="more than 100 scans"):
        codecs.open_pages(picture[:-2] + (between + last) * (contract.MOST_SCANS + 1) + picture[-2:])
