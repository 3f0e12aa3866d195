"""From encoded bytes to arrays and back, the same in training and in service.

This file travels inside every logged model, so it uses NumPy, Pillow and tifffile only and imports nothing of unetlab.
"""

import io

import numpy as np
import tifffile
from PIL import Image

MAX_PIXELS = 10_000 * 10_000
"""Larger images are refused before they are decoded; cut them into tiles."""

JPEG_NOISE = 63
"""Grey values up to this one are background in a JPEG mask."""


class PixelError(ValueError):
    """The bytes are no image that can be used; the message says why, in one line."""


def decode(data: bytes, page: int = 0) -> tuple[np.ndarray, str]:
    """Decodes PNG, JPEG, TIFF or BMP bytes; of a multi-page TIFF the page asked for, counted from 0.

    Returns the image as uint8 (height, width, channels), channels 1 or 3, and the mode it was stored in, such as
    "uint8 RGB" or "uint16 grey". Alpha is dropped; 16-bit and float images are mapped linearly from their own
    minimum and maximum to 0..255, since microscopes seldom use the whole range.

    Raises PixelError for bytes that are no image, truncated ones, and images of more than MAX_PIXELS pixels.
    """
    array, mode = _decode(data, as_mask=False, page=page)
    return _drop_equal_channels(to_uint8(array)), mode


def count_pages(data: bytes) -> int:
    """Pages of one shape in a TIFF, 1 for every other image. Raises PixelError for a TIFF that cannot be read."""
    if not _is_tiff(data):
        return 1
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as tiff:
            series = tiff.series[0]
            return max(1, int(np.prod(series.shape)) // max(1, int(np.prod(series.keyframe.shape))))
    except Exception as error:  # tifffile raises many types for broken files
        raise PixelError("truncated or damaged TIFF") from error


def decode_mask(data: bytes, page: int = 0) -> np.ndarray:
    """Decodes a mask as bool (height, width), by the rule of `decode_mask_and_levels`."""
    return decode_mask_and_levels(data, page)[0]


def decode_mask_and_levels(data: bytes, page: int = 0) -> tuple[np.ndarray, int]:
    """Decodes a mask as bool (height, width), and counts its different values; of a JPEG, which blurs them, 2 at most.

    A pixel is foreground if any of its stored colours is above 0; in a JPEG above JPEG_NOISE, as its compression
    strews small values around every edge. Alpha does not count; a palette mask is read by its index, since the colours
    of classes are a matter of taste. Raises PixelError as `decode` does.
    """
    array, _ = _decode(data, as_mask=True, page=page)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise PixelError(f"the {array.dtype} mask holds NaN or infinite values; replace them first")
    highest = array.max(axis=2)
    if data.startswith(b"\xff\xd8"):
        highest = highest > JPEG_NOISE
    mask = highest > 0
    binary = bool((highest[mask] == highest.max()).all())  # most masks are: no sorting of all pixels then
    return mask, int(mask.any()) + int(not mask.all()) if binary else len(np.unique(highest))


def _is_tiff(data: bytes) -> bool:
    return data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def _decode(data: bytes, as_mask: bool, page: int) -> tuple[np.ndarray, str]:
    array, mode = _decode_tiff(data, as_mask, page) if _is_tiff(data) else _decode_pillow(data, as_mask)
    if array.size == 0:
        raise PixelError("the image has no pixels")
    return array, mode


def _decode_pillow(data: bytes, as_mask: bool) -> tuple[np.ndarray, str]:
    Image.MAX_IMAGE_PIXELS = None  # our own bound below reads better than Pillow's warning
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "BMP")) as image:
            _refuse_too_large(image.height, image.width)
            stored = image.mode
            if stored in ("1", "L", "LA"):
                return np.asarray(image.convert("L"))[:, :, None], f"uint8 {'grey+alpha' if stored == 'LA' else 'grey'}"
            if stored.startswith("I"):
                return np.asarray(image)[:, :, None], "uint16 grey"
            if stored == "P" and as_mask:
                return np.asarray(image)[:, :, None], "uint8 palette"
            return np.asarray(image.convert("RGB")), f"uint8 {'palette' if stored == 'P' else stored}"
    except PixelError:
        raise
    except Exception as error:  # Pillow raises many types for broken files
        reason = "truncated or damaged" if _looks_like_image(data) else "not a PNG, JPEG, TIFF or BMP image"
        raise PixelError(reason) from error


