"""The windows that events rest on, by event id, in bounded number. Knows nothing else about events."""

from __future__ import annotations

import threading
from collections import OrderedDict

from .types import Window

__all__ = ["EvidenceStore"]


class EvidenceStore:
    """Keeps the window of the last `limit` events. May be called from several threads."""

    def __init__(self, limit: int = 64) -> None:
        self._limit = limit
        self._windows: OrderedDict[str, Window] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, event_id: str, window: Window) -> None:
        """Keeps or replaces an event's window; where there are too many, that of the earliest event is forgotten."""
        with self._lock:
            self._windows[event_id] = window
            if len(self._windows) > self._limit:
                self._windows.popitem(last=False)

    def get(self, event_id: str) -> Window | None:
        with self._lock:
            return self._windows.get(event_id)

    @property
    def event_ids(self) -> tuple[str, ...]:
        """The events there is evidence of, the earliest first."""
        with self._lock:
            return tuple(self._windows)
