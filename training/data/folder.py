"""Any videos in a folder, with what is abnormal in them as mask videos or as text files of boxes.

    DIR/{train,validation,test}/NAME.mp4    or DIR/NAME.mp4, which are then all of the split test; any video OpenCV reads
    …/NAME_mask.avi                         white where something is abnormal, a frame for each frame
    …/NAME.txt                              or rows `track_id,frame_id,x_min,y_min,x_max,y_max` of abnormal boxes: frames from
                                            0, pixels, maxima included; an empty file says that nothing is abnormal

A video with neither has no labels. Where both are there, the mask is taken and the boxes' tracks are used for TBDC.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from tvau_runtime.errors import FrameError

from .clips import SPLITS, Clip, DataSet, Truth
from .files import fitted, read_rows, videos_in
from .regions import linked_regions
from .sources import VideoFile

__all__ = ["BoxTruth", "MaskVideoTruth", "find", "load", "read_regions"]

MASK_MARK = "_mask"
WHITE = 128
"""A mask video is lossy: what is at least this bright is abnormal."""


class BoxTruth(Truth):
    """Boxes per frame; the mask of a frame is what its boxes cover."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def rows(self) -> np.ndarray:
        return read_regions(self.path)

    @property
    def reach(self) -> int:
        return int(self.rows[:, 1].max()) + 1 if len(self.rows) else 0

    def labels(self, count: int) -> np.ndarray:
        labels = np.zeros(max(count, self.reach), bool)
        labels[self.rows[:, 1].astype(int)] = True
        return labels[:count]

    def mask(self, index: int, size: tuple[int, int]) -> np.ndarray | None:
        mask = np.zeros(size, bool)
        for x0, y0, x1, y1 in self.rows[self.rows[:, 1] == index, 2:]:
            mask[max(round(y0), 0) : max(round(y1) + 1, 0), max(round(x0), 0) : max(round(x1) + 1, 0)] = True
        return mask

    def regions(self, size: tuple[int, int], count: int) -> np.ndarray | None:
        return self.rows[self.rows[:, 1] < count]


class MaskVideoTruth(Truth):
    """A second video that is white where something is abnormal."""

    def __init__(self, path: Path, boxes: BoxTruth | None) -> None:
        self.path, self.boxes = path, boxes
        self._next: tuple[int, Iterator[np.ndarray]] | None = None

    @cached_property
    def _labels(self) -> np.ndarray:
        return np.array([mask.any() for mask in self._masks(0)], bool)

    @property
    def length(self) -> int | None:
        return len(self._labels)

    def labels(self, count: int) -> np.ndarray:
        return self._labels[:count]

    def mask(self, index: int, size: tuple[int, int]) -> np.ndarray | None:
        if self._next is None or self._next[0] != index:  # neighbours are read on from each other
            self._next = index, self._masks(index)
        mask = next(self._next[1], None)
        if mask is None:
            raise FrameError(f"{self.path} holds no mask of frame {index} that can be read")
        self._next = index + 1, self._next[1]
        return fitted(mask, size)

    def regions(self, size: tuple[int, int], count: int) -> np.ndarray | None:
        if self.boxes:
            return self.boxes.regions(size, count)
        return linked_regions((i, fitted(mask, size)) for i, mask in zip(range(count), self._masks(0)))

    def _masks(self, start: int) -> Iterator[np.ndarray]:
        return (frame.rgb[..., 1] >= WHITE for _, frame in VideoFile(self.path).read(start))


def find(folder: Path) -> bool:
    """Whether there are videos in the folder, or in folders named for the splits."""
    return any(videos_in(path) for path in (folder, *(folder / split for split in SPLITS)))


def load(root: Path) -> DataSet:
    """All videos; those in no folder of a split are of the split test."""
    clips, problems = [], []
    named: dict[str, Path] = {}
    for folder, split in [*((root / split, split) for split in SPLITS), (root, "test")]:
        videos = videos_in(folder)
        masks = {p.stem.removesuffix(MASK_MARK): p for p in videos if p.stem.endswith(MASK_MARK)}
        for path in videos:
            if path in masks.values():
                continue
            name = path.stem if folder == root else f"{split}_{path.stem}"
            if name in named:
                problems.append(f"{path} is left out: {named[name]} has its name {name!r}; call one of them otherwise")
                continue
            named[name] = path
            text = path.with_suffix(".txt")
            boxes = BoxTruth(text) if text.is_file() else None
            truth = MaskVideoTruth(masks[path.stem], boxes) if path.stem in masks else boxes
            if truth is None:
                problems.append(
                    f"{path} has no labels: put {path.stem}{MASK_MARK}.avi or {text.name} beside it (empty if all is normal)"
                )
            clips.append(Clip(name, split, VideoFile(path), truth))
        stems = {path.stem for path in videos}
        problems += [f"{path} is the mask of no video" for stem, path in masks.items() if stem not in stems]
    return DataSet("folder", root, tuple(clips), tuple(problems))


def read_regions(path: Path) -> np.ndarray:
    """A text file of regions, float64 [n, 6], `track_id, frame_id, x_min, y_min, x_max, y_max`. Raises `FrameError`."""
    rows = read_rows(path, 6)
    whole = rows[:, :2]
    if (whole < 0).any() or (whole != np.floor(whole)).any() or (rows[:, 4:] < rows[:, 2:4]).any():
        raise FrameError(
            f"{path} must hold rows `track_id,frame_id,x_min,y_min,x_max,y_max` with whole numbers from 0 for track and frame "
            "and maxima not below minima"
        )
    return rows