def _decode_tiff(data: bytes, as_mask: bool, number: int) -> tuple[np.ndarray, str]:
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as tiff:
            page = tiff.pages.first
            _refuse_too_large(page.imagelength, page.imagewidth)
            if number == 0 or len(tiff.pages) > 1:
                array = tiff.pages[number].asarray()
            else:  # ImageJ writes one header for a whole stack, whose pages follow each other
                array = _contiguous_page(data, tiff, number)
            if page.photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None and not as_mask:
                return (np.moveaxis(page.colormap, 0, -1)[array] // 257).astype(np.uint8), "uint8 palette"
            if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
                white = array.max() if array.dtype.kind == "f" else 2**page.bitspersample - 1
                array = ~array if array.dtype == bool else (white - array).astype(array.dtype)
            if array.ndim == 3 and page.planarconfig == tifffile.PLANARCONFIG.SEPARATE:
                array = np.moveaxis(array, 0, -1)
    except PixelError:
        raise
    except Exception as error:  # tifffile raises many types for broken files
        raise PixelError("truncated or damaged TIFF") from error
    if array.ndim == 2:
        return array[:, :, None], f"{array.dtype} grey"
    if array.ndim == 3 and array.shape[2] in (3, 4):
        return array[:, :, :3], f"{array.dtype} {'RGBA' if array.shape[2] == 4 else 'RGB'}"
    return array.reshape(*array.shape[:2], -1)[:, :, :1], f"{array.dtype} many channels"


def _contiguous_page(data: bytes, tiff: tifffile.TiffFile, number: int) -> np.ndarray:
    page, start = tiff.pages.first, tiff.series[0].dataoffset
    if page.dtype is None or start is None:
        raise PixelError("a TIFF stack whose pages cannot be told apart")
    stored = page.dtype.newbyteorder(tiff.byteorder)
    array = np.frombuffer(data, stored, page.size, start + number * page.nbytes)
    return array.reshape(page.shape).astype(page.dtype)


def _looks_like_image(data: bytes) -> bool:
    return data.startswith((b"\x89PNG", b"\xff\xd8\xff", b"BM"))


def _refuse_too_large(height: int, width: int) -> None:
    if height * width > MAX_PIXELS:
        raise PixelError(f"{width} x {height} pixels is more than {MAX_PIXELS:,} pixels; cut it into tiles")


def _drop_equal_channels(rgb: np.ndarray) -> np.ndarray:
    """Many grey micrographs are stored as RGB; keep one channel of those."""
    if rgb.shape[2] == 1:
        return rgb
    equal = np.array_equal(rgb[..., 0], rgb[..., 1]) and np.array_equal(rgb[..., 1], rgb[..., 2])
    return rgb[..., :1] if equal else rgb


def to_uint8(array: np.ndarray) -> np.ndarray:
    """Maps an image of any real dtype to uint8: uint8 and bool as they are, others from their own range to 0..255.

    Raises PixelError if a float image holds NaN or infinity.
    """
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype == bool:
        return array.astype(np.uint8) * 255
    values = array.astype(np.float32)
    if not np.isfinite(values).all():
        raise PixelError(f"the {array.dtype} image holds NaN or infinite values; replace them first")
    low, high = float(values.min()), float(values.max())
    return np.rint((values - low) * (255.0 / max(high - low, 1e-12))).astype(np.uint8)


def encode_mask(mask: np.ndarray) -> bytes:
    """bool (h, w) to a PNG of 0 and 255."""
    return encode_image(mask[:, :, None].astype(np.uint8) * 255)


def encode_image(image: np.ndarray) -> bytes:
    """uint8 (h, w, 1 or 3) to a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(buffer, format="PNG")
    return buffer.getvalue()


STACKS = {".tif", ".tiff"}
ENDINGS = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"}


class Pages:
    imagej = False

    def __init__(self, data, path=None):
        from pathlib import Path

        self.data = data if isinstance(data, bytes) else Path(data).read_bytes()
        self.imagej = b"ImageJ=" in self.data[:4000]
        self.count = count_pages(self.data)
        self.lossy = self.data.startswith(b"\xff\xd8")
        _, self.mode = _decode(self.data, False, 0)
        self.palette = None
        if "palette" in self.mode:
            p = Image.open(io.BytesIO(self.data)).getpalette()
            self.palette = np.array(p, np.uint8).reshape(-1, 3)

    def read(self, page):
        return _decode(self.data, True, page)[0]

    def close(self):
        pass


def open_pages(source, channels="", pages="all"):
    return Pages(source)


def image_of(pages, page):
    return decode(pages.data, page)[0]


def encode_labels(labels):
    buffer = io.BytesIO()
    Image.fromarray(labels).save(buffer, format="PNG")
    return buffer.getvalue()
