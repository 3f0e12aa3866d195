"""The life of an export: a model's network as a file, what it loses, how long it takes, and a run that says so."""

import json
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.tracking import MlflowClient
from rich.console import Console
from rich.table import Table

from unetlab.errors import UserError
from unetlab.options import JOBS, command
from unetlab.service.exports import FORMATS
from unetlab.service.exports.base import require, size_of, write
from unetlab.service.exports.card import FOLDER, NAME, card
from unetlab.service.exports.check import Loss, calibration_images, loss
from unetlab.service.exports.network import trained
from unetlab.service.exports.speed import speed
from unetlab.service.loading import load, pinned, predictor_of
from unetlab.service.own import Own, own_images
from unetlab.service.seen import Origin, origin
from unetlab.tracking import ui
from unetlab.tracking import write as tracking
from unetlab.tracking.speed import speed_plot


@dataclass(frozen=True)
class Exported:
    """What an export leaves.

    Args:
        title: format and precision in words.
        run_id: of its run.
        address: of the folder with the file, as `mlflow artifacts download -u` takes it.
        figures: sizes in megabytes and Dice, as they are logged, without `export/`.
        loss: against Keras.
        speed: as `service.exports.speed.speed` has it.
    """

    title: str
    run_id: str
    address: str
    figures: dict[str, float]
    loss: Loss
    speed: pd.DataFrame

    def headline(self) -> str:
        """The result in one line."""
        size, own = self.figures["megabytes"], self.figures["keras_megabytes"]
        return (
            f"{self.title}: {size:.2f} MB (Keras {own:.2f}); Dice lost {self.loss}; the largest difference of a "
            f"probability is {self.loss.largest:.2g}"
        )


def export(
    model: str,
    format: str,
    precision: str = "float32",
    data: str = "",
    allow_loss: float = 0.005,
    console: Console | None = None,
) -> Exported:
    """Writes a logged or registered model's network as a file of another runtime.

    It is compared with Keras on the test images of the model's run, and both are timed side by side; that is a run of
    role export. The file and its `export.json` become artifacts of the run that trained the model, in
    `exports/<format>-<precision>`, and its figures those of the logged model too, unless the file loses too much.

    Args:
        model: "models:/name@alias", "models:/name/version", "models:/m-...", "runs:/..." or a model's folder.
        format: a name of `FORMATS`.
        precision: "float32", or "int8", calibrated on training images of the model's run.
        data: where the images of that run lie now, "" for where the run found them.
        allow_loss: Dice, 0 to 1, that the upper end of the loss' interval may reach.
        console: where progress is told.

    Raises UserError for a format whose packages are missing or that cannot hold the network, a model that cannot be
    loaded or is none of unetlab's, images that cannot be had, INT8 without training images, and a loss beyond
    `allow_loss`.
    """
    console = console or Console(stderr=True)
    row = FORMATS[format]
    require(row, precision)
    model = pinned(model)
    segmenter = load(model)
    own_predictor = predictor_of(segmenter)
    whence = origin(segmenter)
    network = trained(model) if own_predictor is None else trained(model, type(own_predictor))
    own, shape = own_images(whence, data), network.shape(row)
    if own.missing:
        _tell(console, f"{own.missing} of {own.missing + len(own.test)} test images of the model's run are not there")
    calibration = calibration_images(network, own, shape) if precision == "int8" else None
    ui.open_experiment()
    kept = f"models:/{whence.model_id}" if whence.model_id else model
    title = f"{format} {precision}"
    told = {"model": model, "format": format, "precision": precision, "data": data, "allow_loss": allow_loss}
    with tempfile.TemporaryDirectory(prefix="unetlab-") as scratch:
        folder = Path(scratch) / f"{format}-{precision}"
        folder.mkdir()
        _tell(console, f"writing {title}")
        file = write(row, network.model, folder, shape, calibration)
        sizes = {"megabytes": size_of(folder) / 1e6, "keras_megabytes": size_of(network.file) / 1e6}
        tags = _tags(whence, own, {**told, "model": kept})
        with tracking.run(f"export {model.removeprefix('models:/')} as {title}", tags=tags, params=told) as active:
            _tell(console, f"comparing it with Keras on {len(own.test)} test images")
            lost = loss(network, row.open(file, 1), shape, own)
            tracking.log_scores("export", {**sizes, **_figures(lost)})
            tracking.log_table(lost.table, "scores/export.csv")
            _refuse(lost, title, allow_loss)
            _tell(console, "timing both")
            times = speed(row, network, file, calibration)
            page = card(row, precision, kept, network, shape, whence.channels)
            page["checked"] = {**_figures(lost), "test_images": len(lost.table), "scenes": lost.scenes}
            page["checked"] |= {"tta": int(network.recipe.tta)}  # around the file in both, and not in it
            (folder / NAME).write_text(json.dumps(page, indent=2) + "\n")
            address = _log(folder, whence)
            tracking.log_scores("export", _milliseconds(times))
            on_its_page = {**sizes, **_figures(lost), **_milliseconds(times)}
            tracking.log_scores(f"export/{folder.name}", on_its_page, whence.model_id)
            tracking.log_table(times, "speed.csv")
            tracking.log_figure(speed_plot(times, f"{title}, milliseconds an image"), "speed.png")
            mlflow.set_tag("exported_to", address)
    return Exported(title, active.info.run_id, address, {**sizes, **_figures(lost)}, lost, times)


