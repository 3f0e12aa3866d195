"""Images too large for memory: band by band they get what they get whole."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tifffile
from conftest import log_tiny
from taught_models import of_before

from unetlab.images import codecs, rows
from unetlab.inference import predict as inference
from unetlab.inference.objects import confident, instances
from unetlab.inference.predict import Band, Predictor, class_objects_at
from unetlab.service import large, segmenting
from unetlab.service.loading import load, predictor_of
from unetlab.service.predict import predict_folder


def field(height=700, width=900, seed=0):
    """uint8 (h, w): bright discs, some of which touch, on uneven ground."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    image = 20 + 20 * np.sin(x / 90) + rng.normal(0, 4, (height, width))
    for _ in range(90):
        cy, cx, radius = rng.integers(0, height), rng.integers(0, width), rng.integers(6, 25)
        image[(y - cy) ** 2 + (x - cx) ** 2 < radius**2] = rng.integers(140, 250)
    return np.clip(image, 0, 255).astype(np.uint8)


def recipe(**changes):
    own = {"image_size": 64, "channels": 1, "normalise": "percentile", "threshold": 0.5, "view": "patches"}
    return SimpleNamespace(
        **{
            **own,
            "scale": 1.0,
            "tta": 0,
            "objects": "components",
            "seeds": 0.0,
            "least_object": 0,
            "confidence": 0.0,
            "classes": [],
            **changes,
        }
    )


def network(images):
    mean = images.mean(axis=-1)
    return np.stack([mean, 1 - mean], axis=-1)


@pytest.fixture
def small(monkeypatch):
    """All that is large comes in small pieces."""
    monkeypatch.setattr(rows, "LARGE", 1000)
    monkeypatch.setattr(rows, "SPACE", 50_000)
    monkeypatch.setattr(inference, "SPACE", 50_000)
    monkeypatch.setattr(inference.tiles.bands, "__defaults__", (128,))
    monkeypatch.setattr(large, "TILE", 64)


