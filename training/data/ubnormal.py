"""UBnormal: `Scene{N}/{video}.mp4`, id maps and tracks beside it in `{video}_annotations`, splits by six lists of names.

An id map shows all objects, normal ones too; the tracks say which object is abnormal when. Both are numbered from 0. The lists
are not in the download but in the data set's repository, folder `scripts`.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from tvau_runtime.errors import ConfigError, FrameError

from .clips import Clip, DataSet, Track, Truth
from .files import fitted, folders_in, images_in, number_of, read_ids, read_rows, videos_in
from .regions import largest_box
from .sources import VideoFile

__all__ = ["PUBLISHED", "UBnormalTruth", "find", "list_file", "load", "tracks_file"]

PUBLISHED = {
    "train": {"normal clips": 186, "abnormal clips": 82},
    "validation": {"normal clips": 26, "abnormal clips": 38, "frames": 29_071},
    "test": {"normal clips": 53, "abnormal clips": 158, "frames": 89_908},
}
"""Of the six lists, and of the script that counts the frames for RBDC and TBDC."""

KINDS = ("normal", "abnormal")
_IN_LISTS = {"train": "training", "validation": "validation", "test": "test"}


class UBnormalTruth(Truth):
    """Id maps, and the tracks of an abnormal clip."""

    def __init__(self, folder: Path, tracks: tuple[Track, ...]) -> None:
        self.folder, self.tracks = folder, tracks
        self._last: tuple[int, np.ndarray] | None = None

    @cached_property
    def maps(self) -> dict[int, Path]:
        """Frame number to id map: `{video}_{%04d}_gt.png`."""
        return {
            int(parts[-2]): path
            for path in images_in(self.folder)
            if (parts := path.stem.split("_"))[-1] == "gt" and len(parts) > 1 and parts[-2].isdecimal()
        }

    @property
    def length(self) -> int | None:
        return max(self.maps) + 1 if self.maps else None

    @property
    def reach(self) -> int:
        return max((track.last + 1 for track in self.tracks), default=0)

    @property
    def absent(self) -> tuple[str, ...]:
        stem = self.folder.name.removesuffix("_annotations")
        numbers = [index for index in range(self.length or 0) if index not in self.maps]
        return tuple(f"{self.folder / f'{stem}_{index:04d}_gt.png'} is missing" for index in numbers)

    def labels(self, count: int) -> np.ndarray:
        labels = np.zeros(count if self.length is None else min(count, self.length), bool)
        for track in self.tracks:
            labels[track.first : track.last + 1] = True
        return labels

    def mask(self, index: int, size: tuple[int, int]) -> np.ndarray | None:
        odd = [track.object_id for track in self.tracks if track.first <= index <= track.last]
        if not odd:
            return np.zeros(size, bool)
        return fitted(np.isin(self._ids(index), odd), size)

    def objects(self, index: int, size: tuple[int, int]) -> np.ndarray | None:
        return fitted(self._ids(index), size) if index in self.maps else None

    def regions(self, size: tuple[int, int], count: int) -> np.ndarray | None:
        rows: list[tuple[float, ...]] = []
        for index in np.flatnonzero(self.labels(count)).tolist():
            ids = fitted(self._ids(index), size)
            for track in self.tracks:
                box = largest_box(ids == track.object_id) if track.first <= index <= track.last else None
                if box is not None:
                    rows.append((track.id, index, *box))
        regions = np.array(sorted(rows), np.float64).reshape(-1, 6)
        # The protocol wants track ids without gaps, also where a track is never visible.
        regions[:, 0] = np.unique(regions[:, 0], return_inverse=True)[1]
        return regions

    def _ids(self, index: int) -> np.ndarray:
        if (
            self._last is None or self._last[0] != index
        ):  # mask and objects of a frame are asked for one after the other
            if index not in self.maps:
                raise FrameError(f"{self.folder} holds no id map of frame {index} (…_{index:04d}_gt.png)")
            self._last = index, read_ids(self.maps[index])
        return self._last[1]


def find(folder: Path) -> bool:
    """Whether the folder is a UBnormal: one with folders `Scene{N}`."""
    return bool(_scenes(folder))


def load(root: Path) -> DataSet:
    """The clips that the lists name and whose videos are there. Raises `ConfigError` where no list is found."""
    lists = {(split, kind): list_file(root, split, kind) for split in _IN_LISTS for kind in KINDS}
    if not any(lists.values()):
        raise ConfigError(
            f"{root} holds UBnormal's scenes but none of the six lists that say what is train, validation and test; copy "
            "normal_training_video_names.txt, abnormal_training_video_names.txt and so on from the folder scripts of "
            f"UBnormal's repository to {root / 'scripts'}"
        )
    clips: list[Clip] = []
    problems: list[str] = []
    listed: set[str] = set()
    for (split, kind), path in lists.items():
        if path is None:
            problems.append(f"the list {kind}_{_IN_LISTS[split]}_video_names.txt is missing: none of its clips is used")
            continue
        for name in path.read_text(encoding="utf-8-sig").split():
            listed.add(name)
            try:
                clips.append(_clip(root, name, split, kind))
            except FrameError as error:
                problems.append(str(error))
            else:
                if clips[-1].truth is None:
                    problems.append(f"{name}_tracks.txt is missing: the clip {name} has no labels")
    beside = {path.stem for scene in _scenes(root) for path in videos_in(scene)} - listed
    if beside and all(lists.values()):
        problems.append(f"{len(beside)} videos stand in no list and are not used: {', '.join(sorted(beside)[:3])} …")
    return DataSet("ubnormal", root, tuple(clips), tuple(problems))


def list_file(root: Path, split: str, kind: str) -> Path | None:
    """Where the list of a split's normal or abnormal clips is: in the data set's folder, in `scripts` within or beside it."""
    name = f"{kind}_{_IN_LISTS[split]}_video_names.txt"
    return next((p / name for p in (root, root / "scripts", root.parent / "scripts") if (p / name).is_file()), None)


def tracks_file(folder: Path, name: str) -> Path | None:
    """The file of a clip's tracks; a corrected one (`_new_tracks.txt`) goes before the first one."""
    paths = (folder / f"{name}_new_tracks.txt", folder / f"{name}_tracks.txt")
    return next((path for path in paths if path.is_file()), None)


