"""UCSD Ped1 or Ped2: clips as folders of TIFFs, labels in a MATLAB script, masks as BMPs.

    UCSDped2/{Train,Test}/{Train,Test}NNN/NNN.tif    UCSDped2/Test/TestNNN_gt/NNN.bmp    UCSDped2/Test/UCSDped2.m

The script holds a line `gt_frame = [61:180]` for each test clip: numbers from 1, both ends included. Masks are matched by the
number in their names, for Test012 of Ped2 calls them `frame060.bmp`. Of Ped1, only ten clips have masks.
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path

import numpy as np

from tvau_runtime.errors import ConfigError, FrameError

from .clips import Clip, DataSet, Truth
from .files import fitted, folders_in, images_in, number_of, read_ids
from .regions import linked_regions
from .sources import ImageFolder

__all__ = ["PUBLISHED", "RangeTruth", "find", "load", "read_ranges", "subsets"]

FPS = 10.0
"""Of the camera; the images do not tell."""

PED1_WITHOUT_MASKS = 26
"""So many of its 36 test clips come without."""

PUBLISHED = {
    "UCSDped1": {"train": {"clips": 34, "frames": 6_800}, "test": {"clips": 36, "frames": 7_200}},
    "UCSDped2": {"train": {"clips": 16, "frames": 2_550}, "test": {"clips": 12, "frames": 2_010}},
}


class RangeTruth(Truth):
    """Abnormal ranges of frame numbers from 1, both ends included, and a folder of masks or None."""

    def __init__(self, ranges: list[tuple[int, int]], source: ImageFolder, folder: Path | None) -> None:
        self.ranges, self.source, self.folder = ranges, source, folder

    @cached_property
    def masks(self) -> dict[int, Path]:
        """Frame number (from 0) to mask, matched by the numbers in the files' names."""
        known = {number_of(path): path for path in images_in(self.folder)} if self.folder else {}
        frames = {number_of(path): index for index, path in enumerate(self.source.files)}
        return {frames[number]: path for number, path in known.items() if number in frames}

    @property
    def reach(self) -> int:
        return max((last for _, last in self.ranges), default=0)

    @property
    def absent(self) -> tuple[str, ...]:
        if self.folder is None:
            return ()
        frames = enumerate(self.source.files)
        return tuple(f"{self.folder} holds no mask of {p.name}" for index, p in frames if index not in self.masks)

    def labels(self, count: int) -> np.ndarray:
        labels = np.zeros(count, bool)
        for first, last in self.ranges:
            labels[first - 1 : last] = True
        return labels

    def mask(self, index: int, size: tuple[int, int]) -> np.ndarray | None:
        if self.folder is None:
            return None
        if index not in self.masks:
            raise FrameError(f"{self.folder} holds no mask of {self.source.files[index].name}")
        return fitted(read_ids(self.masks[index]) != 0, size)

    def regions(self, size: tuple[int, int], count: int) -> np.ndarray | None:
        if self.folder is None:
            return None
        shown = ((i, self.mask(i, size)) for i in range(count) if i in self.masks)
        return linked_regions((i, mask) for i, mask in shown if mask is not None)


def find(folder: Path) -> bool:
    """Whether the folder is a UCSD Ped1 or Ped2, or holds them."""
    return bool(subsets(folder))


def subsets(folder: Path) -> list[Path]:
    """The folder itself, if it holds Train/TrainNNN or Test/TestNNN, or those within it that do."""
    return [path for path in (folder, *folders_in(folder)) if _clips(path, "Train") or _clips(path, "Test")]


def load(root: Path) -> DataSet:
    """The clips of one subset. Raises `ConfigError` for a folder with both, which have tables of their own."""
    there = subsets(root)
    if len(there) > 1:
        raise ConfigError(
            f"{root} holds {' and '.join(path.name for path in there)}, which are two data sets with tables of their own; give "
            + " or ".join(str(path) for path in there)
        )
    root = there[0]
    clips = [Clip(path.name, "train", ImageFolder(path, FPS), Truth()) for path in _clips(root, "Train")]
    problems = [] if clips else [f"{root / 'Train'} holds no folders TrainNNN: nothing to train on"]
    tests = _clips(root, "Test")
    if not tests:
        problems.append(f"{root / 'Test'} holds no folders TestNNN: nothing to test on")
    scripts = [path for folder in (root / "Test", root) for path in sorted(folder.glob("[!.]*.m"))]
    ranges = read_ranges(scripts[0]) if scripts else []
    if not scripts:
        problems.append(f"{root / 'Test' / f'{root.name}.m'} is missing: no test clip has labels")
    elif len(ranges) != len(tests):
        problems.append(f"{scripts[0]} holds {len(ranges)} lines gt_frame for {len(tests)} test clips")
    for path in tests:
        number = int(path.name[4:])
        source, masks = ImageFolder(path, FPS), path.with_name(f"{path.name}_gt")
        known = 1 <= number <= len(ranges)
        truth = RangeTruth(ranges[number - 1], source, masks if masks.is_dir() else None) if known else None
        clips.append(Clip(path.name, "test", source, truth))
    bare = [path.name for path in tests if not path.with_name(f"{path.name}_gt").is_dir()]
    if len(bare) > (PED1_WITHOUT_MASKS if root.name == "UCSDped1" else 0):
        problems.append(f"{len(bare)} test clips have no masks: {', '.join(bare[:3])}{' …' * (len(bare) > 3)}")
    return DataSet("ucsd", root, tuple(clips), tuple(problems))


def read_ranges(path: Path) -> list[list[tuple[int, int]]]:
    """Per test clip, in order, its abnormal ranges as the script has them. Raises `FrameError` for what is none."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise FrameError(f"{path} cannot be read: {error.strerror}") from error
    found = []
    for line in lines:
        match = re.search(r"gt_frame\s*=\s*\[([^\]]*)\]", line.partition("%")[0])
        if match:
            found.append([_range(part, path) for part in re.split(r"[,;\s]+", match[1].strip()) if part])
    return found


def _range(text: str, path: Path) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)(?::(\d+))?", text)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= first <= last:
        raise FrameError(f"{path} must hold ranges such as [61:180] from 1 on, got {text!r}")
    return first, last


def _clips(root: Path, part: str) -> list[Path]:
    return [path for path in folders_in(root / part) if re.fullmatch(rf"{part}\d+", path.name)]
