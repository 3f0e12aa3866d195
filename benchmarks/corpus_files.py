"""Files that are broken or hostile among images and masks, each with what must come of it: `benchmarks.corpus` tries
them."""

import io
import json
import os
import pickle
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from benchmarks import garbage
from benchmarks.garbage import encoded, one_strip, png, retagged, tiff

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
