"""Any model on any labelled data, through its served code."""

import io

import matplotlib.image
import mlflow
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from conftest import encoded, log_tiny, write_pairs
from mlflow.tracking import MlflowClient
from PIL import Image

from unetlab.cli.main import main
from unetlab.comparison import report
from unetlab.comparison.compare import compare
from unetlab.data import open_dataset
from unetlab.errors import UserError
from unetlab.jobs.evaluate import evaluate
from unetlab.tracking import read, thumbnails


def tiny(**changes) -> str:
    return f"models:/{log_tiny(**changes).model_id}"


def taught(data, side: str = "train", **changes) -> str:
    """A model whose setup run says that it saw all images of a folder on one side; its own run is a child of that."""
    dataset = open_dataset(str(data))
    sides = pd.DataFrame({"id": dataset.ids, "side": side, "group": range(len(dataset)), "sha": dataset.sha})
    with mlflow.start_run(tags={"setup": "nuclei", "role": "search", "dataset_digest": dataset.digest}):
        mlflow.log_text(sides.to_csv(index=False), "split.csv")
        return tiny(nested=True, **changes)


def test_a_model_of_three_channels_on_grey_data_leaves_a_run_that_holds_all(store, pairs):
    model = taught(write_pairs(pairs.parent / "others", seed=3))
    found = evaluate(model, str(pairs))
    run = read.find_one(found.run_id)
    wanted = {"role": "evaluation", "setup": "tiny", "dataset": "pairs", "seen_images": "0"}
    assert wanted.items() <= run.tags.items() and run.tags["final_model"] == model.removeprefix("models:/")
    assert MlflowClient().get_run(run.tags["evaluated_run"]).data.tags["role"] == "search"
    assert run.tags["dataset_digest"] == open_dataset(str(pairs)).digest and run.sides == {"test": 12}

    table = read.table(run)
    assert list(table["id"]) == list(open_dataset(str(pairs)).ids)
    assert {"native_iou", "native_boundary_f1", "ap50", "ap_dsb", "count_true", "count_error", "tp"} <= set(table)
    assert run.metrics["test/native_dice"] == pytest.approx(table["native_dice"].mean())
    assert run.metrics["test/native_dice_low"] < run.metrics["test/native_dice"] < run.metrics["test/native_dice_high"]
    gain = (table["native_dice"] - table["otsu_native_dice"]).mean()
    assert run.metrics["gain/over_otsu"] == pytest.approx(gain) and "gain/over_constant_low" in run.metrics
    counts = table[["tp", "fp", "fn", "tn"]]
    assert (counts.sum(axis=1) == 1600).all()
    assert np.allclose(2 * table["tp"] / (2 * table["tp"] + table["fp"] + table["fn"]), table["native_dice"])

    assert [*read.table(run, "split.csv")] == ["id", "side", "group", "sha"]
    album = thumbnails.unpack(read.artifact(run, thumbnails.PATH))
    assert album.ids == tuple(table["id"]) and album.masks.shape == (12, 160, 160) and album.truth.any()
    for name in ("predictions.png", "test_dice.png", "confusion.png"):
        assert matplotlib.image.imread(io.BytesIO(read.artifact(run, name))).std() > 0.05
    assert read.json_artifact(run, "data_card.json")["images"] == 12
    assert "health" in run.tags and run.tags["command"].startswith("mlflow run . -e evaluate")
    assert "Otsu" in found.headline() and "12 images of 12 scenes" in found.headline()


def test_it_is_scored_as_the_served_model_answers(store, pairs):
    model = tiny()
    table = read.table(read.find_one(evaluate(model, str(pairs)).run_id)).set_index("id")
    served = mlflow.pyfunc.load_model(model)
    path = pairs / "images" / "cell05.png"
    answer = served.predict(pd.DataFrame({"image": [path.read_bytes()]}))["mask"][0]
    mask = np.asarray(Image.open(io.BytesIO(answer))) > 0
    truth = np.asarray(Image.open(pairs / "masks" / "cell05.png")) > 0
    assert table["native_dice"]["cell05"] == pytest.approx(2 * (mask & truth).sum() / (mask.sum() + truth.sum()))


