"""MLproject, written from the table of options: what `mlflow run` can start and with which parameters."""

import json
import textwrap
from collections.abc import Iterable
from pathlib import Path

import click

from experiments import SETUPS
from unetlab.cli.base import command
from unetlab.errors import UserError
from unetlab.options import JOBS, Option, of_setup, text

HEAD = """\
# Written by `python -m unetlab mlproject`. Options stand in unetlab/options.py, defaults of a setup in experiments/.
name: unetlab

conda_env: conda.yaml

entry_points:
  main:
    command: "python -m unetlab"
"""

NO_ENTRY_POINTS = ("ui", "server", "mlproject")
"""Servers, and a tool for those who change options: nothing that a run would tell of."""

WIDTH = 120


@command("mlproject", "--out MLproject")
def mlproject(out: Path) -> None:
    """Write MLproject anew, after a change of an option or a setup."""
    try:
        out.write_text(project(), encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror}; name a file in a folder that there is") from error
    click.echo(f"wrote {out}")


def project() -> str:
    """The content of MLproject: an entry point for each setup and each job but NO_ENTRY_POINTS."""
    entries = {name: of_setup(setup.defaults, setup.extras) for name, setup in SETUPS.items()}
    entries |= {name: options for name, options in JOBS.items() if name not in NO_ENTRY_POINTS}
    return HEAD + "".join(_entry_point(name, options) for name, options in entries.items())


def _entry_point(name: str, options: Iterable[Option]) -> str:
    """One entry point. MLflow passes every parameter as text, and those without a default must be given."""
    options = tuple(options)
    lines = ["", f"  {name}:", *(["    parameters:"] if options else [])]
    given = [f"python -m unetlab {name}"]
    for option in options:
        default = "" if option.required else f", default: {json.dumps(text(option.default))}"
        lines.append(f"      {option.name}: {{type: string{default}}}")
        given.append(f"--{option.name} {{{option.name}}}")
    # a flag stays on the line of its value
    joined = " ".join(each.replace(" ", "\0") for each in given)
    wrapped = textwrap.wrap(joined, WIDTH - 6, break_on_hyphens=False, break_long_words=False)
    lines += ["    command: >-", *(f"      {line}".replace("\0", " ") for line in wrapped)]
    return "\n".join(lines) + "\n"
