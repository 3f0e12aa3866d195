"""What all commands share: a user's mistake is one line on standard error, without a traceback."""

import sys
from typing import Any

import click

from unetlab.errors import UserError


class OneLineErrors(click.Command):
    """A command whose mistakes, on the command line or a UserError, are told in one line with exit status 2."""

    def main(self, *args: Any, **settings: Any) -> Any:
        """Reads the command line and runs the command."""
        try:
            status = super().main(*args, **{**settings, "standalone_mode": False})
        except UserError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(2)
        except click.ClickException as error:
            click.echo(f"error: {error.format_message()}", err=True)
            sys.exit(error.exit_code)
        except click.Abort:  # the user pressed Ctrl-C
            click.echo("interrupted", err=True)
            sys.exit(130)
        sys.exit(status if isinstance(status, int) else 0)


class OneLineGroup(OneLineErrors, click.Group):
    """A group of commands, of which the same holds."""