WAYS = {
    "strips": {"rowsperstrip": 7},
    "LZW with a predictor": {"rowsperstrip": 16, "compression": "lzw", "predictor": True},
    "bare tiles": {"tile": (32, 48)},
    "one strip of zlib": {"compression": "zlib", "rowsperstrip": 10_000},
    "tiles": {"tile": (48, 64), "compression": "zlib"},
    "bare": {},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("channels", [1, 3])
def test_rows_are_those_of_the_file_however_it_is_stored(tmp_path, way, channels):
    image = field(150, 200)
    image = np.stack([image, image[::-1], image // 2], axis=2) if channels == 3 else image
    kind = "rgb" if channels == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", image, photometric=kind, **WAYS[way])
    with rows.Rows(tmp_path / "a.tif", tmp_path) as opened:
        assert opened.shape == (150, 200, channels)
        assert np.array_equal(opened.read(0, 150), image.reshape(150, 200, channels))
        assert np.array_equal(opened.read(31, 90), image.reshape(150, 200, channels)[31:90])
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("way", [{}, {"tile": (32, 48), "compression": "zlib"}])
@pytest.mark.parametrize("kind", ["field", "two values", "one value", "few pixels"])
def test_16_bits_become_the_levels_that_they_become_in_a_small_image(tmp_path, monkeypatch, order, way, kind):
    monkeypatch.setattr(rows, "SPACE", 5_000)
    image = field(150, 200).astype(np.uint16) * 200 + 7
    if kind in ("two values", "one value"):
        image = np.where(np.indices(image.shape).sum(axis=0) % 5000 < 2, 900 + 100 * (kind == "two values"), 900)
        image[0, :3] += np.arange(3) * (kind == "two values")
    image = image[:2, :3] if kind == "few pixels" else image
    tifffile.imwrite(tmp_path / "a.tif", image.astype(f"{order}u2"), photometric="minisblack", byteorder=order, **way)
    with rows.Rows(tmp_path / "a.tif", tmp_path) as opened:
        assert opened.mode == "uint16 grey"
        found = opened.read(0, len(image))
    assert np.array_equal(found, codecs.decode(tmp_path / "a.tif")[0])


def test_colours_of_jpeg_tiles_are_what_others_read(tmp_path):
    image = np.stack([field(150, 200)] * 3, axis=2)
    image[..., 2] //= 3
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="rgb", tile=(64, 64), compression="jpeg")
    with rows.Rows(tmp_path / "a.tif", tmp_path) as opened:
        assert np.array_equal(opened.read(0, 150), codecs.decode(tmp_path / "a.tif")[0])


@pytest.mark.parametrize("scale", [1.0, 0.4, 1.7])
@pytest.mark.parametrize("view", ["patches", "whole"])
@pytest.mark.parametrize("threshold", [0.5, "mean"])
def test_bands_of_a_large_image_are_what_it_gets_whole(tmp_path, small, scale, view, threshold):
    tifffile.imwrite(tmp_path / "a.tif", field(), photometric="minisblack")
    predictor = Predictor(network, recipe(scale=scale, view=view, threshold=threshold))
    (whole,) = predictor.answers([field()[:, :, None]])
    with rows.Rows(tmp_path / "a.tif", tmp_path) as opened:
        bands = list(predictor.native_bands(opened))
    found = np.concatenate([band.mask for band in bands])
    assert found.shape == whole.mask.shape and len(bands) > 2
    assert whole.mask.mean() > 0.05
    assert (found != whole.mask).mean() < 2e-4


def test_objects_of_bands_are_those_of_the_whole_and_none_is_cut():
    mask = field() > 100
    head = np.zeros(mask.shape, np.float32)
    for how in ("components", "watershed"):
        tables = []
        found = large.Objects(
            lambda part, head, how=how: instances(part, None, how, 0.5),
            lambda *said, tables=tables: tables.append(said),
        )
        done = [found.add(large.Band(mask[k : k + 50], head[k : k + 50]), k + 50 >= 700) for k in range(0, 700, 50)]
        labels, whole = np.concatenate(done), instances(mask, None, how, 0.5)
        assert found.cut == 0 and len(done[0]) < 50 and found.count == labels.max() == whole.max()
        pairs = np.unique(np.stack([labels[mask], whole[mask]]), axis=1)
        assert np.array_equal(labels > 0, mask)
        if how == "components":
            assert pairs.shape[1] == whole.max()  # one to one
        else:
            assert pairs.shape[1] < 1.1 * whole.max()
        assert sum(int(said[0].max()) for said in tables) == whole.max()


def test_objects_that_are_not_sure_enough_are_none_in_a_large_image_either(tmp_path, small):
    image = np.clip(field() * 1.6, 0, 255).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="minisblack")
    for network_of, how in ((network, "watershed"), (lambda images: network(images)[..., :1], "components")):
        own = {"objects": how, "threshold": 0.3, "normalise": "scale"}
        every, sure = (Predictor(network_of, recipe(**own, confidence=least)) for least in (0.0, 0.5))
        (whole,) = sure.answers([image[:, :, None]])
        (all_of_them,) = every.answers([image[:, :, None]])
        assert 3 < whole.labels.max() < all_of_them.labels.max() - 3
        (tmp_path / "out" / "masks").mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / "labels").mkdir(exist_ok=True)
        about = large.segment(sure, tmp_path / "a.tif", tmp_path / "out", tmp_path / "out", "a", None)
        assert about["object_count"] == whole.labels.max()
        found = tifffile.imread(tmp_path / "out" / "labels" / "a.tif")
        assert ((found > 0) != (whole.labels > 0)).mean() < 1e-3
        asked = large.segment(sure, tmp_path / "a.tif", tmp_path / "out", tmp_path / "out", "a", 0.31)
        (above,) = every.answers([image[:, :, None]], 0.31)
        assert asked["object_count"] == above.labels.max() > whole.labels.max()


