"""The command that looks at data: check."""

from pathlib import Path
from typing import Any

from unetlab.cli import quiet
from unetlab.cli.base import command
from unetlab.options import Options


@command("check", "--data FOLDER --export FOLDER-AS-PNG")
def check(export: Path | None, **values: Any) -> None:
    """Look at a data set before training: sizes, modes, what masks mean, class balance, scenes, unusable files.

    Contact sheets of what was taken for one scene, and of the pairs nearest to it, are logged to MLflow.
    """
    from unetlab.data.dataset import refuse_missing

    refuse_missing(values["data"])
    quiet.import_tensorflow()
    from unetlab.jobs.check import run_check

    run_check(Options(**values), export)
