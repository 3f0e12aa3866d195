"""Broken and hostile data sets, each with what must come of it: one line that names the file, or a harmless reading.

    python -m benchmarks.corpus

Every case is made in a folder of its own, opened as `check` and training open it, and looked at: the line must be one,
nothing may be written beside the cache, and nothing may take longer than LONGEST.
"""

import io
import json
import os
import pickle
import re
import struct
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import imagecodecs
import numpy as np
import tifffile
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks import garbage
from benchmarks.garbage import encoded, one_strip, png, retagged, tiff
from unetlab.cli.base import OneLineErrors
from unetlab.data import open_dataset
from unetlab.data.check import check
from unetlab.errors import UserError

LONGEST = 20.0
"""Seconds."""

GREY = np.arange(48 * 40, dtype=np.uint16).reshape(48, 40).astype(np.uint8)
COLOUR = np.dstack([GREY, GREY[::-1], GREY[:, ::-1]])
MASK = (GREY > 99).astype(np.uint8) * 255
NOISE = np.random.default_rng(0).integers(0, 256, (48, 40), dtype=np.uint8)
STACK = np.stack([GREY, GREY[::-1], GREY])


@dataclass(frozen=True)
class Case:
    """A data set and what must come of it.

    Args:
        make: writes it into a folder, and returns the path to open if that is not the folder.
        said: what the one line must hold, as a regular expression; "" where all is read.
        reading: options of reading.
    """

    make: Callable[[Path], Path | None]
    said: str = ""
    reading: tuple[tuple[str, str], ...] = ()


