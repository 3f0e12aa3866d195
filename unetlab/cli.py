"""The command line behind the MLproject's entry points: checks values, calls one function, errors in one line."""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from unetlab.errors import UserError
from unetlab.options import PRECISIONS, TUNERS, Options
from unetlab.setup import SETUPS, load_setup

# TensorFlow and MLflow take seconds to import, so commands import what they call; their chatter is not for users
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

DEFAULT_TRIALS = 3


class OneLineErrors(click.Group):
    """Prints a UserError in one line and exits with status 2."""

    def invoke(self, context: click.Context) -> Any:
        """Runs the command."""
        try:
            return super().invoke(context)
        except UserError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(2)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            sys.exit(130)


@click.group(cls=OneLineErrors, invoke_without_command=True, context_settings={"max_content_width": 110})
@click.pass_context
def main(context: click.Context) -> None:
    """Honest, tracked comparison of U-Net image segmentation.

    Every command is an entry point of the MLproject too: `mlflow run . -e nuclei -P data=FOLDER -P trials=12`.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of every new model of a search
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def _shared(command: Callable[..., None]) -> Callable[..., None]:
    """The parameters all setups share, in the order of the MLproject."""
    options = [
        click.option(
            "--data",
            default="synthetic",
            show_default=True,
            help="A folder or zip (Data Science Bowl layout, or images/ and masks/), the name of a public data set "
            "(dsb2018), or `synthetic`, the built-in twin.",
        ),
        click.option(
            "--trials",
            type=click.IntRange(min=1),
            default=DEFAULT_TRIALS,
            show_default=True,
            help="Trainings of the search; the first is the published recipe. 1 trains the published recipe only.",
        ),
        click.option(
            "--tuner",
            type=click.Choice(TUNERS),
            default="random",
            show_default=True,
            help="How KerasTuner proposes trials. Hyperband begins with short trainings and wants many.",
        ),
        click.option(
            "--epochs",
            type=click.IntRange(min=0),
            default=0,
            show_default=True,
            help="Epochs of every training; 0 means as published.",
        ),
        click.option(
            "--seed",
            type=click.IntRange(min=0),
            default=0,
            show_default=True,
            help="Seed of split, search, weights and augmentation.",
        ),
        click.option(
            "--precision",
            type=click.Choice(PRECISIONS),
            default="auto",
            show_default=True,
            help="auto: bfloat16 where the hardware has it, which trains about twice as fast.",
        ),
        click.option(
            "--encoder-weights",
            "--encoder_weights",
            "encoder_weights",
            default="auto",
            show_default=True,
            help="auto: ImageNet if it can be had, else random and trained too. Or imagenet, none, a weights file.",
        ),
        click.option(
            "--models",
            type=click.Choice(("all", "best")),
            default="all",
            show_default=True,
            help="Which models go to MLflow: every trial's, or the final one only.",
        ),
        click.option(
            "--register",
            type=click.BOOL,
            default=False,
            show_default=True,
            help="Register the final model as unetlab-<setup>, alias champion.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _add_setup(name: str, summary: str) -> None:
    @main.command(
        name, help=f"{summary}\n\nTrains the published recipe and a search around it, scores the best on test."
    )
    @_shared
    def command(**values: Any) -> None:
        from unetlab.run import run_setup
        from unetlab.tracking import table_address

        summary = run_setup(load_setup(name), Options(**values))
        figures = summary.figures
        click.echo(
            f"{name}: test Dice {figures['test/native_dice']:.4f} at native size "
            f"(95 % {figures.get('test/native_dice_low', float('nan')):.4f} to "
            f"{figures.get('test/native_dice_high', float('nan')):.4f}, {figures['test/images']:.0f} images; "
            f"Otsu {figures['baseline/otsu_native_dice']:.4f}), "
            f"accuracy {figures['test/accuracy']:.4f}"
        )
        click.echo(f"run {summary.run_id}; model models:/{summary.model_id}")
        click.echo(f"Look: `make ui`, then {table_address(summary.experiment_id, 'http://127.0.0.1:5000')}")


for _name, (_module, _summary) in SETUPS.items():
    _add_setup(_name, _summary)


@main.command()
@click.option("--data", default="synthetic", show_default=True, help="A folder, zip, name, or `synthetic`.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the twin.")
def check(data: str, seed: int) -> None:
    """Look at a data set before training: sizes, modes, class balance, duplicates, unusable files."""
    from unetlab.run import run_check

    run_check(data, seed)


@main.command()
@click.option("--run", "run_id", required=True, help="Id of a finished setup run.")
def register(run_id: str) -> None:
    """Register the final model of a run as unetlab-<setup>, alias champion."""
    from unetlab.service.registry import register_run

    click.echo(register_run(run_id))


@main.command()
@click.option("--model", required=True, help="models:/unetlab-nuclei@champion, models:/m-..., or a model's folder.")
@click.option("--images", required=True, type=click.Path(path_type=Path), help="A folder of images, or one image.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for masks, overlays and a CSV.")
@click.option("--threshold", type=click.FloatRange(0, 1), default=None, help="Instead of the model's own.")
def predict(model: str, images: Path, out: Path, threshold: float | None) -> None:
    """Segment a folder of images with a logged or registered model."""
    from unetlab.service.predict import predict_folder

    predict_folder(model, images, out, threshold)


@main.command()
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="Port of the MLflow UI.")
def ui(port: int) -> None:
    """Start the MLflow UI and print the address of the run table, best Dice first."""
    import subprocess

    from unetlab.tracking import open_experiment, table_address

    click.echo(f"Run table: {table_address(open_experiment(), f'http://127.0.0.1:{port}')}")
    sys.stdout.flush()
    subprocess.run([sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port)], check=False)
