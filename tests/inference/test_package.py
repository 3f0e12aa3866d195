"""A logged model: what it holds, what it says of itself, and that it loads where unetlab is not."""

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import mlflow
from conftest import blob, encoded, log_tiny
from mlflow.models import Model
from mlflow.tracking import MlflowClient

from unetlab.inference.package import requirements


def test_a_model_names_its_run_settings_tags_and_requirements(store):
    info = log_tiny()
    logged = MlflowClient().get_logged_model(info.model_id)
    assert logged.source_run_id == info.run_id
    assert (logged.params["image_size"], logged.params["normalise"], logged.params["threshold"]) == (
        "32",
        "scale",
        "0.5",
    )
    assert logged.tags["setup"] == "tiny"
    folder = Path(mlflow.artifacts.download_artifacts(info.model_uri))
    listed = (folder / "requirements.txt").read_text().split()
    assert listed == requirements() and f"keras=={importlib.metadata.version('keras')}" in listed
    assert not [path for path in folder.rglob("*") if path.suffix in (".pkl", ".pickle")]
    signature = Model.load(str(folder)).signature
    assert signature.inputs.to_dict() == [{"type": "binary", "name": "image", "required": True}]
    assert signature.outputs.input_names() == ["mask", "foreground_fraction", "object_count", "labels"]
    assert json.loads((folder / "artifacts" / "settings.json").read_text())["image_size"] == 32


def test_it_loads_and_answers_in_a_process_without_unetlab(store, tmp_path):
    folder = mlflow.artifacts.download_artifacts(log_tiny().model_uri)
    (tmp_path / "blob.png").write_bytes(encoded(blob(70, 100)))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    code = f"""
import sys
sys.modules["unetlab"] = None  # importing it fails, installed or not
import mlflow, pandas as pd
model = mlflow.pyfunc.load_model({folder!r})
answer = model.predict(pd.DataFrame({{"image": [open({str(tmp_path / "blob.png")!r}, "rb").read()]}})).iloc[0]
print(answer["object_count"], len(answer["mask"]) > 0)
"""
    ran = subprocess.run([sys.executable, "-I", "-c", code], cwd=elsewhere, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert ran.stdout.split() == ["2", "True"]


def test_loading_unpickles_nothing(store, tmp_path):
    folder = mlflow.artifacts.download_artifacts(log_tiny().model_uri)
    (tmp_path / "blob.png").write_bytes(encoded(blob(70, 100)))
    code = f"""
import sys
import cloudpickle, mlflow, pickle, pandas as pd, keras, skimage.measure, scipy.ndimage, tifffile, imagecodecs
import mlflow.pyfunc.model
def refuse(*ignored, **also):
    raise SystemExit("unpickled")
for module in (pickle, cloudpickle, mlflow.pyfunc.model.cloudpickle):
    for name in ("load", "loads", "Unpickler"):
        if hasattr(module, name):
            setattr(module, name, refuse)
sys.addaudithook(lambda event, about: refuse() if event == "pickle.find_class" else None)
try:
    import _pickle; _pickle.loads(b"cos\\nsystem\\n.")
except SystemExit:
    print("seen")
model = mlflow.pyfunc.load_model({folder!r})
with open({str(tmp_path / "blob.png")!r}, "rb") as file:
    print(model.predict(pd.DataFrame({{"image": [file.read()]}})).iloc[0]["object_count"])
"""
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert ran.stdout.split() == ["seen", "2"]
