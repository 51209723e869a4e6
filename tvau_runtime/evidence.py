"""The windows and tracks that events rest on, by event id, in bounded number. Knows nothing else about events."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TypeVar

from .types import TrackPoint, Window

__all__ = ["EvidenceStore"]

T = TypeVar("T")


class EvidenceStore:
    """Keeps window and track of the last `limit` events. May be called from several threads."""

    def __init__(self, limit: int = 64) -> None:
        self._limit = limit
        self._windows: OrderedDict[str, Window] = OrderedDict()
        self._tracks: OrderedDict[str, tuple[TrackPoint, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, event_id: str, window: Window) -> None:
        """Keeps or replaces an event's window; where there are too many, all of the earliest event is forgotten."""
        self._put(self._windows, event_id, window)

    def put_track(self, event_id: str, track: tuple[TrackPoint, ...]) -> None:
        """The same for where its target was, as far as it has been told."""
        self._put(self._tracks, event_id, track)

    def get(self, event_id: str) -> Window | None:
        with self._lock:
            return self._windows.get(event_id)

    def track(self, event_id: str) -> tuple[TrackPoint, ...]:
        """Empty where none is known."""
        with self._lock:
            return self._tracks.get(event_id, ())

    @property
    def event_ids(self) -> tuple[str, ...]:
        """The events there is evidence of, the earliest first."""
        with self._lock:
            return tuple(self._windows)

    def _put(self, kept: OrderedDict[str, T], event_id: str, value: T) -> None:
        with self._lock:
            kept[event_id] = value
            if len(kept) > self._limit:
                gone, _ = kept.popitem(last=False)
                self._windows.pop(gone, None)
                self._tracks.pop(gone, None)
