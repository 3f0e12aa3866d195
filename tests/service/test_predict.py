"""Prediction over folders: what is written, and what mistakes get."""

import errno
import os
import warnings
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import pandas as pd
import pytest
import tifffile
from conftest import blob, brightness_model, encoded, log_tiny
from PIL import Image

from unetlab.data import open_dataset
from unetlab.errors import UserError
from unetlab.images import codecs
from unetlab.inference.package import SIGNATURE, log_segmenter, settings_of
from unetlab.service import loading, objects, pages, predict
from unetlab.service.loading import labels_of
from unetlab.service.overlays import OUTLINE
from unetlab.service.predict import predict_folder
from unetlab.service.segmenting import segment_shard
from unetlab.service.shards import in_turn
from unetlab.setup import Recipe


@pytest.fixture
def model(store) -> str:
    return log_tiny().model_uri


@pytest.fixture
def folder(tmp_path):
    """Images of several kinds, two of one stem, and two files that are none."""
    path = tmp_path / "images"
    path.mkdir()
    (path / "a.png").write_bytes(encoded(blob(40, 50)))
    (path / "a.tif").write_bytes(encoded(blob(60, 70).astype(np.uint16) * 16, "TIFF"))
    (path / "a_png.bmp").write_bytes(encoded(blob(33, 44), "BMP"))
    (path / "colour.PNG").write_bytes(encoded(np.stack([blob(30, 90)] * 3, 2), mode="RGBA"))
    (path / "text.png").write_text("no image")
    (path / "cut.png").write_bytes(encoded(blob(40, 50))[:60])
    (path / "notes.txt").write_text("not looked at")
    (path / "folder.png").mkdir()
    return path


def test_what_is_no_file_is_a_row_with_an_error_and_stops_nothing(model, folder, tmp_path):
    (folder / "gone.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(folder / "pipe.tif")
    predict_folder(model, folder, tmp_path / "out")
    errors = pd.read_csv(tmp_path / "out" / "predictions.csv").set_index("file")["error"]
    assert "no file" in errors["gone.png"] and "no file" in errors["pipe.tif"] and pd.isna(errors["a.png"])


def test_a_name_that_is_no_text_is_one_line(model, folder, tmp_path):
    (folder / os.fsdecode(b"M\xfcller.png")).write_bytes(encoded(blob(40, 50)))
    with pytest.raises(UserError, match="no text"):
        predict_folder(model, folder, tmp_path / "out")


def test_a_folder_that_may_not_be_written_into_is_named(model, folder, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / predict.UNFINISHED).write_text("in the way")
    with pytest.raises(UserError, match=f"out={out} cannot be written"):
        predict_folder(model, folder, out)


def test_a_folder_becomes_masks_overlays_and_a_table(model, folder, tmp_path, capsys):
    out = tmp_path / "out"
    predict_folder(model, folder, out)
    table = pd.read_csv(out / "predictions.csv").set_index("file")
    assert list(table.columns) == ["page", "height", "width", "mode", "foreground_fraction", "object_count", "error"]
    assert sorted(table.index) == ["a.png", "a.tif", "a_png.bmp", "colour.PNG", "cut.png", "text.png"]
    assert table.loc["a.tif", ["height", "width", "mode"]].tolist() == [60, 70, "uint16 grey"]
    assert table["object_count"].dropna().eq(2).all() and table["object_count"].count() == 4
    assert table["error"].dropna().to_dict() == {
        "cut.png": "truncated or damaged",
        "text.png": "not a PNG, JPEG, TIFF or BMP image",
    }
    sizes = {path.stem: codecs.decode_mask(path.read_bytes()).shape for path in (out / "masks").iterdir()}
    assert sizes == {"a_png": (40, 50), "a_tif": (60, 70), "a_png_2": (33, 44), "colour": (30, 90)}
    assert {path.stem for path in (out / "overlays").iterdir()} == set(sizes)
    printed = capsys.readouterr().err
    assert "not segmented: cut.png: truncated or damaged" in printed and "4 of 6 images segmented" in printed


def test_small_batches_and_few_pixels_at_once_change_nothing(model, folder, tmp_path, monkeypatch):
    whole = predict_folder(model, folder, tmp_path / "whole")
    pd.testing.assert_frame_equal(predict_folder(model, folder, tmp_path / "pairs", batch=2), whole)
    monkeypatch.setattr(pages, "BATCH_PIXELS", 1)
    pd.testing.assert_frame_equal(predict_folder(model, folder, tmp_path / "singles"), whole)


def test_one_file_and_a_threshold_of_ones_own(model, folder, tmp_path):
    table = predict_folder(model, folder / "a.png", tmp_path / "out", threshold=1.0)
    assert table["file"].tolist() == ["a.png"] and table["foreground_fraction"].tolist() == [0]


def test_a_missing_or_empty_folder(model, tmp_path):
    with pytest.raises(UserError, match="no folder or image at"):
        predict_folder(model, tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no PNG, JPEG, TIFF or BMP image"):
        predict_folder(model, tmp_path / "empty", tmp_path / "out")


def test_none_readable(model, folder, tmp_path):
    with pytest.raises(UserError, match="text.png: not a PNG, JPEG, TIFF or BMP image"):
        predict_folder(model, folder / "text.png", tmp_path / "out")
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 2, 9, 9), np.uint8), imagej=True, metadata={"axes": "ZCYX"})
    with pytest.raises(UserError, match="a.tif: it holds 5 pages of 2 channels each"):
        predict_folder(model, tmp_path / "a.tif", tmp_path / "out")
    for name in ("cut.png", "text.png"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "a.tif").unlink()
    with pytest.raises(UserError, match="none of the 2 images"):
        predict_folder(model, tmp_path, tmp_path / "out")


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan")])
def test_a_threshold_out_of_range(model, folder, tmp_path, threshold):
    with pytest.raises(UserError, match=r"threshold must lie in \[0, 1\]"):
        predict_folder(model, folder, tmp_path / "out", threshold=threshold)


