"""The one exception for what a user can mend, and what may be said of anything."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SECRETS = re.compile(
    r"(?<=://)[^/\s]*(?=@)|(?<=[?&;])(\w*(?:password|passwd|token|secret|api_?key)\w*=)[^&;\s]+", re.IGNORECASE
)
"""User and password before the host of an address, and what follows password= and the like in its query."""


def printable(text: str) -> str:
    """Text in one line: line ends, and what moves a terminal's cursor, spelt out; names of files may hold them."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def redacted(text: str) -> str:
    """Text without the passwords of the addresses in it."""
    return SECRETS.sub(lambda found: f"{found[1] or ''}***", text)


class UserError(Exception):
    """A mistake in the input or the call: its message is one line that says what came and what to do.

    The command line prints it without a traceback and exits with status 2; everything else that is raised is a bug.
    It is one line whatever files are called, and without the passwords of addresses.
    """

    def __str__(self) -> str:
        return redacted(printable(super().__str__()))


def refuse_no_text(path: Path) -> None:
    """Raises UserError for a path that is no UTF-8, which neither tables nor MLflow can hold."""
    if any("\ud800" <= sign <= "\udfff" for sign in str(path)):  # bytes that are no UTF-8, as Python has them
        raise UserError(f"{path} is no text in UTF-8; rename it")


def unwritable(out: Path, error: OSError) -> UserError:
    """What is said of a folder `out` that cannot be made or written into."""
    return UserError(f"out={out} cannot be written ({error.strerror}); give a folder that can")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """An OSError meanwhile that names no file, as of a disk that is full, names this one."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            error.filename = error.filename or str(path)
        raise


class UnusableFiles(UserError):
    """Some files of a data set cannot be decoded; the others could be."""


class Stopped(UserError):
    """Work that could not go on and can later, by the same command: nothing of what was asked for is at fault."""
