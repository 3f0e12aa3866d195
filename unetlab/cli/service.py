"""The commands around finished models and servers: evaluate to predict, export, live, ui, server."""

import contextlib
import os
import sys
from pathlib import Path
from typing import Any, cast

import click

from unetlab.cli import quiet
from unetlab.cli.base import command
from unetlab.errors import UserError
from unetlab.options import JOBS, Reading
from unetlab.options import command as repeating


@command("evaluate", "--model models:/unetlab-nuclei@champion --data FOLDER")
def evaluate(
    model: str, data: str, allow_seen: bool, groups: str, workers: int, scheduler: str, **reading: Any
) -> None:
    """Score a logged or registered model on labelled images it has not seen, beside Otsu's threshold.

    It goes through the code that serves the model. Images it was trained or validated on are refused. The run has role
    evaluation, and `compare` takes it by its id.
    """
    from unetlab.data.dataset import refuse_missing

    refuse_missing(data)
    quiet.import_tensorflow()
    from unetlab.jobs.cluster import spreading
    from unetlab.jobs.evaluate import evaluate as evaluated
    from unetlab.jobs.interrupt import interruptible

    told = {"model": model, "data": data, "allow_seen": allow_seen, "groups": groups, "workers": workers}
    again = repeating("evaluate", JOBS["evaluate"], {**told, "scheduler": scheduler, **reading})
    with interruptible(again), spreading(workers, scheduler) as spread:
        found = evaluated(model, data, allow_seen, cast(Reading, reading), groups, spread=spread)
    click.echo(found.headline())
    click.echo(f"run {found.run_id}")


@command("register", "--run RUN_ID --margin 0.01")
def register(run: str, margin: float, accept: bool, reason: str) -> None:
    """Register a run's final model as unetlab-<setup>: champion if shown to beat the standing one, else challenger.

    No model becomes champion that is not better than Otsu's threshold and one answer for all pixels (H002, H003), or
    that was tested on what it was trained on (H005).
    """
    quiet.import_tensorflow()
    from unetlab.service.registry import register_run

    click.echo(str(register_run(run, margin, accept, reason)))


@command("sync", "")
def sync() -> None:
    """Send the metrics that earlier runs could not, since the tracking server did not answer."""
    from unetlab.tracking import outbox

    sent, left = outbox.sync()
    click.echo(f"{sent} metrics sent" + (f"; {left} runs still go on or belong to another server" if left else ""))


@command("rollback", "--model unetlab-nuclei")
def rollback(model: str) -> None:
    """Give the alias champion back to the version that had it before."""
    quiet.import_tensorflow()
    from unetlab.service import registry

    click.echo(registry.rollback(model))


@command("predict", "--model models:/unetlab-nuclei@champion --images FOLDER --out MASKS")
def predict(
    model: str,
    images: Path,
    out: Path,
    threshold: float | None,
    channels: str,
    pages: str,
    workers: int,
    scheduler: str,
) -> None:
    """Segment a folder of images with a logged or registered model; of a stack every page, masks/<name>-000.png on.

    A model of classes writes their maps too, a legend, and a count of each class.
    """
    from unetlab.service.pages import images_of

    images_of(images)  # before TensorFlow, which takes seconds
    quiet.import_tensorflow()
    from unetlab.jobs.cluster import spreading
    from unetlab.jobs.interrupt import interruptible
    from unetlab.service.predict import predict_folder

    told = {"model": model, "images": images, "out": out, "threshold": threshold, "channels": channels, "pages": pages}
    again = repeating("predict", JOBS["predict"], {**told, "workers": workers, "scheduler": scheduler})
    with interruptible(again), spreading(workers, scheduler) as spread:
        predict_folder(model, images, out, threshold, channels=channels, pages=pages, spread=spread)


@command("export", "--model models:/unetlab-auto@champion --format litert --precision int8")
def export(**told: Any) -> None:
    """Write a model's network for another runtime, check it against Keras on its test images, and time both.

    The file is an artifact of the run that trained the model, beside an export.json that says what it takes and gives.
    """
    quiet.import_tensorflow()
    from rich.console import Console

    from unetlab.jobs.export import export as exported
    from unetlab.jobs.export import table
    from unetlab.jobs.interrupt import interruptible

    with interruptible(repeating("export", JOBS["export"], told)):
        found = exported(**told)
    Console().print(table(found))
    click.echo(found.headline())
    click.echo(f"run {found.run_id}; mlflow artifacts download -u {found.address}")


@command("live", "--model models:/unetlab-nuclei@champion --source FOLDER")
def live(**values: Any) -> None:
    """Show frames with their masks on a page of this machine, as fast as it can: files, a video or the camera.

    The page takes images, stacks and videos that are dropped onto it too. With --out there is no page, but files.
    """
    from unetlab.service.live.source import Frames, open_source

    if values["source"]:  # before TensorFlow, which takes seconds
        found = open_source(values["source"], values["channels"], values["pages"])
        if isinstance(found, Frames):
            found.close()
    quiet.import_tensorflow()
    from unetlab.service.live.run import live as shown

    def say(line: str) -> None:
        click.echo(line)
        sys.stdout.flush()

    shown(**values, say=say)


@command("ui", "--port 5001")
def ui(port: int) -> None:
    """Start the MLflow UI and print the addresses of its run table: setups by Dice, and searches with their trials.

    Where MLFLOW_TRACKING_URI names a server, that is its own UI: its addresses are printed and nothing is started.
    """
    from unetlab.tracking import ui as shown
    from unetlab.tracking.names import NESTED
    from unetlab.tracking.server import attended, refuse_taken

    if not shown.server():
        refuse_taken("127.0.0.1", port)  # or the addresses would be another store's
    experiment, base = shown.shown_experiment(), shown.address(port)
    click.echo(f"Setups, best validation Dice first: {shown.table_address(experiment, base)}")
    click.echo(f"Searches and their trials: {shown.table_address(experiment, base, NESTED)}")
    sys.stdout.flush()
    if not shown.server():
        store = os.environ.get("MLFLOW_TRACKING_URI", "")
        own = ["--backend-store-uri", store] if store else []
        started = [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port), *own]
        with contextlib.suppress(KeyboardInterrupt):
            attended(started)


@command("server", "--port 5000")
def server(port: int, host: str, folder: Path, database_port: int) -> None:
    """Start an MLflow server on PostgreSQL with artifacts proxied, for several workers and machines.

    Database, artifacts and logs lie in one folder. Ctrl-C ends both. PostgreSQL comes from the system's packages.
    """
    from unetlab.tracking.server import address_of, end_by_signals, serving, wait_for

    end_by_signals()
    try:
        with serving(folder, host, port, database_port) as process:
            address = address_of(host, port)
            wait_for(process, address)
            click.echo(f"export MLFLOW_TRACKING_URI={address}")
            sys.stdout.flush()
            status = process.wait()
    except KeyboardInterrupt:
        click.echo("the server and its database have ended")
        return
    if status:
        raise UserError(f"the MLflow server ended with status {status}; what it wrote above says why")
