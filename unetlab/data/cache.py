"""Decoded pixels on disk: written once, whole or not at all, then memory-mapped."""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import track

from unetlab.errors import UnusableFiles, UserError, writing

VERSION = 10
"""Counted up when the layout or the decoding changes: older caches are then built anew."""

STALE = 24 * 3600
"""Seconds after which what a killed process left half built is taken away."""


class Decoded(NamedTuple):
    """One image.

    Args:
        id: unique name.
        image: uint8 (h, w, c).
        labels: unsigned (h, w), as `classes` has it.
        mode: how it was stored.
        levels: how many values its mask held.
        classes: uint8 (objects + 1,), the class of each object, None where there is one class only.
        field: the same for images that are channels of one plane; "" for one that shares its plane with none.
    """

    id: str
    image: np.ndarray
    labels: np.ndarray
    mode: str
    levels: int = 2
    classes: np.ndarray | None = None
    field: str = ""


def root() -> Path:
    """The cache folder: UNETLAB_CACHE, or unetlab below XDG_CACHE_HOME or ~/.cache."""
    given = os.environ.get("UNETLAB_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unetlab"


def unwritable(path: Path, error: OSError) -> str:
    """Says that a file or folder cannot be written, and the way out: UNETLAB_CACHE, if it is one of the cache."""
    below = path.absolute().is_relative_to(root().absolute())
    way = "set UNETLAB_CACHE to a folder that can be written" if below else "give a folder that can be written"
    return f"cannot write {path} ({error.strerror}); {way}"


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder to fill that appears at `target` only once it is complete; another process may have been faster.

    Raises UserError if there is no writing there.
    """
    _sweep(target.parent)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=".building-", dir=target.parent))
    except OSError as error:
        raise UserError(unwritable(target.parent, error)) from error
    try:
        with writing(building):
            yield building
        try:
            building.rename(target)
        except OSError:
            if not target.exists():
                raise
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Removes what processes killed more than STALE ago left in a folder."""
    for path in folder.glob(".building-*"):
        try:
            touched = max(part.stat().st_mtime for part in (path, *path.glob("*")))
        except OSError:
            continue  # another process was faster
        if time.time() - touched > STALE:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def build(
    target: Path,
    header: dict[str, Any],
    jobs: list[Callable[[], Decoded]],
    doing: str = "decoding",
    lenient: bool = False,
) -> None:
    """Runs the jobs in threads and writes images.bin, labels.bin and index.json below `target`.

    A progress bar says what the jobs are `doing`. Raises UnusableFiles that lists the files which cannot be used; if
    `lenient` they are left out and named in the index, as long as one image is left.
    """
    problems: list[str] = []
    with new_folder(target) as folder:
        names = ("ids", "shapes", "modes", "levels", "sha", "label_types", "object_classes", "fields")
        index: dict[str, list[Any]] = {name: [] for name in names}
        with open(folder / "images.bin", "wb") as images, open(folder / "labels.bin", "wb") as labels:
            for decoded in _run(jobs, doing):
                if isinstance(decoded, UserError):
                    problems.append(str(decoded))
                    continue
                name, image, label, mode, levels, kinds, field = decoded
                images.write(np.ascontiguousarray(image).data)
                labels.write(np.ascontiguousarray(label).data)
                index["label_types"].append(label.dtype.str)
                index["object_classes"].append(None if kinds is None else kinds.tolist())
                index["ids"].append(name)
                index["fields"].append(field)
                index["shapes"].append(list(image.shape))
                index["modes"].append(mode)
                index["levels"].append(levels)
                index["sha"].append(hashlib.sha256(str(image.shape).encode() + image.tobytes()).hexdigest())
                meant = b"" if kinds is None else kinds.tobytes()
                header["content"].update(f"{name} {index['sha'][-1]}".encode() + _wide(label).tobytes() + meant)
        if problems and not (lenient and index["ids"]):
            shown = "; ".join(problems[:5])
            more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
            count = "1 file cannot" if len(problems) == 1 else f"{len(problems)} files cannot"
            raise UnusableFiles(f"{header['label']}: {count} be used: {shown}{more}")
        meta = {name: value for name, value in header.items() if name not in ("content", "label")}
        meta["digest"] = header["content"].hexdigest()[:16]
        (folder / "index.json").write_text(json.dumps({**meta, **index, "unusable": problems}))


def _wide(labels: np.ndarray) -> np.ndarray:
    """Labels as uint16 whatever they are stored as, so that a digest does not depend on how many there are."""
    return labels.astype("<u2")


def _run(jobs: list[Callable[[], Decoded]], doing: str) -> Iterator[Decoded | UserError]:
    def attempt(job: Callable[[], Decoded]) -> Decoded | UserError:
        try:
            return job()
        except UserError as error:
            return error

    console = Console(stderr=True)
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        # only a few ahead, so that few decoded images wait in memory
        ahead = deque(pool.submit(attempt, job) for job in jobs[: 4 * workers])
        for i in track(range(len(jobs)), f"{doing} images", console=console, disable=not console.is_terminal):
            made = ahead.popleft().result()
            if i + 4 * workers < len(jobs):
                ahead.append(pool.submit(attempt, jobs[i + 4 * workers]))
            yield made


def write_text(path: Path, text: str) -> None:
    """Writes a file that appears only once it is complete, so that a killed process leaves no half of it."""
    _sweep(path.parent)
    handle, name = tempfile.mkstemp(prefix=".building-", dir=path.parent)
    try:
        with os.fdopen(handle, "w") as out:
            out.write(text)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def write_array(path: Path, shape: tuple[int, ...], rows: Iterable[np.ndarray]) -> None:
    """Writes uint8 rows, or arrays of any shapes where the shape is flat, one after the other as one .npy that appears
    only once it is complete. Raises ValueError if they are not as many bytes as the shape says."""
    _sweep(path.parent)
    handle, name = tempfile.mkstemp(prefix=".building-", dir=path.parent)
    try:
        with writing(path), os.fdopen(handle, "wb") as out:
            np.lib.format.write_array_header_1_0(out, {"descr": "|u1", "fortran_order": False, "shape": shape})
            end = out.tell() + int(np.prod(shape, dtype=np.int64))
            if hasattr(os, "posix_fallocate"):  # a disk that is too small is told at once
                out.flush()
                os.posix_fallocate(out.fileno(), 0, end)
            for row in rows:
                out.write(np.ascontiguousarray(row, np.uint8).data)
            if out.tell() != end:
                raise ValueError(f"{out.tell():,} bytes of {path.name}, not the {end:,} of the shape {shape}")
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)
