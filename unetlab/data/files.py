"""The files of a folder or a zip, by relative name."""

import contextlib
import hashlib
import os
import shutil
import struct
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NoReturn, Protocol

from unetlab.errors import UserError, refuse_no_text
from unetlab.images.codecs import CONTAINERS, is_container

GROUPS = "groups.csv"
"""Beside the images, says which of them show the same scene; no image, and no reason to decode anew."""

IGNORED = {"thumbs.db", "desktop.ini", GROUPS}
"""Names in small letters."""

LARGE = 64 * 2**20
"""Bytes of a file in a zip above which it is unpacked to disk rather than into memory."""

DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError, RuntimeError, ValueError, OverflowError)
"""What reading a broken zip raises."""


class Files(Protocol):
    """Files by relative posix name, in order."""

    label: str
    names: list[str]

    def read(self, name: str) -> bytes:
        """The bytes of a file."""
        ...

    def source(self, name: str) -> bytes | Path:
        """A file to open: its path, so that a stack need not be in memory, or its bytes where it has none."""
        ...

    def fingerprint(self) -> str:
        """Changes when a file changes, without opening any."""
        ...

    def close(self) -> None:
        """Takes away copies that `source` made."""
        ...

    def __hash__(self) -> int: ...


class FolderFiles:
    """The files of a folder, hidden ones left out. Raises UserError for a name that is no text."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.label = str(folder)
        every = list(_walk(folder))
        self.names = sorted(name for name in every if _wanted(name))
        self.groups = _tables(every)
        for name in self.names:
            refuse_no_text(folder / name)

    def read(self, name: str) -> bytes:
        """The bytes of a file; raises UserError if it cannot be read."""
        _refuse_endless(self.folder / name)
        try:
            return (self.folder / name).read_bytes()
        except OSError as error:
            raise UserError(f"{self.folder / name} cannot be read ({error.strerror}); check its permissions") from error

    def source(self, name: str) -> bytes | Path:
        """The path of a file; raises UserError if it cannot be read."""
        path = self.folder / name
        _refuse_endless(path)
        try:
            if not path.is_dir():
                path.open("rb").close()
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror}); check its permissions") from error
        return path

    def close(self) -> None:
        """There are no copies."""

    def fingerprint(self) -> str:
        """Hash of where the folder lies and of names, sizes, inodes and times of change.

        Times of modification alone would not do: copies keep them. The time of a change of status cannot be set.
        """
        try:
            return _hash([str(self.folder.resolve()), *(self._state(name) for name in self.names)])
        except OSError as error:  # a folder that can be listed and not entered
            _refuse_unread(error)

    def _state(self, name: str) -> str:
        path = self.folder / name
        parts = [path] if path.is_file() else sorted(part for part in path.rglob("*") if part.is_file())
        stats = [part.stat() for part in parts]
        return f"{name} {[(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino) for stat in stats]}"


class ZipFiles:
    """The files of a zip, hidden ones left out; nothing is unpacked.

    Args:
        path: the zip.
        relative: gives None for a name that is to be left out.

    Raises UserError if it is no zip, or a name leads out of it.
    """

    def __init__(self, path: Path, relative: Callable[[str], str | None] = lambda name: name) -> None:
        self.path, self.label = path, str(path)
        self._copies: tempfile.TemporaryDirectory[str] | None = None
        try:
            self.zip = zipfile.ZipFile(path)
        except DAMAGED as error:
            raise UserError(f"{path} is no readable zip ({error}); give a folder or a zip of images") from error
        self.infos = {name: info for info in self.zip.infolist() if not _is_folder(name := _posix(info))}
        folders: set[str] = set()
        for name in self.infos:  # tens of thousands, so that they are no paths
            parts = name.split("/")
            if parts[0] == "" or ".." in parts or name[1:2] == ":":  # a drive of Windows
                raise UserError(f"{path} holds the name {name!r}, which leads out of the zip; make the zip anew")
            folders.update(parts[:-1])
        if inside := sorted(part for part in folders if PurePosixPath(part).suffix.lower() in CONTAINERS):
            raise UserError(f"{path} holds {inside[0]}, which is read from a folder only; unpack the zip")
        self.names = sorted(name for name in self.infos if _wanted(name) and relative(name) is not None)
        self.groups = _tables(self.infos)

    def read(self, name: str) -> bytes:
        """The bytes of a file; raises UserError if they are damaged."""
        try:
            return self.zip.read(self.infos[name])
        except DAMAGED as error:
            raise UserError(f"{self.path}: {name} cannot be read ({error}); make the zip anew") from error

    def source(self, name: str) -> bytes | Path:
        """The bytes of a file, or a copy on disk of one of more than LARGE bytes; raises UserError as `read` does."""
        if self.infos[name].file_size <= LARGE:
            return self.read(name)
        if self._copies is None:
            self._copies = tempfile.TemporaryDirectory(prefix="unetlab-zip-")
        path = (
            Path(self._copies.name) / hashlib.sha256(name.encode()).hexdigest() / f"image{PurePosixPath(name).suffix}"
        )
        if not path.exists():
            size, free = self.infos[name].file_size, shutil.disk_usage(self._copies.name).free
            if size > free:
                where = f"{self._copies.name} has {free:,} free"
                raise UserError(f"{self.path}: {name} unpacks to {size:,} bytes and {where}; set TMPDIR elsewhere")
            path.parent.mkdir(exist_ok=True)
            try:
                with self.zip.open(self.infos[name]) as packed, path.open("wb") as out:
                    shutil.copyfileobj(packed, out)
            except DAMAGED as error:
                path.unlink(missing_ok=True)
                raise UserError(f"{self.path}: {name} cannot be read ({error}); make the zip anew") from error
        return path

    def close(self) -> None:
        """Takes away copies that `source` made."""
        if self._copies is not None:
            self._copies.cleanup()
            self._copies = None

    def fingerprint(self) -> str:
        """Hash of the names, sizes and checksums in the zip's directory."""
        return _hash(f"{name} {self.infos[name].file_size} {self.infos[name].CRC}" for name in self.names)


