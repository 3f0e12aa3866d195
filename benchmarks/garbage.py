"""Requests that are none: what `benchmarks.requests` sends a served model between good ones, by kind."""

import base64
import io
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tifffile
from PIL import Image

JSON = {"Content-Type": "application/json"}

MEGABYTES = 200
"""Of the requests that are too large."""


@dataclass(frozen=True)
class Request:
    """What is sent.

    Args:
        body: bytes, or parts of them that are sent one by one without saying how many there are.
        headers: of the request.
        breaks_off: whether the client goes away in the middle of the body.
    """

    body: bytes | Callable[[], Iterator[bytes]]
    headers: dict[str, str] = field(default_factory=lambda: dict(JSON))
    breaks_off: bool = False


def told(value: Any) -> Request:
    """A value as JSON."""
    return Request(json.dumps(value).encode())


def rows(*images: bytes, **more: Any) -> Request:
    """Images as the model wants them."""
    data = [[base64.b64encode(image).decode()] for image in images]
    return told({"dataframe_split": {"columns": ["image"], "data": data}, **more})


def png(width: int, height: int, kind: int = 0, data: bytes = b"") -> bytes:
    """A PNG that says a size, whatever it holds."""
    head = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(data)), (b"IEND", b""))
    parts = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def encoded(image: np.ndarray, form: str = "PNG", **settings: Any) -> bytes:
    """An image's bytes by Pillow."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format=form, **settings)
    return buffer.getvalue()


def tiff(image: np.ndarray, **settings: Any) -> bytes:
    """An image's bytes by tifffile."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, image, **settings)
    return buffer.getvalue()


def circle() -> bytes:
    """A TIFF whose chain of pages leads back to its first."""
    data = bytearray(tiff(GREY, metadata=None))
    start = struct.unpack_from("<I", data, 4)[0]
    entries = struct.unpack_from("<H", data, start)[0]
    struct.pack_into("<I", data, start + 2 + 12 * entries, start)
    return bytes(data)


def long_chain(pages: int = 100_000) -> bytes:
    """A TIFF of many pages, each of a pixel."""
    entries = ((256, 4, 1, 1), (257, 4, 1, 1), (258, 4, 1, 8), (262, 4, 1, 1), (273, 4, 1, 8), (279, 4, 1, 1))
    size, parts = 2 + 12 * len(entries) + 4, [struct.pack("<2sHI4x", b"II", 42, 12)]
    for page in range(pages):
        tags = b"".join(struct.pack("<HHII", *entry) for entry in entries)
        after = 12 + (page + 1) * size if page + 1 < pages else 0
        parts.append(struct.pack("<H", len(entries)) + tags + struct.pack("<I", after))
    return b"".join(parts)


def one_strip(compression: int, strip: bytes, height: int = 100, width: int = 100) -> bytes:
    """A grey TIFF of 8 bits with one strip, compressed as it says."""
    entries = [(256, width), (257, height), (258, 8), (259, compression), (262, 1), (273, 0), (277, 1), (278, height)]
    entries.append((279, len(strip)))
    start = 8 + 2 + 12 * len(entries) + 4
    tags = [struct.pack("<HHII", tag, 4, 1, start if tag == 273 else value) for tag, value in entries]
    return struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + b"".join(tags) + bytes(4) + strip


def huge_jpeg(side: int = 65_000) -> bytes:
    """A JPEG of 16 x 16 pixels that speaks of many more."""
    data = bytearray(encoded(GREY[:16, :16], "JPEG"))
    struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, side, side)
    return bytes(data)


