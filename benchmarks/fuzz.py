"""The readers under bytes that nobody meant: images, zips, tables, weights and requests, mutated by Hypothesis.

    python -m benchmarks.fuzz --minutes 20

Each reader must read what it is given or refuse it by its own error, in one line, within TIME and ROOM. A process of
its own reads, so that one that crashes or hangs is found too; what broke it is kept in --out. The same seed tries the
same inputs in the same order. Linux only.
"""

import io
import multiprocessing
import pickle
import resource
import struct
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import hypothesis
import numpy as np
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks import garbage
from unetlab.cli.base import OneLineErrors
from unetlab.data import class_table
from unetlab.data.files import ZipFiles
from unetlab.data.reading import Reader
from unetlab.errors import UserError
from unetlab.images import codecs, rows
from unetlab.inference import guard
from unetlab.models.encoders import torchfile

TIME = 20.0
"""Seconds that one input may take."""

ROOM = 3 * 2**30
"""Bytes that the process may grow by."""

BATCH = 200
"""Inputs between two looks at the clock."""

GREY = np.arange(20 * 30, dtype=np.uint8).reshape(20, 30)
COLOUR = np.dstack([GREY, GREY[::-1], GREY[:, ::-1]])


@dataclass(frozen=True)
class Target:
    """A reader.

    Args:
        seeds: makes inputs that it reads; they are what is mutated.
        read: reads one, from bytes and a folder for files.
        errors: by which it may refuse.
    """

    seeds: Callable[[], Sequence[bytes]]
    read: Callable[[bytes, Path], None]
    errors: tuple[type[Exception], ...]


def _images() -> list[bytes]:
    plain = [
        Image.fromarray(GREY),
        Image.fromarray(COLOUR),
        Image.fromarray(GREY > 99),
        Image.fromarray(GREY.astype(np.uint16) * 257),
    ]
    plain.append(Image.fromarray(GREY).convert("P"))
    plain.append(Image.fromarray(COLOUR).convert("RGBA"))
    made = []
    for image in plain:
        for form in ("PNG", "JPEG", "BMP", "TIFF"):
            buffer = io.BytesIO()
            try:
                image.save(buffer, format=form, **({"progressive": True} if form == "JPEG" else {}))
            except (OSError, KeyError):  # a mode that this form does not have
                continue
            made.append(buffer.getvalue())
    return [*made, garbage.animated()]


def _tiffs() -> list[bytes]:
    stack, five = np.stack([GREY] * 3), np.stack([GREY] * 5)
    packed = ("zlib", "lzw", "packbits", "jpeg", "jpeg2000", "webp", "png", "zstd")
    made = [garbage.tiff(COLOUR, photometric="rgb", compression=name) for name in packed]
    made += [garbage.tiff(COLOUR, photometric="rgb", compression=name, tile=(16, 16)) for name in ("zlib", "jpeg")]
    made += [
        garbage.tiff(stack, photometric="minisblack", bigtiff=big, byteorder=order) for big in (0, 1) for order in "<>"
    ]
    made.append(garbage.tiff(five, imagej=True, metadata={"axes": "ZYX"}))
    made.append(garbage.tiff(np.stack([stack] * 2), imagej=True, metadata={"axes": "ZCYX"}))
    made.append(garbage.tiff(five, photometric="minisblack", ome=True, metadata={"axes": "TYX"}))
    made.append(garbage.tiff(GREY.astype(np.float32) / 7))
    made.append(garbage.tiff(GREY.astype(np.uint16) * 99, metadata=None))
    made.append(garbage.tiff(np.moveaxis(COLOUR, -1, 0), photometric="rgb", planarconfig="separate"))
    return made


def _zips() -> list[bytes]:
    made = []
    for packing in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", packing) as out:
            for k in range(2):
                out.writestr(f"images/{k}.png", garbage.encoded(GREY))
                out.writestr(f"masks/{k}.tif", garbage.tiff((GREY > 99).astype(np.uint8)))
            out.writestr("masks/classes.csv", "value,name\n1,cell\n")
        made.append(buffer.getvalue())
    return made


def _weights() -> list[bytes]:
    # as torch.save wrote it before 1.6, opcode by opcode since torch is not there: a dictionary of one tensor
    storage = b"((X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0001X\3\0\0\0cpuK\4NtQ"
    tensors = b"\x80\2}X\1\0\0\0wctorch._utils\n_rebuild_tensor_v2\n" + storage + b"K\0K\2K\2\x86K\2K\1\x86\x89NtRs."
    head = [torchfile.MAGIC, torchfile.PROTOCOL, {"little_endian": True}]
    parts = [*(pickle.dumps(value, 2) for value in head), tensors, pickle.dumps(["1"], 2)]
    return [b"".join(parts) + struct.pack("<q4f", 4, 1, 2, 3, 4)]