def composed(name: str) -> str:
    """A name with each letter and its accents as one sign (NFC), as most systems write it; macOS writes two."""
    return unicodedata.normalize("NFC", name)


UTF_8 = 0x800
"""Flag of a name in a zip that is UTF-8 and says so (APPNOTE.TXT of PKWARE, 4.4.4)."""


def _posix(info: zipfile.ZipInfo) -> str:
    """The name of a file in a zip: PowerShell 5.1 writes it with backslashes, macOS in UTF-8 without saying so."""
    name = info.filename
    if not info.flag_bits & UTF_8:
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return name.replace("\\", "/")


def _is_folder(name: str) -> bool:
    return not name or name.endswith("/")


def refuse_no_path(path: Path) -> None:
    """Raises UserError if there is nothing at a path, or it is no text."""
    refuse_no_text(path)
    try:
        there = path.exists()
    except OSError:  # a name too long for any file
        there = False
    if not there:
        raise UserError(f"no folder or zip at {path}; give a path that exists, a named data set, or synthetic")


def open_files(path: Path) -> Files:
    """The files at a path.

    Raises UserError if there is nothing, or neither a folder nor a zip.
    """
    refuse_no_path(path)
    files: Files = FolderFiles(path) if path.is_dir() else ZipFiles(path)
    if not files.names:
        raise UserError(f"{path} holds no files; put images into it, or into images/ with their masks in masks/")
    return files


def given_groups(files: Files) -> str:
    """The text of the groups.csv in a folder or a zip, wherever it lies there; "" if there is none.

    Raises UserError for two of them, and for one that is empty.
    """
    found = files.groups if isinstance(files, FolderFiles | ZipFiles) else []
    if len(found) > 1:
        raise UserError(f"{files.label} holds {' and '.join(found[:2])}; keep one")
    text = files.read(found[0]).decode("utf-8-sig", errors="replace") if found else ""
    if found and not text.strip():
        raise UserError(f"{files.label}: {found[0]} is empty; give it the columns id and group, or take it away")
    return text


def _tables(names: Iterable[str]) -> list[str]:
    """Those called groups.csv, in small or large letters, hidden ones left out."""
    parts = {name: name.split("/") for name in names}
    return sorted(name for name, own in parts.items() if own[-1].lower() == GROUPS and not _hidden(own))


def _refuse_endless(path: Path) -> None:
    """Raises UserError for what can be opened but not read to an end: a pipe, a socket, a device."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise UserError(f"{path} is no plain file; take it away")


def _walk(folder: Path) -> Iterator[str]:
    """Relative names of the files below a folder; a Zarr image, itself a folder, counts as one file.

    Links are followed, but not back into a folder that they lie in, which would have no end.

    Raises UserError for a folder that cannot be read.
    """
    inside: dict[str, tuple[str, ...]] = {}  # of a folder, itself and those that it lies in, without links
    for where, folders, files in os.walk(folder, followlinks=True, onerror=_refuse_unread):
        real, above = os.path.realpath(where), inside.get(os.path.dirname(where), ())
        if real in above:
            folders.clear()
            continue
        inside[where] = (*above, real)
        images = [name for name in folders if is_container(Path(where) / name)]
        folders[:] = [name for name in folders if name not in images and not _hidden([name])]
        for name in (*files, *images):
            yield (Path(where) / name).relative_to(folder).as_posix()


def _wanted(name: str) -> bool:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return not _hidden(parts) and parts[-1].lower() not in IGNORED


def _hidden(parts: Iterable[str]) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in parts)


def _refuse_unread(error: OSError) -> NoReturn:
    raise UserError(f"{error.filename} cannot be read ({error.strerror}); check its permissions") from error


def _hash(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()