@pytest.mark.parametrize("below", ["", *predict.FOLDERS])
def test_images_are_never_written_over(model, folder, tmp_path, below):
    images = folder
    if below:
        images = folder.rename(tmp_path / below)
    before = (images / "a.png").read_bytes()
    for given in (images, images / "a.png"):
        with pytest.raises(UserError, match="would write where the images lie"):
            predict_folder(model, given, images.parent if below else images)
    assert (images / "a.png").read_bytes() == before


@pytest.mark.parametrize("below", predict.FOLDERS)
def test_what_predict_has_not_written_is_not_overwritten(model, folder, tmp_path, below):
    own = tmp_path / "cells" / below / "a_png.png"
    own.parent.mkdir(parents=True)
    own.write_text("drawn by hand")
    with pytest.raises(UserError, match=f"{own.parent} holds files that predict has not written; give another out"):
        predict_folder(model, folder, tmp_path / "cells")
    assert own.read_text() == "drawn by hand" and [*(tmp_path / "cells").iterdir()] == [own.parent]
    assert [*own.parent.iterdir()] == [own]


@pytest.mark.parametrize("name", ["predictions.csv", "objects.csv", "class_counts.csv", "legend.png"])
def test_tables_of_others_are_not_overwritten_and_vouch_for_no_masks(model, folder, tmp_path, name):
    out = tmp_path / "cells"
    (out / "masks").mkdir(parents=True)
    (out / "masks" / "a_png.png").write_text("drawn by hand")
    (out / name).write_text("id,score\na,0.3\n")
    with pytest.raises(UserError, match=f"{out / name} is there, which predict has not written; give another out"):
        predict_folder(model, folder, out)
    assert (out / name).read_text() == "id,score\na,0.3\n"
    assert (out / "masks" / "a_png.png").read_text() == "drawn by hand"


def test_predict_writes_over_what_it_has_written_itself(model, folder, tmp_path):
    out = tmp_path / "out"
    (out / "masks").mkdir(parents=True)
    (out / "masks" / ".DS_Store").touch()  # of an empty folder that was looked at
    first = predict_folder(model, folder, out)
    pd.testing.assert_frame_equal(predict_folder(model, folder, out), first)