@pytest.mark.parametrize("side", ["train", "validation"])
def test_images_the_model_was_trained_or_validated_on_are_refused_unless_allowed(store, pairs, side):
    model = taught(pairs, side)
    renamed = pairs.parent / "renamed"
    for kind in ("images", "masks"):
        (renamed / kind).mkdir(parents=True)
        for path in (pairs / kind).iterdir():
            (renamed / kind / f"new{path.name}").write_bytes(path.read_bytes())
    with pytest.raises(
        UserError, match=r"was trained or validated on 12 of 12 images in .*\(newcell00.*allow_seen=true"
    ):
        evaluate(model, str(renamed))
    assert mlflow.search_runs(filter_string="tags.role = 'evaluation'", search_all_experiments=True).empty
    assert read.find_one(evaluate(model, str(renamed), allow_seen=True).run_id).tags["seen_images"] == "12 of 12"


def test_some_seen_images_are_refused_and_its_own_test_images_are_not(store, pairs):
    model = taught(pairs)
    mixed = write_pairs(pairs.parent / "mixed", 5, seed=8)
    for kind in ("images", "masks"):
        (mixed / kind / "seen.png").write_bytes((pairs / kind / "cell02.png").read_bytes())
    with pytest.raises(UserError, match=r"on 1 of 6 images in .*\(seen\)"):
        evaluate(model, str(mixed))
    assert evaluate(taught(pairs, "test"), str(pairs)).figures["test/images"] == 12


def test_a_model_whose_run_says_nothing_of_its_images_is_scored_and_that_is_told(store, pairs, capsys):
    found = evaluate(tiny(), str(pairs))
    assert read.find_one(found.run_id).tags["seen_images"].startswith("unknown")
    assert "does not say which images it saw" in " ".join(capsys.readouterr().err.split())


def test_a_registered_model_and_one_image_of_colour(store, pairs):
    MlflowClient().create_registered_model("unetlab-tiny")
    MlflowClient().create_model_version("unetlab-tiny", tiny(channels=1))
    one = pairs.parent / "one"
    (one / "images").mkdir(parents=True)
    (one / "masks").mkdir()
    disk = np.zeros((30, 50), np.uint8)
    disk[5:20, 10:30] = 255
    (one / "images" / "a.png").write_bytes(encoded(np.stack([disk, disk // 2, disk], axis=2)))
    (one / "masks" / "a.png").write_bytes(encoded(disk))
    found = evaluate("models:/unetlab-tiny/1", str(one))
    assert found.figures["test/images"] == 1 and "test/native_dice_low" not in found.figures


def test_compare_and_its_report_take_evaluations_of_the_same_images_only(store, pairs):
    first, second = (evaluate(tiny(name=name), str(pairs)).run_id for name in ("a", "b"))
    found = compare([first, second])
    assert len(found.names) == 2 and len(found.units) == 12
    page = report.html(found)
    assert "mlflow run . -e evaluate" in page and "data:image/jpeg" in page
    assert len(compare(where="tags.role = 'evaluation'").names) == 2
    other = evaluate(tiny(), str(write_pairs(pairs.parent / "others", 7, seed=4))).run_id
    with pytest.raises(UserError, match="must be scored on the same data"):
        compare([first, other])


def empty_masks(folder) -> None:
    for path in (folder / "masks").iterdir():
        path.write_bytes(encoded(np.zeros((40, 40), np.uint8)))


def no_masks(folder) -> None:
    for path in (folder / "masks").iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("spoil", "said"), [(no_masks, "has images and no masks"), (empty_masks, "masks .* are empty")]
)
def test_data_that_cannot_be_scored_on_are_one_line(store, pairs, spoil, said):
    spoil(pairs)
    model = tiny()
    answer = CliRunner().invoke(main, ["evaluate", "--model", model, "--data", str(pairs)])
    assert answer.exit_code == 2 and answer.stderr.count("\n") == 1
    with pytest.raises(UserError, match=said):
        evaluate(model, str(pairs))


def test_an_unknown_model_is_one_line_and_a_known_one_prints_its_scores(store, pairs):
    answer = CliRunner().invoke(main, ["evaluate", "--model", "models:/no-such@champion", "--data", str(pairs)])
    assert answer.exit_code == 2 and "models:/no-such@champion cannot be loaded" in answer.stderr
    answer = CliRunner().invoke(main, ["evaluate", "--model", tiny(), "--data", str(pairs), "--allow_seen", "true"])
    assert answer.exit_code == 0 and "at native size, 12 images of 12 scenes" in answer.output
