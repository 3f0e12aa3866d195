"""MLflow's SQLite file, read without MLflow, which takes seconds to import."""

import contextlib
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

OWN = "mlflow.db"
"""Where MLflow tracks if nobody says where, in the working directory."""


def sqlite_file(uri: str) -> Path | None:
    """The file of a tracking URI such as sqlite:////home/me/mlflow.db, None if it names none."""
    kind, _, rest = uri.partition(":///")
    name = unquote(rest.partition("?")[0])
    return Path(name) if kind.startswith("sqlite") and name and name != ":memory:" else None


def store_file() -> Path | None:
    """The SQLite file that the environment says MLflow tracks in, None where it says another store, or MLflow would
    look for an older one in files."""
    told = os.environ.get("MLFLOW_TRACKING_URI")
    if told:
        return sqlite_file(told)
    return None if any(Path("mlruns").glob("*/meta.yaml")) else Path(OWN)


def experiment_with(path: Path, name: str, tags: Mapping[str, str]) -> str | None:
    """The id of an active experiment of that name that has all these tags; None where there is none, or no telling."""
    with contextlib.suppress(sqlite3.Error, OSError), contextlib.closing(_reading(path)) as opened:
        found = opened.execute(
            "SELECT experiment_id FROM experiments WHERE name = ? AND lifecycle_stage = 'active'", (name,)
        ).fetchall()
        if len(found) == 1 and _has(opened, found[0], tags):
            return str(found[0][0])
    return None


def newest_with(path: Path, tags: Mapping[str, str]) -> str | None:
    """The id of the active experiment that has all these tags in which a run began last; None where there is none, or
    no telling."""
    with contextlib.suppress(sqlite3.Error, OSError), contextlib.closing(_reading(path)) as opened:
        newest = opened.execute(
            "SELECT experiments.experiment_id FROM experiments JOIN runs USING (experiment_id) "
            "WHERE experiments.lifecycle_stage = 'active' AND runs.lifecycle_stage = 'active' "
            "GROUP BY experiment_id ORDER BY MAX(runs.start_time) DESC"
        ).fetchall()
        for found in newest:
            if _has(opened, found, tags):
                return str(found[0])
    return None


def _has(opened: sqlite3.Connection, experiment: tuple[int], tags: Mapping[str, str]) -> bool:
    """Whether an experiment has all these tags."""
    given = opened.execute("SELECT key, value FROM experiment_tags WHERE experiment_id = ?", experiment).fetchall()
    return tags.items() <= dict(given).items()


def _reading(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise OSError(f"no file {path}")
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)
