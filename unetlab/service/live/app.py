"""The page and what it asks for, on FastAPI: frames in, planes out.

A frame comes as a canvas holds it (/pixels), as an image file that was dropped onto the page (/file), or is one that
this process reads itself (/frame). The answer's header X-Answer is JSON; its body is the plane, a byte a pixel, and
before it the pixels as a canvas holds them where the page does not have them.
"""

import asyncio
import json
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.middleware.trustedhost import TrustedHostMiddleware

from unetlab.images import codecs
from unetlab.images.codecs import PixelError
from unetlab.images.palette import colours
from unetlab.inference import guard
from unetlab.inference.predict import Predictor
from unetlab.service.live import frame
from unetlab.service.live.source import Camera, Film, Frames, Source, pixels_of

PAGE = Path(__file__).parent / "page"

HOSTS = ("127.0.0.1", "localhost")

AT_ONCE = 2
"""Frames that are worked on at a time: while the network looks at one, the next is decoded."""

MOST_WAITING = 8
"""Frames that may wait for that; a page sends two at most, so that only many pages wait at all."""

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}

Threshold = Annotated[float | None, Query(ge=0, le=1)]
Side = Annotated[int, Query(ge=1)]
Number = Annotated[int, Query(ge=0)]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Live:
    """What a page shows.

    Args:
        predictor: that answers.
        model: how it is called.
        source: where frames come from at first; None: the page waits to be given some.
        source_name: what the page calls it.
        channels: which channels make an image of files that are dropped.
        threshold: that the page begins with, None for the model's own.
        classes: names of those that the model tells apart, none where it finds one mask.
    """

    predictor: Predictor
    model: str
    source: Source | None
    source_name: str = ""
    channels: str = ""
    threshold: float | None = None
    classes: Sequence[str] = ()


class Door:
    """ASGI middleware: pages of other origins are turned away, and every answer says what its page may do."""

    def __init__(self, app: Callable[[guard.Message, guard.Receive, guard.Send], Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: guard.Message, receive: guard.Receive, send: guard.Send) -> None:
        """Answers 403 to what a page of another origin asks for, or passes the request on."""

        async def sent(message: guard.Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in HEADERS.items())]
            await send(message)

        if scope["type"] == "http" and foreign(scope):
            refusal = JSONResponse({"message": "this page is of another origin; open the address of live itself"}, 403)
            await refusal(scope, receive, sent)
            return
        await self.app(scope, receive, sent)


def foreign(scope: guard.Message) -> bool:
    """Whether a page of another origin asks. A link to the page is none: the browser then shows ours in its place."""
    origin, site = guard.told(scope, "origin"), guard.told(scope, "sec-fetch-site")
    if guard.told(scope, "sec-fetch-mode") == "navigate" and scope["method"] == "GET":
        return False
    return (bool(origin) and origin != f"http://{guard.told(scope, 'host')}") or site not in ("", "none", "same-origin")


def make_app(live: Live) -> FastAPI:
    """The application. Raises MlflowException for limits in the environment that are none, as `guard.limit` does."""
    desk = Desk(live, guard.limit("UNETLAB_MAX_BYTES"), guard.limit("UNETLAB_MAX_PIXELS"))
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)  # whose pages ask other machines for their scripts
    app.state.desk = desk
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS))
    app.add_middleware(Door)

    @app.exception_handler(guard.Refused)
    def _refused(_: Request, error: guard.Refused) -> Response:
        return JSONResponse({"message": error.message}, error.status)

    @app.exception_handler(PixelError)
    def _no_image(_: Request, error: PixelError) -> Response:
        return JSONResponse({"message": str(error)}, 400)

    @app.exception_handler(RequestValidationError)
    def _no_request(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return JSONResponse({"message": f"{first['loc'][-1]}: {first['msg']}"}, 400)

    @app.exception_handler(Exception)
    def _failed(_: Request, error: Exception) -> Response:
        return JSONResponse({"message": "the server failed; its log says why"}, 500, HEADERS)

    @app.get("/about")
    def about() -> dict[str, Any]:
        return desk.about()

    @app.get("/film")
    def film() -> Response:
        if not isinstance(live.source, Film):
            raise guard.Refused(404, "the source is no film")
        return FileResponse(live.source.path)

    @app.post("/pixels")
    async def pixels(request: Request, width: Side, height: Side, threshold: Threshold = None) -> Response:
        body = await desk.body(request)
        return await desk.answer(lambda: desk.canvas(body, width, height), threshold, held=True)

    @app.post("/file")
    async def file(request: Request, page: Number = 0, threshold: Threshold = None) -> Response:
        body = await desk.body(request)
        return await desk.answer(lambda: desk.page(body, page), threshold)

    @app.post("/frame")
    async def given(number: Number, threshold: Threshold = None) -> Response:
        return await desk.answer(lambda: desk.given(number), threshold)

    app.mount("/", StaticFiles(directory=PAGE, html=True))
    return app


def legend(names: Sequence[str]) -> list[dict[str, str]]:
    """Names of classes with their colours, in the order of their indices from 1; none where there is one mask."""
    shades = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in colours(len(names))[1:].tolist()]
    return [{"name": name, "colour": shade} for name, shade in zip(names, shades, strict=True)]