def _clip(root: Path, name: str, split: str, kind: str) -> Clip:
    parts = name.split("_")  # odd names hold more parts, but the scene is always the third
    if len(parts) < 3:
        raise FrameError(f"{name!r} in a list of UBnormal is not the name of a clip")
    scene = root / f"Scene{parts[2]}"
    video, folder = scene / f"{name}.mp4", scene / f"{name}_annotations"
    if not video.is_file():
        raise FrameError(f"{video} is missing, which the lists name for {split}")
    tracks = tracks_file(folder, name)
    if kind == "abnormal" and tracks is None:
        return Clip(name, split, VideoFile(video), None)
    return Clip(name, split, VideoFile(video), UBnormalTruth(folder, _tracks(tracks) if tracks else ()))


def _tracks(path: Path) -> tuple[Track, ...]:
    rows = read_rows(path, 3)
    if (rows != np.floor(rows)).any() or (rows < 0).any() or (rows[:, 2] < rows[:, 1]).any():
        raise FrameError(
            f"{path} must hold rows `object_id, first frame, last frame` of whole numbers, got {rows.tolist()}"
        )
    rows = rows[np.argsort(rows[:, 0], kind="stable")].astype(int)
    return tuple(Track(number, *map(int, row)) for number, row in enumerate(rows))


def _scenes(root: Path) -> list[Path]:
    return [path for path in folders_in(root) if path.name.startswith("Scene") and number_of(path) is not None]