def many_scans(scans: int = 10_000) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    data = encoded(GREY, "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * scans + data[-2:]


def retagged(data: bytes, tag: int, value: int) -> bytes:
    """A little-endian TIFF whose first page says another value of a tag."""
    changed = bytearray(data)
    start = struct.unpack_from("<I", changed, 4)[0]
    for at in range(start + 2, start + 2 + 12 * struct.unpack_from("<H", changed, start)[0], 12):
        number, kind = struct.unpack_from("<HH", changed, at)
        if number == tag:
            struct.pack_into("<I" if kind == 4 else "<H", changed, at + 8, value)
    return bytes(changed)


def zeros(megabytes: int = MEGABYTES) -> Iterator[bytes]:
    """Many bytes, one MiB at a time."""
    for _ in range(megabytes):
        yield b"0" * 2**20


def animated() -> bytes:
    """A PNG of several frames."""
    frames = [Image.fromarray(np.roll(GREY, k)) for k in range(3)]
    buffer = io.BytesIO()
    frames[0].save(buffer, format="PNG", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


GREY = np.arange(40 * 50, dtype=np.uint8).reshape(40, 50)
GOOD = encoded(GREY)
SPLIT = {"columns": ["image"], "data": [[base64.b64encode(GOOD).decode()]]}

GARBAGE: dict[str, Callable[[], Request]] = {
    "empty body": lambda: Request(b""),
    "not JSON": lambda: Request(b"\x89PNG\r\n\x1a\n" * 20),
    "not UTF-8": lambda: Request(b'{"dataframe_split": "\xff\xfe\xc3"}'),
    "half of a JSON": lambda: Request(json.dumps({"dataframe_split": SPLIT}).encode()[:-40]),
    "a list": lambda: told([1, 2]),
    "null": lambda: told(None),
    "a number": lambda: told(7),
    "nested deep": lambda: Request(b'{"inputs": ' + b"[" * 50_000 + b"]" * 50_000 + b"}"),
    "nested somewhat": lambda: Request(b'{"inputs": ' + b"[" * 500 + b"]" * 500 + b"}"),
    "many values": lambda: Request(b'{"inputs": [' + b"{}," * 2_000_000 + b"{}]}"),
    "a number of many digits": lambda: Request(b'{"inputs": ' + b"9" * 10_000 + b"}"),
    "a lone surrogate": lambda: Request(b'{"dataframe_split": {"columns": ["\\ud800"], "data": [["\\udfff"]]}}'),
    "no format": lambda: told({"image": SPLIT}),
    "two formats": lambda: told({"dataframe_split": SPLIT, "inputs": ["a"]}),
    "wrong column": lambda: told({"dataframe_split": {**SPLIT, "columns": ["picture"]}}),
    "another column": lambda: told({"dataframe_split": {"columns": ["image", "x"], "data": [["", 1]]}}),
    "no data": lambda: told({"dataframe_split": {"columns": ["image"]}}),
    "rows of several lengths": lambda: told({"dataframe_split": {"columns": ["image"], "data": [["a"], ["a", "b"]]}}),
    "records that are none": lambda: told({"dataframe_records": [1, "two", None]}),
    "instances of numbers": lambda: told({"instances": [[1.0, 2.0], [3.0]]}),
    "inputs that are a path": lambda: told({"inputs": "/etc/passwd"}),
    "a number for an image": lambda: told({"dataframe_split": {"columns": ["image"], "data": [[10**15]]}}),
    "null for an image": lambda: told({"dataframe_split": {"columns": ["image"], "data": [[None]]}}),
    "a list for an image": lambda: told({"dataframe_split": {"columns": ["image"], "data": [[["a"]]]}}),
    "not base64": lambda: told({"dataframe_split": {"columns": ["image"], "data": [["~!@#$%^&*()"]]}}),
    "an address for an image": lambda: told(
        {"dataframe_split": {"columns": ["image"], "data": [["file:///etc/passwd"]]}}
    ),
    "text for an image": lambda: rows(b"hello"),
    "no bytes for an image": lambda: rows(b""),
    "a good row and a bad one": lambda: rows(GOOD, b"hello"),
    "half a PNG": lambda: rows(GOOD[: len(GOOD) // 2]),
    "a PNG without a pixel": lambda: rows(png(0, 5)),
    "a PNG of 2 billion rows": lambda: rows(png(5, 2**31 - 1)),
    "a PNG bomb": lambda: rows(png(30_000, 30_000, 0, bytes(30_001 * 1_000))),
    "a PNG above the server's pixels": lambda: rows(png(5_001, 5_000)),
    "an animated PNG": lambda: rows(animated()),
    "a GIF": lambda: rows(encoded(GREY, "GIF")),
    "half a JPEG": lambda: rows(encoded(GREY, "JPEG")[:300]),
    "half a TIFF": lambda: rows(tiff(GREY)[:-500]),
    "a TIFF in a circle": lambda: rows(circle()),
    "a TIFF that unpacks to 100 MB": lambda: rows(one_strip(8, zlib.compress(bytes(100_000_000), 1))),
    "a TIFF with a JPEG of 65,000 pixels a side": lambda: rows(one_strip(7, huge_jpeg())),
    "a JPEG of 65,000 pixels a side": lambda: rows(huge_jpeg()),
    "a JPEG of 10,000 scans": lambda: rows(many_scans()),
    "a TIFF of a wrong size": lambda: rows(retagged(tiff(GREY, metadata=None), 257, 4_000)),
    "a TIFF of NaN": lambda: rows(tiff(np.full((9, 9), np.nan, np.float32))),
    "a TIFF of complex numbers": lambda: rows(tiff(np.ones((9, 9), np.complex64))),
    "a stack": lambda: rows(tiff(np.stack([GREY] * 3), photometric="minisblack")),
    "a page that is not there": lambda: rows(GOOD, params={"pages": "9"}),
    "channels that are none": lambda: rows(GOOD, params={"channels": "red"}),
    "a threshold above 1": lambda: rows(GOOD, params={"threshold": 7.0}),
    "a threshold that is infinite": lambda: Request(
        json.dumps({"dataframe_split": SPLIT, "params": {"threshold": 1.0}}).encode().replace(b"1.0", b"1e999")
    ),
    "a threshold that is text": lambda: rows(GOOD, params={"threshold": "half"}),
    "params that are a list": lambda: rows(GOOD, params=[1, 2]),
    "no content type": lambda: Request(json.dumps({"dataframe_split": SPLIT}).encode(), {}),
    "a table as CSV": lambda: Request(b"image\nabc\n", {"Content-Type": "text/csv"}),
    "a table as Parquet": lambda: Request(b"PAR1" * 50, {"Content-Type": "application/vnd.apache.parquet"}),
    "another charset": lambda: Request(b"{}", {"Content-Type": "application/json; charset=latin-1"}),
    "a client that goes away": lambda: Request(b'{"dataframe_split": ' + b" " * 10_000, breaks_off=True),
}
"""Kinds of garbage, each made anew."""

LARGE: dict[str, Callable[[], Request]] = {
    "a TIFF of 100,000 pages": lambda: rows(long_chain()),
    f"{MEGABYTES} MB": lambda: Request(b"0" * (MEGABYTES * 2**20)),
    f"{MEGABYTES} MB in parts": lambda: Request(zeros, {**JSON, "Transfer-Encoding": "chunked"}),
}
"""Those that take a while to send, and so come less often."""
