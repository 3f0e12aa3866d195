"""How long an exported network takes for an image, beside Keras, turn by turn in one process.

TensorFlow's threads are settled once a process, so that each number of threads has a process of its own. With
UNETLAB_ONE_PROCESS=1 all is measured in this one, with as many threads of TensorFlow's as it has.
"""

import multiprocessing
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from unetlab.errors import UserError
from unetlab.images import geometry
from unetlab.service.exports import FORMATS
from unetlab.service.exports.base import Format, Network, silence, write
from unetlab.service.exports.network import Trained, any_size, traced

SIDES = (128, 256, 512)
THREADS = (1, 2)

SECONDS = 4.0
"""For a size and a number of threads, once there were LEAST turns."""

LEAST, MOST = 10, 200
"""Turns, in each of which either network sees one image."""

CALIBRATION = 4
"""Images for a copy in INT8 at another size: how long it takes does not depend on what it was calibrated on."""


def speed(row: Format, trained: Trained, file: Path, calibration: Sequence[np.ndarray] | None) -> pd.DataFrame:
    """Milliseconds for one image, from prepared input to probabilities, at SIDES and THREADS.

    A file that takes one size only is measured at that; for the other sizes the same network is written once more,
    which says what a larger square would cost, and is left out where a layer of it depends on the size.

    Args:
        row: the format.
        trained: the network.
        file: as exported.
        calibration: as it was, None for float32.

    Returns:
        Columns threads, side, network ("keras" or the format), p50_ms, p95_ms, turns, exported (whether it was the
        exported file itself).

    Raises UserError where a measuring process dies.
    """
    with tempfile.TemporaryDirectory(prefix="unetlab-") as folder:
        files = _files(row, trained, file, calibration, Path(folder))
        told = (row.name, trained.file, trained.recipe.channels, files)
        rows: list[dict[str, Any]] = []
        for threads in THREADS:
            if os.environ.get("UNETLAB_ONE_PROCESS", "") not in ("", "0"):
                rows += measure(*told, threads)
                continue
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _settle, (threads,)) as pool:
                with silence():  # the process starts here and keeps these outputs: TensorFlow's first lines go nowhere
                    measured = pool.submit(measure, *told, threads)
                try:
                    rows += measured.result()
                except BrokenProcessPool as error:
                    raise UserError(
                        f"the process that measures {row.name} at {threads} threads died, as the system lets it where "
                        "memory runs out; free some and export again"
                    ) from error
    table = pd.DataFrame(rows)
    return table.assign(exported=[files[side] == file for side in table["side"]])


def _files(
    row: Format, trained: Trained, file: Path, calibration: Sequence[np.ndarray] | None, folder: Path
) -> dict[int, Path]:
    """The file that is measured at each size: the exported one where it takes it."""
    shape = trained.shape(row)
    if shape[1] is None:
        return dict.fromkeys(SIDES, file)
    files, found = {shape[1]: file}, trained.model
    for side in sorted(set(SIDES) - {shape[1]}):
        try:
            found = any_size(trained.model)
            place = folder / str(side)
            place.mkdir()
            some = None if calibration is None else [_resized(each, side) for each in calibration[:CALIBRATION]]
            files[side] = write(row, found, place, (1, side, side, shape[3]), some)
        except (UserError, ValueError):  # a layer that wants its own size
            continue
    return dict(sorted(files.items()))


def _resized(image: np.ndarray, side: int) -> np.ndarray:
    planes = [geometry.resize_map(plane, side, side) for plane in np.moveaxis(image[0], -1, 0)]
    return np.stack(planes, axis=-1)[None]


def _settle(threads: int) -> None:
    """Before TensorFlow computes anything in this process: the processor alone, and so many threads."""
    with silence():
        import tensorflow as tf

        tf.config.set_visible_devices([], "GPU")
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)


def measure(
    name: str, keras_file: Path, channels: int, files: Mapping[int, Path], threads: int
) -> list[dict[str, Any]]:
    """Rows of `speed`'s table for one number of threads."""
    import keras

    row, rows = FORMATS[name], []
    own = keras.saving.load_model(keras_file, compile=False)
    for side, file in files.items():
        fits = own.input_shape[1] in (None, side)
        shape = (1, side, side, channels)
        with silence():
            networks = {"keras": traced(own if fits else any_size(own), shape), name: row.open(file, threads)}
            found = in_turns(networks, np.random.default_rng(0).random(shape, np.float32))
        for each, took in found.items():
            middle, slow = np.percentile(took, [50, 95])
            figures = {"p50_ms": float(middle), "p95_ms": float(slow), "turns": len(took)}
            rows.append({"threads": threads, "side": side, "network": each, **figures})
    return rows


def in_turns(networks: Mapping[str, Network], image: np.ndarray) -> dict[str, list[float]]:
    """Milliseconds of each turn of each network, after two turns that count for nothing; every other turn goes
    backwards, so that none is always the one that comes after another."""
    took: dict[str, list[float]] = {name: [] for name in networks}
    began = time.perf_counter()
    for turn in range(-2, MOST):
        if turn == 0:
            began = time.perf_counter()
        if turn >= LEAST and time.perf_counter() - began > SECONDS:
            break
        for name in sorted(networks, reverse=turn % 2 == 1):
            started = time.perf_counter()
            networks[name](image)
            if turn >= 0:
                took[name].append(1000 * (time.perf_counter() - started))
    return took
