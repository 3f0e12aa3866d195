"""A tracking store is there whole or not at all."""

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest

from unetlab.errors import Stopped, UserError
from unetlab.service import registry, standing
from unetlab.tracking import read, store, ui


@pytest.fixture
def nowhere(tmp_path, monkeypatch) -> Path:
    """A store's file in a folder of its own, not there yet, which MLflow is turned to."""
    path = tmp_path / "a folder" / "mlflow.db"
    path.parent.mkdir()
    monkeypatch.chdir(path.parent)
    monkeypatch.setattr("mlflow.tracking.fluent._active_experiment_id", None)
    monkeypatch.setattr(store, "STILL", 0.0)
    mlflow.set_tracking_uri(f"sqlite:///{path}")
    yield path
    mlflow.set_tracking_uri(None)


def half_made(path: Path, migrated: Path):
    """As a kill leaves it between two tables: the last migration is done in part and not noted."""
    shutil.copy(migrated, path)
    with sqlite3.connect(path) as opened:
        opened.execute("UPDATE alembic_version SET version_num = '1b5f0d9ad7c1'")
    opened.close()


def test_a_store_half_made_is_kept_aside_and_made_anew(nowhere, migrated):
    half_made(nowhere, migrated)
    with pytest.raises(Exception, match="schema|already exists|duplicate"):
        mlflow.MlflowClient(f"sqlite:///{shutil.copy(nowhere, nowhere.with_name('copy.db'))}").search_experiments()
    assert ui.open_experiment()
    assert nowhere.with_name("mlflow.db.torn").exists()
    with mlflow.start_run() as run:
        mlflow.log_metric("it", 1.0)
    store.make_whole()
    assert mlflow.get_run(run.info.run_id).data.metrics == {"it": 1.0}


def test_a_store_that_holds_a_run_or_is_no_store_is_left_as_it_is(nowhere, migrated):
    half_made(nowhere, migrated)
    with sqlite3.connect(nowhere) as opened:
        opened.execute("INSERT INTO runs (run_uuid) VALUES ('r')")
    opened.close()
    before = nowhere.read_bytes()
    store.make_whole()
    assert nowhere.read_bytes() == before
    nowhere.write_text("These are notes, and no database at all. " * 100)
    store.make_whole()
    assert nowhere.read_text().startswith("These are notes") and len(list(nowhere.parent.iterdir())) == 1


def test_killed_while_it_is_made_no_store_is_there(nowhere):
    code = (
        "import sys, mlflow; from unetlab.tracking import store\n"
        "mlflow.set_tracking_uri(sys.argv[1]); store.make_whole()"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(store.__file__).parents[2])}
    maker = subprocess.Popen([sys.executable, "-c", code, f"sqlite:///{nowhere}"], env=environment)
    while not list(nowhere.parent.glob(".mlflow.db-*/mlflow.db")):
        assert maker.poll() is None
        time.sleep(0.01)
    time.sleep(0.3)
    maker.kill()
    assert maker.wait() == -9 and not nowhere.exists()
    store.make_whole()
    assert len(mlflow.MlflowClient().search_experiments()) == 1


def test_where_there_is_no_writing_that_is_said_in_one_line(nowhere):
    nowhere.parent.rmdir()
    nowhere.parent.write_text("a file where a folder should be")
    with pytest.raises(
        Stopped, match=r"^cannot write the tracking store .* \(Not a directory\); make room there, or set"
    ):
        store.make_whole()


def test_the_file_of_a_tracking_uri():
    assert store.sqlite_file("sqlite:////a%20b/mlflow.db") == Path("/a b/mlflow.db")
    assert store.sqlite_file("sqlite:///mlflow.db?timeout=5") == Path("mlflow.db")
    for other in ("sqlite:///:memory:", "http://127.0.0.1:5000", "postgresql://u@h/d", "/a/mlruns", "sqlite://"):
        assert store.sqlite_file(other) is None


def test_a_store_is_named_alike_however_its_address_is_written(tmp_path, monkeypatch):
    def named(address):
        monkeypatch.setattr(store.mlflow, "get_tracking_uri", lambda: address)
        return store.named()

    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / "a")
    first = named("sqlite:///mlflow.db")
    assert first == named(f"sqlite:///{tmp_path}/a/mlflow.db")
    monkeypatch.chdir(tmp_path / "b")
    assert named("sqlite:///mlflow.db") != first
    assert named("http://localhost:5000/") == named("http://127.0.0.1:5000") != named("http://localhost.net:5000")
    assert named("https://me:secret@localhost/a") == named("https://me:secret@127.0.0.1/a")


@pytest.mark.parametrize(
    "address", ["mlruns", "file:mlruns", "htp://x", "sqlite:///notes.txt", "nosuch+driver://u:secret@x/y"]
)
def test_a_store_that_mlflow_cannot_open_is_said_in_one_line(nowhere, address):
    Path("notes.txt").write_text("These are notes and no database. " * 50)
    mlflow.set_tracking_uri(address)
    for asks in (ui.open_experiment, read.find, lambda: registry.rollback("unetlab-x"), standing.standing):
        with pytest.raises(UserError, match=r"the tracking store .* cannot be opened \(.+\); set MLFLOW_TRACK") as told:
            asks()
        assert "secret" not in str(told.value)
