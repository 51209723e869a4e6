"""What of an archive is done and what is not, as the files in its folder say. Knows no model and no Ray."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..errors import FrameError
from .plan import VideoPlan, read_plan, video_key
from .scoring import PLANS, SEGMENTS, heatmaps_path, read_heatmaps

__all__ = ["Progress"]


class Progress:
    """The videos at these paths. What cannot be scored has no results."""

    def __init__(self, folder: Path, paths: Sequence[str]) -> None:
        self._folder = folder
        self.paths = list(paths)
        self._plans: dict[str, VideoPlan] = {}  # by path
        self.failed: dict[str, str] = {}
        """By path, why a video cannot be scored."""
        self.unplanned: list[str] = []
        """Paths of videos that have not been looked through."""
        for path in paths:
            try:
                plan = read_plan(folder / PLANS, video_key(path))
            except FrameError as error:
                self.failed[path] = str(error)
                continue
            if plan is None:
                self.unplanned.append(path)
            else:
                self._plans[path] = plan
        for tries in (folder / SEGMENTS).rglob("*.tries"):  # a run has its own
            tries.unlink(missing_ok=True)

    @property
    def problems(self) -> dict[str, str]:
        """By path, what is wrong with a video: with those that cannot be scored, and with those that are scored as they are."""
        told = {path: plan.problem for path, plan in self._plans.items() if plan.problem}
        return dict(sorted({**told, **self.failed}.items()))

    def planned(self, path: str, problem: str) -> None:
        """A video was looked through; problem: why it cannot be scored, if so."""
        self.unplanned.remove(path)
        plan = None
        try:
            plan = None if problem else read_plan(self._folder / PLANS, video_key(path))
        except FrameError as error:  # gone in the meantime
            problem = str(error)
        if plan is None:
            self.fail(path, problem or "it changed while it was looked through")
        else:
            self._plans[path] = plan

    def fail(self, path: str, problem: str) -> None:
        """A video cannot be scored."""
        self.failed.setdefault(path, problem)

    def waiting(self) -> list[tuple[VideoPlan, int]]:
        """The segments (plan of the video, number) that have no heat maps yet."""
        return [
            (plan, segment)
            for path, plan in self._plans.items()
            for segment in range(plan.segments)
            if path not in self.failed and not heatmaps_path(self._folder, plan.key, segment).is_file()
        ]

    def finished(self) -> Iterator[tuple[VideoPlan, list[np.ndarray]]]:
        """Every video that is scored to its end, with its heat maps; one at a time is in memory."""
        for path, plan in self._plans.items():
            if path not in self.failed and (heatmaps := read_heatmaps(self._folder, plan)) is not None:
                yield plan, heatmaps

    def seconds(self) -> float:
        """Footage of all videos that have been looked through and can be scored."""
        return sum(plan.duration_s for path, plan in self._plans.items() if path not in self.failed)
