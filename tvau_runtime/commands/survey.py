"""One pass over a video that keeps the evidence for questions: the hottest window, the events', and those of any time.

Windows share their steps, which hold no image, so that minutes of video fit in memory; of longer ones the last part
is kept. Knows no dialogue.
"""

from __future__ import annotations

import sys
from collections import deque

from tqdm import tqdm

from ..errors import QueryError
from ..pipeline import Pipeline
from ..report import clock
from ..types import AnomalyEvent, Phase, Window
from ..video import VideoReader

__all__ = ["Survey"]

MAX_BYTES = 2**30
"""Of evidence kept for questions about any time."""


class Survey:
    """Reads a video to its end, or as far as `until_s` needs. Raises `QueryError` when it gave no full window."""

    def __init__(self, reader: VideoReader, pipeline: Pipeline, *, until_s: float | None = None) -> None:
        self._pipeline = pipeline
        self._windows: deque[Window] = deque()
        self._forgotten = False
        self.events: dict[str, AnomalyEvent] = {}
        """As last told, in order of their start."""
        self.best: Window
        """The window with the highest score."""
        self.start_ns = self.end_ns = 0
        """The first frame's stamp, and the end of the last one."""
        self.problem = ""
        if reader.info.live:
            raise QueryError(
                f"{reader.info.source} has no end, and questions are asked about a video as a whole; watch it with "
                "`tvau watch --max-frames N`, or record it first"
            )
        best = self._read(reader, until_s)
        if best is None:
            geometry, stats = pipeline.geometry, pipeline.stats()
            raise QueryError(
                f"{reader.info.source} gave no full clip window: {stats.sampled} frames were sampled at "
                f"{geometry.process_rate_hz:g} Hz, a window has {geometry.clip_length}; take a longer video, or "
                "another --process-rate-hz or --clip-length"
            )
        self.best = best

    def seconds(self, stamp_ns: int) -> float:
        """Seconds since the first frame."""
        return (stamp_ns - self.start_ns) * 1e-9

    def window_at(self, seconds: float) -> Window:
        """The window whose middle is nearest to a time. Raises `QueryError` for a time out of the video or no
        longer kept.
        """
        end_s = self.seconds(self.end_ns)
        if not 0 <= seconds <= end_s:
            raise QueryError(f"the video goes from 0 to {end_s:.1f} s, got {seconds:g} s")
        first_s = self.seconds(self._windows[0].start_ns)
        if self._forgotten and seconds < first_s:
            raise QueryError(
                f"of so long a video, only the evidence from {clock(first_s)} on is kept; ask about a later time"
            )
        stamp_ns = self.start_ns + seconds * 1e9
        return min(self._windows, key=lambda window: abs((window.start_ns + window.end_ns) / 2 - stamp_ns))

    def event(self, name: str) -> AnomalyEvent:
        """An event by its number from 1, in order of start, or by its id. Raises `QueryError` with what there is."""
        if name in self.events:
            return self.events[name]
        if name.isdecimal() and 1 <= int(name) <= len(self.events):
            return list(self.events.values())[int(name) - 1]
        there_are = f"1 to {len(self.events)}" if self.events else "none was found in this video"
        raise QueryError(f"there is no event {name!r}; events: {there_are}")

    def window_of(self, event: AnomalyEvent) -> Window:
        """The window around an event's peak. Raises `QueryError` when there was no full one."""
        return self._pipeline.window(event.camera, event.id)

    def _read(self, reader: VideoReader, until_s: float | None) -> Window | None:
        best: Window | None = None
        frames = last_ns = 0
        for frame in tqdm(
            reader, total=reader.info.frames or None, unit="frame", disable=None, leave=False, file=sys.stderr
        ):
            if not frames:
                self.start_ns = last_ns = frame.stamp_ns
            period_ns = frame.stamp_ns - last_ns if frames else 0
            frames, last_ns = frames + 1, frame.stamp_ns
            self.end_ns = last_ns + period_ns
            for update in self._pipeline.push(frame):
                self._note(update.events)
                if update.window is not None:
                    self._keep(update.window)
                    if best is None or update.window.score > best.score:
                        best = update.window
            newest = self._windows[-1] if self._windows else None
            if until_s is not None and newest is not None and self.seconds(newest.start_ns) > until_s:
                break
        for update in self._pipeline.flush() if frames else ():
            self._note(update.events)
        self.problem = reader.problem
        return best

    def _note(self, events: tuple[AnomalyEvent, ...]) -> None:
        for event in events:
            if event.id in self.events or event.phase is not Phase.END:
                self.events[event.id] = event

    def _keep(self, window: Window) -> None:
        self._windows.append(window)
        new_steps = max(1, self._pipeline.geometry.stride // 2)
        size = sum(step.visual_tokens.nbytes + step.class_maps.nbytes for step in window.steps[-new_steps:])
        while len(self._windows) * size > MAX_BYTES:
            self._windows.popleft()
            self._forgotten = True
