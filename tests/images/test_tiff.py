"""TIFF in all its manners: which planes are pages, which are channels, and what is refused."""

import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from unetlab.images import codecs, contract

X = np.random.default_rng(0).integers(0, 200, (5, 20, 30)).astype(np.uint8)


def written(*pages, **settings):
    """Pages without any metadata, each a directory of its own."""
    settings.setdefault("photometric", "minisblack")
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for page in pages:
            writer.write(page, metadata=None, contiguous=False, **settings)
    return buffer.getvalue()


def stack(values, axes, kind="imagej", **settings):
    how = {"imagej": {"imagej": True}, "ome": {"ome": True}, "shaped": {}}[kind]
    buffer = io.BytesIO()
    photometric = "rgb" if axes.endswith("S") else "minisblack"
    tifffile.imwrite(buffer, values, photometric=photometric, metadata={"axes": axes}, **how, **settings)
    return buffer.getvalue()


def read(source, **choice):
    with codecs.open_pages(source, **choice) as opened:
        return np.stack([opened.read(page) for page in range(opened.count)])


def refused(source, **choice):
    with pytest.raises(codecs.PixelError) as caught:
        read(source, **choice)
    assert "\n" not in str(caught.value)
    return str(caught.value)


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


def test_more_samples_than_colours_are_refused_and_never_cut():
    five = np.moveaxis(X, 0, -1)
    assert "it has 5 channels" in refused(written(five, planarconfig="contig"))
    assert np.array_equal(read(written(five, planarconfig="contig"), channels="5")[0, ..., 0], X[4])
    four = written(five[..., :4], photometric="rgb", extrasamples=["unspecified"])
    assert "it has 4 channels" in refused(four) and np.array_equal(read(four, channels="4")[0, ..., 0], X[3])
    alpha = written(five[..., :4], photometric="rgb", extrasamples=["unassalpha"])
    assert np.array_equal(read(alpha)[0], five[..., :3])
    assert "SEPARATED; save it as RGB" in refused(written(five[..., :4], photometric="separated"))


def test_colours_of_a_stack_stay_together_and_planar_ones_too():
    values = np.random.default_rng(0).integers(0, 255, (4, 9, 8, 3)).astype(np.uint8)
    assert np.array_equal(read(stack(values, "ZYXS")), values)
    planar = np.moveaxis(values, -1, 1)
    assert np.array_equal(read(written(*planar, photometric="rgb", planarconfig="separate")), values)


def test_a_page_of_another_size_or_kind_is_named_wherever_it_lies():
    other = "page 2 is 30 x 21 pixels, page 1 30 x 20; pages of a stack must be of one size"
    assert refused(written(X[0], np.zeros((21, 30), np.uint8))) == other
    amid = written(*X[:4], np.zeros((9, 30), np.uint8), *X, *X)
    assert refused(amid).startswith("page 5 is 30 x 9 pixels, page 1 30 x 20")
    assert refused(written(*X[:4], X[0].astype(np.uint16), *X, *X)).startswith(
        "page 5 is uint16 grey, page 1 uint8 grey"
    )


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


@pytest.mark.parametrize(("pages", "back"), [(1, 0), (4, 2), (150, 30)])
def test_a_chain_of_pages_that_leads_in_a_circle_ends(pages, back):
    data = bytearray(written(*[X[0]] * pages))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        offsets = [page.offset for page in file.pages]
    tags = struct.unpack_from("<H", data, offsets[-1])[0]
    struct.pack_into("<I", data, offsets[-1] + 2 + 12 * tags, offsets[back])
    assert f"after page {pages} its chain of pages leads in a circle" in refused(bytes(data))


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
