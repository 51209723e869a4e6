"""Where frames come from: a video file or a folder of numbered images, both from any frame on. Knows no labels."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import cv2

from tvau_runtime.errors import FrameError
from tvau_runtime.types import Frame
from tvau_runtime.video import VideoInfo, VideoReader

from .clips import FrameSource
from .files import images_in, read_image

__all__ = ["ImageFolder", "VideoFile"]

log = logging.getLogger(__name__)


class VideoFile(FrameSource):
    """A video, by OpenCV: `VideoReader` jumps to any frame, and its stamps are the container's own."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def info(self) -> VideoInfo:
        """What the file says of itself. Raises `FrameError` for one that is not there or cannot be read."""
        with VideoReader(self.path) as video:
            return video.info

    @property
    def fps(self) -> float:
        if not self.info.fps:
            raise FrameError(f"{self.path} tells no frame rate; try `ffmpeg -i IN -r 25 OUT.mp4`")
        return self.info.fps

    @property
    def length(self) -> int:
        return self.info.frames

    @property
    def size(self) -> tuple[int, int]:
        return self.info.size

    def place(self, index: int) -> str:
        return f"{self.path}, frame {index}"

    def read(self, start: int = 0, camera: str = "camera") -> Iterator[tuple[int, Frame]]:
        if start >= self.length > 0:
            return
        with VideoReader(self.path, camera=camera, start=start) as video:
            yield from enumerate(video, start=start)


class ImageFolder(FrameSource):
    """A folder of images in the order of the numbers in their names, however these are padded and wherever they begin.

    fps: of the camera, which the images do not tell.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self.path, self._fps = path, fps

    @cached_property
    def files(self) -> list[Path]:
        """Raises `FrameError` where there are none."""
        found = images_in(self.path)
        if not found:
            raise FrameError(f"{self.path} holds no images; expected one for each frame")
        return found

    @property
    def fps(self) -> float:
        return self._fps

    @property
    def length(self) -> int:
        return len(self.files)

    @cached_property
    def size(self) -> tuple[int, int]:
        height, width = read_image(self.files[0]).shape[:2]
        return height, width

    def place(self, index: int) -> str:
        return str(self.files[index])

    def read(self, start: int = 0, camera: str = "camera") -> Iterator[tuple[int, Frame]]:
        for index in range(start, len(self.files)):
            try:
                image = read_image(self.files[index])
            except FrameError as error:  # one bad image does not cost the clip; whoever counts sees that it is missing
                log.warning("%s: frame %d is left out: %s", camera, index, error)
                continue
            rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
            yield index, Frame(rgb=rgb, stamp_ns=round(index * 1e9 / self._fps), camera=camera)