def _tell(console: Console, line: str) -> None:
    console.print(line, highlight=False, soft_wrap=True, markup=False)


def _tags(whence: Origin, own: Own, told: dict[str, Any]) -> dict[str, str]:
    return {
        "role": "export",
        "setup": whence.setup,
        "dataset": own.dataset.name,
        "dataset_digest": own.dataset.digest,
        "exported_run": whence.run_id or "unknown",
        "exported_model": whence.model_id or "unknown",
        "command": command("export", JOBS["export"], told),
    }


def _figures(lost: Loss) -> dict[str, float]:
    found = {
        "dice": float(lost.table["dice"].mean()),
        "keras_dice": float(lost.table["keras_dice"].mean()),
        "dice_lost": lost.mean,
        "dice_lost_low": lost.low,
        "dice_lost_high": lost.high,
        "largest_difference": lost.largest,
    }
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _refuse(lost: Loss, title: str, allow_loss: float) -> None:
    if not math.isfinite(lost.largest):
        raise UserError(f"{title} answers no numbers (NaN) where Keras does; another format or precision may")
    if lost.worst <= allow_loss:
        return
    shown = "is" if lost.mean > allow_loss else "may be"
    raise UserError(
        f"{title} loses Dice against Keras, {lost}, which {shown} more than {allow_loss:g}; another format or "
        f"precision=float32 loses less, allow_loss={math.ceil(1000 * lost.worst) / 1000:g} takes it as it is"
    )


def _milliseconds(times: pd.DataFrame) -> dict[str, float]:
    return {
        f"{'keras_' * (row['network'] == 'keras')}{share}_ms_{row['side']}px_{row['threads']}t": row[f"{share}_ms"]
        for row in times.to_dict("records")
        for share in ("p50", "p95")
    }


def _log(folder: Path, whence: Origin) -> str:
    """Logs a folder as an artifact of the run that trained the model, and returns its address there."""
    client, path = MlflowClient(), f"{FOLDER}/{folder.name}"
    trained_in = client.get_logged_model(whence.model_id).source_run_id if whence.model_id else whence.run_id
    assert trained_in is not None  # `own_images` has found it
    client.log_artifacts(trained_in, str(folder), path)
    return f"runs:/{trained_in}/{path}"


def table(found: Exported) -> Table:
    """Milliseconds an image, Keras beside the export; a star where another size than the exported file's is shown."""
    shown = Table(title=f"{found.title}, milliseconds an image: median (95th percentile)")
    for heading in ("threads", "pixels", "Keras", found.title, "times as fast"):
        shown.add_column(heading, justify="right")
    for (threads, side), rows in found.speed.groupby(["threads", "side"], sort=True):
        by = rows.set_index("network")
        (other,) = set(by.index) - {"keras"}
        each = [f"{by['p50_ms'][name]:.1f} ({by['p95_ms'][name]:.1f})" for name in ("keras", other)]
        star = "" if by["exported"][other] else "*"
        gain = by["p50_ms"]["keras"] / by["p50_ms"][other]
        shown.add_row(str(threads), f"{side} x {side}{star}", *each, f"{gain:.1f}")
    if not found.speed["exported"].all():
        shown.caption = "* the same network written for that size: what a larger or smaller square would cost"
    return shown
