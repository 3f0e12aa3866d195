"""Films from and to disk by ffmpeg, a process of its own; the extra `video` brings it."""

import itertools
import mimetypes
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from unetlab.errors import UserError

LOCAL = ["-protocol_whitelist", "file"]
"""A film that names another one is not to be fetched from elsewhere."""


def is_film(path: Path) -> bool:
    """Whether a path ends as videos do."""
    return (mimetypes.guess_type(path.name)[0] or "").startswith("video/")


def _ffmpeg() -> ModuleType:
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise UserError(
            "videos on disk want imageio-ffmpeg, which is not installed; pip install 'unetlab[video]', or open the "
            "video on the page, where the browser decodes it"
        ) from error
    return imageio_ffmpeg  # type: ignore[no-any-return]


class Reader:
    """A film's frames, uint8 (h, w, 3), in turn; `rate` is how many it shows a second.

    Raises UserError without ffmpeg, and for a film of which no frame can be decoded.
    """

    def __init__(self, path: Path) -> None:
        self.frames = _ffmpeg().read_frames(str(path.absolute()), pix_fmt="rgb24", input_params=LOCAL)
        try:
            told: dict[str, Any] = next(self.frames)
            self.size, self.rate = told["size"], float(told["fps"])
            self.first = next(self.frames)
        except (StopIteration, OSError, RuntimeError, IndexError, KeyError) as error:
            self.frames.close()
            raise UserError(f"source={path} has no frame that can be decoded; give a video that plays") from error

    def __iter__(self) -> Iterator[np.ndarray]:
        width, height = self.size
        for frame in itertools.chain([self.first], self.frames):
            yield np.frombuffer(frame, np.uint8).reshape(height, width, 3)


class Writer:
    """A film of frames of one size, uint8 (h, w, 3). Odd sides lose a row or a column, which the codec cannot hold.

    Args:
        path: its ending says the format.
        rate: frames a second.

    Raises UserError without ffmpeg, and where it does not write the file.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self.path, self.rate, self.ffmpeg = path, rate, _ffmpeg()
        self.size: tuple[int, int] | None = None
        self.pipe: Any = None

    def add(self, frame: np.ndarray) -> None:
        """Adds a frame. Raises UserError for one of another size than the first."""
        height, width = frame.shape[:2]
        if self.size is None:
            self.size = height, width
            even = width - width % 2, height - height % 2
            self.pipe = self.ffmpeg.write_frames(str(self.path.absolute()), even, fps=self.rate, macro_block_size=2)
            self.pipe.send(None)
        if (height, width) != self.size:
            raise UserError(
                f"out={self.path}: a video has frames of one size, and after {self.size[1]} x {self.size[0]} pixels "
                f"come {width} x {height}; give a folder"
            )
        try:
            self.pipe.send(np.ascontiguousarray(frame[: height - height % 2, : width - width % 2]))
        except OSError as error:
            raise UserError(f"out={self.path} cannot be written; give a file such as overlays.mp4 that can") from error

    def close(self) -> None:
        """Ends the film."""
        if self.pipe is not None:
            self.pipe.close()
