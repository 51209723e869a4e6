"""CUHK Avenue: `training_videos/NN.avi`, `testing_videos/NN.avi`, and a MATLAB file of masks for each test video.

    ground_truth_demo/testing_label_mask/{n}_label.mat    key `volLabel`, a cell for each frame; n is not padded with zeros

Videos and ground truth are two downloads: the second may lie within the first one's folder or beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import scipy.io

from tvau_runtime.errors import FrameError

from .clips import Clip, DataSet, Truth
from .files import fitted, number_of, videos_in
from .regions import linked_regions
from .sources import VideoFile

__all__ = ["PUBLISHED", "MatTruth", "find", "label_folder", "load"]

PUBLISHED = {"train": {"clips": 16, "frames": 15_328}, "test": {"clips": 21, "frames": 15_324}}


class MatTruth(Truth):
    """Masks of a whole clip in one MATLAB file. It can only be read whole; of it, a bit for each pixel is kept."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def _labels(self) -> np.ndarray:
        return _volume(self.path)[0]

    @property
    def length(self) -> int | None:
        return len(self._labels)

    def labels(self, count: int) -> np.ndarray:
        return self._labels[:count]

    def mask(self, index: int, size: tuple[int, int]) -> np.ndarray | None:
        labels, unpacked = _volume(self.path)
        if index >= len(labels):
            raise FrameError(f"{self.path} holds {len(labels)} masks, none for frame {index}")
        return fitted(unpacked(index), size)

    def regions(self, size: tuple[int, int], count: int) -> np.ndarray | None:
        labels, unpacked = _volume(self.path)
        return linked_regions((i, fitted(unpacked(i), size)) for i in range(min(count, len(labels))))


@lru_cache(maxsize=2)
def _volume(path: Path) -> tuple[np.ndarray, Callable[[int], np.ndarray]]:
    """Labels bool [N], and what gives the mask bool [H, W] of a frame."""
    try:
        cells = scipy.io.loadmat(path)["volLabel"].ravel()
    except KeyError:
        raise FrameError(f"{path} holds no `volLabel`; is it one of Avenue's testing_label_mask?") from None
    except Exception as error:  # what scipy raises on a damaged file is of many kinds
        raise FrameError(f"{path} is not a MATLAB file or is damaged: {error}") from error
    shapes = {np.shape(cell) for cell in cells}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2:
        raise FrameError(f"{path} must hold a mask [H, W] for each frame, all of one size, got {sorted(shapes)[:3]}")
    height, width = shapes.pop()
    packed = [np.packbits(cell != 0) for cell in cells]
    labels = np.array([bits.any() for bits in packed])

    def unpacked(index: int) -> np.ndarray:
        return np.unpackbits(packed[index], count=height * width).reshape(height, width).astype(bool)

    return labels, unpacked


def find(folder: Path) -> bool:
    """Whether the folder is an Avenue: one with training_videos or testing_videos."""
    return bool(videos_in(folder / "training_videos") or videos_in(folder / "testing_videos"))


def label_folder(root: Path) -> Path | None:
    """Where the MATLAB files are."""
    inner = Path("ground_truth_demo", "testing_label_mask")
    options = (root / inner, root / inner.name, root.parent / inner, root.parent / inner.name)
    return next((path for path in options if path.is_dir()), None)


def load(root: Path) -> DataSet:
    """The clips that are there, `train_NN` and `test_NN`; training clips are normal throughout."""
    clips = [Clip(f"train_{p.stem}", "train", VideoFile(p), Truth()) for p in videos_in(root / "training_videos")]
    problems = [] if clips else [f"{root / 'training_videos'} holds no videos: nothing to train on"]
    labels, tests = label_folder(root), videos_in(root / "testing_videos")
    if not tests:
        problems.append(f"{root / 'testing_videos'} holds no videos: nothing to test on")
    if labels is None:
        problems.append(
            "the ground truth is missing: unpack ground_truth_demo.zip, a download of its own, so that "
            f"{root / 'ground_truth_demo' / 'testing_label_mask'} is there"
        )
    for path in tests:
        number = number_of(path)
        file = labels / f"{number}_label.mat" if labels else None
        if file is not None and not file.is_file():
            problems.append(f"{file} is missing: the clip test_{path.stem} has no labels")
            file = None
        clips.append(Clip(f"test_{path.stem}", "test", VideoFile(path), MatTruth(file) if file else None))
    return DataSet("avenue", root, tuple(clips), tuple(problems))
