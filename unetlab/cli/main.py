"""The command line behind the MLproject's entry points: checks values, calls one function, errors in one line."""

import click

from experiments import SETUPS
from unetlab.cli import compare, data, quiet, service
from unetlab.cli.base import OneLineGroup
from unetlab.cli.mlproject import mlproject
from unetlab.cli.train import setup_command

# TensorFlow and MLflow take seconds to import, so commands import what they call
quiet.settle()

COMMANDS = (
    *(setup_command(setup) for setup in SETUPS.values()),
    data.check,
    compare.compare,
    compare.showdown,
    compare.reproduce,
    service.evaluate,
    service.register,
    service.sync,
    service.rollback,
    service.predict,
    service.export,
    service.live,
    service.ui,
    service.server,
    mlproject,
)


@click.group(cls=OneLineGroup, invoke_without_command=True, context_settings={"max_content_width": 110})
@click.pass_context
def main(context: click.Context) -> None:
    """Honest, tracked comparison of U-Net image segmentation.

    Each command has a --help of its own. All but ui, server and mlproject are entry points of the MLproject too:

    \b
    mlflow run . -e nuclei --env-manager local -P data=FOLDER -P trials=12
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for _command in COMMANDS:
    main.add_command(_command)
