"""What label values mean: objects stay objects, classes have names, unknown is one code."""

import weakref

import numpy as np
import pytest
import tifffile
from PIL import Image
from small_labels import GREY, touching, written

from unetlab.data import classes, mask_values, open_dataset, reading
from unetlab.data.export import export
from unetlab.data.files import open_files
from unetlab.errors import UserError
from unetlab.metrics.objects import score_objects
from unetlab.setup import Recipe


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.uint32])
def test_touching_objects_of_a_label_image_stay_two_and_a_perfect_answer_scores_1(tmp_path, dtype):
    save = lambda path, mask: tifffile.imwrite(path.with_suffix(".tif"), mask)  # noqa: E731
    data = open_dataset(str(written(tmp_path, [touching(dtype)] * 3, save)))
    assert data.meaning == "objects" and data.labels(0).dtype == np.uint8
    assert np.array_equal(data.labels(0), touching())
    assert score_objects(touching(), data.objects(0))["ap50"] == 1


def test_whole_numbers_of_imagej_are_labels_and_other_floats_are_not(tmp_path):
    def imagej(path, mask):
        tifffile.imwrite(path.with_suffix(".tif"), mask, imagej=True)

    data = open_dataset(str(written(tmp_path / "imagej", [touching(np.float32)], imagej)))
    assert np.array_equal(data.labels(0), touching())

    def plain(path, mask):
        tifffile.imwrite(path.with_suffix(".tif"), mask)

    for name, mask in (("whole", touching(np.float32)), ("broken", touching(np.float32) * 0.3)):
        with pytest.raises(UserError, match=r"masks/0\.tif: the mask holds many float32 values; labels are whole"):
            open_dataset(str(written(tmp_path / name, [mask], plain)))
    binary = open_dataset(str(written(tmp_path / "binary", [(touching() > 0).astype(np.float32)], plain)))
    assert binary.meaning == "binary" and binary.labels(0).max() == 3


def test_two_whole_values_of_a_float_mask_stay_what_they_are(tmp_path):
    def plain(path, mask):
        tifffile.imwrite(path.with_suffix(".tif"), mask)

    halves = np.where(np.indices((32, 32))[0] < 20, 1, 2).astype(np.float32)  # touching, no background
    data = open_dataset(str(written(tmp_path / "halves", [halves], plain)))
    assert data.meaning == "objects" and np.array_equal(data.labels(0), halves)
    pan = np.where(touching() > 0, 128, 0).astype(np.float32)
    folder = written(tmp_path / "pan", [pan], plain)
    (folder / "classes.csv").write_text("value,name\n128,pan\n")
    assert np.array_equal(open_dataset(str(folder)).class_map(0), touching() > 0)


def test_values_may_have_gaps_and_need_not_be_one_piece(tmp_path):
    labels = touching(np.uint16)
    labels[labels == 2] = 40_000
    data = open_dataset(str(written(tmp_path, [labels])))
    assert data.meaning == "objects" and sorted(np.unique(data.labels(0))) == [0, 1, 2, 3]


def test_70_000_objects_are_refused_with_their_number(tmp_path):
    labels = np.arange(300 * 300, dtype=np.uint32).reshape(300, 300)
    labels[labels > 70_000] = 0
    Image.fromarray(np.zeros((300, 300), np.uint8)).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a_mask.tif", labels)
    with pytest.raises(UserError, match=r"a_mask\.tif: 70,000 objects, at most 65,533"):
        open_dataset(str(tmp_path))


def test_negative_values_are_refused(tmp_path):
    save = lambda path, mask: tifffile.imwrite(path.with_suffix(".tif"), mask)  # noqa: E731
    with pytest.raises(UserError, match="negative values, down to -1"):
        open_dataset(str(written(tmp_path, [touching(np.int32) - 1], save)))