Read = Callable[[], tuple[np.ndarray, dict[str, Any]]]
"""Gives an image, uint8 (h, w, 1 or 3), and what there is to say of it."""


class Desk:
    """Where frames are answered.

    Args:
        live: whose.
        most_bytes, most_pixels: of a frame.
    """

    def __init__(self, live: Live, most_bytes: int, most_pixels: int) -> None:
        recipe = live.predictor.recipe
        larger = max(1.0, recipe.scale) ** 2 if recipe.view == "patches" else 1.0  # as the network sees them
        self.live, self.most_bytes, self.most_pixels = live, most_bytes, int(most_pixels / larger)
        self.threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="frame")
        self.under_way = 0
        self.name = secrets.token_hex(8)  # a page that is still open knows by it that live was started anew

    def about(self) -> dict[str, Any]:
        """What the page has to know before its first frame."""
        source, recipe = self.live.source, self.live.predictor.recipe
        kind = {Frames: "frames", Film: "film", Camera: "camera"}.get(type(source), "")
        count = len(source) if isinstance(source, Frames) else 0
        return {
            "desk": self.name,
            "model": self.live.model,
            "view": recipe.view,
            "size": recipe.image_size,
            "own_threshold": recipe.threshold,
            "threshold": self.live.threshold,
            "source": {"kind": kind, "count": count, "name": self.live.source_name},
            "most_bytes": self.most_bytes,
            "outline": frame.OUTLINE,
            "classes": legend(self.live.classes),
        }

    async def body(self, request: Request) -> bytes:
        """A request's body. Raises Refused for one too large or too slow, or whose sender has gone."""
        body = await guard.body_of(request.scope, request.receive, self.most_bytes)
        if body is None:
            raise guard.Refused(400, "the frame did not arrive")
        return body

    def canvas(self, body: bytes, width: int, height: int) -> tuple[np.ndarray, dict[str, Any]]:
        """The frame that a canvas held: red, green, blue and alpha of each pixel."""
        if width * height > self.most_pixels:
            raise guard.Refused(
                413, f"{width} x {height} pixels is more than {self.most_pixels:,}; send smaller frames"
            )
        if len(body) != width * height * 4:
            raise guard.Refused(
                400, f"{width} x {height} pixels take {width * height * 4} bytes. Received: {len(body)}"
            )
        four = np.frombuffer(body, np.uint8).reshape(height, width, 4)
        return np.ascontiguousarray(four[..., :3]), {}

    def page(self, body: bytes, page: int) -> tuple[np.ndarray, dict[str, Any]]:
        """A page of an image file, counted from 0."""
        with codecs.open_pages(body, self.live.channels) as opened:
            return pixels_of(opened, page, self.most_pixels), {"pages": opened.count}

    def given(self, number: int) -> tuple[np.ndarray, dict[str, Any]]:
        """A frame of the source."""
        source = self.live.source
        if not isinstance(source, Frames) or number >= len(source):
            raise guard.Refused(404, f"there is no frame {number + 1}")
        try:
            return source.read(number, self.most_pixels), {"name": source.name(number)}
        except PixelError as error:
            raise PixelError(f"{source.name(number)}: {error}") from error

    async def answer(self, read: Read, threshold: float | None, held: bool = False) -> Response:
        """Reads and answers a frame in a thread.

        Args:
            read: gives the frame.
            threshold: None for the model's own.
            held: whether the page has its pixels.

        Raises Refused where too many wait already.
        """
        if self.under_way >= AT_ONCE + MOST_WAITING:
            raise guard.Refused(503, "too many frames at a time; close other pages of live")
        self.under_way += 1
        try:
            clock = frame.Clock()
            return await asyncio.get_running_loop().run_in_executor(
                self.threads, self._answered, read, threshold, held, clock
            )
        except asyncio.CancelledError:  # by a server that has waited long enough; it would log a traceback
            return JSONResponse({"message": "live has ended"}, 503)
        finally:
            self.under_way -= 1

    def close(self) -> None:
        """Leaves out what waits; what a thread works on it ends."""
        self.threads.shutdown(wait=False, cancel_futures=True)

    def _answered(self, read: Read, threshold: float | None, held: bool, clock: frame.Clock) -> Response:
        clock.step("wait")
        image, said = read()
        clock.step("decode")
        found = frame.segment(self.live.predictor, image, threshold)
        clock.step("model")
        plane = frame.plane_of(found)
        body = plane.tobytes() if held else frame.rgba(image).tobytes() + plane.tobytes()
        clock.step("encode")
        height, width = plane.shape
        said |= {
            "width": width,
            "height": height,
            "held": held,
            "desk": self.name,
            **frame.said_of(found, len(self.live.classes)),
            "ms": clock.steps,
        }
        return Response(body, media_type="application/octet-stream", headers={"x-answer": json.dumps(said)})
