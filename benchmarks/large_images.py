"""What large images cost: seconds and peak memory of the server over HTTP, and of `predict` from and to disk.

    python -m benchmarks.large_images serve --size 1000x700 --size 4096x4096
    python -m benchmarks.large_images predict --size 20000x20000 --network tiny
    python -m benchmarks.large_images seams --model models:/unetlab-auto@champion
    python -m benchmarks.large_images nuclei --model models:/unetlab-auto@champion

The last two ask a trained model: what it says of an image in tiles and as one, and what it finds, served, in a large
simulated field that it never saw. Of the others the network is a U-Net as it is built, untrained, which takes as long
as a trained one; what it says counts for little beside how bright the image is, so that the objects are known.
`--network tiny` is for the memory of what is around it. Linux only, where a process says its peak.
"""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import keras
import mlflow
import numpy as np
import tifffile
from rich.console import Console
from rich.table import Table

from benchmarks.memory import measure
from benchmarks.processes import free_ports
from unetlab.cli.base import OneLineGroup
from unetlab.data.twins import nuclei
from unetlab.images import codecs, geometry, view
from unetlab.inference import tiles
from unetlab.inference.package import log_segmenter, settings_of
from unetlab.metrics import baselines, objects
from unetlab.models.pretrained import full_unet
from unetlab.models.scratch import scratch_unet
from unetlab.service.loading import load, predictor_of
from unetlab.setup import Recipe


def _seeing(unet: keras.Model) -> keras.Model:
    """A network that finds what is bright, and has a U-Net to run for it; (n, h, w, 2)."""
    inputs = keras.Input((None, None, 3))
    bright = keras.layers.AveragePooling2D(5, 1, "same")(inputs)
    seen = keras.layers.Conv2D(2, 1, activation="sigmoid", name="bright")
    mixed = keras.layers.Average()([seen(bright)] * 9 + [unet(inputs)])
    model = keras.Model(inputs, mixed)
    slopes = np.zeros((1, 1, 3, 2), np.float32)
    slopes[..., 0] = 20 / 3
    seen.set_weights([slopes, np.full(2, -10, np.float32)])
    return model


NETWORKS: dict[str, Callable[[], keras.Model]] = {
    "full": lambda: _seeing(full_unet((None, None, 3), decoder_filters=256, heads=1)),
    "tiny": lambda: _seeing(scratch_unet((None, None, 3), filters=2, depth=2, heads=1)),
}

STARTS_WITHIN = 120
"""Seconds."""

SPOTS = 40
"""Pixels from one bright spot of the field to the next."""

PREDICT = """
import sys
from pathlib import Path
from unetlab.service.predict import predict_folder
def work():
    table = predict_folder(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
    return [int(table["height"][0]), int(table["width"][0]), int(table["object_count"].fillna(-1)[0])]
"""


def field(height: int, width: int) -> np.ndarray:
    """uint8 (height, width): a grid of spots with some noise, SPOTS pixels apart."""
    rows, columns = (np.cos(np.arange(side) * (2 * np.pi / SPOTS)) for side in (height, width))
    noise = np.random.default_rng(0).integers(0, 20, (height, width), dtype=np.uint8)
    for row in range(height):  # row by row, since float64 takes much memory
        noise[row] += (np.clip(rows[row] + columns, 0, 2) * 100).astype(np.uint8)
    return noise


