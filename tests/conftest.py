"""What many tests share: a fresh MLflow store, a cache of their own, small images."""

import contextlib
import functools
import gc
import io
import logging
import os
import shutil
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ.setdefault("UNETLAB_ONE_PROCESS", "1")  # a second process takes seconds to start
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if "PYTEST_XDIST_WORKER" in os.environ:  # as many processes as cores: more threads would only wait for each other
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(name, "1")

with warnings.catch_warnings():
    # modules of MLflow and TensorFlow warn as they are imported, which no test is about
    warnings.simplefilter("ignore")
    import hypothesis  # noqa: F401  # asks the garbage collector for referrers, which it cannot name once frozen
    import importlib_metadata
    import keras
    import lighter
    import mlflow.pyfunc
    import tensorflow  # noqa: F401

# MLflow asks for the versions of the same packages each time a model is logged, and reads their whole metadata for it
importlib_metadata.version = functools.cache(importlib_metadata.version)

gc.freeze()  # a training collects garbage, and need not look at all that TensorFlow and MLflow hold each time


@pytest.fixture(autouse=True, scope="session")
def _cache(tmp_path_factory):
    """No test reads or fills the user's own cache."""
    os.environ["UNETLAB_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def _warnings_are_logged():
    """OpenVINO's converter raises the level of the root logger, and what is told afterwards is lost."""
    level = logging.root.level
    yield
    logging.root.setLevel(level)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory) -> Path:
    """One migrated database, to be copied: migrating takes seconds."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    with contextlib.chdir(path.parent):  # the default experiment's artifacts lie below the working directory
        mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def store(tmp_path, migrated, monkeypatch) -> str:
    """A fresh SQLite tracking store and registry; artifacts lie beside it. Returns its address."""
    folder = tmp_path / "store"
    folder.mkdir()
    shutil.copy(migrated, folder / "mlflow.db")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"):
        monkeypatch.delenv(name, raising=False)
    # the experiment an earlier test has set is none of this store's
    monkeypatch.setattr("mlflow.tracking.fluent._active_experiment_id", None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.chdir(folder)
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    artifacts = (folder / "artifacts").as_uri()
    for name in ("unetlab",):
        mlflow.MlflowClient().create_experiment(name, artifact_location=artifacts)
    yield uri
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)


@pytest.fixture
def untraced(monkeypatch):
    """Trainings without graphs."""
    lighter.trace_nothing(monkeypatch)


@pytest.fixture
def light(untraced, monkeypatch):
    """Runs without pictures and graphs."""
    lighter.draw_nothing(monkeypatch)


def write_pairs(folder: Path, n: int = 12, size: int = 40, seed: int = 0) -> Path:
    """images/ and masks/ with n noisy disks."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    y, x = np.mgrid[:size, :size]
    for i in range(n):
        cy, cx = rng.integers(size // 4, 3 * size // 4, 2)
        mask = (y - cy) ** 2 + (x - cx) ** 2 < (size // 5) ** 2
        image = np.clip(mask * 130 + rng.normal(50, 20, mask.shape), 0, 255).astype(np.uint8)
        Image.fromarray(image).save(folder / "images" / f"cell{i:02d}.png")
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / "masks" / f"cell{i:02d}.png")
    return folder


@pytest.fixture
def pairs(tmp_path) -> Path:
    """A folder of 12 images with masks."""
    return write_pairs(tmp_path / "pairs")


def brightness_model(size: int = 32, channels: int = 3) -> keras.Model:
    """A convolution whose probability is above one half where the mean of the channels is above one half."""
    inputs = keras.Input((size, size, channels))
    outputs = keras.layers.Conv2D(1, 1, activation="sigmoid")(inputs)
    model = keras.Model(inputs, outputs)
    model.layers[-1].set_weights([np.full((1, 1, channels, 1), 20 / channels, np.float32), np.float32([-10])])
    return model


def colour_model(size: int | None = 32, classes: int = 2) -> keras.Model:
    """A softmax whose likeliest class is 1 where red is bright, 2 where green is, 3 where blue is, background where
    none is; of equals the first."""
    inputs = keras.Input((size, size, 3))
    outputs = keras.layers.Conv2D(1 + classes, 1, activation="softmax")(inputs)
    model = keras.Model(inputs, outputs)
    weights = np.zeros((1, 1, 3, 1 + classes), np.float32)
    for kind in range(classes):
        weights[0, 0, kind, 1 + kind] = 20
    model.layers[-1].set_weights([weights, np.float32([10, *[0.0] * classes])])
    return model


def blob(height: int, width: int) -> np.ndarray:
    """uint8 (height, width): two bright squares on black, far enough apart to stay two at any size used here."""
    image = np.zeros((height, width), np.uint8)
    image[height // 8 : height // 2, width // 8 : width // 3] = 255
    image[height // 2 : height * 7 // 8, width * 5 // 8 : width * 7 // 8] = 255
    return image


def encoded(image: np.ndarray, form: str = "PNG", mode: str | None = None) -> bytes:
    """An image's bytes, stored in a Pillow mode if one is named."""
    buffer = io.BytesIO()
    picture = Image.fromarray(image)
    (picture.convert(mode) if mode else picture).save(buffer, format=form)
    return buffer.getvalue()


def log_tiny(nested=False, **changes):
    """Logs a segmenter of what is bright, in a run of its own, a child of the active one if `nested`; with `classes`,
    their names, one of what is red, green and blue; `changes` of its settings, or as `log_segmenter` takes them."""
    from unetlab.inference.package import log_segmenter  # the modules under test are for those tests that want them

    settings = {"image_size": 32, "channels": 3, "normalise": "scale", "threshold": 0.5, "view": "whole", "scale": 1.0}
    settings |= {"tta": 0, "objects": "components", "seeds": 0.0, "least_object": 0, "confidence": 0.0, "classes": []}
    settings |= {name: changes.pop(name) for name in list(changes) if name in settings}
    changes["channels"] = changes.pop("learnt_channels", "")  # of files; the setting is how many
    told = {"name": "tiny", "example": encoded(blob(32, 32)), "tags": {"setup": "tiny"}, **changes}
    side = None if settings["view"] == "patches" else settings["image_size"]
    with mlflow.start_run(nested=nested):
        names = settings["classes"]
        model = colour_model(side, len(names)) if names else brightness_model(side, settings["channels"])
        return log_segmenter(model, settings=settings, **told)


def can_mount() -> bool:
    """Whether this user may have a disk of its own, in a name space of its own."""
    try:
        tried = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
        return subprocess.run(tried, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.fixture
def real_data() -> Path:
    """The folder of real images that UNETLAB_DATA names; tests that want it are skipped without."""
    folder = os.environ.get("UNETLAB_DATA")
    if not folder:
        pytest.skip("UNETLAB_DATA is not set")
    return Path(folder)
