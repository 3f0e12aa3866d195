"""What many tests share: a fresh MLflow store, a cache of their own, small images."""

import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

with warnings.catch_warnings():
    # modules of MLflow and TensorFlow warn as they are imported, which no test is about
    warnings.simplefilter("ignore")
    import mlflow.pyfunc
    import tensorflow  # noqa: F401


@pytest.fixture(autouse=True, scope="session")
def _cache(tmp_path_factory):
    """No test reads or fills the user's own cache."""
    os.environ["UNETLAB_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def migrated(tmp_path_factory) -> Path:
    """One migrated database, to be copied: migrating takes seconds."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
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


@pytest.fixture
def real_data() -> Path:
    """The folder of real images that UNETLAB_DATA names; tests that want it are skipped without."""
    folder = os.environ.get("UNETLAB_DATA")
    if not folder:
        pytest.skip("UNETLAB_DATA is not set")
    return Path(folder)