def spots(height: int, width: int) -> int:
    """How many spots a field shows, those that are cut at its edge too."""
    down, across = ((side - 1 + SPOTS // 4) // SPOTS + 1 for side in (height, width))
    return down * across


def log(network: str) -> str:
    """Logs an untrained network that is looked at in patches, with borders and components; returns its address."""
    seen = {"normalise": "percentile", "view": "patches", "objects": "border", "confidence": 0.5}
    settings = settings_of(Recipe(image_size=256, channels=3, epochs=1, batch_size=1).changed(seen))
    keras.utils.set_random_seed(0)
    example = codecs.encode_image(field(64, 64)[:, :, None])
    with mlflow.start_run():
        return str(
            log_segmenter(NETWORKS[network](), name="large", settings=settings, example=example, tags={}).model_uri
        )


@contextmanager
def served(model: str, folder: Path, timeout: int = 3600, **told: str) -> Any:
    """Serves a model as MLflow does; gives the address and the server's process, which leads a group of its own.

    A request may take `timeout` seconds; what else is `told` goes into the server's environment.
    """
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", model, "--env-manager", "local"]
    path = str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"]  # MLflow starts `uvicorn` from PATH
    environment = {**os.environ, "PATH": path, "MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT": str(timeout), **told}
    log_file = folder / "server.log"
    with log_file.open("w") as output:
        server = subprocess.Popen(
            [*command, "--port", str(port)], env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        _wait(f"http://127.0.0.1:{port}/ping", server, log_file)
        yield f"http://127.0.0.1:{port}", server.pid
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def _wait(url: str, server: "subprocess.Popen[bytes]", log_file: Path) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    raise click.ClickException(f"the server does not start: {(log_file.read_text().splitlines() or ['no word'])[-1]}")


def peak_gb(group: int) -> float:
    """Peak memory of the largest process of a group so far, in GB."""
    peaks = [0.0]
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            if os.getpgid(int(status.parent.name)) == group:
                peaks += [int(found) / 2**20 for found in re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())]
        except OSError:  # it has ended
            continue
    return max(peaks)


def ask(address: str, image: bytes) -> dict[str, Any]:
    """The server's answer to one image."""
    table = {"columns": ["image"], "data": [[base64.b64encode(image).decode()]]}
    body = json.dumps({"dataframe_split": table}).encode()
    request = urllib.request.Request(f"{address}/invocations", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=3600) as answer:
            found: dict[str, Any] = json.load(answer)["predictions"][0]
            return found
    except urllib.error.HTTPError as error:
        with error:
            raise click.ClickException(json.load(error)["message"]) from error


@contextmanager
def own_store() -> Iterator[Path]:
    """A temporary folder with a store, to which this process and those that it begins log until the block ends."""
    before, named = mlflow.get_tracking_uri(), os.environ.get("MLFLOW_TRACKING_URI")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
        mlflow.MlflowClient().create_experiment("served", artifact_location=(folder / "artifacts").as_uri())
        mlflow.set_experiment("served")
        os.environ["MLFLOW_TRACKING_URI"] = mlflow.get_tracking_uri()
        try:
            yield folder
        finally:
            mlflow.set_tracking_uri(before)
            os.environ.pop("MLFLOW_TRACKING_URI")
            if named is not None:
                os.environ["MLFLOW_TRACKING_URI"] = named


def _sizes(_: click.Context, __: click.Parameter, words: tuple[str, ...]) -> list[tuple[int, int]]:
    for word in words:
        if not re.fullmatch(r"[1-9]\d*x[1-9]\d*", word):
            raise click.BadParameter(f"{word} is no size such as 1000x700, width and height")
    return [(int(word.split("x")[0]), int(word.split("x")[1])) for word in words]


@click.group(cls=OneLineGroup)
def main() -> None:
    """Seconds and peak memory of large images."""


networks = click.option("--network", type=click.Choice(list(NETWORKS)), default="full", show_default=True)


@main.command()
@click.option("--size", "sizes", multiple=True, default=("1000x700", "4096x4096"), callback=_sizes, show_default=True)
@networks
def serve(sizes: list[tuple[int, int]], network: str) -> None:
    """A model in patches served over HTTP, one image a request, in the order given: the peak is that so far."""
    table = Table("image", "seconds", "peak memory of the server, GB", "objects", title=f"served, {network} network")
    with own_store() as folder, served(log(network), folder) as (address, group):
        table.add_row("none yet", "", f"{peak_gb(group):.2f}", "")
        for width, height in sizes:
            image = codecs.encode_image(field(height, width)[:, :, None])
            started = time.perf_counter()
            answer = ask(address, image)
            seconds = time.perf_counter() - started
            if codecs.decode_mask(base64.b64decode(answer["mask"])).shape != (height, width):
                raise click.ClickException("the mask is of another size than the image")
            if answer["object_count"] != spots(height, width):
                raise click.ClickException(f"{answer['object_count']} objects, not {spots(height, width)}")
            shown = (f"{seconds:.1f}", f"{peak_gb(group):.2f}", str(answer["object_count"]))
            table.add_row(f"{width}x{height}", *shown)
    Console().print(table)


@main.command()
@click.option("--size", "sizes", multiple=True, default=("20000x20000",), callback=_sizes, show_default=True)
@networks
def predict(sizes: list[tuple[int, int]], network: str) -> None:
    """Grey TIFFs of 8 bits from disk to masks and labels on disk, each in a process of its own."""
    table = Table("file", "seconds", "peak memory, GB", "objects", title=f"predict, {network} network")
    with own_store() as folder:
        model, path, out = log(network), folder / "large.tif", folder / "out"
        for width, height in sizes:
            tifffile.imwrite(path, field(height, width), photometric="minisblack", rowsperstrip=64, metadata=None)
            found = measure(PREDICT, model, str(path), str(out))
            if found["found"] != [height, width, spots(height, width)]:
                raise click.ClickException(f"{found['found']} rows, columns and objects, not {spots(height, width)}")
            shown = (f"{found['seconds']:.1f}", f"{found['peak_gb']:.2f}", str(spots(height, width)))
            table.add_row(f"{width}x{height}", *shown)
    Console().print(table)


def mosaic(side: int, across: int = 6) -> np.ndarray:
    """uint8 (side, side, 3) of simulated nuclei, so many images wide and high."""
    part = -(-side // across)
    made = [geometry.fit_channels(job().image, 3) for job in nuclei.jobs(0, across**2)]
    parts = [geometry.resize_image(each, part, part) for each in made]
    rows = [np.concatenate(parts[first : first + across], axis=1) for first in range(0, across**2, across)]
    return np.concatenate(rows)[:side, :side]


@main.command()
@click.option("--model", required=True, help="Trained in patches, as for predict.")
@click.option("--side", type=click.IntRange(tiles.TILE + 1), default=1536, show_default=True, help="Of a mosaic.")
def seams(model: str, side: int) -> None:
    """How far a trained model's answer in tiles is from its answer to the image as one."""
    predictor = predictor_of(load(model))
    if predictor is None or predictor.recipe.view != "patches":
        raise click.ClickException(f"{model} looks at whole images, which have no tiles")
    image, found = view.fitted(mosaic(side), predictor.recipe), []
    if max(image.shape[:2]) <= tiles.TILE:
        shrunk = f"{model} works at {predictor.recipe.scale:g} of the size, so that {side}x{side} is one tile"
        raise click.ClickException(f"{shrunk}; give a larger --side")
    for tile in (tiles.TILE, 2 * side):
        predictor.tile = tile
        found.append(np.asarray(predictor.maps([image]).mask[0]))
    apart, cut = np.abs(found[0] - found[1]), predictor.recipe.threshold
    wrong = np.mean((found[0] > cut) != (found[1] > cut)) if isinstance(cut, float) else float("nan")
    table = Table("difference of probability", "value", title=f"{model}: {side}x{side} in tiles of {tiles.TILE}")
    for name, value in (("largest", apart.max()), ("mean", apart.mean()), ("pixels of the mask that differ", wrong)):
        table.add_row(name, f"{value:.2g}")
    Console().print(table)


RADIUS = 10.0
"""Of the nuclei of a large simulated field, pixels."""


@main.command("nuclei")
@click.option("--model", required=True, help="As for predict.")
@click.option("--side", type=click.IntRange(256), default=2048, show_default=True, help="Of the field.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the field.")
def found_nuclei(model: str, side: int, seed: int) -> None:
    """What a trained model, served, finds in one large field of simulated nuclei."""
    rng = np.random.default_rng(seed)
    truth = nuclei.scatter(rng, (side, side), RADIUS)
    image = codecs.encode_image(nuclei.fluorescence(rng, truth))
    with tempfile.TemporaryDirectory() as folder, served(model, Path(folder)) as (address, _):
        started = time.perf_counter()
        answer = ask(address, image)
        seconds = time.perf_counter() - started
    mask = codecs.decode_mask(base64.b64decode(answer["mask"])) > 0
    labels = codecs.decode_labels(base64.b64decode(answer["labels"]))
    count, hit = len(np.unique(truth.labels)) - 1, len(objects.hit_objects(truth.labels, labels)[0])
    table = Table("what", "value", title=f"{model}: {count:,} simulated nuclei in {side}x{side}, over HTTP")
    table.add_row("Dice", f"{baselines.dice_of(mask, truth.labels > 0):.4f}")
    table.add_row("objects found", f"{answer['object_count']:,} ({answer['object_count'] / count:.1%} of them)")
    table.add_row("nuclei met by an object with an IoU above 0.5", f"{hit:,} ({hit / count:.1%})")
    table.add_row("seconds", f"{seconds:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
