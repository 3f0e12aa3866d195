"""The command line behind the MLproject's entry points: checks values, calls one function, errors in one line."""

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from experiments import SETUPS, load_setup
from unetlab.cli import compare, quiet
from unetlab.cli.base import OneLineGroup
from unetlab.options import LABELS, PRECISIONS, SPLITS, THRESHOLDS, TUNERS, Options
from unetlab.setup import Setup

# TensorFlow and MLflow take seconds to import, so commands import what they call
quiet.settle()

DEFAULT_TRIALS = 3

MAX_SEED = 2**31 - 1


@click.group(cls=OneLineGroup, invoke_without_command=True, context_settings={"max_content_width": 110})
@click.pass_context
def main(context: click.Context) -> None:
    """Honest, tracked comparison of U-Net image segmentation.

    Every command is an entry point of the MLproject too: `mlflow run . -e nuclei -P data=FOLDER -P trials=12`.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def _option(entry: Setup, *names: str, default: Any, **settings: Any) -> Callable[..., Any]:
    """An option whose default an entry may replace by one of its own."""
    default = entry.defaults.get(names[-1].lstrip("-"), default)
    return click.option(*names, default=default, show_default=True, **settings)


def _extras(entry: Setup) -> dict[str, Callable[..., Any]]:
    """The parameters that only some setups have, by name."""
    option = functools.partial(_option, entry)
    return {
        "labels": option(
            "--labels",
            default="consensus",
            type=click.Choice(LABELS),
            help="Who labels the images; masks: learn the given masks.",
        ),
        "rounds": option(
            "--rounds",
            default=1,
            type=click.IntRange(min=0, max=10),
            help="Self-training rounds on labels corrected where the network is sure; none with labels=masks.",
        ),
        "split": option(
            "--split",
            default="blocks",
            type=click.Choice(SPLITS),
            help="blocks: neighbouring sections on one side, with a gap between sides. random: as published.",
        ),
    }


def _shared(entry: Setup) -> list[Callable[..., Any]]:
    """The parameters all setups share, in the order of the MLproject, then those of one setup alone."""
    option = functools.partial(_option, entry)
    return [
        option(
            "--data",
            default="synthetic",
            help="A folder or zip (Data Science Bowl layout, images/ and masks/, TIFF stacks), the name of a public "
            "data set (dsb2018, isbi2012, kitchen, vnc), or `synthetic`, the built-in twin "
            "(synthetic-kitchen and so on: another one, as if it were data of your own).",
        ),
        option(
            "--trials",
            default=DEFAULT_TRIALS,
            type=click.IntRange(min=1),
            help="Trainings of the search; the first is the published recipe. 1 trains the published recipe only.",
        ),
        option(
            "--tuner",
            default="random",
            type=click.Choice(TUNERS),
            help="How KerasTuner proposes trials. Hyperband begins with short trainings and wants many.",
        ),
        option(
            "--epochs",
            default=0,
            type=click.IntRange(min=0),
            help="Epochs of every training; 0 means as published, and fewer on some built-in twins (see above).",
        ),
        option("--seed", default=0, type=click.IntRange(0, MAX_SEED), help="Of split, search, weights, augmentation."),
        option(
            "--precision",
            default="auto",
            type=click.Choice(PRECISIONS),
            help="auto: bfloat16 where the hardware has it, which trains about twice as fast.",
        ),
        option(
            "--encoder-weights",
            "--encoder_weights",
            "encoder_weights",
            default="auto",
            help="auto: ImageNet if it can be had, else random and trained too. Or imagenet, none, a weights file.",
        ),
        option(
            "--models",
            default="all",
            type=click.Choice(("all", "best")),
            help="Which models go to MLflow: every trial's, or only the final one and those of its rounds.",
        ),
        option(
            "--register",
            default=False,
            type=click.BOOL,
            help="Register the final model as unetlab-<setup>: champion if it beats the standing one.",
        ),
        option(
            "--threshold",
            default="recipe",
            type=click.Choice(THRESHOLDS),
            help="validation: serve the threshold that is best on validation (Dice; membranes: V_rand).",
        ),
        *(extra for name, extra in _extras(entry).items() if name in entry.extras),
    ]


def _add_setup(name: str, entry: Setup) -> None:
    def command(**values: Any) -> None:
        quiet.import_tensorflow()
        from unetlab.jobs.run import run_setup
        from unetlab.tracking.names import NESTED
        from unetlab.tracking.ui import table_address

        summary = run_setup(load_setup(name), Options(**values))
        click.echo(summary.headline())
        click.echo(f"run {summary.run_id}; model models:/{summary.model_id}")
        base = "http://127.0.0.1:5000"
        click.echo(f"Look: `make ui`, then {table_address(summary.experiment_id, base)}")
        click.echo(f"The trials of each search: {table_address(summary.experiment_id, base, NESTED)}")

    for decorate in reversed(_shared(entry)):
        command = decorate(command)
    main.command(
        name,
        help=f"{entry.summary}\n\nTrains the published recipe and a search around it, scores the best on test. "
        f"A plain run: {entry.plain}",
    )(command)


for _name, _entry in SETUPS.items():
    _add_setup(_name, _entry)


@main.command()
@click.option("--data", default="synthetic", show_default=True, help="A folder, zip, name, or `synthetic`.")
@click.option("--seed", type=click.IntRange(0, MAX_SEED), default=0, show_default=True, help="Seed of the twin.")
@click.option("--export", default="", help="Also write the data set as PNG files into this new folder.")
def check(data: str, seed: int, export: str) -> None:
    """Look at a data set before training: sizes, modes, class balance, duplicates, unusable files."""
    quiet.import_tensorflow()
    from unetlab.jobs.check import run_check

    run_check(data, seed, Path(export) if export else None)


main.add_command(compare.compare)


main.add_command(compare.showdown)


main.add_command(compare.reproduce)


@main.command()
@click.option("--model", required=True, help="models:/unetlab-nuclei@champion, models:/m-..., or a model's folder.")
@click.option("--data", required=True, help="Labelled images: a folder, zip, name, or `synthetic`, the setup's twin.")
@click.option(
    "--allow-seen",
    "--allow_seen",
    "allow_seen",
    type=click.BOOL,
    default=False,
    show_default=True,
    help="Score images too that the model was trained or validated on; such scores are no test.",
)
def evaluate(model: str, data: str, allow_seen: bool) -> None:
    """Score a logged or registered model on labelled images it has not seen, beside Otsu's threshold.

    It goes through the code that serves the model. The run has role evaluation, and `compare` takes it by its id.
    """
    quiet.import_tensorflow()
    from unetlab.jobs.evaluate import evaluate as evaluated

    found = evaluated(model, data, allow_seen)
    click.echo(found.headline())
    click.echo(f"run {found.run_id}")


@main.command()
@click.option("--run", "run_id", required=True, help="Id of a finished setup run.")
@click.option(
    "--margin",
    type=click.FloatRange(0, 1),
    default=0.01,
    show_default=True,
    help="How much better (0 to 1, Dice or V_rand) than the champion it must be; 0.01 is for luck of seeds.",
)
@click.option(
    "--accept",
    type=click.BOOL,
    default=False,
    show_default=True,
    help="Take a mean difference above the margin for enough, where scenes are too few for a test; wants a reason.",
)
@click.option("--reason", default="", help="Why it is accepted; written on the version.")
def register(run_id: str, margin: float, accept: bool, reason: str) -> None:
    """Register a run's final model as unetlab-<setup>: champion if shown to beat the standing one, else challenger.

    Nobody becomes champion that is not better than Otsu's threshold and one answer for all pixels (H002, H003).
    """
    quiet.import_tensorflow()
    from unetlab.service.registry import register_run

    click.echo(str(register_run(run_id, margin, accept, reason)))


@main.command()
@click.option("--model", required=True, help="A registered model, such as unetlab-nuclei.")
def rollback(model: str) -> None:
    """Give the alias champion back to the version that had it before."""
    from unetlab.service import registry

    click.echo(registry.rollback(model))


@main.command()
@click.option("--model", required=True, help="models:/unetlab-nuclei@champion, models:/m-..., or a model's folder.")
@click.option("--images", required=True, type=click.Path(path_type=Path), help="A folder of images, or one image.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for masks, overlays and a CSV.")
@click.option("--threshold", type=click.FloatRange(0, 1), default=None, help="Instead of the model's own.")
def predict(model: str, images: Path, out: Path, threshold: float | None) -> None:
    """Segment a folder of images with a logged or registered model."""
    quiet.import_tensorflow()
    from unetlab.service.predict import predict_folder

    predict_folder(model, images, out, threshold)


@main.command()
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="Port of the MLflow UI.")
def ui(port: int) -> None:
    """Start the MLflow UI and print the addresses of its run table: setups by Dice, and searches with their trials."""
    import subprocess

    quiet.import_tensorflow()
    from unetlab.tracking.names import NESTED
    from unetlab.tracking.ui import open_experiment, table_address

    experiment, base = open_experiment(), f"http://127.0.0.1:{port}"
    click.echo(f"Setups, best validation Dice first: {table_address(experiment, base)}")
    click.echo(f"Searches and their trials: {table_address(experiment, base, NESTED)}")
    sys.stdout.flush()
    subprocess.run([sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port)], check=False)
