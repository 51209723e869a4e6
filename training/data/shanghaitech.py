"""ShanghaiTech Campus: training videos, test clips as folders of JPEGs, labels and masks as arrays.

    training/videos/SS_VVV.avi   testing/frames/SS_VVVV/*.jpg
    testing/test_frame_mask/SS_VVVV.npy  uint8 [N]   testing/test_pixel_mask/SS_VVVV.npy  [N, H, W]

Copies differ: some hold training/frames or testing/videos instead, and images are numbered and padded in several ways.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from tvau_runtime.errors import FrameError

from .clips import Clip, DataSet, FrameSource, Truth
from .files import fitted, folders_in, videos_in
from .regions import linked_regions
from .sources import ImageFolder, VideoFile

__all__ = ["PUBLISHED", "ArrayTruth", "find", "load"]

FPS = 24.0
"""Of the campus cameras; the folders of images do not tell."""

PUBLISHED = {"train": {"clips": 330, "frames": 274_515}, "test": {"clips": 107, "frames": 40_791}}


class ArrayTruth(Truth):
    """Labels in one array and masks in another, of which only the frames that are asked for are read."""

    def __init__(self, labels: Path, masks: Path | None) -> None:
        self.labels_file, self.masks_file = labels, masks

    @cached_property
    def _labels(self) -> np.ndarray:
        values = _array(self.labels_file)
        if values.ndim != 1:
            raise FrameError(f"{self.labels_file} must be [N], a label for each frame, got {list(values.shape)}")
        return np.asarray(values) != 0

    @cached_property
    def masks(self) -> np.ndarray | None:
        """[N, H, W] on disk; None where there is no such file."""
        if self.masks_file is None:
            return None
        values = _array(self.masks_file)
        if values.ndim != 3:
            raise FrameError(f"{self.masks_file} must be [N, H, W], a mask for each frame, got {list(values.shape)}")
        return values

    @property
    def length(self) -> int | None:
        return len(self._labels)

    @property
    def absent(self) -> tuple[str, ...]:
        count = len(self._labels) if self.masks is None else len(self.masks)
        if count == len(self._labels):
            return ()
        return (f"{self.masks_file} holds {count} masks, {self.labels_file} {len(self._labels)} labels",)

    def labels(self, count: int) -> np.ndarray:
        return self._labels[:count]

    def mask(self, index: int, size: tuple[int, int]) -> np.ndarray | None:
        if self.masks is None:
            return None
        if index >= len(self.masks):
            raise FrameError(f"{self.masks_file} holds {len(self.masks)} masks, none for frame {index}")
        return fitted(np.asarray(self.masks[index]) != 0, size)

    def regions(self, size: tuple[int, int], count: int) -> np.ndarray | None:
        if self.masks is None:
            return None
        frames = range(min(count, len(self.masks)))
        return linked_regions((i, fitted(np.asarray(self.masks[i]) != 0, size)) for i in frames)


def find(folder: Path) -> bool:
    """Whether the folder is a ShanghaiTech: training and testing with videos or frames named as there."""
    return any(
        path.stem[:2].isdecimal() and path.stem[2:3] == "_"
        for part in ("training", "testing")
        for path in _sources(folder / part)
    )


def load(root: Path) -> DataSet:
    """The clips that are there; training clips are normal throughout."""
    clips = [Clip(path.stem, "train", _source(path), Truth()) for path in _sources(root / "training")]
    problems = [] if clips else [f"{root / 'training'} holds neither videos nor frames: nothing to train on"]
    tests = _sources(root / "testing")
    testing = root / "testing"
    if not tests:
        problems.append(f"{testing} holds neither frames nor videos: nothing to test on")
    for path in tests:
        labels, masks = (testing / kind / f"{path.stem}.npy" for kind in ("test_frame_mask", "test_pixel_mask"))
        if not labels.is_file():
            problems.append(f"{labels} is missing: the clip {path.stem} has no labels")
        if not masks.is_file():
            problems.append(f"{masks} is missing: the clip {path.stem} has no masks")
        truth = ArrayTruth(labels, masks if masks.is_file() else None) if labels.is_file() else None
        clips.append(Clip(path.stem, "test", _source(path), truth))
    there = {path.stem for path in tests}
    for labels in sorted((testing / "test_frame_mask").glob("[!.]*.npy")):
        if labels.stem not in there:
            problems.append(f"{testing / 'frames' / labels.stem} is missing: there are labels, but no frames")
    return DataSet("shanghaitech", root, tuple(clips), tuple(problems))


def _sources(part: Path) -> list[Path]:
    """Videos or folders of frames, whichever there is more of."""
    return max(videos_in(part / "videos"), folders_in(part / "frames"), key=len)


def _source(path: Path) -> FrameSource:
    return ImageFolder(path, FPS) if path.is_dir() else VideoFile(path)


def _array(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise FrameError(f"{path} is not a NumPy array or is damaged: {error}") from error