def pairs(folder: Path) -> None:
    """Three images with masks, 0.png to 2.png."""
    for kind, image in (("images", GREY), ("masks", MASK)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for k in range(3):
            (folder / kind / f"{k}.png").write_bytes(encoded(np.roll(image, k, axis=0)))


def image(data: Callable[[], bytes], name: str = "0.png") -> Callable[[Path], None]:
    """Pairs whose first image is of other bytes."""
    return _first("images", data, name)


def tif(data: Callable[[], bytes]) -> Callable[[Path], None]:
    """Pairs whose first image is a TIFF of these bytes."""
    return _first("images", data, "0.tif")


def mask(data: Callable[[], bytes], name: str = "0.png") -> Callable[[Path], None]:
    """Pairs whose first mask is of other bytes."""
    return _first("masks", data, name)


def _first(kind: str, data: Callable[[], bytes], name: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        pairs(folder)
        (folder / kind / "0.png").unlink()
        (folder / kind / name).write_bytes(data())

    return make


def without(name: str) -> Callable[[Path], None]:
    """Pairs of which one file is missing."""

    def make(folder: Path) -> None:
        pairs(folder)
        (folder / name).unlink()

    return make


def with_folder(name: str) -> Callable[[Path], None]:
    """Pairs and a folder of one more image, or an empty one where its name is that of an image."""

    def make(folder: Path) -> None:
        pairs(folder)
        (folder / name).mkdir()
        if not name.endswith(".png"):
            (folder / name / "1.png").write_bytes(encoded(MASK))

    return make


def many_names(out: zipfile.ZipFile) -> None:
    """Names of nothing in a zip."""
    for k in range(5_000):
        out.writestr(f"x/{k}.txt", "")


def named(name: str | bytes) -> Callable[[Path], None]:
    """Pairs, and one more of a certain name, without its ending."""

    def make(folder: Path) -> None:
        pairs(folder)
        for kind, pixels in (("images", GREY[:, ::-1]), ("masks", MASK)):
            where = os.path.join(os.fsencode(folder), kind.encode(), os.fsencode(name) + b".png")
            with open(where, "wb") as out:
                out.write(encoded(pixels))

    return make


def broken(name: str) -> Callable[[Path], None]:
    """The same, of which the image is none, so that the name is in the error."""

    def make(folder: Path) -> None:
        named(name)(folder)
        (folder / "images" / f"{name}.png").write_bytes(b"nothing")

    return make


def with_text(name: str, text: str | bytes) -> Callable[[Path], None]:
    """Pairs beside a file of text."""

    def make(folder: Path) -> None:
        pairs(folder)
        (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)

    return make


def linked(kind: str, target: str) -> Callable[[Path], None]:
    """Pairs with one more image and mask, of which that of a kind is a link."""

    def make(folder: Path) -> None:
        named("link")(folder)
        (folder / kind / "link.png").unlink()
        outside = folder.parent / "outside"
        outside.mkdir()
        (outside / "image.png").write_bytes(encoded(GREY))
        (folder / kind / "link.png").symlink_to(target.format(outside=outside))

    return make


def looped(folder: Path) -> None:
    """Pairs in a folder with links that lead back to it, twice, so that ways through it double at each turn."""
    pairs(folder)
    for name in ("a", "b"):
        (folder / name).symlink_to(folder, target_is_directory=True)


def pipe(folder: Path) -> None:
    """Pairs of which one image is a pipe that nobody writes to."""
    pairs(folder)
    (folder / "images" / "0.png").unlink()
    os.mkfifo(folder / "images" / "0.png")


def zipped(change: Callable[[zipfile.ZipFile], None] = lambda out: None, **settings: int) -> Callable[[Path], Path]:
    """Pairs in a zip, after a change."""

    def make(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "data.zip"
        with zipfile.ZipFile(path, "w", **settings) as out:  # type: ignore[call-overload]  # keywords of its own
            for kind, pixels in (("images", GREY), ("masks", MASK)):
                for k in range(3):
                    out.writestr(f"{kind}/{k}.png", encoded(np.roll(pixels, k, axis=0)))
            change(out)
        return path

    return make


def entry(name: str) -> Callable[[Path], Path]:
    """Pairs in a zip with one more name in it."""
    return zipped(lambda out: out.writestr(name, encoded(GREY)))


def patched(find: bytes, put: bytes, every: bool = True) -> Callable[[Path], Path]:
    """Pairs in a zip in which bytes are changed."""

    def make(folder: Path) -> Path:
        path = zipped()(folder)
        data = path.read_bytes()
        path.write_bytes(data.replace(find, put) if every else data.replace(find, put, 1))
        return path

    return make


def whole_zip(data: bytes) -> Callable[[Path], Path]:
    """A file that is called a zip."""

    def make(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "data.zip").write_bytes(data)
        return folder / "data.zip"

    return make


def sized(size: int) -> Callable[[Path], Path]:
    """Pairs in a zip whose first image claims another size once it is unpacked."""

    def make(folder: Path) -> Path:
        path = zipped()(folder)
        data = bytearray(path.read_bytes())
        at = data.index(b"PK\1\2")
        struct.pack_into("<I", data, at + 24, size)
        path.write_bytes(bytes(data))
        return path

    return make


def locked(folder: Path) -> Path:
    """Pairs in a zip whose entries say that they want a password."""
    path = zipped()(folder)
    data = bytearray(path.read_bytes())
    for sign, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        for found in re.finditer(re.escape(sign), bytes(data)):
            data[found.start() + at] |= 1
    path.write_bytes(bytes(data))
    return path


def misnamed(folder: Path) -> Path:
    """Pairs in a zip whose names claim to be UTF-8 and are not."""
    path = zipped(lambda out: out.writestr("images/é.png", b""))(folder)
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xe9\xff"))
    return path


def chunk(name: bytes, body: bytes) -> bytes:
    """A PNG with one more chunk before its pixels."""
    data = encoded(GREY)
    at = data.index(b"IDAT") - 4
    return (
        data[:at] + struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) + data[at:]
    )


def pasted(data: bytes, find: bytes, put: bytes) -> bytes:
    """Bytes with others of the same length in place of some."""
    assert find in data and len(find) == len(put), find
    return data.replace(find, put)


def ome(find: bytes = b"", put: bytes = b"", xml: str = "") -> bytes:
    """An OME-TIFF whose XML was changed, or is another."""
    if xml:
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, STACK, photometric="minisblack", metadata=None, description=xml)
        return buffer.getvalue()
    return pasted(tiff(STACK, photometric="minisblack", ome=True, metadata={"axes": "ZYX"}), find, put)


LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE OME ['
    + '<!ENTITY l0 "ha">'
    + "".join(f'<!ENTITY l{k} "{f"&l{k - 1};" * 10}">' for k in range(1, 10))
    + ']><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image>&l9;</Image></OME>'
)

ELSEWHERE = (
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
    '<Pixels DimensionOrder="XYZCT" Type="uint8" SizeX="40" SizeY="48" SizeZ="3" SizeC="1" SizeT="1">'
    '<TiffData FirstZ="0" IFD="0"><UUID FileName="../outside/image.tif">urn:uuid:1</UUID></TiffData>'
    '<TiffData FirstZ="1" IFD="0"><UUID FileName="/etc/hostname">urn:uuid:2</UUID></TiffData>'
    "</Pixels></Image></OME>"
)


def tiled(side: int) -> bytes:
    """A small TIFF in a tile that says another size."""
    data = tiff(np.zeros((64, 64), np.uint8), tile=(64, 64), metadata=None, compression="zlib")
    return retagged(retagged(data, 322, side), 323, side)


def entries(count: int) -> bytes:
    """A TIFF whose directory has many entries of nothing."""
    return struct.pack("<2sHIH", b"II", 42, 8, count) + bytes(12 * count + 4)


def pages(*arrays: np.ndarray) -> bytes:
    """A TIFF of pages that need not be alike."""
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as out:
        for array in arrays:
            out.write(array, metadata=None, contiguous=False, photometric="rgb" if array.ndim == 3 else "minisblack")
    return buffer.getvalue()


def array(**changes: object) -> bytes:
    """What a Zarr array of version 2 says of itself, one chunk of bytes as they are."""
    told = {"shape": [48, 40], "chunks": [48, 40], "dtype": "|u1", "compressor": None, "filters": None}
    return json.dumps({"zarr_format": 2, **told, "order": "C", "fill_value": 0, **changes}).encode()


class Touch:
    """What a chunk unpickles to, if it is unpickled: a file."""

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return os.mkdir, ("unpickled",)


def zarred(told: bytes) -> Callable[[Path], None]:
    """Pairs whose first image is a Zarr; its chunk is a pickle that makes a folder."""

    def make(folder: Path) -> None:
        pairs(folder)
        (folder / "images" / "0.png").unlink()
        zarr = folder / "images" / "0.zarr"
        zarr.mkdir()
        (zarr / ".zarray").write_bytes(told)
        (zarr / "0.0").write_bytes(pickle.dumps(Touch()))

    return make


def elsewhere(folder: Path) -> None:
    """Pairs whose first image is a Zarr that says its image lies outside."""
    zarred(array())(folder)
    zarr, outside = folder / "images" / "0.zarr", folder.parent / "outside"
    outside.mkdir()
    (zarr / ".zarray").rename(outside / ".zarray")
    (outside / "0.0").write_bytes(GREY.tobytes())
    (zarr / ".zgroup").write_text('{"zarr_format": 2}')
    scales = [{"version": "0.4", "axes": [{"name": "y"}, {"name": "x"}], "datasets": [{"path": "../../../outside"}]}]
    (zarr / ".zattrs").write_text(json.dumps({"multiscales": scales}))


def jpeg(**settings: object) -> bytes:
    """A JPEG."""
    return encoded(GREY, "JPEG", **settings)


def palette() -> bytes:
    """A PNG of 256 colours."""
    buffer = io.BytesIO()
    coloured = Image.fromarray(GREY)
    coloured.putpalette(list(range(256)) * 3)
    coloured.save(buffer, format="PNG")
    return buffer.getvalue()


def cmyk() -> bytes:
    """A JPEG of four inks."""
    buffer = io.BytesIO()
    Image.fromarray(COLOUR).convert("CMYK").save(buffer, format="JPEG")
    return buffer.getvalue()


def separated() -> bytes:
    """A TIFF of four inks."""
    return tiff(np.dstack([COLOUR, GREY]), photometric="separated")


def rle_bomb() -> bytes:
    """A BMP of 20,000 pixels a side in runs of one colour, of which few are there."""
    head = struct.pack("<2sIHHI", b"BM", 1100, 0, 0, 1078)
    info = struct.pack("<IiiHHIIiiII", 40, 20_000, 20_000, 1, 8, 1, 0, 0, 0, 256, 0)
    return head + info + bytes(1024) + b"\xff\1" * 500


IMAGES = {
    "an empty file": Case(image(lambda: b""), r"images/0\.png: not a PNG"),
    "text": Case(image(lambda: b"hello" * 99), r"images/0\.png: not a PNG"),
    "HTML": Case(image(lambda: b"<html><script>alert(1)</script></html>"), r"images/0\.png: not a PNG"),
    "a PDF": Case(image(lambda: b"%PDF-1.7\n" * 9), r"images/0\.png: not a PNG"),
    "a GIF called PNG": Case(image(lambda: encoded(GREY, "GIF")), r"images/0\.png: not a PNG"),
    "a WebP called PNG": Case(image(lambda: encoded(GREY, "WEBP")), r"images/0\.png: not a PNG"),
    "a GIF": Case(image(lambda: encoded(GREY, "GIF"), "0.gif"), r"images/0\.gif is no PNG"),
    "a PNG's first bytes": Case(image(lambda: encoded(GREY)[:8]), r"images/0\.png: truncated or damaged"),
    "half a PNG": Case(image(lambda: encoded(NOISE)[:-400]), r"images/0\.png: truncated or damaged"),
    "a PNG with a wrong checksum": Case(
        image(lambda: pasted(encoded(GREY), b"IDATx", b"IDATy")), r"images/0\.png: truncated or damaged"
    ),
    "a PNG without pixels": Case(image(lambda: png(0, 5)), r"images/0\.png: "),
    "a PNG without data": Case(image(lambda: png(40, 48)), r"images/0\.png: truncated or damaged"),
    "a PNG of 2 billion rows": Case(image(lambda: png(9, 2**31 - 1)), r"images/0\.png: .*more than 100,000,000 pixels"),
    "a PNG bomb": Case(
        image(lambda: png(30_000, 30_000, 0, bytes(30_001 * 999))), r"images/0\.png: 30000 x 30000 pixels is more than"
    ),
    "a PNG of a colour type that is none": Case(image(lambda: png(40, 48, 9, GREY.tobytes())), r"images/0\.png: "),
    "half a PNG of 16 bits": Case(
        image(lambda: encoded(NOISE.astype(np.uint16) * 257)[:-300]), r"images/0\.png: truncated or damaged"
    ),
    "an animated PNG": Case(image(garbage.animated), r"images/0\.png: an animated PNG"),
    "a PNG with a bomb of text": Case(
        image(lambda: chunk(b"zTXt", b"key\0\0" + zlib.compress(bytes(50_000_000)))), r"images/0\.png: "
    ),
    "a PNG with a broken profile": Case(image(lambda: chunk(b"iCCP", b"name\0\0broken"))),
    "a PNG of a broken palette": Case(
        image(lambda: pasted(palette(), b"\0\0\3\0PLTE", b"\0\0\2\xffPLTE")), r"images/0\.png: truncated or damaged"
    ),
    "half a JPEG": Case(image(lambda: jpeg()[:500], "0.jpg"), r"images/0\.jpg: truncated or damaged"),
    "a JPEG of 65,000 pixels a side": Case(
        image(garbage.huge_jpeg, "0.jpg"), r"images/0\.jpg: .*more than 100,000,000"
    ),
    "a JPEG of 10,000 scans": Case(image(garbage.many_scans, "0.jpg"), r"images/0\.jpg: .*more than 100 scans"),
    "a JPEG of four inks": Case(image(cmyk, "0.jpg")),
    "a JPEG called PNG": Case(image(jpeg)),
    "a JPEG after which a script comes": Case(image(lambda: jpeg() + b"<?php system('id') ?>", "0.jpg")),
    "half a BMP": Case(image(lambda: encoded(GREY, "BMP")[:1200], "0.bmp"), r"images/0\.bmp: truncated or damaged"),
    "a BMP's first bytes": Case(image(lambda: b"BM", "0.bmp"), r"images/0\.bmp: truncated or damaged"),
    "a BMP in runs, a bomb": Case(image(rle_bomb, "0.bmp"), r"images/0\.bmp: .*more than 100,000,000 pixels"),
}

TIFFS = {
    "a TIFF's first bytes": Case(tif(lambda: b"II*\0"), r"images/0\.tif: truncated or damaged TIFF"),
    "a TIFF that begins beyond its end": Case(tif(lambda: b"II*\0\xff\xff\xff\x7f"), r"images/0\.tif: truncated or"),
    "half a TIFF": Case(tif(lambda: tiff(GREY)[:-900]), r"images/0\.tif: truncated or damaged"),
    "half a BigTIFF": Case(tif(lambda: tiff(GREY, bigtiff=True)[:90]), r"images/0\.tif: truncated or damaged"),
    "a TIFF without pages": Case(
        tif(lambda: struct.pack("<2sHI", b"II", 42, 0)), r"images/0\.tif: the TIFF holds no page"
    ),
    "a TIFF in a circle": Case(tif(garbage.circle), r"images/0\.tif: .*leads in a circle"),
    "a TIFF of 100,000 pages": Case(tif(garbage.long_chain), r"images/0\.tif: .*more than 65,536 pages"),
    "a TIFF of 65,535 empty entries": Case(tif(lambda: entries(65_535)), r"images/0\.tif: truncated or damaged TIFF"),
    "a TIFF of no rows": Case(tif(lambda: retagged(tiff(GREY), 257, 0)), r"images/0\.tif: the image has no pixels"),
    "a TIFF of too many rows": Case(tif(lambda: retagged(tiff(GREY), 257, 9_999)), r"images/0\.tif"),
    "a TIFF of 4 billion columns": Case(
        tif(lambda: one_strip(1, GREY.tobytes(), 48, 2**32 - 1)), r"images/0\.tif: .*more than 100,000,000 pixels"
    ),
    "a TIFF of 65,535 samples": Case(tif(lambda: retagged(tiff(GREY), 277, 65_535)), r"images/0\.tif"),
    "a TIFF of 65,535 samples, one chosen": Case(
        tif(lambda: retagged(tiff(np.zeros((999, 999), np.uint8)), 277, 65_535)),
        r"images/0\.tif: a page takes 65,403,.* bytes, more than",
        (("channels", "1"),),
    ),
    "a TIFF of 2 channels": Case(
        tif(lambda: tiff(np.dstack([GREY, GREY]), photometric="minisblack", planarconfig="contig")),
        r"images/0\.tif: it has 2 channels.*channels=1",
    ),
    "a TIFF of odd bits": Case(tif(lambda: retagged(tiff(GREY), 258, 77)), r"images/0\.tif: truncated or damaged"),
    "a TIFF of NaN": Case(tif(lambda: tiff(np.full((9, 9), np.nan, np.float32))), r"images/0\.tif: .*NaN or infinite"),
    "a TIFF of infinities": Case(
        tif(lambda: tiff(np.where(GREY > 9, np.inf, 1).astype(np.float32))), r"images/0\.tif: .*NaN or infinite"
    ),
    "a TIFF of 1e300": Case(tif(lambda: tiff(np.full((9, 9), 1e300))), r"images/0\.tif: .*values beyond"),
    "a TIFF of complex numbers": Case(
        tif(lambda: tiff(GREY.astype(np.complex64))), r"images/0\.tif: .*complex64 values"
    ),
    "a TIFF that unpacks to 100 MB": Case(
        tif(lambda: one_strip(8, zlib.compress(bytes(100_000_000), 1))), r"images/0\.tif: truncated or damaged"
    ),
    "a TIFF with a JPEG of 65,000 pixels a side": Case(
        tif(lambda: one_strip(7, garbage.huge_jpeg())), r"images/0\.tif: .*a part of it speaks of 65000 x 65000 pixels"
    ),
    "a TIFF with a JPEG of 10,000 scans": Case(
        tif(lambda: one_strip(7, garbage.many_scans())), r"images/0\.tif: a JPEG of more than 100 scans"
    ),
    "a TIFF with a JPEG 2000 of 6,000 pixels a side": Case(
        tif(lambda: one_strip(34712, bytes(imagecodecs.jpeg2k_encode(np.zeros((6_000, 6_000), np.uint8))))),
        r"images/0\.tif: .*a part of it speaks of 6000 x 6000 pixels",
    ),
    "a TIFF with a JPEG XL": Case(
        tif(lambda: one_strip(50002, bytes(imagecodecs.jpegxl_encode(GREY)))), r"images/0\.tif: .*compressed by JPEGXL"
    ),
    "a TIFF of an unknown codec": Case(tif(lambda: one_strip(777, b"abc")), r"images/0\.tif: "),
    "a TIFF in a tile of 60,000 pixels a side": Case(
        tif(lambda: tiled(60_000)), r"images/0\.tif: .*tiles of 60000 x 60000 pixels are larger than the image"
    ),
    "a TIFF of four inks": Case(tif(separated), r"images/0\.tif: its colours are SEPARATED"),
    "an ImageJ stack that lies": Case(
        tif(lambda: pasted(tiff(STACK, imagej=True), b"images=3", b"images=9")), r"images/0\.tif"
    ),
    "an OME-TIFF that lies": Case(tif(lambda: ome(b'SizeZ="3"', b'SizeZ="9"')), r"images/0\.tif: its OME-XML lies"),
    "an OME-TIFF of broken XML": Case(tif(lambda: ome(b"</OME>", b"</OM >")), r"images/0\.tif"),
    "an OME-TIFF of a billion laughs": Case(tif(lambda: ome(xml=LAUGHS)), r"images/0\.tif"),
    "an OME-TIFF of files elsewhere": Case(tif(lambda: ome(xml=ELSEWHERE)), r"images/0\.tif: .*several files"),
    "a stack of several sizes": Case(tif(lambda: pages(GREY, GREY[:20])), r"images/0\.tif: page 2 is 40 x 20 pixels"),
    "a stack of several kinds": Case(tif(lambda: pages(GREY, GREY.astype(np.uint16))), r"images/0\.tif"),
    "a stack called PNG": Case(
        image(lambda: pages(GREY, GREY)), r"images/0\.png: it holds 2 pages where one is wanted"
    ),
    "a stack beside a single mask": Case(tif(lambda: pages(GREY, GREY)), r"images/0\.tif has 2 pages and masks/0\.png"),
}

MASKS = {
    "an empty mask file": Case(mask(lambda: b""), r"masks/0\.png: not a PNG"),
    "half a mask": Case(mask(lambda: encoded(MASK)[:-30]), r"masks/0\.png: truncated or damaged"),
    "a mask of another size": Case(mask(lambda: encoded(MASK[:9])), r"masks/0\.png: the mask is 40 x 9 pixels"),
    "a mask bomb": Case(mask(lambda: png(20_000, 20_000)), r"masks/0\.png: 20000 x 20000 pixels is more than"),
    "a mask of NaN": Case(mask(lambda: tiff(np.full(GREY.shape, np.nan, np.float32)), "0.tif"), r"masks/0\.tif"),
    "a mask of fractions": Case(mask(lambda: tiff(GREY / np.float32(7)), "0.tif"), r"masks/0\.tif: .*whole numbers"),
    "a mask of negative numbers": Case(mask(lambda: tiff(-GREY.astype(np.int32)), "0.tif"), r"masks/0\.tif"),
    "a mask of complex numbers": Case(
        mask(lambda: tiff(GREY.astype(np.complex64)), "0.tif"), r"masks/0\.tif: .*whole numbers"
    ),
    "an image without a mask": Case(without("masks/1.png"), r"images/1\.png has no mask"),
    "a mask without an image": Case(without("images/1.png"), r"masks/1\.png has no image"),
    "a folder for a mask": Case(with_folder("masks/3.png")),
    "a folder below the masks": Case(with_folder("masks/x"), r"masks/x/1\.png lies too deep"),
}

NAMES = {
    "a name with spaces": Case(named(" a  b ")),
    "a name in other letters": Case(named("Zellkern-Ä-核-🔬")),
    "a name with a line end": Case(named("a\nb")),
    "a broken image whose name has a line end": Case(broken("a\nb"), r"images/a\\nb\.png: not a PNG"),
    "a broken image whose name moves the cursor": Case(broken("a\x1b[2Jb"), r"images/a\\x1b\[2Jb\.png: not a PNG"),
    "a name that looks like markup of the terminal": Case(named("[red][bold]x[nothing]")),
    "a name that looks like an option": Case(named("--help")),
    "a name with quotes and a script": Case(named("\"><script>alert(1)<'x")),
    "a name that is a formula": Case(named("=1+1,2")),
    "a name of 240 letters": Case(named("x" * 240)),
    "a name in no encoding": Case(named(b"a\xff\xfeb"), r"a\\udcff\\udcfeb\.png, which is no text in UTF-8"),
    "a name with backslashes": Case(named("..\\..\\up")),
    "two names that differ in their accents' code": Case(
        lambda folder: (named("é")(folder), named("e\u0301")(folder))[1],
        r"have the same name, its letters put together in two ways; rename one",
    ),
    "a hidden file": Case(named(".hidden")),
}

LINKS = {
    "a link to an image elsewhere": Case(linked("images", "{outside}/image.png")),
    "a link to nothing": Case(linked("images", "{outside}/nothing.png"), r"images/link\.png"),
    "a link to itself": Case(linked("images", "link.png"), r"images/link\.png"),
    "a link to a device without end": Case(linked("images", "/dev/zero"), r"images/link\.png.* no plain file"),
    "a mask that is a link to a folder": Case(linked("masks", "{outside}"), r"link"),
    "links that lead back to the folder": Case(looped),
    "a pipe that nobody writes to": Case(pipe, r"images/0\.png.* no plain file"),
}

ZIPS = {
    "no zip": Case(whole_zip(b"hello"), r"data\.zip is no readable zip"),
    "an empty zip": Case(whole_zip(b"PK\5\6" + bytes(18)), r"data\.zip holds no files"),
    "a zip's first bytes": Case(whole_zip(b"PK\3\4"), r"data\.zip is no readable zip"),
    "a name that leads out of the zip": Case(entry("../../evil.png"), r"'\.\./\.\./evil\.png', which leads out"),
    "an absolute name in a zip": Case(entry("/tmp/evil.png"), r"'/tmp/evil\.png', which leads out"),
    "a name with backslashes that leads out": Case(entry("..\\..\\evil.png"), r"which leads out"),
    "a name with a drive": Case(entry("C:\\evil.png"), r"which leads out"),
    "a name with a line end in a zip": Case(entry("images/a\nb.png"), r"images/a\\nb\.png has no mask"),
    "a name twice in a zip": Case(
        lambda folder: _quiet(zipped(lambda out: out.writestr("images/0.png", encoded(GREY))), folder)
    ),
    "a zip that wants a password": Case(locked, r"data\.zip: images/0\.png cannot be read"),
    "a zip of an unknown packing": Case(patched(b"\x14\0\0\0\0\0", b"\x14\0\0\0\x63\0"), r"data\.zip"),
    "a zip with a wrong checksum": Case(patched(b"IDATx", b"IDATy"), r"images/0\.png cannot be read"),
    "a zip entry smaller than it says": Case(sized(50_000_000)),
    "a zip entry of 4 GB that is not there": Case(sized(2**32 - 2)),
    "a zip entry of 100 MB of zeros": Case(
        zipped(lambda out: out.writestr("images/0.png", bytes(10**8)), compression=zipfile.ZIP_DEFLATED),
        r"images/0\.png",
    ),
    "a zip of a later version": Case(patched(b"PK\1\2\x14\3\x14\0", b"PK\1\2\x14\3\xff\0"), r"data\.zip"),
    "a zip whose names are in no encoding": Case(misnamed, r"data\.zip is no readable zip"),
    "a zip in a zip": Case(entry("images/more.zip")),
    "a link in a zip": Case(
        zipped(lambda out: out.writestr(_link_info(), "/etc/passwd")), r"images/9\.png has no mask"
    ),
    "5,000 names in a zip": Case(zipped(many_names)),
}

TABLES = {
    "classes.csv without columns": Case(
        with_text("masks/classes.csv", "a,b\n1,2\n"), r"classes\.csv must have the columns"
    ),
    "classes.csv of 65 classes": Case(
        with_text("masks/classes.csv", "value,name\n" + "".join(f"{k},c{k}\n" for k in range(1, 66))),
        r"classes\.csv has",
    ),
    "classes.csv of a number of many digits": Case(
        with_text("masks/classes.csv", f"value,name\n{'9' * 9999},x\n"), r"classes\.csv line 2"
    ),
    "classes.csv of no text": Case(with_text("masks/classes.csv", b"\xff\xfe\x00v"), r"classes\.csv is no text"),
    "classes.csv with zeros": Case(
        with_text("masks/classes.csv", "value,name\n1,a\0b\n"), r"masks/0\.png: .*undeclared value 255"
    ),
    "classes.csv of one endless field": Case(
        with_text("masks/classes.csv", "value,name\n1," + "x" * 200_000), r"classes\.csv is no table"
    ),
    "groups.csv without columns": Case(with_text("groups.csv", "a,b\n1,2\n"), r"groups\.csv"),
    "groups.csv of no text": Case(with_text("groups.csv", bytes(range(256))), r"groups\.csv"),
    "groups.csv of unknown images": Case(with_text("groups.csv", "id,group\nnobody,1\n"), r"groups\.csv"),
    "groups.csv of one endless field": Case(with_text("groups.csv", "id,group\n0," + "x" * 200_000), r"groups\.csv"),
}

OPTIONS = {
    "pages that are none": Case(
        pairs_only := (lambda folder: pairs(folder)), r"pages=1-\b.* is no choice", (("pages", "1-"),)
    ),
    "pages beyond any file": Case(pairs_only, r"pages=1-99999999999", (("pages", "1-99999999999"),)),
    "a page 0": Case(pairs_only, r"pages=0 is no choice", (("pages", "0"),)),
    "channels that are none": Case(pairs_only, r"channels=red is no choice", (("channels", "red"),)),
    "channels beyond any file": Case(pairs_only, r"there is no channel 99999999999", (("channels", "99999999999"),)),
    "a negative channel": Case(pairs_only, r"there is no channel", (("channels", "-1"),)),
    "a path with a zero": Case(lambda folder: Path("no\0where"), r"no folder or zip"),
    "a path that is a device": Case(lambda folder: Path("/dev/null"), r"/dev/null"),
    "a path of 5,000 letters": Case(lambda folder: Path("x" * 5_000), r"no folder or zip|too long"),
}

ZARRS = {
    "a Zarr of broken JSON": Case(zarred(b"{"), r"images/0\.zarr: "),
    "a Zarr of 10^12 pixels": Case(
        zarred(array(shape=[10**6, 10**6])), r"images/0\.zarr: .*more than 100,000,000 pixels"
    ),
    "a Zarr of no pixels": Case(zarred(array(shape=[0, 5])), r"images/0\.zarr: the image has no pixels"),
    "a Zarr of a billion channels": Case(
        zarred(array(shape=[10**9, 48, 40], chunks=[1, 48, 40])), r"images/0\.zarr|of one length"
    ),
    "a Zarr in one chunk of 10^12 pixels": Case(zarred(array(chunks=[10**6, 10**6])), r"images/0\.zarr: "),
    "a Zarr whose filter unpickles": Case(zarred(array(filters=[{"id": "pickle"}])), r"images/0\.zarr: "),
    "a Zarr whose compressor unpickles": Case(zarred(array(compressor={"id": "pickle"})), r"images/0\.zarr: "),
    "a Zarr of objects that unpickles": Case(
        zarred(array(dtype="|O", filters=[{"id": "pickle"}], fill_value=None)), r"images/0\.zarr: "
    ),
    "a Zarr of an unknown codec": Case(zarred(array(compressor={"id": "nothing"})), r"images/0\.zarr: "),
    "a Zarr whose image lies elsewhere": Case(elsewhere, r"images/0\.zarr: "),
}

CASES: dict[str, Case] = {**IMAGES, **TIFFS, **MASKS, **NAMES, **LINKS, **ZIPS, **TABLES, **OPTIONS, **ZARRS}


def _quiet(make: Callable[[Path], Path], folder: Path) -> Path:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of what is wanted here
        return make(folder)


def _link_info() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("images/9.png")
    info.external_attr = 0o120777 << 16
    return info


def outcome(case: Case, folder: Path) -> str:
    """What comes of a case made in a folder that is not there yet: the error's line, or how many images are read."""
    folder.mkdir(parents=True)
    path = case.make(folder) or folder
    try:
        dataset = open_dataset(str(path), **dict(case.reading))  # type: ignore[arg-type]  # texts all
        Console(file=io.StringIO()).print(check(dataset).table())
    except UserError as error:
        return str(error)
    return f"{len(dataset)} images read"


def fault(case: Case, folder: Path) -> str:
    """What is wrong with how a case is handled, "" if nothing is."""
    os.environ["UNETLAB_CACHE"] = str(folder.parent / "cache")  # as a case's files may be like another's
    started = time.monotonic()
    try:
        said = outcome(case, folder)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    took = time.monotonic() - started
    if took > LONGEST:
        return f"{took:.0f} seconds"
    if "\n" in said or not said.isprintable():
        return f"not one line: {said!r}"
    if not re.search(case.said or r"^\d+ images read$", said):
        return f"said {said!r}"
    if more := {path.name for path in folder.parent.iterdir()} - {folder.name, "cache", "outside"}:
        return f"wrote {', '.join(sorted(more))}"
    return ""


def handled(names: Iterator[str] | None = None) -> dict[str, str]:
    """Tries every case; what is wrong with each, "" for those that are handled."""
    found = {}
    for name in names or CASES:
        with tempfile.TemporaryDirectory() as parent:
            found[name] = fault(CASES[name], Path(parent) / "data")
    return found


@click.command(cls=OneLineErrors)
def main() -> int:
    """Hostile inputs, tried one by one."""
    started = time.monotonic()
    found = handled()
    faults = {name: why for name, why in found.items() if why}
    table = Table("hostile inputs", "handled", "seconds")
    table.add_row(str(len(found)), str(len(found) - len(faults)), f"{time.monotonic() - started:.0f}")
    console = Console()
    console.print(table)
    for name, why in faults.items():
        console.print(f"{name}: {why}", highlight=False, markup=False, soft_wrap=True)
    return 1 if faults else 0


if __name__ == "__main__":
    main()