def test_what_is_passed_over_and_what_leaves_the_tables_is_said(model, folder, tmp_path, capsys):
    predict_folder(model, folder, tmp_path / "out")
    assert "passed over, since no PNG, JPEG, TIFF or BMP image: folder.png/, notes.txt" in capsys.readouterr().err
    other = tmp_path / "other"
    (other / "below").mkdir(parents=True)
    (other / "below" / "a.png").write_bytes(encoded(blob(40, 50)))
    with pytest.raises(UserError, match=r"give a folder that does, such as .*below$"):
        predict_folder(model, other, tmp_path / "out")
    (other / "new.png").write_bytes(encoded(blob(40, 50)))
    (other / "film.gif").write_bytes(b"GIF89a")
    predict_folder(model, other, tmp_path / "out")
    said = capsys.readouterr().err
    assert "passed over, since no PNG, JPEG, TIFF or BMP image: below/, film.gif" in said
    assert "other masks of an earlier prediction: they stay, with their labels" in said
    (other / "new.png").write_bytes(b"")
    (other / "good.png").write_bytes(encoded(blob(40, 50)))
    (tmp_path / "out" / "classes").mkdir()
    predict_folder(model, other, tmp_path / "out")
    said = capsys.readouterr().err
    assert "other masks of an earlier" in said and "classes is of an earlier prediction, by a model of" in said