def test_objects_of_a_large_image_are_those_of_the_copy_that_a_model_travels_with(store, tmp_path, small):
    image = np.zeros((90, 120), np.uint8)
    image[30:50, 20:40] = image[30:50, 60:80] = 255
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="minisblack")
    for name in ("masks", "labels"):
        (tmp_path / name).mkdir()
    now = log_tiny(view="patches").model_uri
    for model, count in ((now, 2), (of_before(now, tmp_path), 1)):
        predictor = predictor_of(load(model))
        assert large.segment(predictor, tmp_path / "a.tif", tmp_path, tmp_path, "a", None)["object_count"] == count


def test_an_object_that_never_ends_is_cut_rather_than_waited_for(monkeypatch):
    monkeypatch.setattr(large, "MOST_WAITING", 5_000)
    found = large.Objects(lambda part, head: instances(part, None, "components", 0.5), lambda *said: None)
    mask = np.ones((400, 50), bool)
    labels = np.concatenate([found.add(large.Band(mask[k : k + 40], None), k == 360) for k in range(0, 400, 40)])
    assert labels.shape == mask.shape and (labels > 0).all()
    assert found.cut == found.count - 1 > 0


@pytest.mark.parametrize("view", ["patches", "whole"])
def test_a_large_file_gets_mask_labels_and_rows_as_a_small_one(store, tmp_path, small, monkeypatch, capsys, view):
    model = log_tiny(view=view, image_size=64, least_object=200).model_uri
    image = field(333, 401).astype(np.uint16) * 30 + 400
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "a.tif", image, photometric="minisblack", compression="zlib", byteorder=">")
    table = predict_folder(model, tmp_path / "in", tmp_path / "large")
    assert "401 x 333 pixels, so its mask is a TIFF" in capsys.readouterr().err
    monkeypatch.setattr(rows, "LARGE", 10**6)
    whole = predict_folder(model, tmp_path / "in", tmp_path / "whole")
    pd.testing.assert_frame_equal(table, whole, rtol=0.01)
    mask = codecs.decode_mask((tmp_path / "whole" / "masks" / "a.png").read_bytes())
    assert ((tifffile.imread(tmp_path / "large" / "masks" / "a.tif") > 0) != mask).mean() < 1e-3
    labels = tifffile.imread(tmp_path / "large" / "labels" / "a.tif")
    assert (labels > 0).sum() < mask.sum()  # specks are no objects
    assert labels.dtype == np.uint32 and labels.max() == table["object_count"][0] > 5
    listed = pd.read_csv(tmp_path / "large" / "objects.csv").set_index("label")
    assert sorted(listed.index) == list(range(1, labels.max() + 1))
    for number, row in listed.iterrows():
        where = np.argwhere(labels == number)
        assert row["area"] == len(where)
        assert (row["top"], row["left"]) == tuple(where.min(axis=0))
        assert (row["centroid_row"], row["centroid_column"]) == pytest.approx(where.mean(axis=0), rel=1e-4)
        assert row["mean_intensity"] == pytest.approx(image[labels == number].mean(), rel=1e-4)
    assert {path.name for path in (tmp_path / "large").iterdir()} == {
        *("masks", "labels", "overlays", "predictions.csv", "objects.csv")
    }


def test_what_is_too_large_and_of_another_kind_is_one_line(store, tmp_path, small, monkeypatch):
    monkeypatch.setattr(rows, "MAX_PIXELS", 2000)
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "deep.tif", np.zeros((60, 70), np.float32), photometric="minisblack")
    tifffile.imwrite(tmp_path / "in" / "many.tif", np.zeros((4, 60, 70), np.uint8), photometric="minisblack")
    tifffile.imwrite(tmp_path / "in" / "fine.tif", field(60, 70), photometric="minisblack")
    cut = tmp_path / "in" / "cut.tif"
    tifffile.imwrite(cut, field(60, 70), photometric="minisblack", bigtiff=True)
    Path(cut).write_bytes(cut.read_bytes()[:-100])
    table = predict_folder(log_tiny().model_uri, tmp_path / "in", tmp_path / "out").set_index("file")
    assert "one page of 8 or 16 bits, grey or RGB; it has float32 MINISBLACK" in table.loc["deep.tif", "error"]
    assert "4 pages" in table.loc["many.tif", "error"]
    assert table.loc["cut.tif", "error"] == "truncated or damaged TIFF"
    assert table.loc["fine.tif", "error"] == ""