def test_what_is_asked_beats_what_is_found(tmp_path):
    folder = str(written(tmp_path, [touching()] * 2))
    assert open_dataset(folder).labels(0).max() == 3
    assert open_dataset(folder, masks="binary").labels(0).max() == 3  # the pair is one, the third has two pieces
    assert (open_dataset(folder, masks="binary").labels(0)[8, 8:12] == 1).all()
    assert open_dataset(folder, masks="classes").classes == ("background", "class 1", "class 2", "class 3")
    with pytest.raises(UserError, match=r"masks must be one of auto, binary, objects, classes. Received: 'magic'"):
        open_dataset(folder, masks="magic")


@pytest.mark.parametrize(
    ("mask", "kind"),
    [
        (np.where(touching() > 0, 255, 0), "binary"),
        (np.where(touching() > 0, 1, 0), "binary"),
        (touching() * 85, "binary"),  # grey levels, as the kitchen photographs have them
        (touching(), "objects"),
        (np.where(np.indices((32, 32)).sum(axis=0) % 4 == 0, 1, np.indices((32, 32))[1] % 5 == 0) * 1 + 0, "binary"),
    ],
    ids=["0 and 255", "0 and 1", "grey levels", "numbers", "speckle"],
)
def test_auto_decides_by_what_values_look_like_and_says_why(tmp_path, mask, kind):
    data = open_dataset(str(written(tmp_path, [mask.astype(np.uint8)] * 3)))
    assert data.meaning == kind and data.why


def test_smooth_edges_do_not_make_objects(tmp_path):
    y, x = np.mgrid[:64, :64]
    soft = (np.clip(20.5 - np.hypot(y - 32, x - 32), 0, 1) * 255).astype(np.uint8)
    Image.fromarray(soft).save(tmp_path / "a.png")
    Image.fromarray(soft).save(tmp_path / "a_mask.png")
    data = open_dataset(str(tmp_path))
    assert data.meaning == "binary" and data.labels(0).max() == 1


def test_classes_have_names_and_jpeg_masks_snap_to_the_nearest(tmp_path):
    mask = np.zeros((64, 64), np.uint8)
    mask[4:20, 4:20], mask[30:50, 30:50], mask[4:12, 40:60] = 128, 255, 128
    folder = tmp_path / "kitchen"
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for name in ("a.png", "b.jpg"):
        Image.fromarray(np.resize(GREY, (64, 64))).save(folder / "images" / name)
        Image.fromarray(mask).save(folder / "masks" / name, quality=60)
    (folder / "classes.csv").write_text("value,name\n0,background\n128,pan\n255,egg\n")
    data = open_dataset(str(folder))
    assert data.meaning == "classes" and data.classes == ("background", "pan", "egg") and "classes.csv" in data.why
    expected = np.select([mask == 128, mask == 255], [1, 2], 0)
    assert np.array_equal(data.class_map(0), expected)
    assert (data.class_map(1) == expected).mean() > 0.99
    assert data.labels(0).max() == 3 and data.object_classes[0].tolist() == [0, 1, 1, 2]
    assert data.fitted(Recipe(image_size=64, channels=1, epochs=1, batch_size=1)).masks.max() == 1

    assert export(data, tmp_path / "out") == 2
    again = open_dataset(str(tmp_path / "out"))
    assert again.classes == data.classes and np.array_equal(again.class_map(0), data.class_map(0))


def palette_mask_as_png(path, index):
    palette_mask(path.with_suffix(".png"), index)


def palette_mask(path, index):
    image = Image.fromarray(index.astype(np.uint8)).convert("P")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255, 9, 9, 9])
    image.save(path)


def test_colours_of_a_palette_or_of_rgb_are_classes(tmp_path):
    table = "value,name\n#000000,background\n#ff0000,cell\n#0000ff,debris\n"
    index = np.where(touching() == 3, 2, touching() > 0)
    for name in ("palette", "rgb"):
        folder = written(tmp_path / name, [index.astype(np.uint8)])
        colours = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)[index]
        if name == "palette":
            palette_mask(folder / "masks" / "0.png", index)
        else:
            Image.fromarray(colours).save(folder / "masks" / "0.png")
        (folder / "classes.csv").write_text(table)
        data = open_dataset(str(folder))
        assert data.classes == ("background", "cell", "debris") and np.array_equal(data.class_map(0), index)

    palette_mask(tmp_path / "palette" / "masks" / "0.png", np.where(touching() == 3, 3, index))
    with pytest.raises(
        UserError, match=r"masks/0\.png: 32 pixels of the undeclared value #090909; classes are #000000"
    ):
        open_dataset(str(tmp_path / "palette"))


