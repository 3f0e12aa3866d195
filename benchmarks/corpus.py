"""Broken and hostile data sets, each with what must come of it: one line that names the file, or a harmless reading.

    python -m benchmarks.corpus

Every case is made in a folder of its own, opened as `check` and training open it, and looked at: the line must be one,
nothing may be written beside the cache, and nothing may take longer than LONGEST.
"""

import io
import os
import re
import struct
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.corpus_files import GREY, IMAGES, MASK, MASKS, TIFFS, ZARRS, Case, pairs
from benchmarks.garbage import encoded
from unetlab.cli.base import OneLineErrors
from unetlab.data import open_dataset
from unetlab.data.check import check
from unetlab.errors import UserError

LONGEST = 20.0
"""Seconds."""


def many_names(out: zipfile.ZipFile) -> None:
    """Names of nothing in a zip."""
    for k in range(5_000):
        out.writestr(f"x/{k}.txt", "")


def named(name: str | bytes) -> Callable[[Path], None]:
    """Pairs, and one more of a certain name, without its ending."""

    def make(folder: Path) -> None:
        pairs(folder)
        for kind, pixels in (("images", GREY[:, ::-1]), ("masks", MASK)):
            where = os.path.join(os.fsencode(folder), kind.encode(), os.fsencode(name) + b".png")
            with open(where, "wb") as out:
                out.write(encoded(pixels))

    return make


def broken(name: str) -> Callable[[Path], None]:
    """The same, of which the image is none, so that the name is in the error."""

    def make(folder: Path) -> None:
        named(name)(folder)
        (folder / "images" / f"{name}.png").write_bytes(b"nothing")

    return make


def with_text(name: str, text: str | bytes) -> Callable[[Path], None]:
    """Pairs beside a file of text."""

    def make(folder: Path) -> None:
        pairs(folder)
        (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)

    return make


def linked(kind: str, target: str) -> Callable[[Path], None]:
    """Pairs with one more image and mask, of which that of a kind is a link."""

    def make(folder: Path) -> None:
        named("link")(folder)
        (folder / kind / "link.png").unlink()
        outside = folder.parent / "outside"
        outside.mkdir()
        (outside / "image.png").write_bytes(encoded(GREY))
        (folder / kind / "link.png").symlink_to(target.format(outside=outside))

    return make


def looped(folder: Path) -> None:
    """Pairs in a folder with links that lead back to it, twice, so that ways through it double at each turn."""
    pairs(folder)
    for name in ("a", "b"):
        (folder / name).symlink_to(folder, target_is_directory=True)


def pipe(folder: Path) -> None:
    """Pairs of which one image is a pipe that nobody writes to."""
    pairs(folder)
    (folder / "images" / "0.png").unlink()
    os.mkfifo(folder / "images" / "0.png")