def _requests() -> list[bytes]:
    return [body for make in garbage.GARBAGE.values() if isinstance(body := make().body, bytes) and len(body) < 4096]


def _tables() -> list[bytes]:
    return [b"value,name\n0,background\n1,cell\n2,unknown\n", b'value,name\n#ff0000,"pan, flat"\n#00ff00,egg\n']


def read_image(data: bytes, folder: Path) -> None:
    """As a served model does, with and without a choice."""
    for choice in ({}, {"channels": "1", "pages": "1"}):
        try:
            with codecs.open_pages(data, **choice) as opened:
                for page in range(min(opened.count, 2)):
                    image = codecs.image_of(opened, page)
                    assert image.dtype == np.uint8 and image.shape[:2] == opened.size and image.shape[2] in (1, 3)
        except codecs.PixelError:
            if choice:
                raise


def read_file(data: bytes, folder: Path) -> None:
    """As `predict` does: by its path, by rows if it is large."""
    path = folder / "image.tif"
    path.write_bytes(data)
    if rows.by_rows(path):
        return
    codecs.decode(path)


def read_zip(data: bytes, folder: Path) -> None:
    """As `open_dataset` does, but for the cache."""
    path = folder / "data.zip"
    path.write_bytes(data)
    with closing(Reader(ZipFiles(path))) as reader:
        samples = reader.samples()
        meaning = reader.meaning(samples, "auto")
        for sample in samples:
            reader.read(sample, meaning)


def read_table(data: bytes, folder: Path) -> None:
    """A classes.csv."""
    class_table.read_table(data.decode("utf-8", "replace"), "data")


def read_weights(data: bytes, folder: Path) -> None:
    """A file of torch's."""
    path = folder / "weights.pth"
    path.write_bytes(data)
    torchfile.read_state_dict(path)


def read_request(data: bytes, folder: Path) -> None:
    """The body of a request."""
    guard.check(data)


TARGETS = {
    "image": Target(_images, read_image, (codecs.PixelError,)),
    "TIFF": Target(_tiffs, read_image, (codecs.PixelError,)),
    "TIFF on disk": Target(_tiffs, read_file, (codecs.PixelError,)),
    "zip": Target(_zips, read_zip, (UserError,)),
    "classes.csv": Target(_tables, read_table, (UserError,)),
    "weights": Target(_weights, read_weights, (ValueError,)),
    "request": Target(_requests, read_request, (guard.Refused,)),
}

