"""Where frames come from: image files and stacks that this process reads, a film or a camera that the browser plays."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unetlab.errors import UserError
from unetlab.images import codecs
from unetlab.images.codecs import Pages, PixelError
from unetlab.service.live.video import is_film
from unetlab.service.pages import images_of

CAMERA = "camera"


@dataclass(frozen=True)
class Camera:
    """The browser's own camera, of which this process sees what the page sends."""


@dataclass(frozen=True)
class Film:
    """A file that the browser plays; whether it can, only the browser knows."""

    path: Path


class Frames:
    """Pages of image files in the order of their names, of a stack one after the other.

    A file that cannot be read counts as one frame, which raises when it is read.

    Args:
        files: each with its name, as a path or as the file's bytes.
        channels: which channels make an image, as `codecs.open_pages` takes them.
        pages: which pages of each file there are.
    """

    kept: tuple[int, Pages] | None

    def __init__(self, files: Sequence[tuple[str, Path | bytes]], channels: str = "", pages: str = "all") -> None:
        self.files, self.choice = files, (channels, pages)
        self.lock, self.kept = threading.Lock(), None
        self.frames = [
            (number, page, called) for number in range(len(files)) for page, called in enumerate(self._numbers(number))
        ]

    def __len__(self) -> int:
        return len(self.frames)

    def _numbers(self, number: int) -> range:
        """Of a file's pages, counted from 0 as in the file."""
        source = self.files[number][1]
        if isinstance(source, Path) and not codecs.may_be_stack(source):
            return range(1)
        try:
            with codecs.open_pages(source, *self.choice) as opened:
                return opened.numbers
        except PixelError:
            return range(1)

    def name(self, frame: int) -> str:
        """A frame's name, with the number of its page in a stack, counted from 1."""
        number, page, called = self.frames[frame]
        beside = self.frames[max(0, frame - 1) : frame + 2]
        stack = called != page or sum(each == number for each, *_ in beside) > 1
        return f"{self.files[number][0]} page {called + 1}" if stack else self.files[number][0]

    def file(self, frame: int) -> str:
        """The name of the file that a frame is in."""
        return self.files[self.frames[frame][0]][0]

    def read(self, frame: int, most: int | None = None) -> np.ndarray:
        """A frame, uint8 (h, w, 1 or 3), of at most so many pixels. Threads take turns.

        Raises PixelError for what is no image, damaged or too large, and IndexError for a frame that is not there.
        """
        number, page, _ = self.frames[frame]
        with self.lock:
            if self.kept is None or self.kept[0] != number:
                self.close()
                self.kept = number, codecs.open_pages(self.files[number][1], *self.choice)
            return pixels_of(self.kept[1], page, most)

    def close(self) -> None:
        """Closes the file that was read last, which stays open since most often the next frame is in it."""
        kept, self.kept = self.kept, None
        if kept is not None:
            kept[1].close()


Source = Frames | Film | Camera


def pixels_of(opened: Pages, page: int, most: int | None = None) -> np.ndarray:
    """One page of an opened file, counted from 0, as `codecs.image_of` gives it.

    Raises PixelError where it has more pixels than `most`, before they are decoded.
    """
    # samples and bits beyond those of a colour image of 16 bits count as pixels
    if most is not None and max(opened.size[0] * opened.size[1], opened.weight // 8) > most:
        height, width = opened.size
        raise PixelError(
            f"{width} x {height} pixels is more than the {most:,} that UNETLAB_MAX_PIXELS lets in; cut it into tiles"
        )
    return codecs.image_of(opened, page)


def open_source(said: str, channels: str = "", pages: str = "all") -> Source:
    """What a `source` names: a folder of images, an image, a stack, a film, or "camera".

    Raises UserError for what is not there or cannot be opened, a folder without images, an empty file, one that is
    neither image nor film, and for channels or pages of a film.
    """
    if said.lower() == CAMERA:
        return Camera()
    path = Path(said)
    try:
        if not path.exists():
            raise UserError(f"source={said}: there is no such file or folder; give one, or {CAMERA}")
        if path.is_dir() or codecs.is_container(path):
            return Frames([(each.name, each) for each in images_of(path)], channels, pages)
        if not path.stat().st_size:
            raise UserError(f"source={said} is empty, so it has no frames")
        codecs.open_pages(path, channels, pages).close()
    except PixelError as error:
        if is_film(path):
            if channels or pages != "all":
                raise UserError(
                    f"source={said} is a video, of which channels and pages choose nothing; leave them out"
                ) from error
            return Film(path)
        raise UserError(f"source={said}: {error}, and no video by its ending") from error
    except OSError as error:
        raise UserError(f"source={said} cannot be opened ({error.strerror}); give one that can") from error
    return Frames([(path.name, path)], channels, pages)
