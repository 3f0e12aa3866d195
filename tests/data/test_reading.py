"""Images and masks as they are decoded, page by page, and everything that can be wrong with one."""

import struct
import zlib

import numpy as np
import pytest
import tifffile
from conftest import write_pairs
from PIL import Image
from small_folders import GREY, SECTIONS, TRUTH, png, write_files, write_stack

from unetlab.data import open_dataset
from unetlab.data.check import check
from unetlab.data.split import split
from unetlab.errors import UserError
from unetlab.images import codecs


def test_plain_masks_are_taken_apart_into_objects(pairs):
    data = open_dataset(str(pairs))
    assert len(data) == 12 and data.has_masks
    assert all(data.labels(i).max() == 1 for i in range(12))


def test_masks_of_several_values_are_one_foreground(pairs):
    mask = np.zeros((40, 40), np.uint8)
    mask[:5], mask[10:15], mask[20:25] = 85, 170, 255
    (pairs / "masks" / "cell00.png").write_bytes(png(mask))
    labels = open_dataset(str(pairs)).labels(0)
    assert labels.max() == 3 and (labels > 0).sum() == 15 * 40


def test_a_constant_16_bit_mask_is_all_foreground(pairs):
    Image.fromarray(np.full((40, 40), 65535, np.uint16)).save(pairs / "masks" / "cell00.png")
    assert (open_dataset(str(pairs)).labels(0) > 0).all()


