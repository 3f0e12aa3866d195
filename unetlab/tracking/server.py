"""An MLflow server on PostgreSQL with artifacts proxied: what many workers write to at once, without a password to pass
around. SQLite, the default without a server, takes one writer at a time."""

import contextlib
import errno
import glob
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from unetlab.errors import UserError
from unetlab.tracking.lock import Lock

USER = "unetlab"
"""Of the database, which holds nothing else."""

ROOTS_OWN = "postgres"
"""The system's user that PostgreSQL runs as where root starts it; its packages make one."""

INSTALL = "install it (Debian, Ubuntu: `apt install postgresql`; Fedora: `dnf install postgresql-server`)"


PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")
"""Where Debian, PostgreSQL's own packages for Fedora, and Homebrew put its programs."""


class Postgres:
    """A database in a folder of its own, on 127.0.0.1, from the beginning to the end of a `with` block.

    Args:
        folder: that holds `data`, `password` and `postgres.log`; made where needed.
        port: that it listens on, and nobody else.

    Raises UserError if PostgreSQL is not installed or does not start.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port, self.programs = folder.absolute(), port, programs()
        self.user = ROOTS_OWN if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
        self.environment: dict[str, str] = {}

    @property
    def address(self) -> str:
        """As SQLAlchemy takes it; the password is in `environment`, so that no list of processes shows it."""
        return f"postgresql+psycopg2://{USER}@127.0.0.1:{self.port}/postgres"

    def __enter__(self) -> "Postgres":
        data, password = self.folder / "data", self.folder / "password"
        self.folder.mkdir(parents=True, exist_ok=True)
        if not data.exists():
            self._initialise(data, password)
        self.environment = {"PGPASSWORD": password.read_text().strip()}
        with contextlib.suppress(UserError):  # left by a server that was killed; usually there is none
            self._run("pg_ctl", "stop", "-D", data, "-m", "fast", "-w")
        told = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=500"
        self._run("pg_ctl", "start", "-D", data, "-l", self.folder / "postgres.log", "-o", told, "-w", "-t", "60")
        return self

    def __exit__(self, *_: object) -> None:
        self._run("pg_ctl", "stop", "-D", self.folder / "data", "-m", "fast", "-w")

    def _initialise(self, data: Path, password: Path) -> None:
        """Makes an empty database that is there whole or not at all."""
        beside = self.folder / "data.new"
        shutil.rmtree(beside, ignore_errors=True)
        with open(os.open(password, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(24) + "\n")
        if self.user:
            try:
                for path in (self.folder, password):
                    shutil.chown(path, self.user)
            except (OSError, LookupError) as error:
                raise UserError(_how_to_run(self.folder, str(error))) from error
        how = ("-U", USER, "-E", "UTF8", "--locale=C.UTF-8", "--auth=scram-sha-256", "--pwfile", password)
        self._run("initdb", "-D", beside, *how)
        beside.rename(data)

    def _run(self, program: str, *arguments: object) -> None:
        words = [str(self.programs / program), *map(str, arguments)]
        log = self.folder / f"{program}.log"
        with open(log, "w") as out:  # a file, since the server that pg_ctl leaves behind would keep a pipe open
            try:
                done = subprocess.run(
                    words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, user=self.user, cwd=self.folder
                )
            except (OSError, KeyError) as error:
                raise UserError(_how_to_run(self.folder, str(error))) from error
        if done.returncode:
            lines = log.read_text().strip().splitlines() or ["no reason given"]
            if "start" in arguments and (said := self.folder / "postgres.log").exists():  # such as a port that is taken
                lines += said.read_text(errors="replace").splitlines()[-20:]
            raise UserError(_how_to_run(self.folder, f"{program}: {_reason(lines)}"))


def _reason(lines: Sequence[str]) -> str:
    bad = [line for word in ("could not bind", "FATAL", "error") for line in reversed(lines) if word in line]
    return (bad or lines)[0][:200]


def _how_to_run(folder: Path, reason: str) -> str:
    if os.geteuid() == 0 and not reason.startswith("pg_ctl"):
        return (
            f"PostgreSQL in {folder} does not start ({reason}); where root starts it, it runs as the user {ROOTS_OWN}, "
            "who has to exist and to reach that folder: give --folder /var/lib/unetlab, or start it as an ordinary user"
        )
    return (
        f"PostgreSQL in {folder} does not start ({reason}); {folder / 'postgres.log'} says more, and "
        "--database-port gives it another port"
    )


def programs() -> Path:
    """The folder of PostgreSQL's server programs, which packages leave off the PATH. Raises UserError without them."""
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else []
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        asked = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=True)
        places.append(Path(asked.stdout.strip()))
    for pattern in PLACES:
        places += sorted(map(Path, glob.glob(pattern)), key=_version, reverse=True)
    for place in places:
        if (place / "initdb").exists() and (place / "pg_ctl").exists():
            return place
    raise UserError(f"the programs of a PostgreSQL server (initdb, pg_ctl) are not installed; {INSTALL}")


