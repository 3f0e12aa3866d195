"""Films from and to disk, by FFmpeg's libraries, which the extra `video` brings."""

import contextlib
import mimetypes
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from unetlab.errors import UserError

LOCAL = {"protocol_whitelist": "file"}
"""A film may name others, which are not to be fetched from elsewhere."""

WRITTEN = (".mp4", ".mov", ".mkv")
"""What H.264 goes into."""


def is_film(path: Path) -> bool:
    """Whether a path ends as videos do."""
    return (mimetypes.guess_type(path.name)[0] or "").startswith("video/")


def _av() -> ModuleType:
    try:
        import av
        import av.logging
    except ImportError as error:
        raise UserError(
            "videos on disk want av, which is not installed; .venv/bin/pip install -e '.[video]', or open the video on "
            "the page, where the browser decodes it"
        ) from error
    av.logging.set_level(None)
    return av  # type: ignore[no-any-return]


class Reader:
    """A film's frames, uint8 (h, w, 3), in turn; `rate` is how many it shows a second.

    Raises UserError without FFmpeg, and for a film of which no frame can be decoded.
    """

    def __init__(self, path: Path) -> None:
        self.av = _av()
        nothing = UserError(f"source={path} has no frame that can be decoded; give a video that plays")
        try:
            self.container: Any = self.av.open(str(path.absolute()), options=LOCAL)
        except self.av.FFmpegError as error:
            raise nothing from error
        try:
            stream = self.container.streams.video[0]
            stream.thread_type = "AUTO"
            self.rate = float(stream.average_rate or 0) or 25.0
            self.frames = self._decoded(stream)
            self.first = next(self.frames)
        except (self.av.FFmpegError, IndexError, StopIteration) as error:
            self.container.close()
            raise nothing from error

    def _decoded(self, stream: Any) -> Iterator[np.ndarray]:
        for frame in self.container.decode(stream):
            # as a film says that it is to be shown, and browsers do
            yield np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))

    def __iter__(self) -> Iterator[np.ndarray]:
        """The frames; where the film is damaged they end. The file is closed then."""
        try:
            yield self.first
            yield from self.frames
        except self.av.FFmpegError:
            return
        finally:
            self.container.close()


class Writer:
    """A film of frames of one size, uint8 (h, w, 3), in H.264. Odd sides lose a row or a column, which it cannot hold.

    Args:
        path: its ending is one of WRITTEN.
        rate: frames a second.

    Raises UserError without FFmpeg, for another ending, and where the file cannot be written.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self.av, self.path, self.size, self.failed = _av(), path, (0, 0), False
        self.stream: Any = None
        if path.suffix.lower() not in WRITTEN:
            raise UserError(f"out={path}: videos are written as {', '.join(WRITTEN)}")
        try:
            self.container: Any = self.av.open(str(path.absolute()), "w")
        except OSError as error:
            raise UserError(f"out={path} cannot be written ({error.strerror}); give a file that can") from error
        self.rate = Fraction(rate).limit_denominator(1001)

    def add(self, frame: np.ndarray) -> None:
        """Adds a frame. Raises UserError for one of another size than the first, or too small, and for a full disk."""
        height, width = frame.shape[:2]
        if self.stream is None:
            if min(height, width) < 2:
                raise UserError(f"out={self.path}: a video has frames of 2 pixels a side at least; give a folder")
            self.size = height, width
            self.stream = self.container.add_stream("libx264", rate=self.rate, options={"crf": "18"})
            self.stream.width, self.stream.height, self.stream.pix_fmt = (
                width - width % 2,
                height - height % 2,
                "yuv420p",
            )
        if (height, width) != self.size:
            raise UserError(
                f"out={self.path}: a video has frames of one size, and after {self.size[1]} x {self.size[0]} pixels "
                f"come {width} x {height}; give a folder"
            )
        even = np.ascontiguousarray(frame[: height - height % 2, : width - width % 2])
        self._mux(self.av.VideoFrame.from_ndarray(even, format="rgb24"))

    def close(self) -> None:
        """Ends the film; one that could not be written goes."""
        try:
            if self.stream is not None and not self.failed:
                self._mux(None)
        finally:
            with contextlib.suppress(self.av.FFmpegError, OSError):
                self.container.close()
            if self.failed:
                self.path.unlink(missing_ok=True)

    def _mux(self, frame: Any) -> None:
        try:
            self.container.mux(self.stream.encode(frame))
        except OSError as error:
            self.failed = True
            raise UserError(f"out={self.path} cannot be written ({error.strerror}); make room there") from error
        except self.av.FFmpegError as error:
            self.failed = True
            height, width = self.size
            raise UserError(
                f"out={self.path}: H.264 does not take frames of {width} x {height} pixels; give a folder"
            ) from error
