"""Between a served model and whoever sends it requests: what is too large or no request at all gets one plain line.

MLflow's scoring server reads bodies of any size, takes what it cannot parse for its own fault, and answers with stack
traces. It has no place to plug anything in, but runs the model's code before it makes its application.
"""

import asyncio
import contextlib
import ctypes
import json
import logging
import os
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import scoring_server

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

LIMITS = {"UNETLAB_MAX_PIXELS": 25_000_000, "UNETLAB_MAX_BYTES": 64 * 2**20}
"""What an operator sets in the environment: pixels of all images of a request together, and bytes of its body."""

MOST_VALUES = 100_000
"""Commas and brackets in a body; JSON of many small values takes fifty times its size in memory."""

MOST_NESTED = 8
"""Lists and dictionaries within each other; a request for this model has four."""

PARAMS = ("threshold", "channels", "pages")
"""What a request may say besides its images."""

SLOWEST = 60.0
"""Seconds a body may take to arrive."""

DRAINED = 2**28
"""Bytes of a body too large that are still taken off the line, and dropped: who sends hears the answer only then."""

AT_ONCE = min(4, os.cpu_count() or 1)
"""Requests that are worked on at a time; others wait. Each takes all processors, and memory by its pixels."""

EXAMPLE = '{"dataframe_split": {"columns": ["image"], "data": [["<base64>"]]}}'

M_ARENA_MAX = -8
"""As glibc's malloc.h has it."""

log = logging.getLogger(__name__)


class Refused(Exception):
    """A request that is not passed on: the status and the line that say why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


def limit(name: str) -> int:
    """One of LIMITS, as the environment says. Raises MlflowException for what is no number above 0."""
    said = os.environ.get(name, "") or str(LIMITS[name])
    try:
        found = int(said)
    except ValueError:
        found = 0
    if found <= 0:
        raise MlflowException(f"{name}={said} is no number above 0", error_code=INVALID_PARAMETER_VALUE)
    return found


def serving() -> bool:
    """Whether this process is MLflow's scoring server."""
    return scoring_server._SERVER_MODEL_PATH in os.environ


def install() -> None:
    """Lets MLflow's scoring server, which is about to make its application, make it with a Guard around it.

    Raises MlflowException for limits that are none.
    """
    import fastapi

    most = limit("UNETLAB_MAX_BYTES")
    _few_arenas()

    class Guarded(fastapi.FastAPI):
        """What MLflow makes its application of."""

        def build_middleware_stack(self) -> Any:
            return Guard(super().build_middleware_stack(), most)

    fastapi.FastAPI = Guarded  # type: ignore[misc]  # which MLflow imports once the model is loaded


def _few_arenas() -> None:
    """Lets threads share what glibc has freed. Each of the pool that MLflow answers in would keep heaps of its own, of
    the size of its largest request, and the server would grow for tens of thousands of requests."""
    with contextlib.suppress(OSError, AttributeError):  # other libraries have no such knob
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 2)


class Guard:
    """ASGI middleware around MLflow's scoring server.

    Args:
        app: what it guards.
        most: bytes of a body.
    """

    def __init__(self, app: Callable[[Message, Receive, Send], Awaitable[None]], most: int) -> None:
        self.app, self.most, self.room = app, most, asyncio.Semaphore(AT_ONCE)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answers a request itself, or passes it on and shortens the answer if it is an error."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        answer = _Answer(send)
        try:
            body = await self._body(scope, receive)
            if body is None:
                return
            await asyncio.to_thread(check, body)
            async with self.room:
                await self.app(scope, _again(body, receive), answer)
        except Refused as refusal:
            await answer.refuse(refusal.status, refusal.message)
        except Exception:
            log.exception("a request was not answered")
            await answer.refuse(500, "the server failed; its log says why")

    async def _body(self, scope: Message, receive: Receive) -> bytes | None:
        """The body, None if the client has gone. Raises Refused for one of another type, too large or too slow."""
        body = await body_of(scope, receive, self.most)
        if body is not None and told(scope, "content-type").partition(";")[0].strip().lower() != "application/json":
            raise Refused(415, "send the content type application/json and images in base64")
        return body


