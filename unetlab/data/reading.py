"""From the files of a sample to its pixels and labels, a page at a time."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np

from unetlab.data import classes
from unetlab.data.cache import Decoded
from unetlab.data.classes import Meaning
from unetlab.data.files import Files
from unetlab.data.layouts import find_samples, refuse_twins
from unetlab.data.layouts.base import Sample, marks_membranes
from unetlab.data.mask_values import Values, foreground, values_of
from unetlab.errors import UserError
from unetlab.images import codecs
from unetlab.images.codecs import STACKS, ManyChannels, Pages, PixelError

KEPT = 32
"""Stacks that stay open between their pages."""

SURVEYED = 64
"""Masks, spread over the data set, that are looked at to decide what values mean."""


class Reader:
    """Reads the samples of a folder or zip; stacks stay open between their pages. To be closed.

    Args:
        files: of the data set.
        channels: which channels of an image, as `codecs.open_pages` takes them.
        pages: which pages of a stack, likewise.
        table: of classes, in place of a classes.csv among the files.
    """

    def __init__(self, files: Files, channels: str = "", pages: str = "all", table: str = "") -> None:
        self.files, self.channels, self.pages, self.table = files, channels, pages, table
        # channels chosen are those of images, but where they are images of their own that holds for masks too
        self._mask_channels = channels if channels == "pages" else ""
        self._open: dict[tuple[str, str], tuple[Pages, threading.Lock]] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Closes the stacks, and takes away copies of those in a zip."""
        for pages, _ in self._open.values():
            pages.close()
        self._open.clear()
        self.files.close()

    @contextmanager
    def opened(self, name: str, mask: bool = False) -> Iterator[Pages]:
        """An opened image or mask, for one thread at a time.

        Raises UserError naming the file for what cannot be opened or read.
        """
        channels = self._mask_channels if mask else self.channels
        try:
            with self._lock:
                kept = self._open.get((name, channels))
                if kept is None:
                    pages = codecs.open_pages(self.files.source(name), channels, self.pages)
                    kept = pages, threading.Lock()
                    stays = pages.count > 1 and len(self._open) < KEPT
                    if stays:
                        self._open[name, channels] = kept
                else:
                    stays = True
            pages, alone = kept
            try:
                with alone:
                    yield pages
            finally:
                if not stays:
                    pages.close()
        except ManyChannels as error:  # of a mask none can be chosen
            said = f"the mask has {error.channels} channels; save one of them" if mask else error
            raise UserError(f"{name}: {said}") from error
        except PixelError as error:
            raise UserError(f"{name}: {error}") from error
        except OSError as error:
            raise UserError(f"{name} cannot be read ({error.strerror or error}); check the file") from error

    def samples(self) -> list[Sample]:
        """All samples, sorted by id; each page of a stack is an image of its own, `<name>-000` and on.

        Raises UserError as `find_samples` does, and for stacks of different length.
        """
        found = [page for sample in find_samples(self.files) for page in self._paged(sample)]
        found.sort(key=lambda sample: sample.id)
        refuse_twins(self.files, found)
        return found

    def _paged(self, sample: Sample) -> Iterator[Sample]:
        names = (sample.image, *sample.masks)
        stacks = [name for name in names if PurePosixPath(name).suffix.lower() in STACKS]
        if sample.instances or not stacks:
            yield sample
            return
        found = {name: self._numbers(name, name != sample.image) if name in stacks else range(1) for name in names}
        if len({len(numbers) for numbers in found.values()}) > 1:
            said = " and ".join(f"{name} has {len(n)} page{'s' * (len(n) > 1)}" for name, n in found.items())
            raise UserError(f"{self.files.label}: {said}; image and label stack must be of one length")
        numbers = found[sample.image]
        if numbers == range(1) and not (sample.image in stacks and self._is_longer(sample.image)):
            yield sample
            return
        digits = max(3, len(str(numbers[-1])))
        for page in numbers:
            yield replace(sample, id=f"{sample.id}-{page:0{digits}d}", page=page)

    def _numbers(self, name: str, mask: bool) -> range:
        with self.opened(name, mask) as pages:
            return pages.numbers

    def _is_longer(self, name: str) -> bool:
        """Whether a file has pages besides the first, which alone was asked for: its name then has the page, as in
        `predict`."""
        if self.pages in ("", "all"):
            return False
        with codecs.open_pages(self.files.source(name), self.channels) as pages:
            return pages.count > 1

    def meaning(self, samples: list[Sample], asked: str) -> Meaning:
        """What the masks' values mean; raises UserError as `classes.decide` does."""
        if not any(sample.masks for sample in samples):
            return Meaning("binary", "there are no masks")
        table = self._table()
        if all(sample.instances for sample in samples):
            if asked not in ("auto", "objects"):
                raise UserError(f"{self.files.label}: each mask file holds one object, so masks={asked} cannot be")
            return Meaning("objects", "each mask file holds one object")
        some = [samples[i] for i in np.unique(np.linspace(0, len(samples) - 1, SURVEYED).astype(int))]
        every = asked == "classes" and table is None  # a value in one mask alone is a class too
        surveyed = samples if every else some
        if asked == "objects" or (asked == "binary" and table is None):
            surveyed = []
        meaning = classes.decide(asked, self._looked_at(surveyed), table, self.files.label)
        lines = [sample for sample in some if sample.masks and marks_membranes(sample.masks[0])]
        return classes.marking_lines(meaning, self._looked_at(lines))

    def _looked_at(self, samples: Iterable[Sample]) -> Iterator[Values]:
        return (values for sample in samples if (values := self._surveyed(sample)) is not None)

    def _table(self) -> str | None:
        if self.table:
            return self.table
        found = [name for name in self.files.names if PurePosixPath(name).name.lower() == classes.TABLE]
        if len(found) > 1:
            raise UserError(f"{self.files.label}: {found[0]} and {found[1]}: there can be one {classes.TABLE}")
        try:
            return self.files.read(found[0]).decode("utf-8") if found else None
        except UnicodeDecodeError as error:
            raise UserError(f"{self.files.label}: {found[0]} is no text in UTF-8") from error

    def _surveyed(self, sample: Sample) -> Values | None:
        try:
            return self.values(sample, sample.masks[0])
        except UserError:
            return None  # reading the sample says what is wrong with it

    def values(self, sample: Sample, name: str) -> Values:
        """What a mask file holds. Raises UserError naming the file."""
        with self.opened(name, mask=True) as pages, _named(name, sample):
            _refuse_hidden_pages(pages, sample)
            stored = pages.read_mask(_place(pages, sample))
            return values_of(stored, pages.lossy, pages.palette, pages.imagej)

    def read(self, sample: Sample, meaning: Meaning) -> Decoded:
        """Decodes a sample.

        Raises UserError naming the file, and the page of a stack, for what cannot be decoded, for a mask of another
        size than its image, and as `classes.label` does.
        """
        with self.opened(sample.image) as pages, _named(sample.image, sample):
            _refuse_hidden_pages(pages, sample)
            image, mode = codecs.image_of(pages, _place(pages, sample)), pages.mode
            field = str((sample.image, *pages.field(_place(pages, sample)))) if self.channels == "pages" else ""
        size = image.shape[:2]
        if not sample.masks:
            return Decoded(sample.id, image, np.zeros(size, np.uint8), mode, field=field)
        if sample.instances:
            parts = (foreground(self._fitting(sample, name, size)) for name in sample.masks)
            return Decoded(sample.id, image, classes.from_parts(parts, size), mode, field=field)
        name = sample.masks[0]
        values = self._fitting(sample, name, size)
        with _named(name, sample):
            found = classes.label(values, meaning, marks_membranes(name))
        kinds = found.classes if meaning.kind == "classes" else None
        return Decoded(sample.id, image, found.image, mode, found.levels, kinds, field)

    def _fitting(self, sample: Sample, name: str, size: tuple[int, int]) -> Values:
        """The values of a mask, which must be of its image's size."""
        values = self.values(sample, name)
        if values.plane.shape != size:
            sizes = f"{values.plane.shape[1]} x {values.plane.shape[0]} pixels, its image {size[1]} x {size[0]}"
            with _named(name, sample):
                raise UserError(f"the mask is {sizes}; they must be of one size")
        return values


def _place(pages: Pages, sample: Sample) -> int:
    """Which of the pages chosen is the sample's."""
    return 0 if sample.page is None else pages.numbers.index(sample.page)


def _refuse_hidden_pages(pages: Pages, sample: Sample) -> None:
    """Raises PixelError for a stack that is not read as one: its ending does not say so, or it is one object's mask."""
    if sample.page is None and pages.count > 1:
        raise PixelError(f"it holds {pages.count} pages where one is wanted; save them one by one, or name it .tif")


@contextmanager
def _named(name: str, sample: Sample) -> Iterator[None]:
    """Errors say which file and which page they are about."""
    where = name if sample.page is None else f"{name} page {sample.page + 1}"
    try:
        yield
    except (PixelError, UserError) as error:
        raise UserError(f"{where}: {error}") from error
