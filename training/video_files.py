"""Writes videos, all or nothing. Knows no clips and no data sets."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from tvau_runtime.errors import FrameError

__all__ = ["write_video"]

CODEC = "mp4v"
"""MPEG-4: every build of OpenCV can write and read it."""


def write_video(frames: Iterable[np.ndarray], rate_hz: float, path: Path, codec: str = CODEC) -> None:
    """Writes uint8 [H, W, 3] RGB frames, all of one size. Raises `FrameError` where that fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written beside its place and then moved, so that an interrupted run leaves the old file whole.
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    writer, count = None, 0
    try:
        for frame in frames:
            if writer is None:
                height, width = frame.shape[:2]
                fourcc = cv2.VideoWriter.fourcc(*codec)
                writer = cv2.VideoWriter(str(temporary), fourcc, rate_hz, (width, height))
            if not writer.isOpened():
                break
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
            count += 1
        if writer is not None:
            writer.release()
        if not count or _frame_count(temporary) != count:
            raise FrameError(f"OpenCV could not write {path} as {codec}; is there space, and opencv-python installed?")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _frame_count(path: Path) -> int:
    capture = cv2.VideoCapture(str(path))
    found = 0
    while capture.grab():
        found += 1
    capture.release()
    return found
