"""Which frames of a recorded video are looked at, in which pairs, and where it may be cut. Knows no model and no Ray.

A pair's heat map depends on its two frames alone; which frames these are depends on all stamps before. So the stamps of the
whole video are read first (from its container, which takes a fiftieth of decoding it), and go through the same sampler as a
stream's. A segment is then a number of consecutive pairs and nothing else.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import FrameError
from ..stream import Geometry
from ..video import VideoReader, listed_stamps
from ..window import FrameSampler, PairBuilder
from .files import read_arrays, write_whole

__all__ = ["VideoPlan", "pairs_of", "plan_video", "read_plan", "video_key", "write_plan"]

COMPARED = 64
"""Frames at the beginning whose decoded stamps must be those of the container for a video to be cut."""


@dataclass(frozen=True, eq=False)
class VideoPlan:
    """What there is to score of one video."""

    path: str
    key: str
    """Of path, size and time of change: a video that was changed is another video."""
    frame_size: tuple[int, int]
    """(height, width) in pixels."""
    duration_s: float
    pairs: np.ndarray = field(repr=False)
    """int64 [n, 2], stamps (ns) of the two frames of each pair."""
    anew: np.ndarray = field(repr=False)
    """bool [n], whether events end before this pair: there is a gap in time."""
    cuts: np.ndarray = field(repr=False)
    """int64 [segments + 1], ascending from 0 to n: pairs cuts[i] to cuts[i + 1] are segment i."""
    problem: str = ""
    """What is wrong with the video although it can be scored; empty if nothing."""

    @property
    def segments(self) -> int:
        return len(self.cuts) - 1

    def seconds(self, segment: int) -> float:
        """From a segment's first frame to the next one's, or to its own last."""
        first, end = self.cuts[segment], self.cuts[segment + 1]
        last_ns = self.pairs[end, 0] if end < len(self.pairs) else self.pairs[end - 1, 1]
        return float(last_ns - self.pairs[first, 0]) * 1e-9

    def stamps_of(self, segment: int) -> np.ndarray:
        """int64 [2k], stamps of the frames of a segment."""
        return self.pairs[self.cuts[segment] : self.cuts[segment + 1]].ravel()


def video_key(path: str) -> str:
    """A name for a video's files in `progress/`. Raises `FrameError` for a video that is not there."""
    try:
        facts = os.stat(path)
    except OSError as error:
        raise FrameError(f"{path} cannot be read: {error.strerror}") from error
    return hashlib.sha256(f"{path}\0{facts.st_size}\0{facts.st_mtime_ns}".encode()).hexdigest()[:16]


def plan_video(path: str, geometry: Geometry, segment_s: float) -> VideoPlan:
    """Looks a video through. Segments begin every `segment_s`, or nowhere in a video whose frames cannot be sought.

    Raises `FrameError` for a video that is not there, cannot be read, or has no end.
    """
    key = video_key(path)
    with VideoReader(path) as reader:
        info = reader.info
        if info.live:
            raise FrameError(f"{path} has no end; an archive is of recorded videos")
        frames, listed = iter(reader), listed_stamps(path)
        first = next(frames)
        stamps = [first.stamp_ns, *(frame.stamp_ns for frame in itertools.islice(frames, COMPARED - 1))]
        as_listed = stamps == listed[: len(stamps)] and (len(stamps) == COMPARED or len(stamps) == len(listed))
        cuttable = as_listed and bool((np.diff(listed) > 0).all())
        if cuttable:
            stamps = listed
        else:
            stamps += [frame.stamp_ns for frame in frames]
        problem = reader.problem or reader.shortfall(len(stamps), stamps[-1])
    pairs, anew = pairs_of(stamps, first.size, geometry)
    return VideoPlan(
        path=path,
        key=key,
        frame_size=first.size,
        duration_s=(stamps[-1] - stamps[0]) * 1e-9,
        pairs=pairs,
        anew=anew,
        cuts=_cuts(pairs, segment_s if cuttable else float("inf")),
        problem=problem,
    )


def pairs_of(stamps_ns: Iterable[int], size: tuple[int, int], geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """`VideoPlan.pairs` and `.anew` of frames of these stamps and one size, as `CameraStream` would pair them."""
    sampler = FrameSampler(geometry.process_rate_hz, max_gap_s=geometry.max_gap_s, reset_after_s=geometry.reset_after_s)
    builder: PairBuilder[int] = PairBuilder()
    pairs: list[tuple[int, int]] = []
    anew: list[bool] = []
    starts_anew = False
    for stamp_ns in stamps_ns:
        arrival = sampler.judge(stamp_ns, size, begins_pair=not builder.waits)
        if arrival.starts_anew:
            builder.clear()
            starts_anew = True
        if arrival.taken and (both := builder.add(stamp_ns)) is not None:
            pairs.append(both)
            anew.append(starts_anew)
            starts_anew = False
    return np.array(pairs, np.int64).reshape(-1, 2), np.array(anew, bool)


def _cuts(pairs: np.ndarray, segment_s: float) -> np.ndarray:
    """A segment begins with the first pair that is `segment_s` or more after the beginning of the one before."""
    cuts = [0] if len(pairs) else []
    for number, (first_ns, _) in enumerate(pairs):
        if (first_ns - pairs[cuts[-1], 0]) * 1e-9 >= segment_s:
            cuts.append(number)
    return np.array([*cuts, len(pairs)], np.int64)


def write_plan(folder: Path, plan: VideoPlan) -> None:
    """Keeps a plan in a folder, whole or not at all."""
    arrays = {"pairs": plan.pairs, "anew": plan.anew, "cuts": plan.cuts}
    facts = {"path": plan.path, "frame_size": plan.frame_size, "duration_s": plan.duration_s, "problem": plan.problem}
    write_whole(
        folder / f"{plan.key}.npz", lambda file: np.savez_compressed(file, allow_pickle=False, **arrays, **facts)
    )


def read_plan(folder: Path, key: str) -> VideoPlan | None:
    """A plan that was kept; None where there is none, or none that can be read."""
    kept = read_arrays(folder / f"{key}.npz")
    if kept is None:
        return None
    height, width = (int(side) for side in kept["frame_size"])
    return VideoPlan(
        path=str(kept["path"]),
        key=key,
        frame_size=(height, width),
        duration_s=float(kept["duration_s"]),
        pairs=kept["pairs"],
        anew=kept["anew"],
        cuts=kept["cuts"],
        problem=str(kept["problem"]),
    )
