"""What can be refused at once, before the libraries are imported that take seconds."""

from unetlab.data.dataset import refuse_missing
from unetlab.data.scale import LEAST
from unetlab.errors import UserError
from unetlab.options import Options
from unetlab.setup import Setup


def refuse_early(setup: Setup, options: Options) -> None:
    """Raises UserError for numbers that the table of options lets through, and for data that are not there."""
    refuse_numbers(setup, options)
    refuse_missing(options.data)


def refuse_numbers(setup: Setup, options: Options) -> None:
    """Raises UserError for numbers that the table of options lets through, or that would do nothing, before anything is
    read."""
    if setup.adapts and options.minutes <= 0:
        raise UserError("auto fits its training into minutes, which must be above 0; 30 are a start: minutes=30")
    if setup.adapts and options.scheduler and not options.workers:
        raise UserError(
            "auto shares its minutes among the trainings that run at once; say how many by workers=N beside scheduler"
        )
    if options.refit and options.rounds:
        raise UserError(
            f"refit=true with rounds={options.rounds}: rounds correct labels by what validation holds back; choose one"
        )
    if options.scale not in ("recipe", "auto"):
        scale_of(options.scale)
    view = options.view if options.view != "recipe" or setup.adapts else setup.recipe.view
    if options.scale != "recipe" and view == "whole":
        raise UserError(
            f"scale={options.scale} is of patches, and {setup.name} would squeeze whole images to its square; give "
            "view=patches, or leave scale out"
        )


def scale_of(said: str) -> float:
    """The number that the option `scale` says. Raises UserError for what is none, or too small or large."""
    try:
        number = float(said)
    except ValueError:
        number = 0.0
    if not LEAST <= number <= 8:
        raise UserError(f"scale must be auto or a number from {LEAST:g} to 8. Received: {said!r}")
    return number
