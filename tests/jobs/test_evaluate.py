"""Any model on any labelled data, through its served code."""

import dataclasses
import io

import mlflow
import numpy as np
import pytest
from click.testing import CliRunner
from conftest import encoded, write_pairs
from mlflow.tracking import MlflowClient
from rich.console import Console
from taught_models import taught, tiny
from tiny_setup import QUIET, TINY

from unetlab.cli.main import main
from unetlab.comparison import report
from unetlab.comparison.compare import compare
from unetlab.data import open_dataset
from unetlab.errors import UserError
from unetlab.health.finding import HealthFinding
from unetlab.jobs import evaluate as jobs_evaluate
from unetlab.jobs.evaluate import evaluate
from unetlab.jobs.run import run_setup
from unetlab.metrics import membranes
from unetlab.options import Options
from unetlab.service import scoring
from unetlab.service.loading import load
from unetlab.service.seen import origin
from unetlab.tracking import read


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


def test_images_read_by_other_channels_than_were_learnt_cannot_be_known_again(store, pairs):
    said = io.StringIO()
    model = taught(pairs, learnt_channels="2")
    with pytest.raises(UserError, match="was trained or validated on 12 of 12 images"):  # the same pixels after all
        evaluate(model, str(pairs))
    more = write_pairs(pairs.parent / "more", 5, seed=1)
    found = evaluate(model, str(more), console=Console(file=said, width=400))
    tag = MlflowClient().get_run(found.run_id).data.tags["seen_images"]
    assert tag == "unknown: read by channels=all, learnt from channels=2"
    assert "cannot know these images again if it learnt from them" in said.getvalue()


def test_what_a_killed_evaluation_left_running_is_marked_killed(store, pairs, monkeypatch):
    model = tiny(channels=1)
    with monkeypatch.context() as patch:
        patch.setattr(scoring, "summarise", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            evaluate(model, str(pairs))
    client = MlflowClient()
    (left,) = client.search_runs([client.get_experiment_by_name("unetlab").experiment_id])
    client.update_run(left.info.run_id, status="RUNNING")
    found = evaluate(model, str(pairs))
    assert client.get_run(left.info.run_id).info.status == "KILLED"
    assert client.get_run(found.run_id).info.status == "FINISHED"


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


def test_scenes_of_a_file_are_the_units_and_bad_files_are_one_line(store, pairs):
    given, model = pairs.parent / "own.csv", tiny()
    lines = [f"cell{i:02d},{i // 4}" for i in range(12)]
    given.write_text("\n".join(["id,group", *lines]))
    asked = ["evaluate", "--model", model, "--data", str(pairs), "--groups", str(given)]
    assert "12 images of 3 scenes" in CliRunner().invoke(main, asked).output
    for text, said in ((lines[1:], "no line for cell00"), ([*lines, "x,1"], "names x, which")):
        given.write_text("\n".join(["id,group", *text]))
        answer = CliRunner().invoke(main, asked)
        assert answer.exit_code == 2 and said in answer.stderr and answer.stderr.count("\n") == 1
    given.unlink()
    answer = CliRunner().invoke(main, asked)
    assert answer.exit_code == 2 and "cannot be read" in answer.stderr and answer.stderr.count("\n") == 1


def test_brackets_in_names_and_findings_are_no_markup(store, pairs, monkeypatch):
    said = io.StringIO()
    console = Console(file=said, width=1000)
    data = pairs.rename(pairs.parent / "cells [b]")
    finding = HealthFinding("H001", "title", "image [b] is odd", "look at [i]", {})
    monkeypatch.setattr(jobs_evaluate.examine, "examine", lambda run_id: [finding])
    evaluate(taught(data), str(data), allow_seen=True, console=console)
    assert f"12 of 12 images in {data} (" in said.getvalue() and "image [b] is odd look at [i]" in said.getvalue()
    model = mlflow.artifacts.download_artifacts(tiny(), dst_path=str(pairs.parent / "model [b]"))
    evaluate(model, str(data), console=console)
    assert f"the run that trained {model} does not say" in said.getvalue()


def test_a_model_of_three_channels_scores_grey_images(store, pairs):
    assert evaluate(tiny(channels=3), str(pairs)).figures["test/images"] == 12


def test_membranes_are_cut_where_validation_said_in_the_run_and_in_evaluate(store, pairs, light, monkeypatch):
    """The gate compares the two."""
    monkeypatch.setattr(membranes, "best_cut", lambda maps, truths: 0.35)
    setup = dataclasses.replace(TINY, membranes=True)
    summary = run_setup(setup, Options(data=str(pairs), trials=1, models="best", seed=1), QUIET)
    own = read.table(read.find_one(summary.run_id)).set_index("id")
    model = load(f"models:/{summary.model_id}")
    data = open_dataset(str(pairs))
    rows = [data.ids.index(name) for name in own.index]
    again = scoring.score(model, origin(model), data, rows).table.set_index("id")
    for score in membranes.SCORES:
        np.testing.assert_allclose(again[score], own[score], rtol=1e-6)
    uncut = scoring.score(model, dataclasses.replace(origin(model), tags={"ranked_by": "native_v_rand"}), data, rows)
    assert not np.allclose(uncut.table["native_v_rand"], own["native_v_rand"])
