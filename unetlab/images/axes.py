"""Which planes of a file are pages, which are channels, and what the user chose of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .contract import ManyChannels, PixelError

OF_SAMPLES = "say which with channels=1 or channels=1,2,3"

ADVICE = f"{OF_SAMPLES} (channels=pages: each is an image of its own), and pages=all or a range such as pages=1-10"


@dataclass(frozen=True)
class Planes:
    """How the planes of a file, counted in the order of its axes, make pages and channels.

    Args:
        axes: a letter an axis, without those of a plane itself: C channels, all others (T, Z, Q, I, R, P ...) pages.
        shape: how long each is.
        parted: whether channels are pages too.
    """

    axes: str
    shape: tuple[int, ...]
    parted: bool = False

    @property
    def channels(self) -> int:
        """How many channels a page has."""
        return math.prod(n for axis, n in zip(self.axes, self.shape, strict=True) if self._of_channels(axis))

    @property
    def pages(self) -> int:
        """How many pages there are."""
        return math.prod(self.shape) // max(1, self.channels)

    def plane(self, page: int, channel: int) -> int:
        """The number of the plane that is a page's channel, all counted from 0."""
        return self._flat(self.index(page, channel))

    def index(self, page: int, channel: int) -> tuple[int, ...]:
        """The same, as an index along each axis."""
        found = []
        for axis, n in zip(reversed(self.axes), reversed(self.shape), strict=True):
            rest = channel if self._of_channels(axis) else page
            found.append(rest % n)
            if self._of_channels(axis):
                channel = rest // n
            else:
                page = rest // n
        return tuple(reversed(found))

    def field(self, page: int) -> int:
        """A number that pages share which are channels of one plane."""
        index = self.index(page, 0)
        return self._flat(tuple(0 if axis == "C" else i for axis, i in zip(self.axes, index, strict=True)))

    def _of_channels(self, axis: str) -> bool:
        return axis == "C" and not self.parted

    def _flat(self, index: tuple[int, ...]) -> int:
        flat = 0
        for i, n in zip(index, self.shape, strict=True):
            flat = flat * n + i
        return flat

    def said(self) -> str:
        """The axes in words: "T 5, Z 3, C 2"."""
        return ", ".join(f"{axis} {n}" for axis, n in zip(self.axes, self.shape, strict=True))


def choose_channels(asked: str, there: int, pages: int = 1, said: str = "", planes: bool = True) -> tuple[int, ...]:
    """Which channels make the image, counted from 0: one, or three as red, green and blue.

    Args:
        asked: "" or as the user writes it, counted from 1: "2" or "1,2,3". "pages", which takes channels for pages, has
            been heeded before, and is as good as "" where there are none.
        there: how many there are.
        pages: how many pages the same file has, where channels are planes of their own; 1 where they are colours.
        said: the axes in words, for the error.
        planes: whether channels are planes of their own; samples of one pixel are not.

    Raises ManyChannels where nothing was asked and the file does not say which: two, more than three, channels and
    pages together; PixelError for what is no choice.
    """
    if asked in ("", "pages"):
        if there > 1 and pages > 1:
            raise ManyChannels(f"it holds {pages} pages of {there} channels each ({said}); {ADVICE}", there)
        if there in (1, 3):
            return tuple(range(there))
        if planes:
            raise ManyChannels(f"it has {there} channels; an image is made of 1 or 3: {ADVICE}", there)
        has = f"it has {there} channels, samples of each pixel"
        no = "; channels=pages is for channels that are planes" if asked else "; an image is made of 1 or 3"
        raise ManyChannels(f"{has}{no}: {OF_SAMPLES}", there)
    try:
        chosen = tuple(int(word) - 1 for word in asked.split(","))
    except ValueError:
        raise PixelError(f"channels={asked} is no choice; {ADVICE}") from None
    if len(chosen) not in (1, 3):
        raise PixelError(f"channels={asked} are {len(chosen)} channels; an image is made of 1 or 3: {ADVICE}")
    if outside := [channel + 1 for channel in chosen if not 0 <= channel < there]:
        has = "1 channel" if there == 1 else f"{there} channels, 1 to {there}"
        raise PixelError(f"channels={asked}: there is no channel {outside[0]}; the image has {has}")
    return chosen


def words(channels: Sequence[int]) -> str:
    """What chosen channels make: "grey" or "RGB"."""
    return "RGB" if len(channels) == 3 else "grey"


def choose_pages(asked: str, there: int) -> range:
    """Which pages, counted from 0, of "all", one page such as "3", or a range such as "1-10", both counted from 1.

    Raises PixelError for what is no choice and for pages that are not there.
    """
    if asked in ("", "all"):
        return range(there)
    first, dash, last = asked.partition("-")
    try:
        chosen = range(int(first) - 1, int(last if dash else first))
    except ValueError:
        chosen = range(0)
    if not chosen or chosen.start < 0:
        raise PixelError(f"pages={asked} is no choice; say pages=all, one page, or a range such as pages=1-10")
    if chosen.stop > there:
        raise PixelError(f"pages={asked}: the file has {there} page{'s' * (there > 1)}; choose among 1 to {there}")
    return chosen
