"""Heat maps to anomaly events: START, UPDATE and END of every abnormal target of one camera.

    warm    a region of the heat map is at least `off_threshold`
    START   a target has peaked at `on_threshold` or more, and was warm for `min_duration_s` in all
    UPDATE  while it is warm, at most every `update_period_s`
    END     it has been cold for `end_after_s`; shorter dropouts are bridged

Warm time counts from one heat map to the next only while both are warm, so that flicker does not add up to an event.
Two targets whose regions run together are both kept for `MERGE_PATIENCE` times `end_after_s`; then the later one ends.
A track holds every warm step from the first, also from before START; one of more than 512 points is thinned out evenly.

Knows no frames and no language model: what the latter says is brought in by `set_text`.
"""

from __future__ import annotations

import itertools
import threading
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from .config import EventConfig
from .errors import FrameError
from .regions import find_regions
from .tracking import Track, Tracker
from .types import AnomalyEvent, Phase

__all__ = ["EventDetector", "OpenTrack"]

MERGE_PATIENCE = 3
TOLERANCE_NS = 1_000_000
"""Periods count as over this much early, so that rounded stamps do not make them one heat map longer."""

_numbers: defaultdict[str, itertools.count] = defaultdict(lambda: itertools.count(1))
"""Numbers of events by camera. They go on for as long as the process lives, so that no id ever comes twice."""


@dataclass(frozen=True)
class OpenTrack:
    """A target that is being followed. key: its number within the detector; event_id: empty before START."""

    key: int
    event_id: str
    peak_ns: int


@dataclass
class _Message:
    """What was said about a target so far."""

    event_id: str
    sent_ns: int
    label: str = ""
    description: str = ""


class EventDetector:
    """Follows the warm regions of one camera's heat maps. May be called from several threads."""

    def __init__(self, camera: str, config: EventConfig | None = None) -> None:
        self._camera = camera
        self._config = config or EventConfig()
        self._tracker = Tracker()
        self._messages: dict[int, _Message] = {}  # by track key, from START to END
        self._last_ns: int | None = None
        self._lock = threading.Lock()

    @property
    def config(self) -> EventConfig:
        return self._config

    def configure(self, config: EventConfig) -> None:
        """Thresholds and times from the next heat map on. Events that have started stay so."""
        self._config = config

    def update(
        self, heatmap: np.ndarray, stamp_ns: int, frame_size: tuple[int, int], frame_id: str = ""
    ) -> list[AnomalyEvent]:
        """Takes in one heat map [gh, gw], 0..1, of a frame of (height, width) pixels; returns what there is to tell.

        Raises `FrameError` for a stamp that is not after the last one: before going back in time, or to another frame
        size, call `flush`.
        """
        with self._lock:
            if self._last_ns is not None and stamp_ns <= self._last_ns:
                raise FrameError(f"heat maps must come in order of time, got {stamp_ns} ns after {self._last_ns} ns")
            config = self._config
            regions = find_regions(heatmap, frame_size, config.off_threshold, config.min_area)
            patience_ns = MERGE_PATIENCE * _ns(config.end_after_s)
            self._last_ns = stamp_ns
            merged = self._tracker.step(regions, stamp_ns, frame_size, frame_id, patience_ns)
            told = self._end(merged)
            told += self._end_cold(stamp_ns)
            for track in self._tracker.tracks:
                if track.last_ns == stamp_ns:
                    told += self._tell(track, stamp_ns)
            return told

    def tick(self, now_ns: int) -> list[AnomalyEvent]:
        """Ends what was cold in the last heat map and has been so for long enough by now, when no new one comes."""
        with self._lock:
            return self._end_cold(now_ns)

    def flush(self) -> list[AnomalyEvent]:
        """Ends everything; the next heat map may be of any time and frame size."""
        with self._lock:
            self._last_ns = None
            return self._end(self._tracker.clear())

    def set_text(self, event_id: str, label: str, description: str) -> bool:
        """Attaches what the language model says to an open event, for all it tells from now on. False if it is over."""
        with self._lock:
            for message in self._messages.values():
                if message.event_id == event_id:
                    message.label, message.description = label, description
                    return True
            return False

    def warm(self) -> tuple[AnomalyEvent, ...]:
        """The events whose targets are warm in the last heat map, as they are now (phase UPDATE), told or not."""
        with self._lock:
            return tuple(
                self._event(track, self._messages[track.key], Phase.UPDATE)
                for track in self._tracker.tracks
                if track.key in self._messages and track.last_ns == self._last_ns
            )

    def open_tracks(self) -> tuple[OpenTrack, ...]:
        """All targets that are being followed, also those whose event has not started."""
        with self._lock:
            return tuple(
                OpenTrack(t.key, self._messages[t.key].event_id if t.key in self._messages else "", t.peak_ns)
                for t in self._tracker.tracks
            )

    def _tell(self, track: Track, stamp_ns: int) -> list[AnomalyEvent]:
        """START or UPDATE of a warm target, where one is due."""
        config = self._config
        message = self._messages.get(track.key)
        if message is None:
            if track.peak_score < config.on_threshold or not _over(track.warm_ns, config.min_duration_s):
                return []
            message = _Message(f"{self._camera}-{next(_numbers[self._camera])}", stamp_ns)
            self._messages[track.key] = message
            track.established = True
            return [self._event(track, message, Phase.START)]
        if not _over(stamp_ns - message.sent_ns, config.update_period_s):
            return []
        message.sent_ns = stamp_ns
        return [self._event(track, message, Phase.UPDATE)]

    def _end_cold(self, now_ns: int) -> list[AnomalyEvent]:
        cold = [
            track
            for track in self._tracker.tracks
            if track.last_ns != self._last_ns and _over(now_ns - track.last_ns, self._config.end_after_s)
        ]
        self._tracker.remove(cold)
        return self._end(cold)

    def _end(self, tracks: list[Track]) -> list[AnomalyEvent]:
        """END of those among removed tracks whose event has started."""
        messages = [(track, self._messages.pop(track.key, None)) for track in tracks]
        return [self._event(track, message, Phase.END) for track, message in messages if message is not None]

    def _event(self, track: Track, message: _Message, phase: Phase) -> AnomalyEvent:
        return AnomalyEvent(
            id=message.event_id,
            camera=self._camera,
            frame_id=track.frame_id,
            phase=phase,
            start_ns=track.first_ns,
            end_ns=track.last_ns,
            peak_ns=track.peak_ns,
            score=track.score,
            peak_score=track.peak_score,
            box=track.box,
            peak_box=track.peak_box,
            track=track.points,
            label=message.label,
            description=message.description,
        )


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)


def _over(elapsed_ns: int, period_s: float) -> bool:
    return elapsed_ns + TOLERANCE_NS >= _ns(period_s)