@pytest.mark.parametrize(
    ("name", "write", "mode", "channels"),
    [
        ("a.png", lambda a, p: Image.fromarray(a).save(p), "uint8 grey", 1),
        ("a.jpg", lambda a, p: Image.fromarray(a).save(p), "uint8 grey", 1),
        ("a.bmp", lambda a, p: Image.fromarray(a).save(p), "uint8 grey", 1),
        ("a.tif", lambda a, p: tifffile.imwrite(p, a), "uint8 grey", 1),
        ("a.tif", lambda a, p: tifffile.imwrite(p, a, compression="lzw"), "uint8 grey", 1),
        ("a.tif", lambda a, p: Image.fromarray(a).save(p, compression="jpeg"), "uint8 grey", 1),
        ("a.png", lambda a, p: Image.fromarray(a.astype(np.uint16) * 16).save(p), "uint16 grey", 1),
        ("a.tiff", lambda a, p: tifffile.imwrite(p, a.astype(np.uint16) * 16), "uint16 grey", 1),
        ("a.tif", lambda a, p: tifffile.imwrite(p, a.astype(np.float32)), "float32 grey", 1),
        ("a.png", lambda a, p: Image.fromarray(np.dstack([a, a // 2, a])).save(p), "uint8 RGB", 3),
        ("a.tif", lambda a, p: tifffile.imwrite(p, np.dstack([a, a // 2, a]), photometric="rgb"), "uint8 RGB", 3),
        ("a.png", lambda a, p: Image.fromarray(np.dstack([a, a // 2, a, a])).save(p), "uint8 RGBA", 3),
        ("a.png", lambda a, p: Image.fromarray(np.dstack([a, a // 2, a])).quantize(64).save(p), "uint8 palette", 3),
    ],
)
def test_formats_and_modes(tmp_path, name, write, mode, channels):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    ramp = np.add.outer(np.arange(24), np.arange(32)).astype(np.uint8) * 4
    write(ramp, tmp_path / "images" / name)
    Image.fromarray((ramp > 90).astype(np.uint8)).save(tmp_path / "masks" / "a.png")
    data = open_dataset(str(tmp_path))
    assert data.modes == (mode,) and data.image(0).shape == (24, 32, channels)
    grey = data.image(0)[..., 0].astype(float)
    assert np.corrcoef(grey.ravel(), ramp.ravel())[0, 1] > 0.98
    assert grey.max() - grey.min() > 200


def _huge_png() -> bytes:
    """A header that claims 50,000 x 50,000 pixels, and one chunk of data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0" * 100)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def _break(name):
    """Each way to spoil a good folder, and what the error must say."""

    def spoil(folder):
        image, mask = folder / "images" / "cell03.png", folder / "masks" / "cell03.png"
        if name == "truncated PNG":
            image.write_bytes(image.read_bytes()[:200])
        elif name == "text named .png":
            image.write_text("this is no image")
        elif name == "mask of another size":
            mask.write_bytes(png(np.zeros((41, 40), np.uint8)))
        elif name == "image without mask":
            mask.unlink()
        elif name == "mask without image":
            image.unlink()
        elif name == "two endings":
            Image.open(image).save(image.with_suffix(".bmp"))
        elif name == "50,000 x 50,000":
            image.write_bytes(_huge_png())
        elif name == "NaN":
            image.unlink()
            tifffile.imwrite(image.with_suffix(".tif"), np.full((40, 40), np.nan, np.float32))

    return spoil


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("truncated PNG", "images/cell03.png: truncated or damaged"),
        ("text named .png", "images/cell03.png: not a PNG, JPEG, TIFF or BMP image"),
        ("mask of another size", "masks/cell03.png: the mask is 40 x 41 pixels, its image 40 x 40"),
        ("image without mask", "images/cell03.png has no mask"),
        ("mask without image", "masks/cell03.png has no image"),
        ("two endings", "cell03.bmp and images/cell03.png have the same name"),
        ("50,000 x 50,000", "images/cell03.png: 50000 x 50000 pixels is more than"),
        ("NaN", "images/cell03.tif: the float32 image holds NaN"),
    ],
)
def test_bad_files_are_named_in_one_line(pairs, name, message):
    _break(name)(pairs)
    with pytest.raises(UserError) as caught:
        open_dataset(str(pairs))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_all_bad_files_are_listed_at_once(pairs):
    for i in (1, 2):
        (pairs / "images" / f"cell{i:02d}.png").write_text("no")
    with pytest.raises(UserError, match=r"2 files cannot be used: images/cell01.*images/cell02"):
        open_dataset(str(pairs))


def test_empty_masks_are_an_error_of_the_check(pairs):
    for path in (pairs / "masks").iterdir():
        path.write_bytes(png(np.zeros((40, 40), np.uint8)))
    findings = check(open_dataset(str(pairs))).findings
    assert [(f.code, f.severity) for f in findings if f.severity == "error"] == [("D007", "error")]


@pytest.mark.parametrize(("masks", "code"), [("binary", "D015"), ("classes", None)])
def test_masks_without_background_teach_nothing_but_classes(pairs, masks, code):
    for path in (pairs / "masks").iterdir():
        path.write_bytes(png(np.repeat(np.uint8([1, 2]), 800).reshape(40, 40)))
    findings = check(open_dataset(str(pairs), masks=masks)).findings
    assert [f.code for f in findings if f.severity == "error"] == ([code] if code else [])


def test_colours_of_objects_are_told_what_they_lack(pairs):
    mask = np.zeros((40, 40, 3), np.uint8)
    mask[:9, :, 0], mask[20:30, :, 1] = 200, 90
    for path in (pairs / "masks").iterdir():
        path.write_bytes(png(mask))
    data = open_dataset(str(pairs))
    assert data.meaning == "binary" and "where each is an object save their numbers" in data.why
    assert "save colours of objects as numbers" in {f.code: f.remedy for f in check(data).findings}["D010"]


def test_one_image_only_cannot_be_split(tmp_path):
    data = open_dataset(str(write_pairs(tmp_path / "one", n=1)))
    card = check(data)
    assert ("D001", "error") in [(f.code, f.severity) for f in card.findings]
    with pytest.raises(UserError, match="1 images of 1 scene"):
        split(data.ids, card.groups, card.modality, seed=0)


def test_images_without_masks_are_readable_and_say_so(pairs):
    for path in (pairs / "masks").iterdir():
        path.unlink()
    data = open_dataset(str(pairs))
    assert not data.has_masks
    assert "D006" in [f.code for f in check(data).findings]


def test_more_objects_than_labels_can_number_are_refused(tmp_path):
    speckle = np.zeros((520, 520), np.uint8)
    speckle[::2, ::2] = 255
    write_files(tmp_path / "data", {"images/a.png": speckle, "masks/a.png": speckle})
    with pytest.raises(UserError, match=r"masks/a.png: 67,600 objects, at most 65,533"):
        open_dataset(str(tmp_path / "data"))


@pytest.mark.parametrize(
    ("palette", "background"),
    [([200, 0, 0, 7, 0, 0, 9, 9, 9], 0), ([200, 0, 0, 0, 0, 0, 9, 9, 9], 1), ([255, 0, 0, 0, 0, 0, 0, 0, 0], 0)],
    ids=["no black", "black is the second", "black twice, so that it tells nothing"],
)
def test_the_background_of_a_palette_mask_is_black_or_its_first_colour(tmp_path, palette, background):
    index = np.zeros((8, 8), np.uint8)
    index[:3], index[5:] = 1, 2
    mask = Image.fromarray(index).convert("P")
    mask.putpalette(palette)
    write_files(tmp_path, {"images/a.png": GREY})
    (tmp_path / "masks").mkdir()
    mask.save(tmp_path / "masks" / "a.png")
    labels = open_dataset(str(tmp_path)).labels(0)
    assert np.array_equal(labels > 0, index != background) and labels.max() == 2


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("masks", ["binary", "objects"])
def test_a_mask_whose_palette_pillow_made_is_the_one_it_was_made_of(tmp_path, share, masks):
    true = np.zeros((40, 40), np.uint8)
    true[:, : round(40 * share)] = 255
    write_files(tmp_path, {"images/a.png": np.tile(np.arange(40, dtype=np.uint8), (40, 1))})
    (tmp_path / "masks").mkdir()
    made = Image.fromarray(true).convert("RGB").quantize(2)
    assert made.getpalette()[:3] == [255, 255, 255]  # else this would show nothing
    made.save(tmp_path / "masks" / "a.png")
    assert np.array_equal(open_dataset(str(tmp_path), masks=masks).labels(0) > 0, true > 0)


@pytest.mark.parametrize(
    "settings", [{"photometric": "minisblack"}, {"imagej": True, "metadata": {"axes": "ZYX"}}], ids=["pages", "imagej"]
)
def test_each_page_of_a_stack_is_an_image(tmp_path, settings):
    write_stack(tmp_path / "train-volume.tif", SECTIONS, **settings)
    write_stack(tmp_path / "train-labels.tif", TRUTH, **settings)
    data = open_dataset(str(tmp_path))
    assert data.ids == tuple(f"train-volume-{k:03d}" for k in range(4))
    for k in range(4):
        assert np.array_equal(data.image(k)[..., 0], SECTIONS[k])
        assert np.array_equal(data.labels(k) > 0, TRUTH[k] > 0)


def test_stacks_of_different_length_are_named_with_their_lengths(tmp_path):
    write_stack(tmp_path / "images" / "a.tif", SECTIONS, photometric="minisblack")
    write_stack(tmp_path / "masks" / "a.tif", TRUTH[:3], photometric="minisblack")
    with pytest.raises(UserError, match=r"images/a.tif has 4 pages and masks/a.tif has 3 pages.*one length"):
        open_dataset(str(tmp_path))


def test_a_float_section_with_nan_is_named_with_its_page(tmp_path):
    pages = [np.ones((8, 8), np.float32) * k for k in range(3)]
    pages[1][2, 2] = np.nan
    write_stack(tmp_path / "a-volume.tif", pages, photometric="minisblack")
    write_stack(tmp_path / "a-labels.tif", [p[:8, :8] for p in TRUTH[:3]], photometric="minisblack")
    with pytest.raises(UserError, match="a-volume.tif page 2: the float32 image holds NaN"):
        open_dataset(str(tmp_path))


def test_labels_of_many_values_are_foreground_with_a_notice(tmp_path):
    write_stack(tmp_path / "a-volume.tif", SECTIONS, photometric="minisblack")
    many = [np.where(page > 0, 7 + k, 0).astype(np.uint8) for k, page in enumerate(TRUTH)]
    many[2][0, 0] = 200
    write_stack(tmp_path / "a-labels.tif", many, photometric="minisblack")
    data = open_dataset(str(tmp_path))
    assert data.levels == (2, 2, 3, 2) and data.labels(2)[0, 0] > 0
    found = next(finding for finding in check(data).findings if finding.code == "D010")
    assert found.severity == "notice" and "a-volume-002" in found.message


def test_jpeg_masks_are_cut_above_what_compression_adds(tmp_path):
    for kind, pages in (("images", SECTIONS), ("masks", TRUTH)):
        (tmp_path / kind).mkdir()
        for k in range(3):
            Image.fromarray(pages[k]).save(tmp_path / kind / f"{k}.jpg", quality=60)
    data = open_dataset(str(tmp_path))
    assert all(np.array_equal(data.labels(k) > 0, TRUTH[k] > 0) for k in range(3))


@pytest.mark.parametrize("lines", [0, 255], ids=["lines are 0", "lines are 255"])
def test_masks_of_membranes_mean_the_inside_of_cells(tmp_path, lines):
    inside = np.ones((12, 16), bool)
    inside[:, 5], inside[6] = False, False
    mask = np.where(inside, 255 - lines, lines).astype(np.uint8)
    for folder, page in (("raw", SECTIONS[0]), ("membranes", mask)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "00.png").write_bytes(png(page))
    assert np.array_equal(open_dataset(str(tmp_path)).labels(0) > 0, inside)


def test_a_mask_stored_with_white_as_zero_is_turned_page_by_page(tmp_path):
    stored = [255 - page for page in TRUTH[:2]] + [np.full((12, 16), 255, np.uint8)]  # the last one is black
    write_stack(tmp_path / "a-volume.tif", SECTIONS[:3], photometric="minisblack")
    write_stack(tmp_path / "a-labels.tif", stored, photometric="miniswhite")
    data = open_dataset(str(tmp_path))
    assert np.array_equal(data.labels(1) > 0, TRUTH[1] > 0) and not data.labels(2).any()


RED_TO_BLACK = np.array([[255, 0, 0], [9, 9, 9], *[[0, 0, 0]] * 254], np.uint16).T * 256


@pytest.mark.parametrize(
    "shown",
    [{"photometric": "miniswhite"}, {"photometric": "palette", "colormap": RED_TO_BLACK}],
    ids=["turned", "LUT"],
)
@pytest.mark.parametrize("masks", ["binary", "objects"])
def test_a_mask_of_imagej_has_its_values_however_it_is_shown(tmp_path, shown, masks):
    for k in range(2):
        for folder, page in (("images", SECTIONS[1]), ("masks", (TRUTH[k] > 0) * np.uint8(2))):
            (tmp_path / folder).mkdir(exist_ok=True)
            said = {"description": "ImageJ=1.54f\nimages=1\n", "metadata": None}
            tifffile.imwrite(tmp_path / folder / f"{k}.tif", page, **shown, **said)
    data = open_dataset(str(tmp_path), masks=masks)
    assert all(np.array_equal(data.labels(k) > 0, TRUTH[k] > 0) for k in range(2))


def test_a_png_with_imagej_s_inverting_table_has_its_values(tmp_path):
    true = (np.arange(64).reshape(8, 8) < 10) * np.uint8(255)
    shown = Image.fromarray(true).convert("P")
    shown.putpalette(np.repeat(np.arange(255, -1, -1), 3).tolist())
    write_files(tmp_path, {"images/a.png": GREY})
    (tmp_path / "masks").mkdir()
    shown.save(tmp_path / "masks" / "a.png")
    assert np.asarray(Image.open(tmp_path / "masks" / "a.png").convert("L"))[0, 0] == 0  # shown black
    assert np.array_equal(open_dataset(str(tmp_path)).labels(0) > 0, true > 0)


@pytest.mark.parametrize("settings", [{}, {"metadata": None}, {"compression": "zlib"}], ids=str)
def test_a_mask_of_bool_that_tifffile_wrote_is_the_one_it_was_given(tmp_path, settings):
    write_files(tmp_path, {"images/a.png": GREY})
    (tmp_path / "masks").mkdir()
    true = np.arange(64).reshape(8, 8) < 10
    tifffile.imwrite(tmp_path / "masks" / "a.tif", true, **settings)
    assert np.array_equal(tifffile.imread(tmp_path / "masks" / "a.tif"), true)
    assert np.array_equal(open_dataset(str(tmp_path)).labels(0) > 0, true)
    # somebody else's bits, of which 0 is white
    tifffile.imwrite(tmp_path / "masks" / "a.tif", ~true, metadata=None, software="scanner", photometric="miniswhite")
    assert np.array_equal(open_dataset(str(tmp_path)).labels(0) > 0, true)


def grey_png(samples, bits):
    """A grey PNG of few bits, which Pillow reads and does not write."""
    rows = [int("".join(f"{v:0{bits}b}" for v in row), 2).to_bytes(len(row) * bits // 8, "big") for row in samples]
    head = struct.pack(">IIBBBBB", samples.shape[1], len(samples), bits, 0, 0, 0, 0)
    chunks = (b"IHDR", head), (b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))), (b"IEND", b"")
    parts = (struct.pack(">I", len(d)) + name + d + struct.pack(">I", zlib.crc32(name + d)) for name, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("bits", [2, 4])
def test_samples_of_few_bits_are_values_of_masks_and_shades_of_images(tmp_path, bits):
    numbers = np.zeros((8, 8), np.uint8)
    numbers[:2], numbers[3:5], numbers[7:] = 1, 2, 3
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").write_bytes(grey_png(numbers, bits))
    data = open_dataset(str(tmp_path))
    assert data.meaning == "objects" and np.array_equal(data.labels(0), numbers)
    assert np.array_equal(data.image(0)[..., 0], numbers * np.uint8(255 // (2**bits - 1)))
    tifffile.imwrite(tmp_path / "images" / "a.tif", numbers, bitspersample=bits)
    (tmp_path / "images" / "a.png").unlink()
    assert np.array_equal(open_dataset(str(tmp_path)).image(0), data.image(0))


def test_an_image_of_imagej_is_as_it_is_shown(tmp_path):
    said = {"description": "ImageJ=1.54f\nimages=1\n", "metadata": None}
    tifffile.imwrite(tmp_path / "a.tif", SECTIONS[1], photometric="miniswhite", **said)
    assert np.array_equal(open_dataset(str(tmp_path)).image(0)[..., 0], 255 - SECTIONS[1])


def test_no_page_is_decoded_twice(tmp_path, monkeypatch):
    write_stack(tmp_path / "a-volume.tif", SECTIONS, photometric="minisblack")
    write_stack(tmp_path / "a-labels.tif", TRUTH, photometric="minisblack")
    decoded = []
    for name in ("read", "read_mask"):
        original = getattr(codecs.Pages, name)
        watched = lambda self, page, original=original: decoded.append(page) or original(self, page)  # noqa: E731
        monkeypatch.setattr(codecs.Pages, name, watched)
    open_dataset(str(tmp_path), masks="binary")  # said, so that no mask is looked at beforehand
    assert sorted(decoded) == [0, 0, 1, 1, 2, 2, 3, 3]  # of the image stack and of the mask stack


def test_a_stack_whose_name_hides_it_is_refused_and_not_cut_to_its_first_page(tmp_path):
    (tmp_path / "images").mkdir()
    write_stack(tmp_path / "a.tif", SECTIONS, photometric="minisblack")
    (tmp_path / "a.tif").rename(tmp_path / "images" / "a.png")
    with pytest.raises(UserError, match=r"images/a\.png: it holds 4 pages where one is wanted"):
        open_dataset(str(tmp_path))


@pytest.mark.parametrize("channels", ["", "1", "pages"])
def test_a_mask_of_two_channels_is_named_with_a_way_out_that_is_one(tmp_path, channels):
    write_stack(
        tmp_path / "masks" / "a.tif", [np.dstack([TRUTH[0]] * 2)], photometric="minisblack", planarconfig="contig"
    )
    write_stack(tmp_path / "images" / "a.tif", SECTIONS[:1], photometric="minisblack")
    with pytest.raises(UserError, match=r"masks/a\.tif: the mask has 2 channels; save one of them$"):
        open_dataset(str(tmp_path), channels=channels)


def test_chosen_pages_are_the_only_ones(tmp_path):
    write_stack(tmp_path / "a-volume.tif", SECTIONS, photometric="minisblack")
    write_stack(tmp_path / "a-labels.tif", TRUTH, photometric="minisblack")
    data = open_dataset(str(tmp_path), pages="2-3")
    assert len(data) == 2 and np.array_equal(data.image(1)[..., 0], SECTIONS[2])
    assert [name[-4:] for name in data.ids] == ["-001", "-002"]  # numbers of the file's pages, whichever are chosen
    one = open_dataset(str(tmp_path), pages="3")
    assert one.ids == data.ids[1:] and np.array_equal(one.image(0), data.image(1))
    first = open_dataset(str(tmp_path), pages="1")
    assert first.ids == ("a-volume-000",) and np.array_equal(first.labels(0) > 0, TRUTH[0] > 0)


def test_a_file_of_one_page_is_called_without_its_number_whichever_is_chosen(tmp_path):
    write_stack(tmp_path / "images" / "a.tif", SECTIONS[:1], photometric="minisblack")
    (tmp_path / "images" / "b.png").write_bytes(png(SECTIONS[1]))
    assert open_dataset(str(tmp_path), pages="1").ids == ("a", "b")


def test_errors_name_the_page_of_the_file_whichever_are_chosen(tmp_path):
    sections = np.stack(SECTIONS).astype(np.float32)
    sections[2, 0, 0] = np.nan
    write_stack(tmp_path / "a.tif", sections, photometric="minisblack")
    with pytest.raises(UserError, match=r"a\.tif page 3: the float32 image holds NaN"):
        open_dataset(str(tmp_path), pages="2-3")


def test_the_side_of_membranes_is_one_for_all_sections_and_said(tmp_path):
    for folder in ("raw", "membranes"):
        (tmp_path / folder).mkdir()
    for k, share in enumerate((3, 5, 7, 9)):  # lines of a fifth to more than half of a section
        lines = np.zeros((12, 16), np.uint8)
        lines[:, :share] = 255
        for folder, page in (("raw", SECTIONS[k]), ("membranes", lines)):
            (tmp_path / folder / f"{k}.png").write_bytes(png(page))
    data = open_dataset(str(tmp_path))
    assert [round(float((data.labels(k) > 0).mean()), 4) for k in range(4)] == [1 - s / 16 for s in (3, 5, 7, 9)]
    assert "they mark membranes, so that cells are what is 0" in data.why
    for table in ("0,background\n255,membrane", "255,background\n0,cell"):
        (tmp_path / "classes.csv").write_text(f"value,name\n{table}\n")
        told = open_dataset(str(tmp_path), masks="binary")
        assert all(np.array_equal(told.labels(k), data.labels(k)) for k in range(4))
        assert "they mark membranes" in told.why


@pytest.mark.parametrize("name", ["exp_membrane", "membranes"])
def test_a_stain_s_name_in_a_folder_of_masks_turns_no_mask(tmp_path, name):
    for folder, page in (("images", SECTIONS[0]), ("masks", TRUTH[0])):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}.png").write_bytes(png(page))
    assert np.array_equal(open_dataset(str(tmp_path)).labels(0) > 0, TRUTH[0] > 0)


@pytest.mark.parametrize("bits", [8, 16])
def test_binary_masks_that_were_made_smaller_are_binary(tmp_path, bits):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    yy, xx = np.mgrid[:512, :512]
    for k in range(6):
        large = (np.hypot(yy - 250 - 5 * k, xx - 240) < 90 + 7 * k) * np.uint8(255)
        small = np.asarray(Image.fromarray(large).resize((128, 128), Image.Resampling.BILINEAR))
        assert len(np.unique(small)) > 20
        (tmp_path / "images" / f"{k}.png").write_bytes(png(small // 2))
        Image.fromarray(small.astype(np.uint16) * 257 if bits == 16 else small).save(tmp_path / "masks" / f"{k}.png")
    data = open_dataset(str(tmp_path))
    assert data.meaning == "binary" and data.objects(0).max() == 1


def test_a_label_image_of_one_large_object_among_many_is_one(tmp_path):
    labels = np.zeros((100, 100), np.uint8)
    for k in range(20):
        labels[2 + 4 * (k // 5), 3 + 4 * (k % 5)] = k + 1
    labels[30:90, 10:90] = 12
    for folder, page in (("images", labels * 7), ("masks", labels)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").write_bytes(png(page))
    assert open_dataset(str(tmp_path)).meaning == "objects"
