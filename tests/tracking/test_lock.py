"""One process at a time."""

import errno
import fcntl
import subprocess
import sys

import pytest

from unetlab.errors import Stopped, UserError
from unetlab.tracking import lock
from unetlab.tracking.lock import Lock


def test_a_second_is_refused_and_told_who_the_first_is(tmp_path):
    path = tmp_path / "there" / "a.lock"
    said = r"'nuclei' is being run by process \d+ on .*last heard of \d s ago"
    with Lock(path).take(), pytest.raises(UserError, match=said):
        Lock(path, "'nuclei'").take()
    with Lock(path).take():
        pass


def test_a_process_that_was_killed_holds_nothing(tmp_path):
    path = tmp_path / "a.lock"
    code = (
        "import os, signal, sys; from pathlib import Path; from unetlab.tracking.lock import Lock; "
        "Lock(Path(sys.argv[1])).take(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert '"pid"' in path.read_text()
    with Lock(path).take():
        pass


def test_a_file_that_was_removed_since_it_was_opened_is_held_by_nobody(tmp_path, monkeypatch):
    path, first = tmp_path / "a.lock", Lock(tmp_path / "a.lock").take()
    locked = lock._locked

    def late(file):
        first.done()  # between the second's opening of the file and its locking
        return locked(file)

    monkeypatch.setattr(lock, "_locked", late)
    second = Lock(path).take()
    assert path.exists()
    with pytest.raises(UserError, match="is being run by"):
        Lock(path).take()
    second.done()
    assert not path.exists()


def test_the_way_out_of_a_folder_that_cannot_be_written_is_that_folder_s_own(tmp_path, monkeypatch):
    monkeypatch.setenv("UNETLAB_CACHE", str(tmp_path / "file" / "cache"))
    (tmp_path / "file").touch()
    with pytest.raises(Stopped, match="Not a directory.; set UNETLAB_CACHE to a folder that can be written"):
        Lock(tmp_path / "file" / "cache" / "a.lock").take()
    with pytest.raises(Stopped, match="Not a directory.; give a folder that can be written"):
        Lock(tmp_path / "file" / "server" / "lock").take()


def test_where_a_file_system_has_no_locks_the_heartbeat_tells(tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with Lock(tmp_path / "a.lock").take():
        with pytest.raises(UserError, match=r"is being run by process \d+ on .*last heard of \d s ago"):
            Lock(tmp_path / "a.lock").take()
        (tmp_path / "b.lock").write_text((tmp_path / "a.lock").read_text())
    monkeypatch.setattr(lock, "DEAD", -1.0)  # as if it was long ago
    with Lock(tmp_path / "b.lock").take():
        pass
