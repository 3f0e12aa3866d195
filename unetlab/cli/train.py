"""The setups as commands: one for each, with the same options but for its own extras and defaults."""

from typing import Any

import click

from experiments import load_setup
from unetlab.cli import quiet
from unetlab.cli.base import command
from unetlab.options import OPTIONS, Options, of_setup, text
from unetlab.options import command as repeating
from unetlab.setup import Setup


def stalls(minutes: float) -> str:
    """What a command that goes on says of `stall`, which is no part of a run."""
    return "" if minutes == OPTIONS["stall"].default else f" -P stall={text(minutes)}"


def setup_command(setup: Setup) -> click.Command:
    """The command that trains, searches and scores one setup."""

    def run(**values: Any) -> None:
        from unetlab.jobs.early import refuse_early

        refuse_early(setup, Options(**values))  # before TensorFlow, which takes seconds
        quiet.import_tensorflow()
        from unetlab.jobs.interrupt import interruptible
        from unetlab.jobs.run import run_setup
        from unetlab.tracking.names import NESTED
        from unetlab.tracking.ui import address, server, table_address

        registers = " -P register=true" if values["register"] else ""
        with interruptible(repeating(setup.name, options, values) + registers + stalls(values["stall"])):
            summary = run_setup(load_setup(setup.name), Options(**values))
        click.echo(summary.headline())
        click.echo(f"run {summary.run_id}; model models:/{summary.model_id}")
        base = address()
        first = "" if server() else "`make ui`, then "
        click.echo(f"Look: {first}{table_address(summary.experiment_id, base)}")
        click.echo(f"The trials of each search: {table_address(summary.experiment_id, base, NESTED)}")

    about = (
        f"{setup.summary}\n\nTrains the recipe and, with more than one trial, searches around it; scores the best on "
        f"test. A plain run: {setup.plain}"
    )
    options = of_setup(setup.defaults, setup.extras)
    # labels that are made want images of which makers know something; a source's own need not be such
    example = f"--data {'FOLDER' if 'labels' in setup.extras else setup.source}"
    return command(setup.name, f"{example} {'--minutes 30' if setup.adapts else '--trials 12'}", options, about)(run)
