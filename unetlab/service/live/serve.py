"""The page served on this machine until it is interrupted."""

import contextlib
import os
import socket
from collections.abc import Callable

import uvicorn
from mlflow.exceptions import MlflowException

from unetlab.errors import UserError
from unetlab.service.live.app import Live, make_app

HOST = "127.0.0.1"

LEAVING = 2
"""Seconds that answers under way have to end in."""


def listen(port: int) -> socket.socket:
    """A socket that listens on 127.0.0.1, which is tried before a model is loaded. Raises UserError if it cannot."""
    sock = socket.socket()
    if os.name == "posix":  # elsewhere the option would share a port that is taken
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((HOST, port))
        sock.listen(128)
    except OSError as error:
        sock.close()
        raise UserError(f"port={port} cannot be listened on ({error.strerror}); give another port") from error
    return sock


def server_of(live: Live) -> uvicorn.Server:
    """A server of the page, not yet running. Raises UserError for limits in the environment that are none."""
    try:
        app = make_app(live)
    except MlflowException as error:
        raise UserError(str(error.message)) from error
    return uvicorn.Server(
        uvicorn.Config(
            app, log_level="warning", access_log=False, lifespan="off", ws="none", timeout_graceful_shutdown=LEAVING
        )
    )


def serve(live: Live, sock: socket.socket, ready: Callable[[str], None]) -> None:
    """Serves the page until Ctrl-C or SIGTERM.

    Args:
        live: what it shows.
        sock: that listens.
        ready: called with the page's address before the first request is answered.

    Raises UserError as `server_of` does.
    """
    server = server_of(live)
    ready(address(sock))
    try:
        with contextlib.suppress(KeyboardInterrupt):  # which uvicorn passes on once it has ended
            server.run(sockets=[sock])
    finally:
        server.config.app.state.desk.close()  # type: ignore[union-attr]  # it is the application made above


def address(sock: socket.socket) -> str:
    """Of the page that is served there."""
    return f"http://{HOST}:{sock.getsockname()[1]}"
