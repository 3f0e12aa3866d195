"""Prediction of folders by a model of classes: maps, a legend, objects and counts a class, small images and large."""

import io

import numpy as np
import pandas as pd
import pytest
import tifffile
from conftest import encoded, log_tiny
from PIL import Image

from unetlab.data import open_dataset
from unetlab.errors import UserError
from unetlab.images import codecs, rows
from unetlab.images.palette import colours
from unetlab.inference import predict as inference
from unetlab.service import large
from unetlab.service.objects import COLUMNS, COUNT_COLUMNS
from unetlab.service.predict import predict_folder

NAMES = ["nuclei", "debris"]


def scene(height: int = 96, width: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (h, w, 3) and its classes: a red disc and a green one that touch, and two green ones apart."""
    y, x = np.mgrid[:height, :width]
    classes = np.zeros((height, width), np.uint8)
    for kind, cy, cx in ((1, 0.3, 0.2), (2, 0.3, 0.42), (2, 0.75, 0.3), (2, 0.7, 0.8)):
        classes[(y - cy * height) ** 2 + (x - cx * width) ** 2 < (0.15 * height) ** 2] = kind
    image = np.zeros((height, width, 3), np.uint8)
    image[classes == 1, 0] = image[classes == 2, 1] = 255
    return image, classes


@pytest.fixture
def model(store) -> str:
    return log_tiny(classes=NAMES, view="patches").model_uri


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "images"
    path.mkdir()
    (path / "a.png").write_bytes(encoded(scene()[0]))
    (path / "dark.png").write_bytes(encoded(np.zeros((30, 40), np.uint8)))
    (path / "text.png").write_text("no image")
    return path


def test_a_folder_becomes_class_maps_a_legend_and_counts_of_each_class(model, folder, tmp_path, capsys):
    out = tmp_path / "out"
    table = predict_folder(model, folder, out).set_index("file")
    truth = scene()[1]
    with Image.open(out / "classes" / "a.png") as stored:
        assert stored.mode == "P" and np.array_equal(np.asarray(stored), truth)
        assert np.array_equal(np.asarray(stored.convert("RGB")), colours(2)[truth])
    assert np.array_equal(codecs.decode_mask(out / "masks" / "a.png"), truth > 0)
    assert table["object_count"].dropna().to_dict() == {"a.png": 4, "dark.png": 0}
    counts = pd.read_csv(out / "class_counts.csv")
    assert tuple(counts.columns) == COUNT_COLUMNS
    assert counts["image"].tolist() == ["a", "a", "dark", "dark"] and counts["class"].tolist() == NAMES * 2
    assert counts["objects"].tolist() == [1, 3, 0, 0]
    assert counts["area"].tolist() == [(truth == 1).sum(), (truth == 2).sum(), 0, 0]
    assert counts["area_fraction"][1] == pytest.approx((truth == 2).mean(), rel=1e-4)
    shares = [f"{(truth == kind).sum() / (truth.size + 1200):.2%} of the pixels" for kind in (1, 2)]
    assert f"nuclei 1 objects, {shares[0]}; debris 3 objects, {shares[1]}" in capsys.readouterr().err
    listed = pd.read_csv(out / "objects.csv")
    assert tuple(listed.columns) == (*COLUMNS[:2], "class", *COLUMNS[2:])
    assert listed["class"].tolist() == ["nuclei", "debris", "debris", "debris"]
    labels = tifffile.imread(out / "labels" / "a.tif")
    for row in listed.to_dict("records"):
        assert (truth[labels == row["label"]] == 1 + NAMES.index(row["class"])).all()
        assert row["area"] == (labels == row["label"]).sum()
    assert {path.name for path in out.iterdir()} == {
        *("masks", "labels", "overlays", "classes", "legend.png"),
        *("predictions.csv", "objects.csv", "class_counts.csv"),
    }


def test_what_it_writes_can_be_read_as_masks_of_the_same_classes(model, folder, tmp_path):
    (folder / "text.png").unlink()
    out = tmp_path / "out"
    predict_folder(model, folder, out)
    (tmp_path / "data").mkdir()
    (out / "classes").rename(tmp_path / "data" / "masks")
    folder.rename(tmp_path / "data" / "images")
    dataset = open_dataset(str(tmp_path / "data"), masks="auto")
    assert dataset.classes == ("background", *NAMES) and dataset.meaning == "classes"
    assert np.array_equal(dataset.class_map(dataset.ids.index("a")), scene()[1])


def test_a_large_file_gets_classes_counts_and_rows_as_a_small_one(model, tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "SPACE", 20_000)
    monkeypatch.setattr(inference, "SPACE", 20_000)
    monkeypatch.setattr(inference.tiles.bands, "__defaults__", (128,))
    monkeypatch.setattr(large, "TILE", 64)
    image, truth = scene(333, 401)
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "a.tif", image, photometric="rgb", tile=(64, 64), compression="zlib")
    whole = predict_folder(model, tmp_path / "in", tmp_path / "whole")
    monkeypatch.setattr(rows, "LARGE", 1000)
    table = predict_folder(model, tmp_path / "in", tmp_path / "large")
    pd.testing.assert_frame_equal(table, whole)
    with tifffile.TiffFile(tmp_path / "large" / "classes" / "a.tif") as stored:
        page = stored.pages[0]
        assert page.photometric.name == "PALETTE" and page.tile == (64, 64)
        assert np.array_equal(page.asarray(), truth)
    assert np.array_equal(codecs.decode(tmp_path / "large" / "classes" / "a.tif")[0], colours(2)[truth])
    assert np.array_equal(tifffile.imread(tmp_path / "large" / "masks" / "a.tif") > 0, truth > 0)
    for name in ("class_counts.csv", "objects.csv"):
        own, other = (pd.read_csv(tmp_path / way / name) for way in ("large", "whole"))
        if name == "objects.csv":  # numbered as they end
            own, other = (each.sort_values(["top", "left"], ignore_index=True) for each in (own, other))
            labels = tifffile.imread(tmp_path / "large" / "labels" / "a.tif")
            assert [(labels == label).sum() for label in own["label"]] == own["area"].tolist()
            own, other = own.drop(columns="label"), other.drop(columns="label")
        pd.testing.assert_frame_equal(own, other)


def test_a_file_whose_process_is_lost_is_listed_and_the_others_counted(model, folder, tmp_path):
    def killing(function, shards):
        for shard in shards:
            if any(path.name == "dark.png" for path in shard.files):
                yield shard, None, "its process was killed"
            else:
                yield shard, function(shard), ""

    table = predict_folder(model, folder, tmp_path / "out", spread=killing).set_index("file")
    assert table.loc["dark.png", "error"] == "its process was killed"
    assert pd.read_csv(tmp_path / "out" / "class_counts.csv")["image"].tolist() == ["a", "a"]


def test_a_threshold_and_images_where_classes_are_written_are_refused(model, folder, tmp_path):
    with pytest.raises(
        UserError, match=r"^threshold=0.7: .* tells nuclei, debris apart .* no threshold applies; leave it"
    ):
        predict_folder(model, folder, tmp_path / "out", threshold=0.7)
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    folder.rename(tmp_path / "out" / "classes")
    with pytest.raises(UserError, match="would write where the images lie"):
        predict_folder(model, tmp_path / "out" / "classes", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.*")) == ["a.png", "dark.png", "text.png"]


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def test_a_model_of_one_mask_writes_what_it_always_did_and_nothing_of_classes(store, folder, tmp_path):
    model, out = log_tiny(view="patches").model_uri, tmp_path / "out"
    (folder / "a.png").write_bytes(encoded((scene()[1] > 0).astype(np.uint8) * 255))
    predict_folder(log_tiny(classes=NAMES).model_uri, folder, out)
    assert (out / "class_counts.csv").exists()
    predict_folder(model, folder, out)
    truth = scene()[1] > 0
    assert (out / "masks" / "a.png").read_bytes() == png(Image.fromarray(truth.astype(np.uint8) * 255))
    assert (out / "predictions.csv").read_text() == (
        "file,page,height,width,mode,foreground_fraction,object_count,error\n"
        f"a.png,,96,128,uint8 grey,{truth.mean()},3,\n"
        "dark.png,,30,40,uint8 grey,0.0,0,\n"
        'text.png,,,,,,,"not a PNG, JPEG, TIFF or BMP image"\n'
    )
    assert (out / "objects.csv").read_text().splitlines()[0] == ",".join(COLUMNS)
    assert not (out / "class_counts.csv").exists()  # of the other model