def test_a_model_of_an_older_version_looks_at_images_whole(store, tmp_path, small, monkeypatch):
    monkeypatch.setattr(segmenting, "predictor_of", lambda segmenter: None)
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "a.tif", field(60, 70), photometric="minisblack")
    predict_folder(log_tiny().model_uri, tmp_path / "in", tmp_path / "out")
    assert (tmp_path / "out" / "masks" / "a.png").exists()


def test_of_all_that_goes_on_only_what_is_too_tall_is_cut(monkeypatch):
    monkeypatch.setattr(large, "MOST_WAITING", 5_000)
    mask = np.zeros((400, 100), bool)
    mask[:, :3] = True
    for top in range(0, 400, 10):
        for left in range(6, 94, 10):
            mask[top : top + 6, left : left + 6] = True
    found = large.Objects(lambda part, head: instances(part, None, "components", 0.5), lambda *said: None)
    labels = np.concatenate([found.add(large.Band(mask[k : k + 25], None), k == 375) for k in range(0, 400, 25)])
    apart, small = labels[:, :3], labels[:, 6:]
    assert len(np.unique(small)) - 1 == 40 * 9 and not np.isin(np.unique(apart), small[small > 0]).any()
    assert found.count == 360 + len(np.unique(apart)) and found.cut == len(np.unique(apart)) - 1 > 1


def in_bands(part, height, band, monkeypatch):
    """What `large.Objects` makes of bands of 30 rows where 100 may wait, and all labels."""
    monkeypatch.setattr(large, "MOST_WAITING", 100 * band(0, 1).mask.shape[1])
    said = []
    found = large.Objects(part, lambda *each: said.append(each))
    labels = np.concatenate([found.add(band(k, k + 30), k + 30 >= height) for k in range(0, height, 30)])
    assert len(labels) == height and labels.max() == found.count == sum(int(each[0].max()) for each in said)
    for part_of_it, _, top, before in said:
        here = labels[top : top + len(part_of_it)][part_of_it > 0]
        assert np.array_equal(here, part_of_it[part_of_it > 0] + before)
    return found, labels


def disks(height=490, width=110, radius=11):
    """float32 (h, w): how far into a disk, 0 outside, 1 in the middle; each touches all that are beside it."""
    y, x = np.mgrid[:height, :width]
    apart = np.hypot((y - 15 + 10) % 20 - 10, (x - 15 + 10) % 20 - 10)
    inside = (np.abs(y - height / 2) < height / 2 - 4) & (np.abs(x - width / 2) < width / 2 - 4)
    return (np.clip(1 - apart / radius, 0, 1) * inside).astype(np.float32)


def assert_alike(labels, whole):
    """Each object is one of the whole but for pixels at its edge."""
    for number in range(1, whole.max() + 1):
        own = whole == number
        other = labels == np.bincount(labels[own]).argmax()
        assert (own & other).sum() > 0.8 * (own | other).sum()


def test_of_a_class_all_over_the_image_only_itself_is_cut(monkeypatch):
    classes = np.ones((500, 100), np.uint8)
    for top in range(15, 480, 20):
        for left in range(5, 85, 20):
            classes[top : top + 12, left : left + 12] = 2
    parts = recipe()
    found, labels = in_bands(
        lambda mask, beside: class_objects_at(beside * mask, parts)[0],
        500,
        lambda a, b: Band(classes[a:b] > 0, None, classes[a:b]),
        monkeypatch,
    )
    whole, kinds = class_objects_at(classes, parts)
    pieces = len(np.unique(labels[classes == 1]))
    assert pieces == found.cut + 1 > 2 and found.count == pieces + (kinds == 2).sum()
    pairs = np.unique(np.stack([labels, whole])[:, classes == 2], axis=1)
    assert pairs.shape[1] == len(np.unique(pairs[0])) == (kinds == 2).sum()


