"""Films from and to disk, by FFmpeg's libraries, which the extra `video` brings."""

import contextlib
import errno
import mimetypes
import os
import re
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

FILMS = (*WRITTEN, ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ogv")
"""Endings of videos that Python knows only where the system has a table of them."""


def is_film(path: Path) -> bool:
    """Whether a path ends as videos do."""
    return path.suffix.lower() in FILMS or (mimetypes.guess_type(path.name)[0] or "").startswith("video/")


def unwritable(out: Path, error: Exception) -> UserError:
    """What is said where `out` cannot be written, by Python's error or FFmpeg's."""
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
    way = "make room there" if full else "give a place that can"
    return UserError(f"out={out} cannot be written ({getattr(error, 'strerror', error)}); {way}")


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
        self.av, self.path = _av(), path
        nothing = UserError(f"source={path} has no frame that can be decoded; give a video that plays")
        try:
            self.container: Any = self.av.open(str(path.absolute()), options=LOCAL)
        except self.av.FFmpegError as error:
            raise nothing from error
        try:
            stream = self.container.streams.video[0]
            stream.thread_type = "AUTO"
            self.rate = float(stream.average_rate or 0) or 25.0
            self.length = self._length(stream)
            self.seconds = 0.0
            self.frames = self._decoded(stream)
            self.first = next(self.frames)
        except (self.av.FFmpegError, IndexError, StopIteration) as error:
            self.container.close()
            raise nothing from error

    def _decoded(self, stream: Any) -> Iterator[np.ndarray]:
        for frame in self.container.decode(stream):
            if frame.time is not None:
                shown = max(1 / self.rate, float((frame.duration or 0) * (frame.time_base or 0)))
                self.seconds = max(self.seconds, frame.time + shown)
            # as a film says that it is to be shown, and browsers do
            yield np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))

    def _length(self, stream: Any) -> float | None:
        """Seconds of the pictures, where the film says: its sound may go on after them."""
        if stream.duration is not None and stream.time_base is not None:
            return float(stream.duration * stream.time_base)
        if (told := re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d*)?)", stream.metadata.get("DURATION", ""))) is not None:
            hours, minutes, seconds = map(float, told.groups())  # Matroska's
            return 3600 * hours + 60 * minutes + seconds
        whole = self.container.duration if len(self.container.streams) == 1 else None
        return None if whole is None else float(whole / self.av.time_base)

    def missing(self) -> str:
        """What is said of a film that was read to its end where more than a second was not there; "" of others."""
        if self.length is None or self.seconds > self.length - 1:
            return ""
        return f"{self.path.name} is damaged: {self.seconds:.1f} of {self.length:.1f} s could be read"

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
    It is written beside, and is at `path` once it is whole.

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
        self.beside = path.absolute().with_name(f".building-{path.name}")
        try:
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            self.beside.touch()  # FFmpeg makes it with the first frame only
            self.container: Any = self.av.open(str(self.beside), "w")
        except OSError as error:
            raise unwritable(path, error) from error
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
            self.failed = True
            raise UserError(
                f"out={self.path}: a video has frames of one size, and after {self.size[1]} x {self.size[0]} pixels "
                f"come {width} x {height}; give a folder"
            )
        even = np.ascontiguousarray(frame[: height - height % 2, : width - width % 2])
        self._mux(self.av.VideoFrame.from_ndarray(even, format="rgb24"))

    def close(self) -> None:
        """Ends the film; of one that could not be written whole nothing stays. Raises UserError for a full disk."""
        try:
            if self.stream is not None and not self.failed:
                self._mux(None)
                self.container.close()
                os.replace(self.beside, self.path)
        except (OSError, self.av.FFmpegError) as error:
            raise unwritable(self.path, error) from error
        finally:
            with contextlib.suppress(self.av.FFmpegError, OSError):
                self.container.close()
            self.beside.unlink(missing_ok=True)

    def _mux(self, frame: Any) -> None:
        try:
            self.container.mux(self.stream.encode(frame))
        except OSError as error:
            self.failed = True
            raise unwritable(self.path, error) from error
        except self.av.FFmpegError as error:
            self.failed = True
            height, width = self.size
            raise UserError(
                f"out={self.path}: H.264 does not take frames of {width} x {height} pixels; give a folder"
            ) from error
