"""The files of a folder or a zip, by relative name."""

import hashlib
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Protocol

from unetlab.errors import UserError

IGNORED = {"Thumbs.db", "desktop.ini"}


class Files(Protocol):
    """Files by relative posix name, in order."""

    label: str
    names: list[str]

    def read(self, name: str) -> bytes:
        """The bytes of a file."""
        ...

    def fingerprint(self) -> str:
        """Changes when a file changes, without opening any."""
        ...

    def __hash__(self) -> int: ...


class FolderFiles:
    """The files of a folder, hidden ones left out."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.label = str(folder)
        found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        self.names = sorted(name for name in found if _wanted(name))

    def read(self, name: str) -> bytes:
        """The bytes of a file; raises UserError if it cannot be read."""
        try:
            return (self.folder / name).read_bytes()
        except OSError as error:
            raise UserError(f"{self.folder / name} cannot be read ({error.strerror}); check its permissions") from error

    def fingerprint(self) -> str:
        """Hash of names, sizes and times of change."""
        stats = ((name, (self.folder / name).stat()) for name in self.names)
        return _hash(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats)


class ZipFiles:
    """The files of a zip, hidden ones left out; nothing is unpacked.

    Args:
        path: the zip.
        relative: gives None for a name that is to be left out.

    Raises UserError if it is no zip, or a name leads out of it.
    """

    def __init__(self, path: Path, relative: Callable[[str], str | None] = lambda name: name) -> None:
        self.path, self.label = path, str(path)
        try:
            self.zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise UserError(f"{path} is no readable zip ({error}); give a folder or a zip of images") from error
        self.infos = {info.filename: info for info in self.zip.infolist() if not info.is_dir()}
        for name in self.infos:
            parts = PurePosixPath(name.replace("\\", "/"))
            if parts.is_absolute() or ".." in parts.parts:
                raise UserError(f"{path} holds the name {name!r}, which leads out of the zip; make the zip anew")
        self.names = sorted(name for name in self.infos if _wanted(name) and relative(name) is not None)

    def read(self, name: str) -> bytes:
        """The bytes of a file; raises UserError if they are damaged."""
        try:
            return self.zip.read(name)
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError) as error:
            raise UserError(f"{self.path}: {name} cannot be read ({error}); make the zip anew") from error

    def fingerprint(self) -> str:
        """Hash of the names, sizes and checksums in the zip's directory."""
        return _hash(f"{name} {self.infos[name].file_size} {self.infos[name].CRC}" for name in self.names)


def open_files(path: Path) -> Files:
    """The files at a path.

    Raises UserError if there is nothing, or neither a folder nor a zip.
    """
    if not path.exists():
        raise UserError(f"no folder or zip at {path}; give a path that exists, a named data set, or synthetic")
    files: Files = FolderFiles(path) if path.is_dir() else ZipFiles(path)
    if not files.names:
        raise UserError(f"{path} holds no files; put images into it, or into images/ with their masks in masks/")
    return files


def _wanted(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return not any(part.startswith((".", "__MACOSX")) for part in parts) and parts[-1] not in IGNORED


def _hash(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()
