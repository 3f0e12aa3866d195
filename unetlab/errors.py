"""The one exception for what a user can mend."""


class UserError(Exception):
    """A mistake in the input or the call: its message is one line that says what came and what to do.

    The command line prints it without a traceback and exits with status 2; everything else that is raised is a bug.
    Names of files may hold line ends and what moves a terminal's cursor, so such characters are spelt out.
    """

    def __str__(self) -> str:
        return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in super().__str__())


class UnusableFiles(UserError):
    """Some files of a data set cannot be decoded; the others could be."""


class Stopped(UserError):
    """Work that could not go on and can later, by the same command: nothing of what was asked for is at fault."""