async def body_of(scope: Message, receive: Receive, most: int) -> bytes | None:
    """A request's body of `most` bytes at most, None if the client has gone.

    Raises Refused for one too large or too slow.
    """
    large = Refused(413, f"the body has more than {most:,} bytes; send fewer or smaller images a request")
    length = told(scope, "content-length")
    if length.isdigit() and int(length) > most:
        if not told(scope, "expect") and int(length) <= DRAINED:
            await _within(_drained(receive))
        raise large
    body = await _within(_read(receive, most))
    if isinstance(body, int):
        raise large
    return body


def told(scope: Message, name: str) -> str:
    """A header of a request, the last where there are several, "" where there is none."""
    found = [value for key, value in scope["headers"] if key.decode("latin-1").lower() == name]
    return str(found[-1].decode("latin-1")) if found else ""


async def _within(work: Awaitable[Any]) -> Any:
    try:
        return await asyncio.wait_for(work, SLOWEST)
    except TimeoutError:
        raise Refused(408, f"the body took more than {SLOWEST:g} seconds to arrive") from None


async def _read(receive: Receive, most: int) -> bytes | int | None:
    """A body; how long it was, if it was longer than `most`; None if the client went."""
    parts: list[bytes] = []
    length = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part = message.get("body", b"")
        length += len(part)
        if length <= most:
            parts.append(part)
        else:
            parts.clear()
        if not message.get("more_body", False) or length > DRAINED:
            return b"".join(parts) if length <= most else length


async def _drained(receive: Receive) -> None:
    await _read(receive, 0)


def check(body: bytes) -> None:
    """Raises Refused for a body that is no JSON, or one of too many values or too many within each other, and for a
    parameter that there is none of, which MLflow would pass over."""
    if sum(body.count(sign) for sign in (b",", b"[", b"{")) > MOST_VALUES:
        raise Refused(400, f"the body holds more than {MOST_VALUES:,} values; a row is one image in base64")
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is no JSON in UTF-8 ({_short(str(error), 120)})") from None
    if not isinstance(request, dict):
        raise Refused(400, f"the body is no object such as {EXAMPLE}")
    params = request.get("params")
    if isinstance(params, dict) and (odd := sorted(set(params) - set(PARAMS))):
        raise Refused(400, f"there is no parameter {_short(odd[0], 40)!r}; there are {', '.join(PARAMS)}")
    level: list[Any] = [request]
    for _ in range(MOST_NESTED):
        level = [each for one in level for each in (one.values() if isinstance(one, dict) else one)]
        level = [each for each in level if isinstance(each, dict | list)]
    if level:
        raise Refused(400, f"the body nests values more than {MOST_NESTED} deep")


def _again(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body at once, and then what the server has to say."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


class _Answer:
    """A `send` that passes good answers on, and of an error its code and one line."""

    def __init__(self, send: Send) -> None:
        self.send, self.status, self.begun = send, 0, False
        self.parts: list[bytes] = []

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        if self.status < 400:
            self.begun = True
            await self.send(message)
        elif message["type"] == "http.response.body":
            self.parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                await self.refuse(self.status, *_said(b"".join(self.parts)))

    async def refuse(self, status: int, message: str, code: str = "") -> None:
        """Answers with a status and a line, unless an answer has begun."""
        if self.begun:
            return
        self.begun = True
        body = json.dumps({"error_code": code or HTTPStatus(status).name, "message": message}).encode()
        told = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await self.send({"type": "http.response.start", "status": status, "headers": told})
        await self.send({"type": "http.response.body", "body": body})


def _said(body: bytes) -> tuple[str, str]:
    """An answer of MLflow's without the request it repeats, and its code; a trace goes to the log."""
    text = body.decode("utf-8", "replace")
    try:
        told = json.loads(text)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        return _short(text), ""
    if "stack_trace" in told:
        log.warning("a request was refused: %s", str(told["stack_trace"])[-4000:])
    message = str(told.get("message", told.get("detail", "")))
    return _short(message.rpartition("\nError: ")[2]), str(told.get("error_code", ""))


def _short(text: str, most: int = 500) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[:most]} ..."
