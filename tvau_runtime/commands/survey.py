"""One pass over a video that keeps the evidence for questions: the hottest window, the events', and those of any time.

Windows share their steps, which hold no image, so that minutes of video fit in memory; of longer ones the last part
is kept. Small pictures of the steps are kept beside, where they are wanted. Knows no dialogue.
"""

from __future__ import annotations

import math
import sys
from collections import deque

import cv2
import numpy as np
from tqdm import tqdm

from ..errors import QueryError
from ..overlay import shrink
from ..pipeline import Pipeline
from ..report import clock, jpeg
from ..types import AnomalyEvent, Frame, Phase, Step, Window
from ..video import VideoReader

__all__ = ["Survey"]

MAX_BYTES = 2**30
"""Of evidence kept for questions about any time."""
PICTURE_WIDTH = 480
"""Of a step's picture, at most (pixels)."""


class Survey:
    """Reads a video to its end, or as far as `until_s` needs; or the stretch of it between two times (s) alone.

    pictures: whether each step's later frame is kept. Raises `QueryError` when it gave no full window, or no two frame pairs
    of a stretch.
    """

    def __init__(
        self,
        reader: VideoReader,
        pipeline: Pipeline,
        *,
        until_s: float | None = None,
        stretch: tuple[float, float] | None = None,
        pictures: bool = False,
    ) -> None:
        self._pipeline = pipeline
        self._bounds = stretch or (0.0, float("inf"))
        self._windows: deque[Window] = deque()
        self._steps: deque[Step] = deque()
        self._pictures: dict[int, bytes] | None = {} if pictures else None
        """JPEG, by the step's number."""
        self._forgotten = False
        self._camera = ""
        self.events: dict[str, AnomalyEvent] = {}
        """As last told, in order of their start."""
        self.best: Window
        """The window with the highest score."""
        self.start_ns = self.end_ns = 0
        """The first frame's stamp, and the end of the last one."""
        if reader.info.live:
            raise QueryError(
                f"{reader.info.source} has no end, and questions are asked about a video as a whole; watch it with "
                "`tvau watch --max-frames N`, or record it first"
            )
        best = self._read(reader, until_s)
        if stretch is not None:
            best = best or self.stretch(*stretch)
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
        begin_s, end_s = self._bounds[0], self.seconds(self.end_ns)
        if not begin_s <= seconds <= end_s:
            raise QueryError(f"the video goes from {begin_s:g} to {end_s:.1f} s, got {seconds:g} s")
        if not self._windows:
            return self.best
        first_s = self.seconds(self._windows[0].start_ns)
        if self._forgotten and seconds < first_s:
            raise QueryError(
                f"of so long a video, only the evidence from {clock(first_s)} on is kept; ask about a later time"
            )
        stamp_ns = self.start_ns + seconds * 1e9
        return min(self._windows, key=lambda window: abs((window.start_ns + window.end_ns) / 2 - stamp_ns))

    def stretch(self, from_s: float, to_s: float) -> Window:
        """A window over the steps between two times. Raises `QueryError` for times between which there are no two steps."""
        if not 0 <= from_s < to_s:
            raise QueryError(f"a stretch goes from a time to a later one, got {from_s:g} s to {to_s:g} s")
        begin, end = (self.start_ns + seconds * 1e9 for seconds in (from_s, min(to_s, 1e9)))
        steps = [step for step in self._steps if begin <= step.stamps_ns[0] and step.stamps_ns[1] <= end]
        if len(steps) < 2:
            first_s = self.seconds(self._steps[0].stamps_ns[0]) if self._steps else 0.0
            until = "the end" if math.isinf(to_s) else clock(to_s)
            raise QueryError(
                f"from {clock(from_s)} to {until} there are not two frame pairs to ask about; take a longer stretch of "
                f"what has been read ({clock(first_s)} to {clock(self.seconds(self.end_ns))})"
            )
        return self._pipeline.stretch(steps, self._camera)

    def picture(self, step: Step) -> np.ndarray | None:
        """A step's later frame in small, uint8 [H, W, 3]; None where none is kept."""
        data = (self._pictures or {}).get(step.index)
        if data is None:
            return None
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        return None if bgr is None else cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)

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
            if self.seconds(last_ns) > self._bounds[1]:
                break
            self.end_ns = last_ns + period_ns
            if self.seconds(last_ns) < self._bounds[0]:
                continue
            for update in self._pipeline.push(frame):
                self._note(update.events)
                if update.step is not None and update.frame is not None:
                    self._keep_step(update.step, update.frame)
                if update.window is not None:
                    self._keep(update.window)
                    if best is None or update.window.score > best.score:
                        best = update.window
            newest = self._windows[-1] if self._windows else None
            if until_s is not None and newest is not None and self.seconds(newest.start_ns) > until_s:
                break
        for update in self._pipeline.flush() if self._steps else ():
            self._note(update.events)
        return best

    def _note(self, events: tuple[AnomalyEvent, ...]) -> None:
        for event in events:
            if event.id in self.events or event.phase is not Phase.END:
                self.events[event.id] = event

    def _keep_step(self, step: Step, frame: Frame) -> None:
        self._steps.append(step)
        self._camera = frame.camera
        if self._pictures is not None:
            self._pictures[step.index] = jpeg(shrink(frame.rgb, PICTURE_WIDTH))

    def _keep(self, window: Window) -> None:
        self._windows.append(window)
        new_steps = max(1, self._pipeline.geometry.stride // 2)
        size = sum(
            step.visual_tokens.nbytes + step.class_maps.nbytes + len((self._pictures or {}).get(step.index, b""))
            for step in window.steps[-new_steps:]
        )
        while len(self._windows) * size > MAX_BYTES:
            self._windows.popleft()
            self._forgotten = True
            while self._steps[0].index < self._windows[0].steps[0].index:
                gone = self._steps.popleft()
                if self._pictures is not None:
                    del self._pictures[gone.index]