@pytest.mark.parametrize("table", ["value,name\n#ff0000,pan\n#ffffff,egg\n", None])
def test_a_mask_of_colours_may_happen_to_be_grey_or_black(tmp_path, table):
    egg, pan = touching() == 1, touching() == 2
    colours = np.dstack([egg | pan, egg, egg]).astype(np.uint8) * 255
    masks = [colours, np.dstack([egg] * 3).astype(np.uint8) * 255, colours * 0, egg.astype(np.uint8) * 255]
    folder = written(tmp_path, masks)
    if table:
        (folder / "classes.csv").write_text(table)
    data = open_dataset(str(folder), masks="classes")
    names = np.array(data.classes)
    white, red = ("egg", "pan") if table else ("#ffffff", "#ff0000")
    assert set(data.classes) == {"background", white, red}
    assert np.array_equal(names[data.class_map(0)] == red, pan)
    for k in (0, 1, 3):
        assert np.array_equal(names[data.class_map(k)] == white, egg)
    assert not data.class_map(2).any()


def test_palettes_that_differ_are_read_by_their_colours(tmp_path):
    red, green, blue = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    kinds = [(red, green, green), (green, red, red), (red, green, blue)]  # of the three objects

    def quantised(path, colours):
        painted = np.zeros((32, 32, 3), np.uint8)
        for number, colour in enumerate(colours, start=1):
            painted[touching() == number] = colour
        Image.fromarray(painted).quantize(4).save(path.with_suffix(".png"))

    folder = written(tmp_path, kinds, quantised)
    first, second = (Image.open(folder / "masks" / f"{k}.png").getpalette() for k in (0, 2))
    assert first != second  # else this would show nothing
    data = open_dataset(str(folder), masks="classes")
    names = np.array(data.classes)
    assert set(data.classes[1:]) == {"#ff0000", "#00ff00", "#0000ff"} and "palettes differ" in data.why
    for k, colours in enumerate(kinds):
        for number, (r, g, b) in enumerate(colours, start=1):
            assert (names[data.class_map(k)][touching() == number] == f"#{r:02x}{g:02x}{b:02x}").all()
        assert not data.class_map(k)[touching() == 0].any()


def test_palettes_that_agree_are_read_by_their_indices(tmp_path):
    folder = written(tmp_path, [np.where(touching() == 3, k, touching() > 0) for k in (2, 1)], palette_mask_as_png)
    data = open_dataset(str(folder), masks="classes")
    assert data.classes == ("background", "class 1", "class 2")


def quantised(path, painted):
    """As Pillow makes a palette, which numbers its colours as it likes: the same in each mask, black last."""
    Image.fromarray(painted).quantize(4).save(path.with_suffix(".png"))


def test_black_is_background_where_the_palettes_that_agree_have_it_last(tmp_path):
    painted = [np.zeros((32, 32, 3), np.uint8) for _ in range(3)]
    for k, image in enumerate(painted):
        image[2 : 12 + k, 2:12] = (255, 0, 0)
        image[20:30, 20 : 30 - k] = (0, 0, 255)
    folder = written(tmp_path, painted, quantised)
    stored = [np.asarray(Image.open(folder / "masks" / f"{k}.png")) for k in range(3)]
    assert all(mask[0, 0] > 0 and mask[5, 5] == stored[0][5, 5] for mask in stored)  # else this would show nothing
    data = open_dataset(str(folder), masks="classes")
    assert data.classes == ("background", "#0000ff", "#ff0000") and "each colour is a class" in data.why
    for k, image in enumerate(painted):
        assert np.array_equal(data.class_map(k) == 2, image[..., 0] > 0)
        assert np.array_equal(data.class_map(k) == 1, image[..., 2] > 0)


