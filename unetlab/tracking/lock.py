"""One process at a time: a file that says which host and process holds it, and when that was last heard of."""

import contextlib
import json
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

from unetlab.errors import Stopped, UserError

BEAT = 15.0
"""Seconds between two heartbeats."""

DEAD = 8 * BEAT
"""Seconds after which another host that was not heard of holds nothing any more."""


class Lock:
    """Held by this process from `take` to `release`; the system releases it too when the process dies.

    Args:
        path: of the file; whoever means the same work names the same file.
        what: the work, for the message to who comes second.
    """

    def __init__(self, path: Path, what: str = "this") -> None:
        self.path, self.what = path, what
        self.over = threading.Event()
        self.file: Any = None

    def take(self, patience: float = 0.0) -> "Lock":
        """Raises UserError that names host and process if another one holds it, for so many seconds; Stopped if there
        is no writing."""
        end = time.monotonic() + patience
        while True:
            try:
                return self._take()
            except Stopped:
                raise
            except UserError:
                if time.monotonic() > end:
                    raise
                time.sleep(1)

    def _take(self) -> "Lock":
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = open(self.path, "a+")  # noqa: SIM115  # open as long as it is held
        except OSError as error:
            from unetlab.data import cache  # not before: it takes its time

            raise Stopped(cache.unwritable(self.path, error)) from error
        file.seek(0)
        holder = _read(file.read())
        elsewhere = holder.get("host") != socket.gethostname() and time.time() - holder.get("beat", 0) < DEAD
        if not _locked(file) or elsewhere:
            file.close()
            age = max(0.0, time.time() - holder.get("beat", time.time()))  # a beat is rounded
            raise UserError(
                f"{self.what} is being run by process {holder.get('pid', '?')} on {holder.get('host', '?')}, last "
                f"heard of {age:.0f} s ago; wait for it, or end it first"
            )
        if not _is_at(file, self.path):  # whoever held it has removed it since it was opened
            file.close()
            return self._take()
        self.file = file
        self._beat()
        threading.Thread(target=self._go_on, daemon=True, name="heartbeat").start()
        return self

    def done(self) -> None:
        """Ends holding it where nobody will want it again: the file is removed, while it is held, since afterwards it
        might be another's."""
        if self.file is not None:
            with contextlib.suppress(OSError):  # Windows removes nothing that is open
                self.path.unlink()
        self.release()

    def release(self) -> None:
        """Ends holding it; another one may begin."""
        self.over.set()
        if self.file is not None:
            self.file.seek(0)
            self.file.truncate()
            self.file.close()
            self.file = None

    def __enter__(self) -> "Lock":
        return self if self.file is not None else self.take()

    def __exit__(self, *_: object) -> None:
        self.release()

    def _go_on(self) -> None:
        while not self.over.wait(BEAT):
            try:
                self._beat()
            except (OSError, ValueError, AttributeError):  # a full disk; released in between
                continue

    def _beat(self) -> None:
        self.file.seek(0)
        self.file.truncate()
        self.file.write(json.dumps(held_by()))
        self.file.flush()


def held_by() -> dict[str, Any]:
    """This process and now, as a lock says it."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "beat": round(time.time(), 1)}


def _read(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _is_at(file: Any, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _locked(file: Any) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows
        return _silent(file)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without such locks, as some that clusters share
        return _silent(file)
    return True


def _silent(file: Any) -> bool:
    """Whether nothing was heard of who holds a lock for long: a heartbeat alone tells."""
    file.seek(0)
    return bool(time.time() - _read(file.read()).get("beat", 0) > DEAD)
