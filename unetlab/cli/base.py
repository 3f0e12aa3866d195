"""What all commands share: options made from the table, and a user's mistake in one line without a traceback."""

import math
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from unetlab.errors import UserError
from unetlab.options import JOBS, Option

MAY_BE_PATHS = ("source", "model")
"""Options of other kinds that may name a file or a folder and are not opened where ~ is known; data, groups and
encoder_weights are."""


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
        except Exception as error:  # a full disk and a server that is away are no faults of the code either
            from unetlab.jobs.resume import interrupted_by

            if (stopped := interrupted_by(error)) is None:
                raise
            click.echo(f"error: {stopped}", err=True)
            sys.exit(2)
        sys.exit(status if isinstance(status, int) else 0)


class OneLineGroup(OneLineErrors, click.Group):
    """A group of commands, of which the same holds."""

    def list_commands(self, context: click.Context) -> list[str]:
        """In the order they were added, which is the order one needs them in."""
        return list(self.commands)


class TableOption(click.Option):
    """An option of the command line that says and allows what its row in the table does."""

    def __init__(self, option: Option) -> None:
        self.option = option
        spellings = dict.fromkeys((f"--{option.name.replace('_', '-')}", f"--{option.name}"))
        settings: dict[str, Any] = {} if option.required else {"default": option.default}
        super().__init__(
            [*spellings, option.name],
            type=_type(option),
            required=option.required,
            show_default=option.default not in (None, ""),
            help=option.help,
            **settings,
        )

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        """The value as its kind. `mlflow run` passes every parameter, and an empty text for one without a value."""
        if value == "":
            if self.option.required or self.option.default not in (None, ""):
                raise click.BadParameter("it must not be empty", ctx, self)
            return self.option.default
        if isinstance(value, str) and (self.option.kind is Path or self.option.name in MAY_BE_PATHS):
            value = os.path.expanduser(value)  # `mlflow run` passes ~ as it stands
        value = super().type_cast_value(ctx, value)
        if isinstance(value, float) and not math.isfinite(value):
            raise click.BadParameter(f"{value} is not a finite number", ctx, self)
        return value


def _type(option: Option) -> click.ParamType:
    if option.choices:
        return click.Choice(option.choices)
    if option.kind is int:
        return click.IntRange(option.low, option.high)
    if option.kind is float:
        return click.FloatRange(option.low, option.high)
    return {bool: click.BOOL, Path: click.Path(path_type=Path), str: click.STRING}[option.kind]


def command(
    name: str, example: str, options: Iterable[Option] | None = None, help: str | None = None
) -> Callable[[Callable[..., Any]], click.Command]:
    """Makes a function a command with the options its name has in the table.

    Args:
        name: of the command.
        example: what one types after `python -m unetlab` and the name.
        options: of a setup; else those of `JOBS[name]`.
        help: else the function's docstring.
    """
    taken = JOBS[name] if options is None else options
    epilog = f"\b\nExample: python -m unetlab {name} {example}"  # \b: in one line, to be copied
    return click.command(name, params=[TableOption(each) for each in taken], epilog=epilog, help=help)
