"""The server on PostgreSQL: what is said where it cannot be. That it serves, tests/end_to_end/test_cluster.py shows."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from unetlab.errors import UserError
from unetlab.tracking import server

ROOT = Path(__file__).parents[2]


def fake_postgres(folder, initdb, pg_ctl="exit 0"):
    for name, script in {"initdb": initdb, "pg_ctl": pg_ctl, "pg_config": f"echo {folder}"}.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def anyone(tmp_path, monkeypatch):
    """As an ordinary user, whoever runs the tests, with no other programs than those of a folder."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return tmp_path / "bin"


def test_without_postgresql_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(server, "PLACES", (str(tmp_path / "*" / "bin"),))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="initdb, pg_ctl.* are not installed; install it .*apt install postgresql"):
        server.programs()


def test_its_programs_are_found_off_the_path_and_the_newest_is_taken(monkeypatch, tmp_path):
    monkeypatch.setattr(server, "PLACES", (str(tmp_path / "*" / "bin"),))
    monkeypatch.setenv("PATH", str(tmp_path))
    for version in ("9.6", "15", "14"):
        (tmp_path / version / "bin").mkdir(parents=True)
        fake_postgres(tmp_path / version / "bin", "exit 0")
    assert server.programs() == tmp_path / "15" / "bin"


def test_a_database_that_cannot_be_made_leaves_nothing_and_says_why(anyone, tmp_path):
    fake_postgres(anyone, "mkdir $2; echo creating; echo 'initdb: error: the disk is full' >&2; exit 1")
    with pytest.raises(UserError, match=r"does not start \(initdb: initdb: error: the disk is full\)"):
        server.Postgres(tmp_path / "base", 5433).__enter__()
    assert not (tmp_path / "base" / "data").exists()
    assert (tmp_path / "base" / "password").stat().st_mode & 0o777 == 0o600
    fake_postgres(anyone, "mkdir $2")
    with server.Postgres(tmp_path / "base", 5433) as base:
        assert (tmp_path / "base" / "data").exists() and len(base.environment["PGPASSWORD"]) > 20
        assert base.environment["PGPASSWORD"] not in base.address


def test_a_port_that_is_taken_is_named(anyone, tmp_path):
    begin = 'test $1 = stop && exit 0; echo "FATAL: no port 5433" > "$5"; echo "could not start server"; exit 1'
    fake_postgres(anyone, "mkdir $2", begin)
    with pytest.raises(UserError, match=r"does not start \(pg_ctl: FATAL: no port 5433\)"):
        server.Postgres(tmp_path / "base", 5433).__enter__()


def test_begun_by_root_it_says_who_postgresql_runs_as(anyone, monkeypatch, tmp_path):
    fake_postgres(anyone, "exit 0")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(server, "ROOTS_OWN", "nobody-of-that-name")
    with pytest.raises(UserError, match="runs as the user nobody-of-that-name, who has to exist .* an ordinary user"):
        server.Postgres(tmp_path / "base", 5433).__enter__()


def test_without_its_driver_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    with pytest.raises(UserError, match=r"pip install -e '.\[cluster\]'"), server.serving(tmp_path, "x", 1, 2):
        pass


def test_a_port_that_is_taken_is_said_before_a_database_is_begun(monkeypatch, tmp_path):
    pytest.importorskip("psycopg2")
    monkeypatch.setattr(server, "Postgres", None)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for host in ("127.0.0.1", "0.0.0.0"):
            said = rf"port {port} is taken, as by `make ui`; end that, or give another --port"
            with pytest.raises(UserError, match=said), server.serving(tmp_path, host, port, 2):
                pass
    with (
        pytest.raises(UserError, match="203.0.113.1:0 cannot be listened on"),
        server.serving(tmp_path, "203.0.113.1", 0, 2),
    ):
        pass


def test_where_this_machine_finds_a_server():
    there = {"127.0.0.1": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]", "::1": "[::1]", "here": "here"}
    assert {host: server.address_of(host, 5000) for host in there} == {
        host: f"http://{name}:5000" for host, name in there.items()
    }


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGHUP])
def test_a_server_ends_with_who_attends_it_and_all_that_it_began(tmp_path, end):
    began = "import subprocess, sys, time; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); p.wait()"
    code = (
        "import signal, sys; signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may ignore it\n"
        f"from unetlab.tracking.server import attended; attended([sys.executable, '-c', {began!r}])"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT) as attending:
        assert attending.stdout
        pid = int(attending.stdout.readline())
        attending.send_signal(end)
        attending.wait(20)
    limit = time.monotonic() + 20
    while Path(f"/proc/{pid}/stat").exists() and ") Z" not in Path(f"/proc/{pid}/stat").read_text():
        assert time.monotonic() < limit, "it goes on"
        time.sleep(0.05)
