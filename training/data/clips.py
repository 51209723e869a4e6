"""What every data set hands out: clips, whose frames are streamed from disk with what is true about them.

    data = open_data("auto", "/data/UBnormal")
    for clip in data.split("test"):
        for seen in clip.read():                     # or clip.read(range(0, clip.length, 8)): any rising frame numbers
            seen.frame.rgb, seen.frame.stamp_ns, seen.abnormal, seen.mask, seen.objects

Making a clip opens no video; a video is never wholly in memory. Frames are numbered from 0. Where labels and video differ in
length, both keep theirs: frames without a label have `abnormal` and `mask` None, and `Clip.mismatch` says so. Knows no layout.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from tvau_runtime.errors import ConfigError
from tvau_runtime.types import Frame

__all__ = ["SPLITS", "Clip", "DataSet", "FrameSource", "LabelledFrame", "Track", "Truth"]

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Track:
    """A stretch of time during which one object is abnormal. id: 0 and up within the clip, as in the text files of regions;
    object_id: the value of its pixels in `LabelledFrame.objects`; first, last: frame numbers, both included.
    """

    id: int
    object_id: int
    first: int
    last: int


@dataclass(frozen=True, eq=False)
class LabelledFrame:
    """A frame with what is true about it.

    abnormal: None where the clip's labels end before its video, or where it has none. mask: bool [H, W], the abnormal pixels;
    None where the data set has no mask of an abnormal frame, or no label. objects: uint8 [H, W], which object a pixel shows,
    normal ones too, 0 for the background; None where the data set does not tell objects apart.
    """

    index: int
    frame: Frame
    abnormal: bool | None
    mask: np.ndarray | None
    objects: np.ndarray | None


class FrameSource(ABC):
    """Where a clip's frames are: a video file or a folder of images."""

    path: Path

    @property
    @abstractmethod
    def fps(self) -> float:
        """Frames per second, above 0."""

    @property
    @abstractmethod
    def length(self) -> int:
        """Frames, as the container states them (counted for a folder). What can be read may be less: see `check.py`."""

    @property
    @abstractmethod
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""

    @abstractmethod
    def place(self, index: int) -> str:
        """Where a frame is, for messages: its file, or its number in one."""

    @abstractmethod
    def read(self, start: int = 0, camera: str = "camera") -> Iterator[tuple[int, Frame]]:
        """Frames with their numbers from number `start` on, decoded one by one. A damaged image is left out, and a damaged
        video ends early, with a warning; raises `FrameError` where nothing can be read."""


class Truth:
    """What is true of a clip's frames. This one: nothing is abnormal, however long the clip is."""

    tracks: tuple[Track, ...] = ()
    """Abnormal stretches of single objects, where the data set tells them apart."""

    @property
    def length(self) -> int | None:
        """How many frames have a label; None where any number has."""
        return None

    @property
    def reach(self) -> int:
        """Number of the last frame that is said to be abnormal, plus 1; it should not be beyond the video's end."""
        return 0

    @property
    def absent(self) -> tuple[str, ...]:
        """A sentence for each file or part of one that is not there though its neighbours are."""
        return ()

    def labels(self, count: int) -> np.ndarray:
        """bool [n], which of the first `count` frames are abnormal; n is less than `count` where fewer have a label."""
        return np.zeros(count, bool)

    def mask(self, index: int, size: tuple[int, int]) -> np.ndarray | None:
        """bool [H, W], the abnormal pixels of a labelled frame, stretched to `size` (height, width) where the file has another;
        None where there is none. Raises `FrameError` for a mask that is missing or damaged."""
        return np.zeros(size, bool)

    def objects(self, index: int, size: tuple[int, int]) -> np.ndarray | None:
        """uint8 [H, W], see `LabelledFrame.objects`."""
        return None

    def regions(self, size: tuple[int, int], count: int) -> np.ndarray | None:
        """float64 [n, 6], rows `track_id, frame_id, x_min, y_min, x_max, y_max` of the abnormal regions in the first `count`
        frames, in pixels of frames of `size`, maxima inclusive, as `training/metrics` takes them; None where the data set has
        no masks of this clip. Reads all masks."""
        return np.zeros((0, 6))


