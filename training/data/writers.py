"""Clips of the synthetic world on disk in each data set's own layout, odd names, numberings and formats included.

What is written is for tests, documentation and trials: small copies that the loaders and any other tool for the data set read as
they would the original. All or nothing: a file or folder appears under its name when it is whole.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import scipy.io

from tvau_runtime.errors import FrameError
from tvau_training.video_files import write_video
from tvau_training.world import Clip

__all__ = ["LAYOUTS", "Layout", "staged", "stretches"]

LOSSLESS = "FFV1"

Record = Mapping[str, Any]
"""A line of dialogues.jsonl: `clip`, `split`, `number`, `anomalous`, `abnormal` (stretches) and what else there is."""


@dataclass(frozen=True)
class Layout:
    """How one data set lies on disk. rate_hz: of its cameras. normal_training: whether its training clips are all normal.
    inner: the folder of its own that the original has.

    name: what the n-th clip of a split is called, n from 0. write: puts a clip there. share: writes what all clips share, from
    the records of all that are done.
    """

    rate_hz: float
    splits: tuple[str, ...]
    normal_training: bool
    name: Callable[[int, str, bool], str]
    write: Callable[[Path, str, int, Clip], None]
    share: Callable[[Path, Sequence[Record]], None] = lambda root, records: None
    inner: str = ""


@contextmanager
def staged(path: Path) -> Iterator[Path]:
    """Another path, hidden, that becomes `path` once all is written; replaces what is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.part")
    _remove(draft)
    yield draft
    if path.is_dir():
        _remove(path)
    os.replace(draft, path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def stretches(flags: np.ndarray) -> list[tuple[int, int]]:
    """First and last number, both included, of each run of True in bool [T]."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(int)))
    return [(int(first), int(end) - 1) for first, end in edges.reshape(-1, 2)]


def _save_image(path: Path, image: np.ndarray, *parameters: int) -> None:
    if not cv2.imwrite(str(path), image, parameters):
        raise FrameError(f"OpenCV could not write {path}; is there space?")


def _save_text(path: Path, text: str) -> None:
    with staged(path) as draft:
        draft.write_text(text, encoding="utf-8", newline="")


def _ubnormal_name(number: int, split: str, anomalous: bool) -> str:
    kind, scene = "abnormal" if anomalous else "normal", number % 29 + 1
    odd = {1: f"scenario{number}_10", 2: f"scenario_{number}_fog", 3: f"scenario_{number}_1"}
    return (
        f"{kind}_scene_{scene}_{odd.get(number % 5, f'scenario_{number}')}{'' if split == 'train' else f'_{split[0]}'}"
    )


def _write_ubnormal(root: Path, name: str, number: int, clip: Clip) -> None:
    scene = root / f"Scene{name.split('_')[2]}"
    with staged(scene / f"{name}_annotations") as draft:
        draft.mkdir()
        for index, ids in enumerate(clip.objects):
            _save_image(draft / f"{name}_{index:04d}_gt.png", ids)
        if clip.anomalous:
            rows = [
                (actor.id, first, last) for actor in clip.actors for first, last in stretches(actor.abnormal_frames)
            ]
            _save_tracks(draft, name, number // 2 % 4, rows)
    write_video(clip.frames, clip.rate_hz, scene / f"{name}.mp4")


def _save_tracks(folder: Path, name: str, variant: int, rows: list[tuple[int, int, int]]) -> None:
    """In one of the four ways that the data set has them."""
    plain = "".join(f"{ident},{first},{last}\n" for ident, first, last in rows)
    if variant == 0:
        (folder / f"{name}_tracks.txt").write_text(plain, newline="")
    elif variant == 1:
        floats = "".join(f"{ident:.1f},{first:.1f},{last:.1f}\r\n" for ident, first, last in rows)
        (folder / f"{name}_tracks.txt").write_text(floats, newline="")
    elif variant == 2:  # the first file was wrong and has been corrected
        (folder / f"{name}_tracks.txt").write_text(f"{rows[0][0]},0,0\n", newline="")
        (folder / f"{name}_new_tracks.txt").write_text(plain, newline="")
    else:
        np.savetxt(folder / f"{name}_tracks.txt", rows, delimiter=",")


def _share_ubnormal(root: Path, records: Sequence[Record]) -> None:
    for split, word in (("train", "training"), ("validation", "validation"), ("test", "test")):
        for kind in ("normal", "abnormal"):
            names = [r["clip"] for r in records if r["split"] == split and r["anomalous"] == (kind == "abnormal")]
            _save_text(root / "scripts" / f"{kind}_{word}_video_names.txt", "".join(f"{name}\n" for name in names))


def _shanghaitech_name(number: int, split: str, anomalous: bool) -> str:
    scene = number % 13 + 1
    return f"{scene:02d}_{number + 1:03d}" if split == "train" else f"{scene:02d}_{number + 1:04d}"


def _write_shanghaitech(root: Path, name: str, number: int, clip: Clip) -> None:
    if clip.split == "train":
        write_video(clip.frames, clip.rate_hz, root / "training" / "videos" / f"{name}.avi")
        return
    masks = clip.anomaly_masks
    for kind, values in (("test_pixel_mask", masks), ("test_frame_mask", masks.any(axis=(1, 2)))):
        with staged(root / "testing" / kind / f"{name}.npy") as draft, draft.open("wb") as file:
            np.save(file, values.astype(np.uint8))
    first, digits = ((0, 3), (1, 0), (1, 4))[number % 3]  # copies are numbered in all these ways
    with staged(root / "testing" / "frames" / name) as draft:
        draft.mkdir()
        for index, frame in enumerate(clip.frames, start=first):
            image = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
            _save_image(draft / f"{index:0{digits}d}.jpg", image, cv2.IMWRITE_JPEG_QUALITY, 95)


def _write_avenue(root: Path, name: str, number: int, clip: Clip) -> None:
    if clip.split == "test":
        masks = clip.anomaly_masks
        cells = np.empty((1, len(masks)), object)
        for index, mask in enumerate(masks):
            cells[0, index] = mask.astype(np.uint8)
        folder = root / "ground_truth_demo" / "testing_label_mask"
        with staged(folder / f"{number + 1}_label.mat") as draft, draft.open("wb") as file:
            scipy.io.savemat(file, {"volLabel": cells}, do_compression=True)
    folder = root / ("training_videos" if clip.split == "train" else "testing_videos")
    write_video(clip.frames, clip.rate_hz, folder / f"{number + 1:02d}.avi")


def _write_ucsd(root: Path, name: str, number: int, clip: Clip) -> None:
    folder = root / ("Train" if clip.split == "train" else "Test")
    if clip.split == "test":
        prefix = "frame" if number + 1 == 12 else ""  # so it is in Ped2
        with staged(folder / f"{name}_gt") as draft:
            draft.mkdir()
            for index, mask in enumerate(clip.anomaly_masks, start=1):
                _save_image(draft / f"{prefix}{index:03d}.bmp", mask.astype(np.uint8) * 255)
    with staged(folder / name) as draft:
        draft.mkdir()
        for index, frame in enumerate(clip.frames, start=1):
            _save_image(draft / f"{index:03d}.tif", cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))


def _share_ucsd(root: Path, records: Sequence[Record]) -> None:
    tests = sorted((r for r in records if r["split"] == "test"), key=lambda r: r["number"])
    if tests:
        ranges = [", ".join(f"{first + 1}:{last + 1}" for first, last in record["abnormal"]) for record in tests]
        lines = ["TestVideoFile = {};", *(f"TestVideoFile{{end+1}}.gt_frame = [{text}];" for text in ranges)]
        _save_text(root / "Test" / "UCSDped2.m", "\r\n".join(lines) + "\r\n")


def _write_folder(root: Path, name: str, number: int, clip: Clip) -> None:
    folder, name = root / clip.split, name.removeprefix(f"{clip.split}_")
    if number // 2 % 2:
        masks = (np.repeat(mask[..., None], 3, axis=2).astype(np.uint8) * 255 for mask in clip.anomaly_masks)
        write_video(masks, clip.rate_hz, folder / f"{name}_mask.avi", LOSSLESS)
    else:
        _save_text(folder / f"{name}.txt", "".join(_box_rows(clip)))
    write_video(clip.frames, clip.rate_hz, folder / f"{name}.mp4")


def _box_rows(clip: Clip) -> Iterator[str]:
    spans = [(actor, *span) for actor in clip.actors for span in stretches(actor.abnormal_frames)]
    for track, (actor, first, last) in enumerate(spans):
        for index in range(first, last + 1):
            x0, y0, x1, y1 = (int(v) for v in actor.boxes[index])
            yield f"{track},{index},{x0},{y0},{x1 - 1},{y1 - 1}\n"


LAYOUTS = {
    "ubnormal": Layout(
        30.0, ("train", "validation", "test"), False, _ubnormal_name, _write_ubnormal, _share_ubnormal
    ),
    "shanghaitech": Layout(24.0, ("train", "test"), True, _shanghaitech_name, _write_shanghaitech),
    "avenue": Layout(
        25.0, ("train", "test"), True, lambda number, split, _: f"{split}_{number + 1:02d}", _write_avenue
    ),
    "ucsd": Layout(
        10.0, ("train", "test"), True,
        lambda number, split, _: f"{'Train' if split == 'train' else 'Test'}{number + 1:03d}",
        _write_ucsd, _share_ucsd, "UCSDped2",
    ),
    "folder": Layout(
        10.0, ("train", "validation", "test"), False, lambda number, split, _: f"{split}_clip{number + 1:04d}", _write_folder
    ),
}  # fmt: skip
"""By name of the data set; a clip's name is what its loader calls it."""
