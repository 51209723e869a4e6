"""Heat maps of one segment after the other, kept in files: what a worker does. Knows no Ray and no events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..backends import open_backend
from ..config import EngineConfig
from ..errors import FrameError
from ..frames import pack_pair, resize
from ..stream import heatmap_of
from ..video import VideoReader
from .files import read_arrays, write_whole
from .plan import VideoPlan, read_plan

__all__ = ["ATTEMPTS", "PLANS", "SEGMENTS", "SegmentScorer", "heatmaps_path", "read_heatmaps"]

PLANS = "progress/videos"
SEGMENTS = "progress/segments"
"""Folders within an archive's."""
ATTEMPTS = 3
"""After so many workers that died over a segment, its video counts as damaged: some files crash their decoder."""


class SegmentScorer:
    """An opened model that scores segments of an archive's folder.

    prompts: what replaces the model's own, by `Prompts`' field names. Raises what opening a model raises.
    """

    def __init__(self, folder: Path, engine: EngineConfig, prompts: dict[str, Any]) -> None:
        self._folder = folder
        self._backend = open_backend(engine)
        self._text = self._backend.text_features(self._backend.prompts.changed(**prompts))
        self._plan: VideoPlan | None = None

    def score(self, key: str, segment: int) -> str:
        """Scores a segment and keeps its heat maps, unless they are there already. Returns why that failed, or nothing."""
        path = heatmaps_path(self._folder, key, segment)
        if path.is_file():
            return ""
        tries = path.with_suffix(".tries")
        before = len(tries.read_bytes()) if tries.is_file() else 0
        if before >= ATTEMPTS:
            return f"{before} workers died over its segment {segment}"
        path.parent.mkdir(parents=True, exist_ok=True)
        with tries.open("ab") as file:  # it stays behind if this process dies
            file.write(b".")
        try:
            heatmaps = self._heatmaps(key, segment)
            write_whole(path, lambda file: np.savez_compressed(file, heatmaps=heatmaps))
        except FrameError as error:
            return str(error)
        finally:
            tries.unlink(missing_ok=True)
        return ""

    def _heatmaps(self, key: str, segment: int) -> np.ndarray:
        """float32 [k, gh, gw]"""
        if self._plan is None or self._plan.key != key:
            self._plan = read_plan(self._folder / PLANS, key)
        plan, spec, found = self._plan, self._backend.spec, []
        if plan is None:
            raise FileNotFoundError(f"the plan of video {key} is missing in {self._folder / PLANS}")
        with VideoReader(plan.path) as reader:
            frames = reader.frames_at([int(stamp) for stamp in plan.stamps_of(segment)])
            for first, second in zip(frames, frames):
                for frame in (first, second):
                    if frame.size != plan.frame_size:
                        raise FrameError(f"{plan.path}: frames change their size at {frame.stamp_ns * 1e-9:.3f} s")
                pixels = pack_pair(resize(first.rgb, spec), resize(second.rgb, spec), spec)
                # One at a time, as a stream does it: in a batch, sums may come out in another order.
                _, class_maps = self._backend.encode(pixels[None], self._text)
                found.append(heatmap_of(class_maps[0]).values)
        return np.stack(found)


def heatmaps_path(folder: Path, key: str, segment: int) -> Path:
    """Where a segment's heat maps are kept."""
    return folder / SEGMENTS / key[:2] / f"{key}-{segment:05d}.npz"


def read_heatmaps(folder: Path, plan: VideoPlan) -> list[np.ndarray] | None:
    """The heat maps of a whole video, in order, float32 [gh, gw] each; None unless all segments are there and whole."""
    found: list[np.ndarray] = []
    for segment in range(plan.segments):
        path = heatmaps_path(folder, plan.key, segment)
        kept = read_arrays(path)
        if kept is None:
            path.unlink(missing_ok=True)  # damaged, so that the next run scores it again
            return None
        found.extend(kept["heatmaps"])  # `+=` would be NumPy's
    return found
