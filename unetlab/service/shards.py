"""Work on many images in shards: each is done once, by whoever does it, and what was done is not done again.

A shard's answer is a folder named after its first image and how many it has, which is there whole or not at all.
"""

import contextlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unetlab.tracking.lock import Lock

Spread = Callable[[Callable[[Any], Any], Sequence[Any]], Iterator[tuple[Any, Any, str]]]
"""(function, shards) -> each shard once the function has done it, in any order: shard, answer, and "", or why the
process that did it was lost."""


def in_turn(function: Callable[[Any], Any], shards: Sequence[Any]) -> Iterator[tuple[Any, Any, str]]:
    """One after the other, in this process."""
    for shard in shards:
        yield shard, function(shard), ""


@contextmanager
def alone(lock: Path, what: str) -> Iterator[None]:
    """Keeps other processes that name the same file from the same work meanwhile: its parts lie in one place.

    Raises UserError that says `what` is being done by whom, Stopped where there is no writing.
    """
    with Lock(lock, what).take() as held:
        yield
        held.done()


def part(folder: Path, first: int, count: int) -> Path:
    """Where the answer for `count` images from number `first` on lies."""
    return folder / f"{first:09d}-{count}"


def done(folder: Path) -> dict[int, int]:
    """The shards that are done: their first image to how many images they have."""
    found = (path.name.split("-") for path in folder.glob("[0-9]*-[0-9]*"))
    return {int(first): int(count) for first, count in found}


def discard(folder: Path) -> None:
    """Removes a folder of parts, under another name first: half a part would be taken for one that is done."""
    going = folder.with_name(f"{folder.name}-done")
    shutil.rmtree(going, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.rename(going)
    shutil.rmtree(going, ignore_errors=True)


def to_do(count: int, most: int, done: dict[int, int]) -> Iterator[range]:
    """The images that are in no shard that is done, in stretches of at most so many."""
    first, begins = 0, iter([*sorted(done), count])
    for begin in begins:
        while first < begin:
            yield range(first, min(first + most, begin))
            first = min(first + most, begin)
        first = max(first, begin + done.get(begin, 0))


def halves(shard: range) -> Iterable[range]:
    """Both halves of a shard, to find what in it kills whoever touches it."""
    middle = shard.start + len(shard) // 2
    return range(shard.start, middle), range(middle, shard.stop)
