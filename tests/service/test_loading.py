"""Models by their address: what is known of them before and after they are loaded, and which may be compared."""

import shutil
from pathlib import Path

import mlflow
import pytest
from conftest import log_tiny
from fake_runs import IDS, difficulty, log_finished_run
from mlflow.tracking import MlflowClient

from unetlab.errors import UserError
from unetlab.inference import package
from unetlab.service.loading import class_names, described, identity_of, in_words, load, loaded, pinned
from unetlab.service.registry import register_run

DICE = difficulty() - 0.1


def test_the_classes_of_a_model_are_known_before_and_after_it_is_loaded(store):
    several, one = log_tiny(classes=["pans", "eggs"]).model_uri, log_tiny().model_uri
    for model, names in ((several, ("pans", "eggs")), (one, ())):
        assert class_names(described(model)) == class_names(load(model).metadata) == names
        assert class_names(described(mlflow.artifacts.download_artifacts(model))) == names
    assert in_words(("pans", "eggs")) == "tells pans, eggs apart" and in_words(()) == "finds one mask"
    with pytest.raises(UserError, match="^model=models:/none/1 cannot be loaded"):
        described("models:/none/1")


def test_each_model_is_served_by_its_own_copy_whichever_was_loaded_before(store, tmp_path, monkeypatch):
    new = log_tiny().model_uri
    changed = tmp_path / "package"
    shutil.copytree(Path(package.__file__).parent.parent / "images", changed / "images")
    shutil.copytree(Path(package.__file__).parent, changed / "inference")
    with (changed / "inference" / "predict.py").open("a") as file:
        file.write("\nVERSION = 'another'\n")
    monkeypatch.setattr(package, "HERE", changed / "inference")
    old = log_tiny().model_uri
    models = [load(model) for model in (new, old, new, old)]
    globals_of = [type(m.unwrap_python_model().predictor).answers.__globals__ for m in models]
    assert ["VERSION" in found for found in globals_of] == [False, True, False, True]


def test_a_damaged_model_is_one_line(store, tmp_path):
    folder = Path(mlflow.artifacts.download_artifacts(log_tiny().model_uri, dst_path=str(tmp_path)))
    (file,) = folder.rglob("*.keras")
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(UserError, match="cannot be loaded"):
        load(str(folder))


def test_a_model_without_such_an_alias_or_version_is_offered_its_newest(store):
    for _ in range(2):
        mlflow.register_model(log_tiny().model_uri, "unetlab-nuclei")
    for asked in ("@champion", "/9"):
        with pytest.raises(UserError, match=r"its newest version is models:/unetlab-nuclei/2$"):
            load(f"models:/unetlab-nuclei{asked}")
    with pytest.raises(UserError, match="the Models page of `make ui`"):
        load("models:/none@champion")


def register(dice, classes, **more):
    return register_run(log_finished_run(log_tiny(classes=classes).model_id, dice, IDS), **more)


@pytest.mark.parametrize(
    ("standing", "own", "said"),
    [
        ([], ["pans", "eggs"], "it tells pans, eggs apart and version 1, the champion, finds one mask"),
        (["pans", "eggs"], [], "it finds one mask and version 1, the champion, tells pans, eggs apart"),
        (["pans", "eggs"], ["pans", "lids"], "it tells pans, lids apart and version 1, the champion, tells pans, eggs"),
        (["pans", "eggs"], ["eggs", "pans"], "it tells eggs, pans apart and version 1, the champion, tells pans, eggs"),
    ],
)
def test_models_of_other_classes_are_never_compared_and_a_person_may_decide(store, standing, own, said):
    register(DICE, standing)
    refused = register(DICE + 0.09, own)
    assert not refused.promoted and refused.reason.startswith(said) and refused.figures == {"champion": "1"}
    assert "challengers" not in MlflowClient().get_model_version("unetlab-tiny", "1").tags  # nothing was tested
    assert refused.reason in MlflowClient().get_model_version("unetlab-tiny", "2").description
    accepted = register(DICE + 0.09, own, accept=True, reason="classes from now on")
    assert accepted.promoted and accepted.gate == "accepted" and said in accepted.reason


def test_models_of_the_same_classes_are_compared_and_versions_name_them(store):
    register(DICE, ["pans", "eggs"])
    assert register(DICE + 0.09, ["pans", "eggs"]).promoted
    assert MlflowClient().get_model_version("unetlab-tiny", "2").tags["classes"] == "pans, eggs"
    register_run(log_finished_run(log_tiny().model_id, DICE, IDS))
    assert "classes" not in MlflowClient().get_model_version("unetlab-tiny", "3").tags


def test_an_alias_is_pinned_to_the_version_it_stands_for(store):
    client = MlflowClient()
    client.create_registered_model("cells")
    versions = [client.create_model_version("cells", log_tiny().model_uri).version for _ in range(2)]
    for version in versions:
        client.set_registered_model_alias("cells", "champion", version)
        assert pinned("models:/cells@champion") == f"models:/cells/{version}"
    assert [pinned(each) for each in ("models:/m-1", "models:/cells/1", "a@b")] == [
        "models:/m-1",
        "models:/cells/1",
        "a@b",
    ]
    assert pinned("models:/cells/latest") == f"models:/cells/{versions[-1]}"
    assert [pinned(f"models:/{none}") for none in ("none@champion", "none/latest")] == [
        "models:/none@champion",
        "models:/none/latest",
    ]


def test_a_folder_that_holds_another_model_now_is_loaded_again(store, tmp_path):
    folder, found = tmp_path / "model", []
    for classes in ([], ["pans"]):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(mlflow.artifacts.download_artifacts(log_tiny(classes=classes).model_uri), folder)
        identity = identity_of(load(str(folder)))
        found.append([loaded(str(folder), "", identity) for _ in range(2)])
    assert [class_names(one.metadata) for one, _ in found] == [(), ("pans",)]
    assert all(one is again for one, again in found)