def test_numbers_of_a_table_are_not_taken_for_indices_that_mean_nothing(tmp_path):
    grey = np.where(touching() == 3, 2, touching() > 0).astype(np.uint8)
    moved = written(tmp_path / "moved", [np.dstack([grey * 100] * 3)], quantised)
    assert np.asarray(Image.open(moved / "masks" / "0.png"))[0, 0] > 0
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)
    other = written(tmp_path / "other", [grey, grey], palette_mask_as_png)
    swapped = Image.open(other / "masks" / "1.png")
    swapped.putpalette(colours[[0, 2, 1]].ravel().tolist())
    swapped.save(other / "masks" / "1.png")
    for folder, said in ((moved, "black is in use but not the first"), (other, "other colours in other masks")):
        (folder / "classes.csv").write_text("value,name\n0,background\n1,road\n2,car\n")
        for masks in ("auto", "binary"):
            with pytest.raises(UserError, match=f"{said}.*write colours as #rrggbb into classes.csv"):
                open_dataset(str(folder), masks=masks)


@pytest.mark.parametrize(
    ("table", "values"),
    [
        ("0,background\n1,cell\n2,debris\n255,unknown\n", [0, 1, 2, 255]),
        ("5,background\n0,cell\n2,debris\n255,unknown\n", [5, 0, 2, 255]),
        ("#ffffff,background\n#ff0000,cell\n#0000ff,debris\n#808080,unknown\n", [0xFFFFFF, 0xFF0000, 0xFF, 0x808080]),
    ],
)
def test_one_foreground_of_all_classes_is_what_the_table_says_is_foreground(tmp_path, table, values):
    index = np.where(touching() == 3, 2, touching() > 0).astype(np.uint8)
    index[-3:] = 3
    stored = np.array(values)[index]
    mask = np.dstack([stored >> 16, stored >> 8 & 255, stored & 255]) if table.startswith("#") else stored
    folder = written(tmp_path, [mask.astype(np.uint8)])
    (folder / "classes.csv").write_text("value,name\n" + table)
    data = open_dataset(str(folder), masks="binary")
    assert data.classes == ("background", "foreground")
    known = classes.known(data.labels(0))
    assert np.array_equal(known, index < 3) and np.array_equal(data.labels(0)[known] > 0, index[known] > 0)


@pytest.mark.parametrize("masks", ["classes", "auto"])
def test_masks_are_looked_at_one_by_one(tmp_path, monkeypatch, masks):
    """Of hundreds of photographs all masks at once would not fit into memory."""
    alive, most, original = set(), [0], mask_values.values_of

    def watched(*given):
        found = original(*given)
        alive.add(id(found.plane))
        weakref.finalize(found.plane, alive.discard, id(found.plane))
        most[0] = max(most[0], len(alive))
        return found

    monkeypatch.setattr(reading, "values_of", watched)
    reader = reading.Reader(open_files(written(tmp_path, [touching()] * 12)))
    meaning = reader.meaning(reader.samples(), masks)
    assert meaning.kind == {"classes": "classes", "auto": "objects"}[masks] and most[0] <= 3


def test_unknown_is_one_code_however_many_objects_there_are():
    few, many = np.zeros((4, 4), int), np.arange(16).reshape(4, 4) * 20
    where = np.zeros((4, 4), bool)
    where[0, 1], where[0, 2] = True, True
    leaning = np.roll(where, 1, axis=0)
    for labels, dtype in ((few, np.uint8), (many, np.uint16)):
        image = classes.smallest(labels, where, leaning)
        assert image.dtype == dtype
        assert np.array_equal(classes.known(image), ~(where | leaning))
        assert np.array_equal(classes.rather_foreground(image), np.where(where, False, (labels > 0) | leaning))
        assert not classes.objects(image)[where | leaning].any()


def test_objects_survive_export(tmp_path):
    data = open_dataset(str(written(tmp_path / "in", [touching(np.uint16)] * 2)))
    export(data, tmp_path / "out")
    again = open_dataset(str(tmp_path / "out"))
    assert all(np.array_equal(again.labels(i), data.labels(i)) for i in range(2))
