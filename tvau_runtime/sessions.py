"""The dialogues that are kept: bounded in number and in memory, and what became of those that are not any more.

Knows no model: what a dialogue holds is its caller's.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from .errors import SessionError
from .generation import Context
from .types import Evidence, Window

__all__ = ["Session", "SessionStore"]

MB = 2**20
REMEMBERED = 1000
"""Dialogues that are gone of which it is still known why."""


@dataclass
class Session:
    """A dialogue about one window. `context` has read the evidence and all turns so far: it is the history."""

    id: str
    window: Window
    event_id: str
    context: Context
    evidence: Evidence
    aside: tuple[Context, np.ndarray] | None
    """The evidence and QUESTION_ANOMALY, with the logits of its answer, until the first turn is over."""
    turns: int = 0

    @property
    def nbytes(self) -> int:
        """Memory of what it alone may hold: keys and values, visual tokens and maps. What is shared counts for each."""
        arrays = ((step.visual_tokens, step.class_maps, step.heatmap.values) for step in self.window.steps)
        return self.context.nbytes + sum(array.nbytes for step in arrays for array in step)

    def __str__(self) -> str:
        about = f"event {self.event_id!r}" if self.event_id else f"camera {self.window.camera!r}"
        return f"session {self.id!r} about {about}"


class SessionStore:
    """May be called from several threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Session] = OrderedDict()
        """The one used longest ago first."""
        self._gone: OrderedDict[str, str] = OrderedDict()
        """Why, by id."""
        self._lock = threading.Lock()

    def get(self, session_id: str) -> Session:
        """Raises `SessionError` for one that is not kept; it says whether there has been one, and why it is gone."""
        with self._lock:
            if session_id in self._kept:
                return self._kept[session_id]
            why = self._gone.get(
                session_id, f"there is no session {session_id!r}, and as far as is known there was none"
            )
        raise SessionError(f"{why}; leave session empty to start a new one")

    def keep(self, session: Session, most: int, most_mb: float) -> None:
        """Keeps a session, new or not, as the one used last; lets go of those used longest ago where there are too many.

        most_mb: memory that all may take together, in MB; the one used last is kept whatever it takes.
        """
        with self._lock:
            self._kept[session.id] = session
            self._kept.move_to_end(session.id)
            sizes = {name: each.nbytes for name, each in self._kept.items()}
            while len(self._kept) > 1:
                if len(self._kept) > most:
                    limit = f"at most {most} sessions are kept (max_sessions)"
                elif sum(sizes.values()) > most_mb * MB:
                    limit = f"all sessions together may take {most_mb:g} MB (max_session_mb)"
                else:
                    break
                name, gone = self._kept.popitem(last=False)
                del sizes[name]
                turns = f"{gone.turns} turn{'' if gone.turns == 1 else 's'}"
                self._gone[name] = f"{gone} has expired after {turns}: {limit}, and it was the one used longest ago"
                if len(self._gone) > REMEMBERED:
                    self._gone.popitem(last=False)

    def clear(self) -> None:
        with self._lock:
            self._kept.clear()

    def __len__(self) -> int:
        return len(self._kept)
