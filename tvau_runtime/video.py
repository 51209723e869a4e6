"""Videos, camera devices and stream URLs as frames with stamps, by OpenCV. Knows no model and no ROS.

Stamps of a file begin at 0 and are the container's own presentation times, for these are right also where the frame
rate varies. A time that does not rise (some containers keep none) is replaced by the one before plus a frame period.
Live sources (devices, and URLs without a length) are stamped with the time when the frame arrives, by the wall clock as it
was when the source was opened. Either way stamps always rise.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from .errors import FrameError
from .types import Frame

__all__ = ["VideoInfo", "VideoReader", "listed_stamps"]

log = logging.getLogger(__name__)

ASSUMED_FPS = 25.0
"""For a file that tells neither times nor a frame rate; its reader says so in `problem`."""
SHORTFALL_S = 0.5
"""A file that ends this much before the length it states is reported as damaged; lengths are often a little off."""

WARM_UP_NS = 1_000_000_000
"""Decoding begins this long before a frame that is sought, and at the key frame before that: what is decoded first after a
jump may lack the frames that it was coded from."""


@dataclass(frozen=True)
class VideoInfo:
    """What a source says of itself. Zero stands for what it does not say."""

    source: str
    live: bool
    fps: float
    frames: int
    """As the file states it, which need not be what can be read."""
    size: tuple[int, int]
    """(height, width) in pixels."""

    @property
    def duration_s(self) -> float:
        return self.frames / self.fps if self.fps else 0.0


class VideoReader:
    """Iterates over the frames of a source, once.

    source: a file, a URL (`rtsp://…`), a device by its number (`0`) or path (`/dev/video0`).
    camera, frame_id: go into the frames. start: the number of the frame that a file begins at; its stamp is what it is when
    all are read.

    Raises `FrameError` for a source that is not there or cannot be read. One that fails in the middle ends there: what
    was read is good, and `problem` then says what is missing.
    """

    def __init__(self, source: str | int | Path, *, camera: str = "camera", frame_id: str = "", start: int = 0) -> None:
        self._name = str(source)
        self._camera, self._frame_id, self._start = camera, frame_id, start
        self.problem = ""
        """What is wrong with the source, as far as it was read; empty if nothing."""
        self._capture = _open(self._name)
        self._clock_ns = time.time_ns() - time.monotonic_ns()  # a wall clock that is set meanwhile stops no stream
        self.info = _info(self._capture, self._name)
        if start:
            self._seek(start)
        self._first: np.ndarray | None = self._read()
        if self._first is None:
            self.close()
            if start:
                raise FrameError(f"{self._name} has no frame {start} that can be read; it states {self.info.frames}")
            raise FrameError(
                f"not one frame of {self._name} could be read: it is empty, damaged, or of a codec that this OpenCV "
                "lacks; try `ffmpeg -i IN -c:v libx264 -pix_fmt yuv420p OUT.mp4`"
            )

    def __iter__(self) -> Iterator[Frame]:
        image, self._first = self._first, None
        read, stamp_ns = 0, -1
        while image is not None:
            stamp_ns = self._stamp(stamp_ns, self._start + read)
            read += 1
            rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
            yield Frame(rgb=rgb, stamp_ns=stamp_ns, camera=self._camera, frame_id=self._frame_id)
            image = self._read()
        if read:
            self._check_end(self._start + read, stamp_ns)

    def frames_at(self, stamps_ns: Sequence[int]) -> Iterator[Frame]:
        """The frames of these stamps, ascending, each as iterating from the beginning gives it; instead of `__iter__`.

        What comes long before the first is not decoded, what lies between not converted. Raises `FrameError` where the file
        has no frame of a stamp or cannot be read as far as that.
        """
        self._skip_to(stamps_ns[0])
        image, self._first = self._first, None
        stamp_ns, read, there = self._stamp(-1, 0), 1, image is not None
        for wanted_ns in stamps_ns:
            while there and stamp_ns < wanted_ns:
                image, there = None, self._grab()
                stamp_ns, read = (self._stamp(stamp_ns, read) if there else stamp_ns), read + 1
            if there and stamp_ns == wanted_ns and image is None:
                there, image = self._capture.retrieve()
            if image is None or stamp_ns != wanted_ns:
                raise FrameError(f"{self._name}: the frame at {wanted_ns * 1e-9:.3f} s is damaged or missing")
            rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
            yield Frame(rgb=rgb, stamp_ns=wanted_ns, camera=self._camera, frame_id=self._frame_id)

    def shortfall(self, frames: int, last_ns: int) -> str:
        """What is missing of a file of which so many frames were read, the last of this stamp; empty if nothing."""
        period_s = 1 / self.info.fps if self.info.fps else 0.0
        missing_s = self.info.duration_s - (last_ns * 1e-9 + period_s)
        if missing_s <= SHORTFALL_S:
            return ""
        return (
            f"{self._name} could be read up to {last_ns * 1e-9:.1f} s ({frames} frames); the last {missing_s:.1f} s "
            f"of the {self.info.duration_s:.1f} s it states are damaged or missing"
        )

    def renew(self) -> None:
        """Opens a live source again, before its first frame: what came since would look as if it came all at once.

        Raises `FrameError` where it is gone."""
        if self.info.live:
            self.close()
            self._capture = _open(self._name)
            self._first = self._read()
            if self._first is None:
                raise FrameError(f"{self._name} sends no frames any more")

    def close(self) -> None:
        """Frees the source. May be called again."""
        self._capture.release()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _skip_to(self, stamp_ns: int) -> None:
        """Goes on `WARM_UP_NS` before a stamp or earlier; from the beginning where a jump lands behind it."""
        if stamp_ns <= WARM_UP_NS:
            return
        self._capture.set(cv2.CAP_PROP_POS_MSEC, (stamp_ns - WARM_UP_NS) * 1e-6)
        self._first = self._read()
        if self._first is None or self._stamp(-1, 0) > stamp_ns:
            self._capture.release()
            self._capture = _open(self._name)
            self._first = self._read()

    def _grab(self) -> bool:
        try:
            return self._capture.grab()
        except cv2.error as error:
            self._report(f"{self._name}: reading failed: {error}")
            return False

    def _read(self) -> np.ndarray | None:
        try:
            good, image = self._capture.read()
        except cv2.error as error:
            self._report(f"{self._name}: reading failed: {error}")
            return None
        return image if good else None

    def _seek(self, start: int) -> None:
        """Moves a file to the frame of this number; counts frames from the beginning where the codec cannot jump."""
        if self.info.live:
            raise FrameError(f"{self._name} is live and cannot be begun at frame {start}")
        self._capture.set(cv2.CAP_PROP_POS_FRAMES, start)
        if self._capture.get(cv2.CAP_PROP_POS_FRAMES) != start:
            self._capture.release()
            self._capture = _open(self._name)
            for _ in range(start):
                if not self._capture.grab():
                    return

    def _stamp(self, last_ns: int, number: int) -> int:
        """The stamp (ns) of the frame that was just read, the file's `number`-th."""
        if self.info.live:
            return max(self._clock_ns + time.monotonic_ns(), last_ns + 1)
        stamp_ns = round(self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
        if stamp_ns > last_ns and (stamp_ns > 0 or number == 0):
            return stamp_ns
        fps = self.info.fps
        if not fps:
            fps = ASSUMED_FPS
            self._report(f"{self._name} tells neither times nor a frame rate; {fps:g} frames per second are assumed")
        before_ns = last_ns if last_ns >= 0 else round((number - 1) * 1e9 / fps)
        return before_ns + round(1e9 / fps)

    def _check_end(self, read: int, last_ns: int) -> None:
        if self.info.live:
            self._report(f"{self._name} stopped sending after {read} frames")
        elif missing := self.shortfall(read, last_ns):
            self._report(missing)

    def _report(self, problem: str) -> None:
        if problem not in self.problem:
            self.problem = f"{self.problem}; {problem}" if self.problem else problem
            log.warning("%s", problem)


def listed_stamps(path: str | Path) -> list[int]:
    """When (ns) a file's frames are shown, ascending, as its container lists them: read without decoding.

    A decoder that leaves frames out, or a container without times, makes them differ from the stamps of `VideoReader`.
    """
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
    stamps = []
    while capture.grab():
        stamps.append(round(capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6))
    capture.release()
    return sorted(stamps)


def _open(source: str) -> cv2.VideoCapture:
    # FFmpeg, which reads this at its first use, writes a line for every damaged block to stderr; `problem` sums up.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        source.encode("utf-8")
    except UnicodeEncodeError:  # OpenCV would take the whole process down
        raise FrameError(f"the name {source!r} is not valid UTF-8, which OpenCV needs; rename the file") from None
    device = source.isdecimal()
    path = Path(os.path.expanduser(source))
    if not device and "://" not in source:
        if not path.exists():
            raise FrameError(
                f"there is no video file or device {source!r}; expected a file, a URL, or a device number such as 0"
            )
        if path.is_dir():
            raise FrameError(f"{source!r} is a directory; expected a video file, a URL, or a device number such as 0")
        source = str(path)
    # What OpenCV would log about a source that cannot be opened is in our own error.
    logged = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        capture = cv2.VideoCapture(int(source)) if device else cv2.VideoCapture(source)
    finally:
        cv2.utils.logging.setLogLevel(logged)
    if not capture.isOpened():
        capture.release()
        if _is_device(source):
            raise FrameError(
                f"camera device {source} cannot be opened; is it connected, free, and are you allowed to read it?"
            )
        if "://" in source:
            raise FrameError(f"{source} cannot be opened; is the address right, and does the server answer?")
        raise FrameError(f"{source} is not a video that OpenCV can read, or its beginning is damaged")
    return capture


def _is_device(source: str) -> bool:
    """By its number or its path; /dev/shm holds files."""
    return source.isdecimal() or (source.startswith("/dev/") and not Path(source).is_file())


def _info(capture: cv2.VideoCapture, source: str) -> VideoInfo:
    fps = capture.get(cv2.CAP_PROP_FPS)
    frames = int(max(capture.get(cv2.CAP_PROP_FRAME_COUNT), 0))
    return VideoInfo(
        source=source,
        live=_is_device(source) or ("://" in source and frames == 0),
        fps=fps if 0 < fps <= 1000 else 0.0,  # also False for NaN
        frames=frames,
        size=(int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)), int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))),
    )
