"""The images of a folder, page by page, and names for what is made of them."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from unetlab.errors import UserError, refuse_no_text
from unetlab.images import codecs

T = TypeVar("T")

BATCH_PIXELS = 16_000_000
"""A batch ends early once its images have so many pixels together, so that memory stays bounded."""


@dataclass(frozen=True)
class Item:
    """A page on its way: its file, the name its outputs get, its number in a stack, its pixels or what is wrong, and
    the file's own values where those are not of 8 bits; or the path of an image that is too large to be looked at
    whole."""

    file: str
    name: str
    page: int | None = None
    image: np.ndarray | None = None
    values: np.ndarray | None = None
    mode: str = ""
    error: str = ""
    large: Path | None = None

    @property
    def pixels(self) -> int:
        """Of its image, 0 where there is none in memory."""
        return 0 if self.image is None else self.image.shape[0] * self.image.shape[1]


def images_of(images: Path) -> list[Path]:
    """The images of a folder by name, or the one. Raises UserError where there is none, or none can be opened."""
    try:
        if not images.exists():
            raise UserError(f"no folder or image at {images}; give one that exists")
        refuse_no_text(images)
        if images.is_file() or codecs.is_container(images):
            return [images]
        paths = sorted(
            path
            for path in images.iterdir()
            if path.suffix.lower() in codecs.ENDINGS
            and not path.name.startswith(".")
            and (not path.is_dir() or codecs.is_container(path))
        )
    except OSError as error:
        raise UserError(f"{images} cannot be opened ({error.strerror}); give one that can") from error
    if not paths:
        below = [each.name for each in sorted(images.iterdir()) if each.is_dir() and _has_images(each)]
        hint = f", such as {images / below[0]}" if below else ""
        raise UserError(f"{images} holds no {codecs.KNOWN} image; give a folder that does{hint}")
    for path in paths:
        refuse_no_text(path)
    return paths


def _has_images(folder: Path) -> bool:
    """Whether a folder that can be opened holds images."""
    try:
        return any(each.suffix.lower() in codecs.ENDINGS for each in folder.iterdir())
    except OSError:
        return False


def passed_over(images: Path) -> list[str]:
    """What is said of folders and files in a folder of images that are none, hidden ones aside; nothing where there are
    no such."""
    if images.is_file() or codecs.is_container(images):
        return []
    left = sorted(set(images.iterdir()) - set(images_of(images)))
    left = [each for each in left if not each.name.startswith(".")]
    if not left:
        return []
    shown = ", ".join(f"{each.name}/" if each.is_dir() else each.name for each in left[:3])
    more = f" and {len(left) - 3} more" if len(left) > 3 else ""
    return [f"passed over, since no {codecs.KNOWN} image: {shown}{more}"]


def names_of(paths: Sequence[Path]) -> list[str]:
    """A name for each file's outputs, no two alike even where the file system ignores case."""
    stems = Counter(path.stem.casefold() for path in paths)
    taken: set[str] = set()
    names = []
    for path in paths:
        first = path.stem if stems[path.stem.casefold()] == 1 else path.name.replace(".", "_")
        name, number = first, 1
        while name.casefold() in taken:
            number += 1
            name = f"{first}_{number}"
        taken.add(name.casefold())
        names.append(name)
    return names


def like_pages(names: Sequence[str]) -> dict[str, list[str]]:
    """To each name the others that one of its pages could be called too: they go on after a hyphen."""
    every = {name.casefold() for name in names}
    found: dict[str, list[str]] = defaultdict(list)
    for name in names:
        for k, letter in enumerate(name):
            if letter == "-" and name[:k].casefold() in every:
                found[name[:k].casefold()].append(name)
    return found


def read(path: Path, name: str, taken: set[str], channels: str, pages: str) -> Iterator[Item]:
    """The pages of a file, one read at a time, or the one reason why there are none."""
    if not (path.is_file() or codecs.is_container(path)):
        yield Item(path.name, name, error="it is no file: a link that leads nowhere, or a pipe")
        return
    try:
        opened = codecs.open_pages(path, channels, pages)
    except codecs.PixelError as error:
        yield Item(path.name, name, error=str(error))
        return
    with opened:
        digits = max(3, len(str(opened.numbers[-1])))  # as a data set names pages
        stack = opened.numbers != range(1) or (pages not in ("", "all") and _is_stack(path, channels))
        for i, number in enumerate(opened.numbers):
            page, paged = (number, _paged(f"{name}-{number:0{digits}d}", taken)) if stack else (None, name)
            try:
                values = codecs.values_of(opened, i)
                image, deep = codecs.as_image(values), values.dtype not in (np.uint8, bool)
                yield Item(path.name, paged, page, image, values if deep else None, opened.mode)
            except codecs.PixelError as error:
                yield Item(path.name, paged, page, error=str(error))


def _is_stack(path: Path, channels: str) -> bool:
    """Whether a file has pages besides the first, which alone was asked for."""
    with codecs.open_pages(path, channels) as opened:
        return opened.count > 1


def _paged(paged: str, taken: set[str]) -> str:
    """The name of a page's outputs, which no other file's has even where the file system ignores case."""
    folded = {one.casefold() for one in taken}
    while paged.casefold() in folded:
        paged += "_page"
    return paged


def batches(items: Iterable[T], size: int, pixels_of: Callable[[T], int]) -> Iterator[list[T]]:
    """Lists of at most `size` items and, past the first, of at most BATCH_PIXELS pixels."""
    waiting: list[T] = []
    held = 0
    for item in items:
        count = pixels_of(item)
        if waiting and (len(waiting) == size or held + count > BATCH_PIXELS):
            yield waiting
            waiting, held = [], 0
        waiting.append(item)
        held += count
    if waiting:
        yield waiting