def _version(place: Path) -> tuple[int, ...]:
    """Of a folder such as /usr/lib/postgresql/15/bin or /usr/pgsql-16/bin."""
    return tuple(map(int, re.findall(r"\d+", place.parent.name)))


@contextlib.contextmanager
def serving(folder: Path, host: str, port: int, database_port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """The MLflow server and its database while it lasts; gives the server's process.

    Args:
        folder: for database, artifacts and logs.
        host: that MLflow listens on; the database listens on this machine only.
        port: of MLflow.
        database_port: of PostgreSQL.

    Raises UserError if another process serves the folder or has the port, something is not installed, or PostgreSQL
    does not start.
    """
    try:
        import psycopg2  # noqa: F401
    except ImportError as error:
        raise UserError(
            "a server on PostgreSQL wants psycopg2, which is not installed; .venv/bin/pip install -e '.[cluster]'"
        ) from error
    with Lock(folder / "lock", f"the server in {folder}").take(), contextlib.ExitStack() as ends:
        refuse_taken(host, port)
        base = ends.enter_context(Postgres(folder / "postgres", database_port))
        told = ("--host", host, "--port", str(port), "--artifacts-destination", str((folder / "artifacts").absolute()))
        process = _begin([sys.executable, "-m", "mlflow", "server", *told], base)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def refuse_taken(host: str, port: int) -> None:
    """Raises UserError where nothing can listen: what listens there already would be taken for this server."""
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(f"port {port} is taken, as by `make ui`; end that, or give another --port") from error
        raise UserError(
            f"{host}:{port} cannot be listened on ({error.strerror}); give another --port, --host"
        ) from error


def _begin(words: Sequence[str], base: Postgres) -> "subprocess.Popen[bytes]":
    settings: Mapping[str, str] = {**base.environment, "MLFLOW_BACKEND_STORE_URI": base.address}
    settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **os.environ, **settings}  # jobs are of no use here
    return subprocess.Popen(words, env=settings, cwd=base.folder)


def attended(words: Sequence[str]) -> None:
    """Runs a server until it ends. It and all that it began end with this process: by Ctrl-C, SIGTERM, or when its
    terminal is closed."""
    end_by_signals()
    process = subprocess.Popen(words, start_new_session=True)
    try:
        process.wait()
    finally:
        for signal_, patience in ((signal.SIGTERM, 10.0), (signal.SIGKILL, None)):
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(process.pid, signal_)
                process.wait(patience)


def end_by_signals() -> None:
    """Has SIGTERM and a terminal that closes end this process as Ctrl-C does, and Ctrl-C a shell's background job."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if each != signal.SIGHUP or signal.getsignal(each) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(each, end)


def address_of(host: str, port: int) -> str:
    """Where this machine finds a server that listens on an address."""
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{here}]:{port}" if ":" in here else f"http://{here}:{port}"


def wait_for(process: "subprocess.Popen[bytes]", address: str, seconds: float = 600.0) -> None:
    """Returns once a server answers. Raises UserError if it ends or is not there after so many seconds."""
    import requests

    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(requests.exceptions.RequestException):
            if requests.get(f"{address}/health", timeout=2).ok:
                return
        time.sleep(0.2)
    raise UserError(f"the MLflow server at {address} does not answer; what it wrote above says why")