@dataclass(frozen=True, eq=False)
class Clip:
    """One video of a data set. name: unique within the data set. split: one of `SPLITS`."""

    name: str
    split: str
    source: FrameSource = field(repr=False)
    truth: Truth | None = field(repr=False)
    """None where the data set says nothing about it, such as held-back test labels."""

    @property
    def fps(self) -> float:
        return self.source.fps

    @property
    def length(self) -> int:
        """Frames, as the video states them."""
        return self.source.length

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.source.size

    @property
    def tracks(self) -> tuple[Track, ...]:
        """Abnormal stretches of single objects, where the data set tells them apart (UBnormal)."""
        return self.truth.tracks if self.truth else ()

    @cached_property
    def labels(self) -> np.ndarray:
        """bool [n], which frames are abnormal; n is not `length` where labels and video differ, and 0 without truth."""
        return self.truth.labels(self.truth.length or self.length) if self.truth else np.zeros(0, bool)

    @property
    def abnormal(self) -> bool:
        """Whether any frame is."""
        return bool(self.labels.any())

    @property
    def mismatch(self) -> str:
        """Says how labels and video differ in length; empty where they do not."""
        if self.truth is None:
            return ""
        if len(self.labels) != self.length:
            return f"{self.name}: {self.length} frames, {len(self.labels)} labels"
        if self.truth.reach > self.length:
            return f"{self.name}: {self.length} frames, but frame {self.truth.reach - 1} is said to be abnormal"
        return ""

    def regions(self) -> np.ndarray | None:
        """See `Truth.regions`."""
        return self.truth.regions(self.size, min(self.length, len(self.labels))) if self.truth else None

    def read(self, indices: Iterable[int] | None = None, *, masks: bool = True) -> Iterator[LabelledFrame]:
        """Streams the frames with these rising numbers (all by default); ends early where the video does.

        masks: False leaves `mask` and `objects` None and their files unread. Raises `FrameError` for what is missing or
        damaged, `ConfigError` for numbers that do not rise.
        """
        wanted = iter(itertools.count() if indices is None else indices)
        index = next(wanted, None)
        if index is None:
            return
        if index < 0:
            raise ConfigError(f"frame numbers begin at 0, got {index}")
        for number, frame in self.source.read(index, self.name):
            while index < number:  # what could not be read
                index = _next(wanted, index)
                if index is None:
                    return
            if index == number:
                yield self._labelled(number, frame, masks)
                index = _next(wanted, index)
                if index is None:
                    return

    def _labelled(self, index: int, frame: Frame, masks: bool) -> LabelledFrame:
        if self.truth is None or index >= (self.truth.length or index + 1):
            return LabelledFrame(index, frame, None, None, None)
        abnormal = index < len(self.labels) and bool(self.labels[index])
        if not masks:
            return LabelledFrame(index, frame, abnormal, None, None)
        mask = self.truth.mask(index, frame.size) if abnormal else np.zeros(frame.size, bool)
        return LabelledFrame(index, frame, abnormal, mask, self.truth.objects(index, frame.size))


def _next(wanted: Iterator[int], last: int) -> int | None:
    index = next(wanted, None)
    if index is not None and index <= last:
        raise ConfigError(f"frame numbers must rise, got {index} after {last}")
    return index


@dataclass(frozen=True, eq=False)
class DataSet:
    """A data set on disk. name: ubnormal, shanghaitech, avenue, ucsd or folder. problems: what was found to be missing when
    it was opened, a sentence each."""

    name: str
    root: Path
    clips: tuple[Clip, ...] = field(repr=False)
    problems: tuple[str, ...] = ()

    def split(self, name: str) -> tuple[Clip, ...]:
        """The clips of a split, in order. Raises `ConfigError` where there are none."""
        found = tuple(clip for clip in self.clips if clip.split == name)
        if not found:
            there = {s: sum(clip.split == s for clip in self.clips) for s in SPLITS}
            said = ", ".join(f"{count} of {s}" for s, count in there.items() if count) or "none at all"
            raise ConfigError(f"{self.root} ({self.name}) holds no clip of the split {name!r}; it holds {said}")
        return found