def zipped(change: Callable[[zipfile.ZipFile], None] = lambda out: None, **settings: int) -> Callable[[Path], Path]:
    """Pairs in a zip, after a change."""

    def make(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "data.zip"
        with zipfile.ZipFile(path, "w", **settings) as out:  # type: ignore[call-overload]  # keywords of its own
            for kind, pixels in (("images", GREY), ("masks", MASK)):
                for k in range(3):
                    out.writestr(f"{kind}/{k}.png", encoded(np.roll(pixels, k, axis=0)))
            change(out)
        return path

    return make


def entry(name: str) -> Callable[[Path], Path]:
    """Pairs in a zip with one more name in it."""
    return zipped(lambda out: out.writestr(name, encoded(GREY)))


def patched(find: bytes, put: bytes, every: bool = True) -> Callable[[Path], Path]:
    """Pairs in a zip in which bytes are changed."""

    def make(folder: Path) -> Path:
        path = zipped()(folder)
        data = path.read_bytes()
        path.write_bytes(data.replace(find, put) if every else data.replace(find, put, 1))
        return path

    return make


def whole_zip(data: bytes) -> Callable[[Path], Path]:
    """A file that is called a zip."""

    def make(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "data.zip").write_bytes(data)
        return folder / "data.zip"

    return make


def sized(size: int) -> Callable[[Path], Path]:
    """Pairs in a zip whose first image claims another size once it is unpacked."""

    def make(folder: Path) -> Path:
        path = zipped()(folder)
        data = bytearray(path.read_bytes())
        at = data.index(b"PK\1\2")
        struct.pack_into("<I", data, at + 24, size)
        path.write_bytes(bytes(data))
        return path

    return make


def locked(folder: Path) -> Path:
    """Pairs in a zip whose entries say that they want a password."""
    path = zipped()(folder)
    data = bytearray(path.read_bytes())
    for sign, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        for found in re.finditer(re.escape(sign), bytes(data)):
            data[found.start() + at] |= 1
    path.write_bytes(bytes(data))
    return path


def misnamed(folder: Path) -> Path:
    """Pairs in a zip whose names claim to be UTF-8 and are not."""
    path = zipped(lambda out: out.writestr("images/é.png", b""))(folder)
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xe9\xff"))
    return path


NAMES = {
    "a name with spaces": Case(named(" a  b ")),
    "a name in other letters": Case(named("Zellkern-Ä-核-🔬")),
    "a name with a line end": Case(named("a\nb")),
    "a broken image whose name has a line end": Case(broken("a\nb"), r"images/a\\nb\.png: not a PNG"),
    "a broken image whose name moves the cursor": Case(broken("a\x1b[2Jb"), r"images/a\\x1b\[2Jb\.png: not a PNG"),
    "a name that looks like markup of the terminal": Case(named("[red][bold]x[nothing]")),
    "a name that looks like an option": Case(named("--help")),
    "a name with quotes and a script": Case(named("\"><script>alert(1)<'x")),
    "a name that is a formula": Case(named("=1+1,2")),
    "a name of 240 letters": Case(named("x" * 240)),
    "a name in no encoding": Case(named(b"a\xff\xfeb"), r"a\\udcff\\udcfeb\.png is no text in UTF-8"),
    "a name with backslashes": Case(named("..\\..\\up")),
    "two names that differ in their accents' code": Case(
        lambda folder: (named("é")(folder), named("e\u0301")(folder))[1],
        r"have the same name, its letters put together in two ways; rename one",
    ),
    "a hidden file": Case(named(".hidden")),
}

LINKS = {
    "a link to an image elsewhere": Case(linked("images", "{outside}/image.png")),
    "a link to nothing": Case(linked("images", "{outside}/nothing.png"), r"images/link\.png"),
    "a link to itself": Case(linked("images", "link.png"), r"images/link\.png"),
    "a link to a device without end": Case(linked("images", "/dev/zero"), r"images/link\.png.* no plain file"),
    "a mask that is a link to a folder": Case(linked("masks", "{outside}"), r"link"),
    "links that lead back to the folder": Case(looped),
    "a pipe that nobody writes to": Case(pipe, r"images/0\.png.* no plain file"),
}

ZIPS = {
    "no zip": Case(whole_zip(b"hello"), r"data\.zip is no readable zip"),
    "an empty zip": Case(whole_zip(b"PK\5\6" + bytes(18)), r"data\.zip holds no files"),
    "a zip's first bytes": Case(whole_zip(b"PK\3\4"), r"data\.zip is no readable zip"),
    "a name that leads out of the zip": Case(entry("../../evil.png"), r"'\.\./\.\./evil\.png', which leads out"),
    "an absolute name in a zip": Case(entry("/tmp/evil.png"), r"'/tmp/evil\.png', which leads out"),
    "a name with backslashes that leads out": Case(entry("..\\..\\evil.png"), r"which leads out"),
    "a name with a drive": Case(entry("C:\\evil.png"), r"which leads out"),
    "a name with a line end in a zip": Case(entry("images/a\nb.png"), r"images/a\\nb\.png has no mask"),
    "a name twice in a zip": Case(
        lambda folder: _quiet(zipped(lambda out: out.writestr("images/0.png", encoded(GREY))), folder)
    ),
    "a zip that wants a password": Case(locked, r"data\.zip: images/0\.png cannot be read"),
    "a zip of an unknown packing": Case(patched(b"\x14\0\0\0\0\0", b"\x14\0\0\0\x63\0"), r"data\.zip"),
    "a zip with a wrong checksum": Case(patched(b"IDATx", b"IDATy"), r"images/0\.png cannot be read"),
    "a zip entry smaller than it says": Case(sized(50_000_000)),
    "a zip entry of 4 GB that is not there": Case(sized(2**32 - 2)),
    "a zip entry of 100 MB of zeros": Case(
        zipped(lambda out: out.writestr("images/0.png", bytes(10**8)), compression=zipfile.ZIP_DEFLATED),
        r"images/0\.png",
    ),
    "a zip of a later version": Case(patched(b"PK\1\2\x14\3\x14\0", b"PK\1\2\x14\3\xff\0"), r"data\.zip"),
    "a zip whose names are in no encoding": Case(misnamed, r"data\.zip is no readable zip"),
    "a zip in a zip": Case(entry("images/more.zip")),
    "a link in a zip": Case(
        zipped(lambda out: out.writestr(_link_info(), "/etc/passwd")), r"images/9\.png has no mask"
    ),
    "5,000 names in a zip": Case(zipped(many_names)),
}

TABLES = {
    "classes.csv without columns": Case(
        with_text("masks/classes.csv", "a,b\n1,2\n"), r"classes\.csv must have the columns"
    ),
    "classes.csv of 65 classes": Case(
        with_text("masks/classes.csv", "value,name\n" + "".join(f"{k},c{k}\n" for k in range(1, 66))),
        r"classes\.csv has",
    ),
    "classes.csv of a number of many digits": Case(
        with_text("masks/classes.csv", f"value,name\n{'9' * 9999},x\n"), r"classes\.csv line 2"
    ),
    "classes.csv of no text": Case(with_text("masks/classes.csv", b"\xff\xfe\x00v"), r"classes\.csv is no text"),
    "classes.csv with zeros": Case(
        with_text("masks/classes.csv", "value,name\n1,a\0b\n"), r"masks/0\.png: .*undeclared value 255"
    ),
    "classes.csv of one endless field": Case(
        with_text("masks/classes.csv", "value,name\n1," + "x" * 200_000), r"classes\.csv is no table"
    ),
    "groups.csv without columns": Case(with_text("groups.csv", "a,b\n1,2\n"), r"groups\.csv"),
    "groups.csv of no text": Case(with_text("groups.csv", bytes(range(256))), r"groups\.csv"),
    "groups.csv of unknown images": Case(with_text("groups.csv", "id,group\nnobody,1\n"), r"groups\.csv"),
    "groups.csv of one endless field": Case(with_text("groups.csv", "id,group\n0," + "x" * 200_000), r"groups\.csv"),
}

OPTIONS = {
    "pages that are none": Case(
        pairs_only := (lambda folder: pairs(folder)), r"pages=1-\b.* is no choice", (("pages", "1-"),)
    ),
    "pages beyond any file": Case(pairs_only, r"pages=1-99999999999", (("pages", "1-99999999999"),)),
    "a page 0": Case(pairs_only, r"pages=0 is no choice", (("pages", "0"),)),
    "channels that are none": Case(pairs_only, r"channels=red is no choice", (("channels", "red"),)),
    "channels beyond any file": Case(pairs_only, r"there is no channel 99999999999", (("channels", "99999999999"),)),
    "a negative channel": Case(pairs_only, r"there is no channel", (("channels", "-1"),)),
    "a path with a zero": Case(lambda folder: Path("no\0where"), r"no folder or zip"),
    "a path that is a device": Case(lambda folder: Path("/dev/null"), r"/dev/null"),
    "a path of 5,000 letters": Case(lambda folder: Path("x" * 5_000), r"no folder or zip|too long"),
}

CASES: dict[str, Case] = {**IMAGES, **TIFFS, **MASKS, **NAMES, **LINKS, **ZIPS, **TABLES, **OPTIONS, **ZARRS}


def _quiet(make: Callable[[Path], Path], folder: Path) -> Path:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of what is wanted here
        return make(folder)


def _link_info() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("images/9.png")
    info.external_attr = 0o120777 << 16
    return info


def outcome(case: Case, folder: Path) -> str:
    """What comes of a case made in a folder that is not there yet: the error's line, or how many images are read."""
    folder.mkdir(parents=True)
    path = case.make(folder) or folder
    try:
        dataset = open_dataset(str(path), **dict(case.reading))  # type: ignore[arg-type]  # texts all
        Console(file=io.StringIO()).print(check(dataset).table())
    except UserError as error:
        return str(error)
    return f"{len(dataset)} images read"


def fault(case: Case, folder: Path) -> str:
    """What is wrong with how a case is handled, "" if nothing is."""
    os.environ["UNETLAB_CACHE"] = str(folder.parent / "cache")  # as a case's files may be like another's
    started = time.monotonic()
    try:
        said = outcome(case, folder)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    took = time.monotonic() - started
    if took > LONGEST:
        return f"{took:.0f} seconds"
    if "\n" in said or not said.isprintable():
        return f"not one line: {said!r}"
    if not re.search(case.said or r"^\d+ images read$", said):
        return f"said {said!r}"
    if more := {path.name for path in folder.parent.iterdir()} - {folder.name, "cache", "outside"}:
        return f"wrote {', '.join(sorted(more))}"
    return ""


def handled(names: Iterator[str] | None = None) -> dict[str, str]:
    """Tries every case; what is wrong with each, "" for those that are handled."""
    found = {}
    for name in names or CASES:
        with tempfile.TemporaryDirectory() as parent:
            found[name] = fault(CASES[name], Path(parent) / "data")
    return found


@click.command(cls=OneLineErrors)
def main() -> int:
    """Hostile inputs, tried one by one."""
    started = time.monotonic()
    found = handled()
    faults = {name: why for name, why in found.items() if why}
    table = Table("hostile inputs", "handled", "seconds")
    table.add_row(str(len(found)), str(len(found) - len(faults)), f"{time.monotonic() - started:.0f}")
    console = Console()
    console.print(table)
    for name, why in faults.items():
        console.print(f"{name}: {why}", highlight=False, markup=False, soft_wrap=True)
    return 1 if faults else 0


if __name__ == "__main__":
    main()
