"""The commands around finished models: register, rollback, predict, ui."""

import sys
from pathlib import Path

import click

from unetlab.cli import quiet
from unetlab.cli.base import command


@command("register", "--run RUN_ID --margin 0.01")
def register(run: str, margin: float) -> None:
    """Register a run's final model as unetlab-<setup>: champion if shown to beat the standing one, else challenger."""
    from unetlab.service.registry import register_run

    click.echo(str(register_run(run, margin)))


@command("rollback", "--model unetlab-nuclei")
def rollback(model: str) -> None:
    """Give the alias champion back to the version that had it before."""
    from unetlab.service import registry

    click.echo(registry.rollback(model))


@command("predict", "--model models:/unetlab-nuclei@champion --images FOLDER --out MASKS")
def predict(model: str, images: Path, out: Path, threshold: float | None) -> None:
    """Segment a folder of images with a logged or registered model."""
    quiet.import_tensorflow()
    from unetlab.service.predict import predict_folder

    predict_folder(model, images, out, threshold)


@command("ui", "--port 5001")
def ui(port: int) -> None:
    """Start the MLflow UI and print the addresses of its run table: setups by Dice, and searches with their trials."""
    import subprocess

    quiet.import_tensorflow()
    from unetlab.tracking.names import NESTED
    from unetlab.tracking.ui import open_experiment, table_address

    experiment, base = open_experiment(), f"http://127.0.0.1:{port}"
    click.echo(f"Setups, best Dice first: {table_address(experiment, base)}")
    click.echo(f"Searches and their trials: {table_address(experiment, base, NESTED)}")
    sys.stdout.flush()
    subprocess.run([sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port)], check=False)
