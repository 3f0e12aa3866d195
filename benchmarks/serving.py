"""What serving adds to the network: one image over HTTP beside the bare call, and a large one beside its bare tiles.

    python -m benchmarks.serving latency
    python -m benchmarks.serving tiled --side 4096

Requests to a real `mlflow models serve` take turns with calls of the same network in this process, traced as the server
traces it, so that whatever else the machine does meets both. `latency` compares medians with what may be added: 1.5
times the bare call plus 10 ms. `tiled` compares with the calls for as many tiles, of the same shapes, and prints the
server's peak memory. Linux only, where a process says its peak.
"""

import time
from collections.abc import Callable

import click
import keras
import mlflow
import numpy as np
import pandas as pd
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from benchmarks.large_images import NETWORKS, ask, field, log, networks, own_store, peak_gb, served, spots
from benchmarks.log import logged
from benchmarks.scoring import spread
from unetlab.cli.base import OneLineGroup
from unetlab.images import codecs
from unetlab.images.view import padded_side
from unetlab.inference import tiles

SIDE = 256
"""Height and width of the one image, and the side that the network sees at least."""

ROOM = 10.0
"""Milliseconds that HTTP, decoding and encoding may take besides."""

TILED = 1.2
"""Times the bare calls of its tiles that a large image may take."""


def traced(network: str) -> Callable[[np.ndarray], object]:
    """One of NETWORKS as the server calls it."""
    keras.utils.set_random_seed(0)
    model = NETWORKS[network]()
    shape = [tf.TensorSpec((None, None, None, 3), tf.float32)]
    return tf.function(lambda images: model(images, training=False), input_signature=shape)


def batches_of(side: int) -> list[np.ndarray]:
    """Noise in the shapes in which tiles of an image of that side meet the network."""
    padded = padded_side(side, SIDE)
    tile = min(tiles.TILE, padded)
    step = (tile - 3 * (tile // tiles.EDGE)) // tiles.ALIGN * tiles.ALIGN
    across = len(tiles.offsets(padded, tile, step))
    several = max(1, tiles.BATCH_PIXELS // tile**2)
    row = [min(several, across - first) for first in range(0, across, several)]
    noise = np.random.default_rng(0).random((several, tile, tile, 3), np.float32)
    return [noise[:count] for count in row * across]


def milliseconds(work: Callable[[], object]) -> float:
    """Wall time of a piece of work."""
    started = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - started)


def _log(what: str, network: str, repeats: int, found: dict[str, list[float]]) -> None:
    """Leaves a run with the figures of every repeat."""
    with logged(f"serving {what}"):
        mlflow.log_params({"network": network, "repeats": repeats})
        mlflow.log_text(pd.DataFrame(found).to_csv(index=False), "serving.csv")
        mlflow.log_metrics({f"{name}/median": float(np.median(each)) for name, each in found.items()})


@click.group(cls=OneLineGroup)
def main() -> None:
    """What serving adds to the network."""


@main.command()
@networks
@click.option("--requests", type=click.IntRange(1), default=100, show_default=True, help="Of each repeat.")
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True)
def latency(network: str, requests: int, repeats: int) -> None:
    """One 256x256 PNG over HTTP beside the bare call: medians of each repeat, and their median, least and most."""
    calls, answers, first = latencies(network, requests, repeats)
    added = [answer - (allowed(call) - ROOM) for call, answer in zip(calls, answers, strict=True)]
    table = Table("figure", "ms", title=f"one {SIDE}x{SIDE} PNG, {network} network, {repeats} x {requests}")
    table.add_row("bare call, p50", spread(calls))
    table.add_row("over HTTP, p50", spread(answers))
    table.add_row(f"over HTTP less 1.5 bare calls; may be {ROOM:g}", spread(added))
    table.add_row("the first request", f"{first:.0f}")
    Console().print(table)
    _log("latency", network, repeats, {"bare_ms": calls, "answer_ms": answers})


def allowed(call: float) -> float:
    """Milliseconds that an answer may take whose bare call takes `call`."""
    return 1.5 * call + ROOM


def latencies(network: str, requests: int, repeats: int) -> tuple[list[float], list[float], float]:
    """Median milliseconds of bare calls and of answers over HTTP, a number a repeat, and those of the first answer."""
    image = codecs.encode_image(field(SIDE, SIDE)[:, :, None])
    noise = np.random.default_rng(0).random((1, SIDE, SIDE, 3), np.float32)
    bare, rows = traced(network), []
    with own_store() as folder, served(log(network), folder) as (address, _):
        first = milliseconds(lambda: ask(address, image))
        for _ in range(3):
            bare(noise), ask(address, image)
        for _ in range(repeats):
            pairs = [
                (milliseconds(lambda: np.asarray(bare(noise))), milliseconds(lambda: ask(address, image)))
                for _ in range(requests)
            ]
            rows.append(np.median(pairs, axis=0))
    calls, answers = (list(map(float, each)) for each in zip(*rows, strict=True))
    return calls, answers, first


@main.command()
@networks
@click.option("--side", type=click.IntRange(tiles.TILE + 1), default=4096, show_default=True)
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True)
def tiled(network: str, side: int, repeats: int) -> None:
    """A large image over HTTP beside the bare calls of its tiles: seconds, their ratio, memory of the server."""
    calls, answers, idle, peak = large(network, side, repeats)
    ratio = [answer / call for call, answer in zip(calls, answers, strict=True)]
    table = Table("figure", "value", title=f"one {side}x{side} PNG, {network} network, {repeats} repeats")
    table.add_row("bare calls of its tiles, s", spread(calls))
    table.add_row("over HTTP, s", spread(answers))
    table.add_row(f"ratio; may be {TILED:g}", spread(ratio, 2))
    table.add_row("peak memory of the server, GB: idle, with it", f"{idle:.2f}, {peak:.2f}")
    Console().print(table)
    _log("tiled", network, repeats, {"bare_seconds": calls, "seconds": answers, "peak_gb": [peak] * repeats})


def large(network: str, side: int, repeats: int) -> tuple[list[float], list[float], float, float]:
    """Seconds of the bare calls of a large image's tiles and of its answer over HTTP, a number a repeat; GB of memory
    of the server before and after."""
    image, bare, batches = codecs.encode_image(field(side, side)[:, :, None]), traced(network), batches_of(side)
    calls, answers = [], []
    with own_store() as folder, served(log(network), folder) as (address, group):
        idle = peak_gb(group)
        for batch in {len(batch): batch for batch in batches}.values():
            bare(batch)
        for _ in range(repeats):
            calls.append(milliseconds(lambda: [np.asarray(bare(batch)) for batch in batches]) / 1000)
            answers.append(milliseconds(lambda: ask(address, image)) / 1000)
        found, peak = ask(address, image)["object_count"], peak_gb(group)
    if found != spots(side, side):
        raise click.ClickException(f"{found} objects, not {spots(side, side)}")
    return calls, answers, idle, peak


if __name__ == "__main__":
    main()
