"""TIFF in all its manners: how pages are written, what is decoded, and what is refused."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image
from small_tiffs import X, read, refused, stack, written

from unetlab.images import codecs, contract


def appended(path):
    for page in X:
        tifffile.imwrite(path, page, append=True)


def appended_stack(path):
    tifffile.imwrite(path, X[:2])
    tifffile.imwrite(path, X[2:], append=True, photometric="minisblack")


def separate_series(path):
    with tifffile.TiffWriter(path) as writer:
        for page, compression in zip(X, ("zlib", None, "lzw", None, "zstd"), strict=True):
            writer.write(page, compression=compression, contiguous=False)


def by_pillow(path):
    first, *others = (Image.fromarray(page) for page in X)
    first.save(path, save_all=True, append_images=others)


@pytest.mark.parametrize("write", [appended, appended_stack, separate_series, by_pillow])
@pytest.mark.parametrize("as_bytes", [False, True])
def test_every_page_counts_however_it_was_written(tmp_path, write, as_bytes):
    write(tmp_path / "a.tif")
    source = (tmp_path / "a.tif").read_bytes() if as_bytes else tmp_path / "a.tif"
    assert np.array_equal(read(source)[..., 0], X)


def test_more_samples_than_colours_are_refused_and_never_cut():
    five = np.moveaxis(X, 0, -1)
    assert "it has 5 channels" in refused(written(five, planarconfig="contig"))
    assert np.array_equal(read(written(five, planarconfig="contig"), channels="5")[0, ..., 0], X[4])
    four = written(five[..., :4], photometric="rgb", extrasamples=["unspecified"])
    assert "it has 4 channels" in refused(four) and np.array_equal(read(four, channels="4")[0, ..., 0], X[3])
    alpha = written(five[..., :4], photometric="rgb", extrasamples=["unassalpha"])
    assert np.array_equal(read(alpha)[0], five[..., :3])
    assert "SEPARATED; save it as RGB" in refused(written(five[..., :4], photometric="separated"))


def test_luma_and_chroma_are_colours_in_jpeg_only(tmp_path):
    colours = np.full((64, 64, 3), (200, 40, 90), np.uint8)
    Image.fromarray(colours).convert("YCbCr").save(tmp_path / "plain.tif")
    assert "YCBCR, not in JPEG; save it as RGB" in refused(tmp_path / "plain.tif")
    Image.fromarray(colours).convert("YCbCr").save(tmp_path / "jpeg.tif", compression="jpeg")
    assert np.abs(read(tmp_path / "jpeg.tif")[0].astype(int) - colours).max() < 6


def test_colours_of_a_stack_stay_together_and_planar_ones_too():
    values = np.random.default_rng(0).integers(0, 255, (4, 9, 8, 3)).astype(np.uint8)
    assert np.array_equal(read(stack(values, "ZYXS")), values)
    planar = np.moveaxis(values, -1, 1)
    assert np.array_equal(read(written(*planar, photometric="rgb", planarconfig="separate")), values)


def test_smaller_copies_are_no_pages():
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for page in X[:3]:
            writer.write(page)
            writer.write(page[::2, ::2], subfiletype=1)
    assert np.array_equal(read(buffer.getvalue())[..., 0], X[:3])
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, ome=True) as writer:
        writer.write(X[0], subifds=1)
        writer.write(X[0][::2, ::2], subfiletype=1)
    assert np.array_equal(read(buffer.getvalue())[..., 0], X[:1])


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('SizeZ="3"', 'SizeZ="9"', "it speaks of 18 planes (z, channels and times), the file has 6"),
        ('SizeZ="3"', 'SizeZ="2"', "it speaks of 4 planes (z, channels and times), the file has 6"),
        ('SizeC="1"', 'SizeC="2"', "it speaks of 12 planes"),
        ('SizeX="30"', 'SizeX="20"', "it speaks of 20 x 20 pixels, the file has 30 x 20"),
        ('SizeC="1"', 'SizeK="1"', "gives no sizes"),
        ("<Pixels", "<Pixel ", "cannot be read"),
        ('PlaneCount="6"', 'PlaneCount="3"', "does not fit the 6 it holds"),
        ('IFD="0"', 'IFD="4"', "does not fit the 6 it holds"),
    ],
)
def test_an_ome_tiff_whose_xml_lies_is_refused(before, after, message):
    honest = stack(np.stack([X[:3], X[2:]]), "TZYX", "ome")
    assert before.encode() in honest and len(read(honest)) == 6
    assert message in refused(honest.replace(before.encode(), after.encode()))


def test_an_ome_tiff_of_several_files_is_refused():
    data = stack(X, "ZYX", "ome")
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        xml = file.ome_metadata
    own = xml[xml.index('UUID="') + 6 :].split('"')[0] if 'UUID="' in xml else ""
    if not own:
        pytest.skip("this writer gives no UUID")
    inside = xml.replace("/></Pixels>", "><UUID>urn:uuid:other</UUID></TiffData></Pixels>")
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, X, description=inside, metadata=None, photometric="minisblack")
    assert "spreads one image over several files" in refused(buffer.getvalue())


@pytest.mark.parametrize(
    "data", [written(*X), written(*X, compression="zlib"), stack(X, "ZYX"), stack(X, "ZYX", "ome")]
)
def test_a_truncated_file_is_never_read_in_silence(data):
    for cut in range(4, len(data) - 1, 11):
        try:
            found = read(data[:cut])
        except codecs.PixelError as error:
            assert "\n" not in str(error)
        else:  # what was cut off is no pixel
            assert np.array_equal(found[..., 0], X)


def test_a_bomb_is_refused_before_it_is_decoded(monkeypatch):
    data = written(X[0], X[0])
    monkeypatch.setattr(contract, "MAX_PIXELS", 599)
    monkeypatch.setattr(codecs.Pages, "read", None)
    assert "30 x 20 pixels is more than 599 pixels" in refused(data)


def test_palettes_are_read_by_index_and_white_as_zero_is_turned():
    colours = np.random.default_rng(1).integers(0, 256, (3, 256)).astype(np.uint16) * 257
    data = written(X[0], photometric="palette", colormap=colours)
    with codecs.open_pages(data) as opened:
        assert opened.mode == "uint8 palette" and np.array_equal(opened.read(0)[..., 0], X[0])
        assert np.array_equal(opened.palette, colours.T // 257)
    assert np.array_equal(codecs.decode(data)[0], (colours.T // 257)[X[0]])
    assert np.array_equal(read(written(255 - X[0], photometric="miniswhite"))[0, ..., 0], X[0])
    signed = X[0].astype(np.int16) * 100 - 9000
    assert np.array_equal(read(written(~signed, photometric="miniswhite"))[0, ..., 0], signed)


@pytest.mark.parametrize("times", [256, 257], ids=["as Pillow and ImageJ", "as libtiff"])
def test_colours_of_a_palette_are_what_was_meant(times):
    colours = np.random.default_rng(2).permutation(768).reshape(3, 256) % 256
    data = written(X[0], photometric="palette", colormap=(colours * times).astype(np.uint16))
    assert np.array_equal(codecs.decode(data)[0], colours.T[X[0]])


def test_a_palette_that_pillow_wrote_has_its_colours():
    picture, buffer = Image.fromarray(X[0] % 3), io.BytesIO()
    picture.putpalette([0, 0, 0, 255, 0, 128, 1, 2, 3])
    picture.save(buffer, format="TIFF")
    assert np.array_equal(codecs.decode(buffer.getvalue())[0], np.asarray(picture.convert("RGB")))


def test_colours_of_8_bits_where_16_belong_are_taken_for_what_they_are():
    colours = np.random.default_rng(1).integers(0, 256, (3, 256)).astype(np.uint16)
    found = codecs.decode(written(X[0], photometric="palette", colormap=colours))[0]
    assert np.array_equal(found, colours.T[X[0]])
