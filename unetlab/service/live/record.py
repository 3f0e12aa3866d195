"""The same without a page: every frame of a source with the outlines of its objects, into a folder or a film."""

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from unetlab.errors import UserError, printable
from unetlab.images import codecs
from unetlab.images.codecs import PixelError
from unetlab.inference.predict import Predictor
from unetlab.service.live import frame
from unetlab.service.live.source import Camera, Film, Frames, Source
from unetlab.service.live.video import Reader, Writer, is_film, unwritable
from unetlab.service.overlays import overlay

RATE = 10.0
"""Frames a second of a film that is made of images."""

T = TypeVar("T")


class Recorded(NamedTuple):
    """What came of it: frames written, seconds, and what could not be read, a line each."""

    frames: int
    seconds: float
    failed: list[str]

    def __str__(self) -> str:
        rate = self.frames / self.seconds if self.seconds else 0.0
        return f"{self.frames} frames in {self.seconds:.1f} s, {rate:.1f} a second"


class _Read(NamedTuple):
    """A frame: what it is called in a line, what its file is called, its pixels or what is wrong."""

    name: str
    file: str
    image: np.ndarray | None
    error: str = ""


def record(predictor: Predictor, source: Source, out: Path, threshold: float | None, classes: int = 0) -> Recorded:
    """Writes every frame of a source with its objects outlined, as `predict` does.

    Args:
        predictor: that answers.
        source: image files or a film.
        out: a film by its ending, such as overlays.mp4; else a folder, of one PNG a frame: its number and, of image
            files, their name.
        threshold: None for the model's own.
        classes: how many the model tells apart; outlines have their colours.

    Raises UserError for a camera, an `out` that is the source or cannot be written, and where no frame can be read.
    """
    if isinstance(source, Camera):
        raise UserError("the camera is the browser's, so out= cannot have it; give a file or folder as source")
    _refuse_overwriting(source, out)
    film = Reader(source.path) if isinstance(source, Film) else None
    frames = _of_film(film) if film else _of_files(source) if isinstance(source, Frames) else iter(())
    writer = Writer(out, film.rate if film else RATE) if is_film(out) else None
    write = (lambda _, drawn: writer.add(drawn)) if writer else _into(out)
    started, done, failed = time.perf_counter(), 0, []
    try:
        for read in ahead(frames):
            if read.image is None:
                failed.append(f"not shown: {printable(f'{read.name}: {read.error}')}")
                continue
            found = frame.segment(predictor, read.image, threshold)
            write(read.file, overlay(read.image, found.labels, found.object_classes if classes else None, classes))
            done += 1
    except BaseException:
        if writer:
            writer.failed = True  # part of a film replaces none
        raise
    finally:
        if writer:
            writer.close()
    if film and (missing := film.missing()):
        failed.append(missing)
    if not done:
        raise UserError(f"no frame of the source can be read; {failed[0] if failed else 'it has none'}")
    return Recorded(done, time.perf_counter() - started, failed)


def _of_files(source: Frames) -> Iterator[_Read]:
    for number in range(len(source)):
        name = source.name(number)
        file = f"{number:06d}-{Path(source.file(number)).stem}"
        try:
            yield _Read(name, file, source.read(number))
        except PixelError as error:
            yield _Read(name, file, None, str(error))


def _of_film(film: Reader) -> Iterator[_Read]:
    for number, image in enumerate(film):
        yield _Read(f"frame {number + 1}", f"{number:06d}", image)


def ahead(items: Iterable[T]) -> Iterator[T]:
    """The same items, each made in a thread while the one before it is worked on."""
    each, end = iter(items), object()
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, each, end)
        while (item := coming.result()) is not end:
            coming = thread.submit(next, each, end)
            yield item  # type: ignore[misc]  # the end is none of them


def _into(folder: Path) -> Callable[[str, np.ndarray], None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = any(not each.name.startswith(".") for each in folder.iterdir())
    except OSError as error:
        raise unwritable(folder, error) from error
    if held:
        raise UserError(f"out={folder} holds files already, which frames would lie among; give a new folder")

    def write(name: str, drawn: np.ndarray) -> None:
        try:
            (folder / f"{name}.png").write_bytes(codecs.encode_image(drawn))
        except OSError as error:
            raise unwritable(folder, error) from error

    return write


def _refuse_overwriting(source: Film | Frames, out: Path) -> None:
    paths = [source.path] if isinstance(source, Film) else [path for _, path in source.files if isinstance(path, Path)]
    for path in paths:
        if out.resolve() in (path.resolve(), path.resolve().parent):
            raise UserError(f"out={out} would write where the source lies; give another folder or file")