NUMBERS = (0, 1, 2, 3, 7, 8, 16, 127, 128, 255, 256, 257, 32767, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
EDITS = ("set", "set16", "set32", "set32>", "cut", "repeat", "insert", "end", "splice")


def mutants(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Inputs with some bytes set, cut, repeated, inserted, or taken from another."""
    edit = st.tuples(
        st.sampled_from(EDITS),
        st.floats(0, 1),
        st.one_of(st.sampled_from(NUMBERS), st.integers(0, 255)),
        st.floats(0, 1),
    )
    return st.builds(mutated, st.sampled_from(seeds), st.sampled_from(seeds), st.lists(edit, min_size=1, max_size=6))


def mutated(seed: bytes, other: bytes, edits: Sequence[tuple[str, float, int, float]]) -> bytes:
    """A seed after some edits, each at a share of its length; beginnings, where headers are, come more often."""
    data = bytearray(seed)
    for kind, where, value, more in edits:
        at = int(where**3 * len(data))
        length = 1 + int(more**4 * len(data))
        if kind == "cut":
            del data[at : at + length]
        elif kind == "repeat":
            data[at:at] = data[at : at + length]
        elif kind == "insert":
            data[at:at] = bytes([value & 255]) * min(length, 64)
        elif kind == "end":
            del data[max(at, 1) :]
        elif kind == "splice":
            start = int(more * len(other))
            data[at : at + 64] = other[start : start + 64]
        else:
            width = {"set": 1, "set16": 2}.get(kind, 4)
            order = "big" if kind.endswith(">") else "little"
            data[at : at + width] = (value % 256**width).to_bytes(width, order)  # type: ignore[arg-type]
    return bytes(data)


def fault(target: Target, data: bytes, folder: Path) -> str:
    """What is wrong with how a reader takes an input, "" if nothing is."""
    started = time.monotonic()
    said = ""
    try:
        target.read(data, folder)
    except target.errors as error:
        if "\n" in str(error) or not str(error):
            said = f"not one line: {error!r}"
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
    took = time.monotonic() - started
    return said or (f"{took:.0f} seconds" if took > TIME else "")


def unmutated(name: str, folder: Path) -> list[str]:
    """What is wrong with how a reader takes its seeds, each of which it must read."""
    target, found = TARGETS[name], []
    for place, seed in enumerate(target.seeds()):
        try:
            target.read(seed, folder)
        except Exception as error:
            found.append(f"{name}: seed {place}: {error!r}")
    return found


def slice_of(name: str, number: int, count: int, folder: Path, current: Path | None = None) -> tuple[int, list[str]]:
    """Tries so many inputs, the `number`-th of their kind; returns how many, and what was found.

    What is being read lies at `current`, for whoever finds this process dead.
    """
    target, tried, found, known = TARGETS[name], 0, list[str](), set[str]()

    @hypothesis.seed(number)
    @hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(mutants(target.seeds()))
    def attempt(data: bytes) -> None:
        nonlocal tried
        tried += 1
        if current is not None:
            current.write_bytes(data)
        if (why := fault(target, data, folder)) and why not in known:
            known.add(why)
            kept = folder / f"{name.replace(' ', '-')}-{number}-{tried}"
            kept.write_bytes(data)
            found.append(f"{name}: {why} ({kept})")

    attempt()
    return tried, found


def _work(name: str, first: int, until: float, folder: Path, answers: Any) -> None:
    """The process that reads: slices one after the other until the clock says so."""
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    number = first
    while time.time() < until:
        tried, found = slice_of(name, number, BATCH, folder, folder / "current")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - start
        if peak > ROOM:
            found.append(f"{name}: the process grew by {peak / 2**30:.1f} GB in slice {number}")
        answers.put((number, tried, found, peak))
        number += 1


def fuzz(name: str, minutes: float, seed: int, folder: Path) -> dict[str, Any]:
    """Fuzzes one target for so long; returns how many inputs were tried, what was found, and the growth in bytes."""
    spawned = multiprocessing.get_context("fork")
    until, first = time.time() + 60 * minutes, seed * 1_000_000
    tried, found, peak = 0, list[str](), 0
    while time.time() < until:
        answers: Any = spawned.SimpleQueue()
        process = spawned.Process(target=_work, args=(name, first, until, folder, answers))
        process.start()
        current = folder / "current"
        current.unlink(missing_ok=True)
        while process.is_alive():
            process.join(1.0)
            while not answers.empty():
                first, count, said, grown = answers.get()
                tried, found, peak, first = tried + count, found + said, max(peak, grown), first + 1
            if current.exists() and time.time() - current.stat().st_mtime > 3 * TIME:
                process.kill()
        while not answers.empty():
            first, count, said, grown = answers.get()
            tried, found, peak, first = tried + count, found + said, max(peak, grown), first + 1
        if process.exitcode:
            kept = folder / f"{name.replace(' ', '-')}-{first}-broke"
            kept.write_bytes(current.read_bytes() if current.exists() else b"")
            found.append(f"{name}: the process ended with {process.exitcode} or hung ({kept})")
            first += 1
    return {"name": name, "tried": tried, "found": found, "peak": peak}


@click.command(cls=OneLineErrors)
@click.option("--minutes", type=click.FloatRange(0.01), default=20.0, show_default=True, help="in all")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--target", "names", multiple=True, type=click.Choice(list(TARGETS)), help="default: all")
@click.option("--out", type=click.Path(path_type=Path), help="where inputs that broke a reader are kept")
def main(minutes: float, seed: int, names: tuple[str, ...], out: Path | None) -> int:
    """Fuzz the readers."""
    console, names = Console(), names or tuple(TARGETS)
    folder = out or Path(tempfile.mkdtemp(prefix="unetlab-fuzz-"))
    folder.mkdir(parents=True, exist_ok=True)
    table = Table("reader", "inputs", "faults", "memory, MB more", title=f"fuzzed for {minutes:g} minutes, seed {seed}")
    faults: list[str] = []
    for name in names:
        told = fuzz(name, minutes / len(names), seed, folder)
        faults += told["found"]
        table.add_row(name, f"{told['tried']:,}", str(len(told["found"])), f"{told['peak'] / 2**20:.0f}")
    console.print(table)
    for line in faults[:40]:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    return 1 if faults else 0


if __name__ == "__main__":
    main()
