"""A model's network as a file of another runtime: what is written, checked, timed, logged and refused."""

import dataclasses
import io
import json
import re
import shutil
import socket
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from conftest import brightness_model
from mlflow.tracking import MlflowClient
from PIL import Image
from taught_models import tiny, with_split

from unetlab.cli.main import main
from unetlab.errors import UserError
from unetlab.jobs.export import export, table
from unetlab.service.exports import FORMATS, speed

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(speed, "SIDES", (32,))
    monkeypatch.setattr(speed, "SECONDS", 0.0)
    monkeypatch.setattr(speed, "THREADS", (2,))


def run_of_export() -> mlflow.entities.Run:
    (found,) = MlflowClient().search_runs(
        [each.experiment_id for each in MlflowClient().search_experiments()], "tags.role = 'export'"
    )
    return found


def test_the_command_writes_checks_times_and_logs_without_a_network(store, pairs, monkeypatch):
    model = with_split(pairs, "train validation test", channels=1)

    def offline(*_):
        raise AssertionError("somebody asks the network")

    monkeypatch.setattr(socket.socket, "connect", offline)
    asked = ["export", "--model", model, "--format", "litert", "--precision", "int8", "--allow_loss", "0.02"]
    answer = CliRunner().invoke(main, asked)
    assert answer.exit_code == 0, answer.output
    assert "litert int8, milliseconds an image" in answer.output and "32 x 32" in answer.output
    assert re.search(r"litert int8: 0\.00 MB \(Keras 0\.\d\d\); Dice lost [+-]0\.0\d+ \(95 % ", answer.output)
    address = re.search(r"mlflow artifacts download -u (runs:/\S+)", answer.output)[1]
    trained_in = MlflowClient().get_logged_model(model.removeprefix("models:/")).source_run_id
    assert address == f"runs:/{trained_in}/exports/litert-int8"
    folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=address))
    assert {path.name for path in folder.iterdir()} == {"model.tflite", "export.json"}
    page = json.loads((folder / "export.json").read_text())
    assert page["model"] == model and page["input"]["shape"] == [1, 32, 32, 1]
    assert page["checked"]["test_images"] == 4 and page["checked"]["scenes"] == 4
    run = run_of_export()
    figures = run.data.metrics
    assert run.info.status == "FINISHED" and run.data.tags["exported_to"] == address
    assert figures["export/dice_lost"] == pytest.approx(figures["export/keras_dice"] - figures["export/dice"])
    assert 0 < figures["export/largest_difference"] < 0.1
    assert {"export/p50_ms_32px_2t", "export/keras_p95_ms_32px_2t", "export/megabytes"} <= set(figures)
    on_its_page = MlflowClient().get_logged_model(model.removeprefix("models:/")).metrics
    told = {metric.key: metric.value for metric in on_its_page if metric.key.startswith("export/")}
    own = {name: value for name, value in figures.items() if name.count("/") == 1}
    assert told == {name.replace("export/", "export/litert-int8/"): value for name, value in own.items()}
    scores = pd.read_csv(io.StringIO(mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/scores/export.csv")))
    assert list(scores["id"]) == ["cell02", "cell05", "cell08", "cell11"]
    times = pd.read_csv(io.StringIO(mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/speed.csv")))
    assert list(times["network"]) == ["keras", "litert"] and (times["turns"] == speed.LEAST).all()
    assert "speed.png" in {each.path for each in MlflowClient().list_artifacts(run.info.run_id)}
    kept = "-P format=litert -P precision=int8 -P allow_loss=0.02"
    assert run.data.tags["command"] == f"mlflow run . -e export --env-manager local -P model={model} {kept}"


def test_patches_are_checked_in_tiles_where_a_file_takes_one_size(store, pairs):
    model = with_split(pairs, "train test", view="patches", scale=3.0)
    found = export(model, "litert")
    assert abs(found.loss.mean) < 1e-3 and found.loss.largest < 1e-5
    assert set(found.speed["side"]) == {32, 64} and set(found.speed[found.speed["exported"]]["side"]) == {64}
    assert "32 x 32*" in [*table(found).columns[1].cells] and "64 x 64" in [*table(found).columns[1].cells]


def wrong(row):
    """The format, but its networks take foreground for background."""
    return dataclasses.replace(row, open=lambda path, threads: lambda images: 1 - row.open(path, threads)(images))


def test_a_file_that_loses_too_much_is_refused_and_not_kept_unless_that_is_allowed(store, pairs, monkeypatch):
    model = with_split(pairs, "train test")
    monkeypatch.setitem(FORMATS, "onnx", wrong(FORMATS["onnx"]))
    said = r"loses Dice against Keras, \+0\.\d+ \(95 % .*\) on 6 test images of 6 scenes, which is more than 0.005; "
    with pytest.raises(UserError, match=said) as told:
        export(model, "onnx")
    run = run_of_export()
    assert run.info.status == "FAILED" and run.data.metrics["export/dice_lost"] > 0.5
    trained_in = MlflowClient().get_logged_model(model.removeprefix("models:/")).source_run_id
    assert not MlflowClient().list_artifacts(trained_in, "exports")
    enough = float(re.search(r"allow_loss=([\d.]+) takes it", str(told.value))[1])
    assert export(model, "onnx", allow_loss=enough).loss.worst <= enough


def test_a_small_loss_that_few_images_cannot_rule_out_is_refused_too(store, pairs, monkeypatch):
    model = with_split(pairs, "train test")
    calls = []

    def half(row):
        def opened(path, threads):
            run = row.open(path, threads)

            def network(images):
                calls.append(len(images))
                answer = run(images)
                answer[0] *= len(calls) != 2  # one of the test images is lost; the first call tries the file
                return answer

            return network

        return dataclasses.replace(row, open=opened)

    monkeypatch.setitem(FORMATS, "onnx", half(FORMATS["onnx"]))
    with pytest.raises(UserError, match="which may be more than 0.3; "):
        export(model, "onnx", allow_loss=0.3)


MISTAKES = [
    (["--format", "tflite"], "'tflite' is not one of 'litert', 'onnx', 'openvino', 'saved_model'"),
    (["--format", "onnx", "--precision", "int4"], "'int4' is not one of 'float32', 'int8'"),
    (["--format", "onnx", "--allow_loss", "2"], "2.0 is not in the range 0<=x<=1"),
    (["--format", "saved_model", "--precision", "int8"], "saved_model has no precision=int8"),
    (["--format", "onnx", "--model", "models:/no-such@champion"], "models:/no-such@champion cannot be loaded"),
    (["--format", "onnx", "--precision", "int8"], "precision=int8 wants images to calibrate on"),
    (["--format", "onnx", "--data", "/no/such"], "no folder or zip at /no/such"),
]


@pytest.mark.parametrize(("asked", "said"), MISTAKES, ids=lambda value: value if isinstance(value, str) else "")
def test_mistakes_are_one_line_and_leave_no_run(store, pairs, asked, said):
    model = with_split(pairs, "validation test")
    answer = CliRunner().invoke(main, ["export", "--model", model, *asked])
    assert answer.exit_code == 2 and said in answer.stderr, answer.output
    assert answer.stderr.startswith("error: ") and answer.stderr.count("\n") == 1
    assert not mlflow.search_runs(search_all_experiments=True, filter_string="tags.role = 'export'").size


def test_models_of_others_and_data_that_moved_are_one_line(store, pairs, tmp_path):
    with mlflow.start_run():
        other = mlflow.keras.log_model(brightness_model(), name="other", pip_requirements=[]).model_id
    with pytest.raises(UserError, match="would be unpickled, so unetlab did not make it"):
        export(f"models:/{other}", "onnx")
    with pytest.raises(UserError, match="is not in this tracking store"):
        export(tiny(), "onnx")
    model = with_split(pairs, "train test")
    moved = tmp_path / "moved"
    shutil.move(pairs, moved)
    with pytest.raises(UserError, match="data=... says where they lie now"):
        export(model, "onnx")
    assert len(export(model, "onnx", data=str(moved)).loss.table) == 6


@pytest.mark.parametrize("name", FORMATS)
def test_the_snippets_of_the_documents_run_a_file_without_unetlab(store, pairs, tmp_path, monkeypatch, name):
    found = export(with_split(pairs, "train test"), name)
    folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=found.address, dst_path=str(tmp_path / "alone")))
    shutil.copy(pairs / "images" / "cell00.png", folder / "image.png")
    monkeypatch.chdir(folder)
    text = (ROOT / "docs" / "exports.md").read_text(encoding="utf-8")
    plain, *runs = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (own,) = [snippet for snippet in runs if f"# {name}\n" in snippet]
    assert len(runs) == len(FORMATS) and "unetlab" not in plain + own
    scope = {}
    exec(own + plain, scope)
    truth = np.asarray(Image.open(pairs / "masks" / "cell00.png")) > 0
    overlap = (scope["mask"] & truth).sum()
    assert scope["mask"].shape == (40, 40) and 2 * overlap / (scope["mask"].sum() + truth.sum()) > 0.9


def test_live_shows_what_an_export_answers_and_names_those_there_are(store, pairs, tmp_path):
    model = with_split(pairs, "train test", view="patches", scale=3.0)
    export(model, "litert")
    images = tmp_path / "images"
    images.mkdir()
    for k, path in enumerate(sorted((pairs / "images").iterdir())[:2]):
        shutil.copy(path, images / f"{k}{path.suffix}")

    def shown(*more: str) -> dict[str, bytes]:
        out = tmp_path / f"out{len(more)}"
        asked = ["live", "--model", model, "--source", str(images), "--out", str(out), *more]
        answer = CliRunner().invoke(main, asked)
        assert answer.exit_code == 0, answer.output
        return {path.name: path.read_bytes() for path in out.iterdir()}

    own, exported = shown(), shown("--export", "litert-float32")
    assert len(own) == 2 and exported == own
    asked = ["live", "--model", model, "--source", str(images), "--out", str(tmp_path / "no"), "--export", "onnx-int8"]
    answer = CliRunner().invoke(main, asked)
    assert answer.exit_code == 2 and "Traceback" not in answer.output
    assert (
        "there is no such export of this model, it has litert-float32; mlflow run . -e export --env-manager local"
        in answer.stderr
    )
    assert "-P format=onnx -P precision=int8 makes one" in answer.stderr
    for none in ("litert-int4", "savedmodel-int8", "litert", "tflite-int8"):
        answer = CliRunner().invoke(main, [*asked[:-1], none])
        assert answer.exit_code == 2 and "none can be made: a name is a format and a precision" in answer.stderr