def test_an_out_that_is_a_file(model, folder, tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        predict_folder(model, folder, tmp_path / "out")


@pytest.mark.parametrize("name", ["models:/unetlab-none@champion", "models:/m-0", "runs:/0/model", "/no/such", "x"])
def test_a_model_that_is_not_there(name, store, folder, tmp_path):
    with pytest.raises(UserError, match=f"^model={name} cannot be loaded .*models:/unetlab-nuclei@champion$"):
        predict_folder(name, folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_model_of_another_kind(store, folder, tmp_path):
    (tmp_path / "echo.py").write_text(
        "import mlflow\n"
        "import pandas as pd\n"
        "class Echo(mlflow.pyfunc.PythonModel):\n"
        "    def predict(self, context, model_input: pd.DataFrame, params=None) -> pd.DataFrame:\n"
        "        return model_input\n"
        "mlflow.models.set_model(Echo())\n"
    )
    with mlflow.start_run():
        info = mlflow.pyfunc.log_model(name="echo", python_model=str(tmp_path / "echo.py"), pip_requirements=["mlflow"])
    with pytest.raises(UserError, match="takes no encoded images"):
        predict_folder(info.model_uri, folder, tmp_path / "out")


class Touch(mlflow.pyfunc.PythonModel):
    """A model whose pickle makes a folder where it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("unpickled",)

    def predict(self, context, model_input, params=None):
        return model_input


def test_a_pickled_model_is_refused_before_it_is_unpickled(store, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with mlflow.start_run(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow says that pickles are not safe
        info = mlflow.pyfunc.log_model(
            name="touch", python_model=Touch(), pip_requirements=["mlflow"], signature=SIGNATURE
        )
    with pytest.raises(UserError, match="^model=.* would be unpickled, so unetlab did not make it"):
        predict_folder(info.model_uri, folder, tmp_path / "out")
    assert not (tmp_path / "unpickled").exists() and not (tmp_path / "out").exists()


def test_every_page_of_a_stack_gets_a_mask_and_a_row(model, folder, tmp_path, capsys):
    pages = [blob(40, 50), blob(40, 50)[::-1], np.zeros((40, 50), np.uint8)]
    tifffile.imwrite(folder / "cells.tif", np.stack(pages), photometric="minisblack")
    (folder / "cells-001.png").write_bytes(encoded(blob(20, 20)))
    tifffile.imwrite(folder / "z.tif", np.zeros((4, 2, 8, 8), np.uint8), imagej=True, metadata={"axes": "ZCYX"})
    out = tmp_path / "out"
    table = predict_folder(model, folder, out)
    stack = table[table["file"] == "cells.tif"]
    assert stack["page"].tolist() == [0, 1, 2] and stack["object_count"].tolist() == [2, 2, 0]
    names = {path.stem for path in (out / "masks").iterdir() if path.stem.startswith("cells")}
    assert names == {"cells-000", "cells-001", "cells-001_page", "cells-002"}
    first, second = (codecs.decode_mask((out / "masks" / f"cells-{n}.png").read_bytes()) for n in ("000", "001_page"))
    assert np.array_equal(first[::-1], second)
    assert "z.tif: it holds 4 pages of 2 channels each (Z 4, C 2); say which" in capsys.readouterr().err
    chosen = predict_folder(model, folder / "z.tif", tmp_path / "chosen", channels="2", pages="2-3")
    assert chosen["page"].tolist() == [1, 2] and (tmp_path / "chosen" / "masks" / "z-002.png").exists()
    first = predict_folder(model, folder / "cells.tif", tmp_path / "first", pages="1")
    assert first["page"].tolist() == [0] and (tmp_path / "first" / "masks" / "cells-000.png").exists()
    alone = predict_folder(model, folder / "a.png", tmp_path / "alone", pages="1")
    assert alone["page"].isna().all() and (tmp_path / "alone" / "masks" / "a.png").exists()
    with pytest.raises(UserError, match=r"z\.tif: channels=7: there is no channel 7"):
        predict_folder(model, folder / "z.tif", tmp_path / "none", channels="7")


def test_pages_of_a_long_stack_are_named_as_a_data_set_names_them(model, tmp_path):
    folder = tmp_path / "stack"
    folder.mkdir()
    tifffile.imwrite(folder / "long.tif", np.zeros((1001, 8, 8), np.uint8), photometric="minisblack")
    predict_folder(model, folder / "long.tif", tmp_path / "out", pages="999-1001")
    names = {path.stem for path in (tmp_path / "out" / "masks").iterdir()}
    assert names == {"long-0998", "long-0999", "long-1000"}
    assert open_dataset(str(folder), pages="999-1001").ids == tuple(sorted(names))


def test_every_image_has_its_objects_as_a_label_image_and_as_rows(model, folder, tmp_path):
    out = tmp_path / "out"
    pages = predict_folder(model, folder, out)
    rows = pd.read_csv(out / "objects.csv")
    names = ["a_png", "a_tif", "a_png_2", "colour"]
    assert {path.name for path in (out / "labels").iterdir()} == {f"{name}.tif" for name in names}
    assert sorted(rows["image"].unique()) == sorted(names) and len(rows) == pages["object_count"].sum()
    for name in names:
        labels, mask = tifffile.imread(out / "labels" / f"{name}.tif"), out / "masks" / f"{name}.png"
        assert np.array_equal(labels > 0, codecs.decode_mask(mask.read_bytes()))
        areas = rows[rows["image"] == name].set_index("label")["area"]
        assert areas.to_dict() == {n: (labels == n).sum() for n in range(1, labels.max() + 1)}
    stored, labels = tifffile.imread(folder / "a.tif"), tifffile.imread(out / "labels" / "a_tif.tif")
    found = rows[rows["image"] == "a_tif"].set_index("label")["mean_intensity"]
    assert found.to_dict() == pytest.approx({n: stored[labels == n].mean() for n in found.index})
    assert found.max() > 255


def test_objects_that_the_model_tells_apart_are_written_as_it_says(tmp_path):
    labels = np.zeros((20, 30), np.uint16)
    labels[5:15, 5:15], labels[5:15, 15:25] = 1, 700
    answer = {"mask": codecs.encode_mask(labels > 0), "labels": codecs.encode_labels(labels)}
    scores = {"foreground_fraction": 1 / 3, "object_count": 2}
    segmenter = SimpleNamespace(
        predict=lambda frame, params: pd.DataFrame([{**answer, **scores}] * len(frame)),
        metadata=SimpleNamespace(metadata=None),
    )
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(encoded(blob(20, 30)))
    with pytest.MonkeyPatch.context() as patch:
        for module in (predict, loading):
            patch.setattr(module, "load", lambda model: segmenter)
        predict_folder("any", tmp_path / "in", tmp_path / "out")
    assert np.array_equal(tifffile.imread(tmp_path / "out" / "labels" / "a.tif"), labels)
    assert pd.read_csv(tmp_path / "out" / "objects.csv")["label"].tolist() == [1, 700]
    drawn = codecs.decode((tmp_path / "out" / "overlays" / "a.png").read_bytes())[0]
    assert (drawn[7:13, 14:16] == OUTLINE).all()  # the line between two that touch
    assert labels_of({"mask": answer["mask"]}).max() == 1


def test_a_killed_prediction_goes_on_and_answers_each_image_once(model, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(predict, "SHARD", 2)
    out, done = tmp_path / "out", []

    def killed_after_one(function, shards):
        for shard in shards:
            if len(done) == 1:
                raise KeyboardInterrupt
            done.append(shard.first)
            yield shard, function(shard), ""

    with pytest.raises(KeyboardInterrupt):
        predict_folder(model, folder, out, spread=killed_after_one)
    assert not (out / "predictions.csv").exists() and done == [0]

    def the_rest(function, shards):
        done.extend(shard.first for shard in shards)
        yield from ((shard, function(shard), "") for shard in reversed(shards))  # whichever is faster

    found = predict_folder(model, folder, out, spread=the_rest)
    assert done == [0, 2, 4] and not (out / predict.UNFINISHED).exists()
    whole = predict_folder(model, folder, tmp_path / "whole")
    pd.testing.assert_frame_equal(found, whole)
    assert (out / "objects.csv").read_bytes() == (tmp_path / "whole" / "objects.csv").read_bytes()


@pytest.mark.parametrize("alike", [True, False], ids=["files alike", "other files"])
def test_a_killed_prediction_of_another_folder_is_other_work_and_what_it_left_is_said(
    model, folder, tmp_path, monkeypatch, capsys, alike
):
    monkeypatch.setattr(predict, "SHARD", 2)

    def killed_after_one(function, shards):
        yield shards[0], function(shards[0]), ""
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_folder(model, folder, tmp_path / "out", spread=killed_after_one)
    second = tmp_path / "second"
    second.mkdir()
    for path in filter(Path.is_file, folder.iterdir()):
        image = encoded(blob(40, 50)[::-1])
        (second / path.name if alike else second / f"new-{path.name}").write_bytes(image)
        if alike:  # of one camera, from an archive that keeps no times
            (second / path.name).write_bytes(path.read_bytes())
            os.utime(second / path.name, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    done = []

    def counted(function, shards):
        done.extend(shard.first for shard in shards)
        yield from in_turn(function, shards)

    predict_folder(model, second, tmp_path / "out", spread=counted)
    assert 0 in done  # nothing of the first folder is taken for it
    assert ("of an earlier prediction" in capsys.readouterr().err) is not alike


def test_a_prediction_goes_on_only_from_what_is_still_there(model, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(predict, "SHARD", 2)

    def killed_after_two(function, shards):
        for shard in shards[:2]:
            yield shard, function(shard), ""
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_folder(model, folder, tmp_path / "out", spread=killed_after_two)
    first = sorted((tmp_path / "out" / "masks").iterdir())[0]
    first.unlink()  # as `rm -r out/*` would, which spares what is hidden
    done = []

    def counted(function, shards):
        done.extend(shard.first for shard in shards)
        yield from in_turn(function, shards)

    predict_folder(model, folder, tmp_path / "out", spread=counted)
    assert 0 in done and 2 not in done and first.exists()


def test_a_mask_whose_image_is_called_otherwise_now_is_said_to_be_old(model, tmp_path, capsys):
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    (images / "a.png").write_bytes(encoded(blob(40, 50)))
    predict_folder(model, images, out)
    Image.fromarray(blob(40, 50)).save(images / "a.tif")
    predict_folder(model, images, out)
    assert sorted(each.name for each in (out / "masks").iterdir()) == ["a.png", "a_png.png", "a_tif.png"]
    assert "masks holds 1 other mask of an earlier prediction" in capsys.readouterr().err


def test_maps_of_classes_that_somebody_drew_are_nobody_else_s_either(model, folder, tmp_path):
    (tmp_path / "out" / "classes").mkdir(parents=True)
    (tmp_path / "out" / "classes" / "mine.png").write_bytes(encoded(blob(40, 50)))
    with pytest.raises(UserError, match="classes holds files that predict has not written"):
        predict_folder(model, folder, tmp_path / "out")


def test_tables_of_an_earlier_prediction_stay_until_new_ones_are_whole(model, folder, tmp_path, monkeypatch):
    predict_folder(model, folder, tmp_path / "out")
    before = {name: (tmp_path / "out" / name).read_bytes() for name in ("objects.csv", "predictions.csv")}

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(predict.shutil, "copyfileobj", full)
    with pytest.raises(OSError, match="No space"):
        predict_folder(model, folder, tmp_path / "out")
    assert {name: (tmp_path / "out" / name).read_bytes() for name in before} == before


def test_two_predictions_into_one_folder_at_a_time_are_refused_and_into_two_are_not(model, folder, tmp_path):
    met = []

    def meanwhile(function, shards):
        with pytest.raises(UserError, match=f"^a prediction into {tmp_path / 'out'} is being run by process") as second:
            predict_folder(model, folder, tmp_path / "." / "out", threshold=0.3)  # whatever else it is told
        met.append(str(second.value))
        predict_folder(model, folder, tmp_path / "other")
        yield from in_turn(function, shards)

    table = predict_folder(model, folder, tmp_path / "out", spread=meanwhile)
    assert len(met) == 1 and len(table) == 6 and (tmp_path / "other" / "predictions.csv").exists()
    predict_folder(model, folder, tmp_path / "out")


def test_a_person_s_own_folders_stay(model, folder, tmp_path):
    own = [tmp_path / "out" / name / "mine" for name in ("unfinished", predict.UNFINISHED)]
    for each in own:
        each.mkdir(parents=True)
    predict_folder(model, folder, tmp_path / "out")
    assert all(each.exists() for each in own)


def test_another_threshold_is_other_work(model, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(predict, "SHARD", 2)
    out, firsts = tmp_path / "out", []

    def one(function, shards):
        firsts.append([shard.first for shard in shards])
        yield shards[0], function(shards[0]), ""
        raise KeyboardInterrupt

    for threshold in (0.5, 0.5, 0.6):
        with pytest.raises(KeyboardInterrupt):
            predict_folder(model, folder, out, threshold=threshold, spread=one)
    assert firsts == [[0, 2, 4], [2, 4], [0, 2, 4]]


def test_a_file_that_kills_whoever_reads_it_gets_a_row_and_the_others_their_masks(model, folder, tmp_path):
    def killing(function, shards):
        for shard in shards:
            if "a.tif" in {path.name for path in shard.files}:
                yield shard, None, "its process was killed by SIGKILL"
            else:
                yield shard, function(shard), ""

    table = predict_folder(model, folder, tmp_path / "out", spread=killing).set_index("file")
    assert table["error"].to_dict()["a.tif"] == "its process was killed by SIGKILL" and len(table) == 6
    assert {path.stem for path in (tmp_path / "out" / "masks").iterdir()} == {"a_png", "a_png_2", "colour"}


def test_a_machine_that_does_not_see_the_images_says_so(model, folder, tmp_path):
    shards = []

    def elsewhere(function, some):
        shards.extend(some)
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt):
        predict_folder(model, folder, tmp_path / "out", spread=elsewhere)
    folder.rename(tmp_path / "gone")
    with pytest.raises(UserError, match="does not see .*images and out have to lie on storage that all workers share"):
        segment_shard(shards[0])


@pytest.mark.slow  # 70,000 objects
def test_more_objects_than_a_png_can_tell_apart_are_answered_all_the_same(store, tmp_path):
    y, x = np.mgrid[:520, :520]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "specks.png").write_bytes(encoded(((y % 2 == 0) & (x % 2 == 0)).astype(np.uint8) * 255))
    (tmp_path / "in" / "two.png").write_bytes(encoded(blob(40, 50)))
    table = predict_folder(log_tiny(view="patches", image_size=64).model_uri, tmp_path / "in", tmp_path / "out")
    assert table["object_count"].tolist() == [260 * 260, 2] and table["error"].eq("").all()
    labels = tifffile.imread(tmp_path / "out" / "labels" / "specks.tif")
    assert labels.dtype == np.uint32 and labels.max() == 260 * 260


def test_where_an_object_lies_is_written_to_the_thousandth_of_a_pixel(tmp_path):
    objects.append_table(tmp_path, "a", pd.DataFrame({"centroid_row": [123456.789]}))
    assert (tmp_path / "objects.csv").read_text() == "a,123456.789\n"


def test_a_folder_that_cannot_be_opened_is_one_line(model, tmp_path):
    with pytest.raises(UserError, match="cannot be opened .File name too long.; give one that can"):
        predict_folder(model, tmp_path / ("x" * 300), tmp_path / "out")


def test_a_model_that_learnt_from_one_channel_says_so_where_none_is_told(store, folder, tmp_path, capsys):
    settings = settings_of(Recipe(image_size=32, channels=1, epochs=1, batch_size=1))
    with mlflow.start_run():
        network = brightness_model(32, 1)
        example = encoded(blob(32, 32))
        address = log_segmenter(network, name="t", settings=settings, example=example, tags={}, channels="2").model_uri
    planes = np.stack([np.zeros((40, 50), np.uint8), blob(40, 50), np.zeros((40, 50), np.uint8)])
    tifffile.imwrite(tmp_path / "planes.tif", planes, photometric="minisblack", metadata={"axes": "CYX"}, ome=True)
    said = "the model learnt from channels=2, and none are told now"
    told = predict_folder(address, tmp_path / "planes.tif", tmp_path / "told", channels="2")
    assert said not in capsys.readouterr().err and told["object_count"].tolist() == [2]
    predict_folder(address, tmp_path / "planes.tif", tmp_path / "untold")
    assert said in capsys.readouterr().err
