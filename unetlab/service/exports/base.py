"""What a format of exported networks is, and writing one so that a user's model it cannot hold is one line."""

import contextlib
import importlib.util
import io
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unetlab.errors import UserError

if TYPE_CHECKING:
    import keras

Network = Callable[[np.ndarray], np.ndarray]
"""float32 (n, h, w, c) in [0, 1] to float32 (n, h, w, k) in [0, 1]."""

Shape = tuple[int, int | None, int | None, int]
"""What a file takes: one image, height, width and channels; None for a side that may differ from call to call."""


@dataclass(frozen=True)
class Format:
    """A row of FORMATS.

    Args:
        name: as the option `format` has it.
        file: what the network is called in the folder of an export; a folder of its own for some formats.
        extra: of unetlab, that installs what it wants; "" where nothing is wanted.
        modules: that must be there.
        int8: whether it holds networks in 8 bits.
        sizes: whether a file may take images of several sizes.
        lacks: pattern of what its converter or runtime says of an operation that it does not have; a group is the name.
        write: writes a network to a path: for images of a shape, in INT8 if calibration images are given.
        open: a network from such a path, computed by so many threads of the processor.
    """

    name: str
    file: str
    extra: str
    modules: tuple[str, ...]
    int8: bool
    sizes: bool
    lacks: str
    write: Callable[["keras.Model", Path, Shape, Sequence[np.ndarray] | None], None]
    open: Callable[[Path, int], Network]


def require(row: Format, precision: str) -> None:
    """Raises UserError, which names the way out, where a format's packages are missing or it has no such precision."""
    if precision == "int8" and not row.int8:
        raise UserError(f"format={row.name} has no precision=int8; litert, onnx and openvino do")
    missing = [module for module in row.modules if importlib.util.find_spec(module) is None]
    if missing:
        raise UserError(
            f"format={row.name} wants {', '.join(missing)}, not installed here; the extra {row.extra} has what it "
            f"takes: .venv/bin/pip install -e '.[{row.extra}]'"
        )


def write(
    row: Format, model: "keras.Model", folder: Path, shape: Shape, calibration: Sequence[np.ndarray] | None = None
) -> Path:
    """Writes a network as a format has it and tries whether it can be opened and run; returns its path in `folder`.

    Args:
        row: the format.
        model: float32, uncompiled.
        folder: that there is.
        shape: of the images that the file takes.
        calibration: float32 (1, h, w, c) each, for INT8; None for float32.

    Raises UserError for a network that the format cannot hold, which names the operations it lacks.
    """
    path = folder / row.file
    sides = (side or 64 for side in shape[1:3])
    try:
        with silence():
            row.write(model, path, shape, calibration)
            row.open(path, 1)(np.zeros((1, *sides, shape[3]), np.float32))
    except (MemoryError, OSError):
        raise
    except Exception as error:  # converters and runtimes raise whatever they like
        raise UserError(f"format={row.name} cannot hold this model: {_reason(row, error)}") from error
    return path


def _reason(row: Format, error: Exception) -> str:
    lacking = sorted({name for names in re.findall(row.lacks, str(error)) for name in re.split(r",\s*", names)})
    if lacking:
        return f"it has no operation {', '.join(lacking)}; another format may, and saved_model has all of TensorFlow's"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    return f"{type(error).__name__}: {lines[0][:200]}; another format may"


def one_by_one(run: Callable[[np.ndarray], np.ndarray]) -> Network:
    """A network for any number of images from one that takes a single one, (1, h, w, c)."""
    return lambda images: np.concatenate([run(image[None]) for image in np.asarray(images, np.float32)])


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    return sum(each.stat().st_size for each in (path.rglob("*") if path.is_dir() else [path]) if each.is_file())


def without_telemetry() -> None:
    """OpenVINO and NNCF report their use to Google Analytics where their package for that can be imported; here it
    cannot, which both take for no."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # Python's own word for "not there"


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Converters tell of each step, from Python and from C++, on both of a process's outputs; nothing of it is for
    users, since what they raise says all."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    saved = [os.dup(number) for number in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    said: Any = io.StringIO()
    try:
        for number in (1, 2):
            os.dup2(nowhere, number)
        with warnings.catch_warnings(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            warnings.simplefilter("ignore")
            yield
    finally:
        for number, held in zip((1, 2), saved, strict=True):
            os.dup2(held, number)
        for held in (*saved, nowhere):
            os.close(held)
