"""PNG, JPEG and BMP: one image a file, a photograph the way up that its camera says (EXIF's orientation)."""

import io
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from .axes import choose_channels, choose_pages, words
from .contract import Pages, PixelError, refuse_scans, refuse_size

ON_ITS_SIDE = (5, 6, 7, 8)
"""Orientations in which height and width of the stored pixels are those of the picture exchanged."""

MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM")


class Raster(Pages):
    """An image that Pillow opens; PNG of 16 bits, which it cuts to 8, by way of imagecodecs.

    Raises PixelError for what is none, for an animated PNG, and for more than MAX_PIXELS.
    """

    def __init__(self, source: bytes | Path, channels: str = "", pages: str = "all") -> None:
        self.data = source if isinstance(source, bytes) else source.read_bytes()
        Image.MAX_IMAGE_PIXELS = None  # our own bound reads better than Pillow's warning
        try:
            self.image = Image.open(io.BytesIO(self.data), formats=("PNG", "JPEG", "BMP"))
            frames = getattr(self.image, "n_frames", 1) if self.image.format == "PNG" else 1
        except Exception as error:  # Pillow raises many types for broken files
            raise PixelError("truncated or damaged") from error
        refuse_size(self.image.height, self.image.width)
        if frames > 1:
            raise PixelError("an animated PNG; save its frames as single images or as a TIFF stack")
        self.deep = self.image.format == "PNG" and self.data[24] == 16
        if lossy := self.data.startswith(b"\xff\xd8"):
            refuse_scans(self.data)
        try:
            size, (mode, palette) = (self.image.height, self.image.width), self._kind()
            if lossy and self.image.getexif().get(ExifTags.Base.Orientation) in ON_ITS_SIDE:
                size = size[::-1]
        except Exception as error:  # likewise, of a palette
            raise PixelError("truncated or damaged") from error
        super().__init__(
            choose_pages(pages, 1), size, mode, palette, lossy, weight=size[0] * size[1] * (8 if self.deep else 4)
        )
        colours = 1 if palette is not None or mode.split()[1].startswith("grey") else 3
        self.chosen = choose_channels(channels, colours)
        if channels not in ("", "pages"):
            self.mode = f"{mode.split()[0]} {words(self.chosen)}"

    def _kind(self) -> tuple[str, np.ndarray | None]:
        """The stored mode, and the colours of a palette."""
        stored = self.image.mode
        if self.deep:
            return f"uint16 {('grey', '', 'RGB', '', 'grey+alpha', '', 'RGBA')[self.data[25]]}", None
        if stored in ("1", "L", "LA"):
            return f"uint8 {'grey+alpha' if stored == 'LA' else 'grey'}", None
        if stored == "P":
            colours = np.zeros((256, 3), np.uint8)
            listed = np.array(self.image.getpalette("RGB"), np.uint8).reshape(-1, 3)
            colours[: len(listed)] = listed
            return "uint8 palette", colours
        return f"uint8 {stored}", None

    def _read(self, page: int) -> np.ndarray:
        return self._whole()[:, :, list(self.chosen)]

    def _read_mask(self, page: int) -> np.ndarray:
        """As stored: Pillow gives grey of 2 or 4 bits in the shades of 8."""
        found, bits, grey = self._read(page), self.data[24], self.data[25] == 0
        stored = self.image.format == "PNG" and grey and bits in (2, 4)
        return found // np.uint8(255 // (2**bits - 1)) if stored else found

    def _whole(self) -> np.ndarray:
        if self.deep:
            import imagecodecs

            array = np.asarray(imagecodecs.png_decode(self.data))
            array = array[:, :, None] if array.ndim == 2 else array
            return array[:, :, : 3 if array.shape[2] > 2 else 1]
        with Image.open(io.BytesIO(self.data)) as image:  # anew, so that threads may share it
            if self.palette is not None:
                return np.asarray(image)[:, :, None]
            upright = ImageOps.exif_transpose(image) if self.lossy else image
            if upright.mode in ("1", "L", "LA"):
                return np.asarray(upright.convert("L"))[:, :, None]
            return np.asarray(upright.convert("RGB"))