@pytest.mark.parametrize("how", ["watershed", "border", "distance"])
def test_of_a_layer_of_touching_objects_none_is_cut(monkeypatch, how):
    into = disks()
    mask, head = into > 0, np.float32(into < 0.2) if how == "border" else into
    assert large.components(mask).max() == 1
    found, labels = in_bands(
        lambda part, beside: instances(part, beside, how, 0.5 if how == "distance" else 0.9),
        490,
        lambda a, b: Band(mask[a:b], head[a:b]),
        monkeypatch,
    )
    whole = instances(mask, head, how, 0.5 if how == "distance" else 0.9)
    assert found.cut == 0 and found.count == whole.max() > 100 and np.array_equal(labels > 0, mask)
    assert_alike(labels, whole)


def test_a_dropped_object_of_a_layer_does_not_come_back(monkeypatch):
    into = disks()
    y, x = (np.indices(into.shape) - 5) // 20
    sure = np.where((y + x) % 3 == 0, np.float32(0.1), np.float32(0.9))

    def part(mask, beside):
        return confident(instances(mask, None, "watershed", 0.9), beside[..., 0], 0.5)

    mask = into > 0
    found, labels = in_bands(part, 490, lambda a, b: Band(mask[a:b], None, None, sure[a:b]), monkeypatch)
    whole = part(mask, sure[..., None])
    assert found.cut == 0 and 50 < found.count == whole.max() < instances(mask, None, "watershed", 0.9).max() - 20
    assert ((labels > 0) != (whole > 0)).mean() < 0.01
    assert_alike(labels, whole)


def test_an_object_taller_than_what_may_wait_is_cut_once_and_alone(monkeypatch):
    head = disks()
    head[25:185, 45:65] = 0
    head[27:183, 47:63] = 1
    mask = np.ones(head.shape, bool)
    found, labels = in_bands(
        lambda part, beside: instances(part, beside, "distance", 0.3),
        490,
        lambda a, b: Band(mask[a:b], head[a:b]),
        monkeypatch,
    )
    whole = instances(mask, head, "distance", 0.3)
    assert found.cut == 1 and found.count == whole.max() + 1
    assert len(np.unique(labels[27:183, 47:63])) == 2


def test_what_waits_is_parted_by_all_that_is_around_it():
    mask = np.zeros((120, 60), bool)
    mask[30:36, 5:55] = mask[36:46, 25:35] = mask[46:76, 15:45] = True  # a flat bar, a wide neck, a body
    said = []
    found = large.Objects(lambda part, head: instances(part, None, "watershed", 0.9), lambda *each: said.append(each))
    labels = np.concatenate([found.add(large.Band(mask[k : k + 20], None), k == 100) for k in range(0, 120, 20)])
    whole = instances(mask, None, "watershed", 0.9)
    assert labels.shape == mask.shape and found.count == whole.max() and np.array_equal(labels > 0, mask)
    for part, _, top, before in said:
        assert np.array_equal(part > 0, labels[top : top + len(part)] > before)


@pytest.mark.parametrize("view", ["whole", "patches"])
def test_a_shrunk_image_is_never_in_memory_at_once(monkeypatch, view):
    monkeypatch.setattr(rows, "SPACE", 10_000)
    asked, image = [], field(800, 500)[:, :, None]

    class Watched(rows.HeldRows):
        def read(self, first, last):
            asked.append(last - first)
            return super().read(first, last)

    shrunk = recipe(view=view, image_size=32, scale=1 / 16)
    fitted = rows.FittedRows(Watched(image), shrunk)
    whole = np.concatenate(list(fitted.parts()))
    assert max(asked) < 200 and np.array_equal(whole, fitted.read(0, len(whole)))
    monkeypatch.setattr(rows, "SPACE", 10**9)
    assert np.array_equal(whole, rows.FittedRows(rows.HeldRows(image), shrunk).read(0, len(whole)))
