"""The SQLite file that MLflow tracks in: there whole or not at all.

MLflow makes its tables in tens of steps, and cannot open a file whose maker was killed among them.
"""

import contextlib
import os
import re
import shutil
import sqlite3
import tempfile
import time
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from unetlab.errors import Stopped, UserError
from unetlab.tracking.lock import Lock
from unetlab.tracking.sqlite import sqlite_file

STILL = 3.0
"""Seconds without a change after which nobody is making the tables any more; each takes milliseconds."""


def named() -> str:
    """The address of the store, the same however it is written: a SQLite file's in one folder is not that in another,
    and localhost is 127.0.0.1."""
    address = mlflow.get_tracking_uri().rstrip("/")
    path = sqlite_file(address)
    if path is not None:
        return f"sqlite:///{path.absolute()}"
    return re.sub(r"^(https?://([^@/]*@)?)localhost(?=[:/]|$)", r"\g<1>127.0.0.1", address)


def client() -> mlflow.MlflowClient:
    """MLflow's client of the store, to begin with. Raises UserError where MLflow cannot open such a store."""
    try:
        return mlflow.MlflowClient()
    except (MlflowException, SQLAlchemyError, ImportError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise UserError(
            f"the tracking store {mlflow.get_tracking_uri()} cannot be opened ({reason}); set MLFLOW_TRACKING_URI to "
            "another, such as sqlite:///mlflow.db"
        ) from error


def make_whole() -> None:
    """Makes the store where there is none, and anew where a killed process left some of its tables and no run.

    Such a file is kept beside, as `<name>.torn`. Stores that are no SQLite files are MLflow's own matter.
    Raises Stopped if there is no writing.
    """
    path = sqlite_file(mlflow.get_tracking_uri())
    if path is None:
        return
    try:
        if not path.exists():
            _make(path)
        elif _torn(path):
            with Lock(path.with_name(f".{path.name}.lock"), f"making {path}").take() as held:
                if _torn(path):
                    os.replace(path, path.with_name(f"{path.name}.torn"))
                    _make(path)
                held.done()
    except (OSError, SQLAlchemyError, sqlite3.OperationalError) as error:
        said = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise Stopped(
            f"cannot write the tracking store {path} ({said[:120]}); make room there, or set MLFLOW_TRACKING_URI"
        ) from error


def _make(path: Path) -> None:
    """Beside and then linked; who comes second leaves what is there."""
    for old in path.parent.glob(f".{path.name}-*"):  # of makers that were killed
        if time.time() - old.stat().st_mtime > 60:
            shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder:
        beside = Path(folder) / path.name
        mlflow.MlflowClient(f"sqlite:///{beside}").search_experiments()  # which makes the tables
        with contextlib.suppress(FileExistsError):
            os.link(beside, path)


def _torn(path: Path) -> bool:
    """Whether MLflow cannot open a store that holds no run. One that is being made now is waited for."""
    while time.time() - path.stat().st_mtime < STILL and not _holds_runs(path) and not _opens(path):
        time.sleep(0.2)
    return not _holds_runs(path) and not _opens(path)


def _holds_runs(path: Path) -> bool:
    """True of a file too that is none of SQLite's: it is not ours to replace."""
    with contextlib.closing(sqlite3.connect(path, timeout=20)) as opened:
        try:
            return opened.execute("SELECT 1 FROM runs LIMIT 1").fetchone() is not None
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return False
            raise
        except sqlite3.DatabaseError:
            return True


def _opens(path: Path) -> bool:
    """Tried on a copy: MLflow would keep the file open, and what it half does in it."""
    with tempfile.TemporaryDirectory(prefix="unetlab-") as folder:
        copy = shutil.copy(path, folder)
        try:
            mlflow.MlflowClient(f"sqlite:///{copy}").search_experiments(max_results=1)
        except Exception:  # a migration that finds half of its work done raises whatever its statements raise
            return False
        return True
