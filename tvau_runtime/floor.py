"""Who speaks: one at a time, in the order of their coming, and only so many wait. Knows no dialogue and no model.

Nobody waits for an answer of what is unhurried, and it steps aside for those who do: it is none of the many who may wait.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .errors import BusyError, QueryError

__all__ = ["Floor"]

LOOK_S = 0.1
"""How often one who waits looks whether it still wants to."""
FIRST_S, RECENT = 1.0, 0.2
"""How long one is taken to have the floor before anybody has had it, and what the last time counts in the running mean."""


@dataclass(eq=False)
class _Ticket:
    hurried: bool


class Floor:
    """One has the floor, the others wait for it in a queue."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queue: deque[_Ticket] = deque()
        self._holder: _Ticket | None = None
        self._mean_s = FIRST_S

    @property
    def taken(self) -> bool:
        return self._holder is not None

    @contextmanager
    def wait(
        self, most_waiting: int | None = None, gone: Callable[[], bool] = lambda: False, *, hurried: bool = True
    ) -> Iterator[None]:
        """Has the floor, once all who came before have had it.

        most_waiting: where so many wait already, it is not waited for (None: it always is). gone: asked ten times a second
        meanwhile; once it is true, it is no longer waited for. hurried: whether somebody waits for it. Raises `BusyError` and
        `QueryError`.
        """
        self._take(_Ticket(hurried), most_waiting, gone)
        begun = time.monotonic()
        try:
            yield
        finally:
            if hurried:
                with self._changed:
                    self._mean_s += RECENT * (time.monotonic() - begun - self._mean_s)
            self._leave()

    def step_aside(self) -> None:
        """Lets all who wait have the floor first; called by the one who has it, unhurried, who has it again afterwards."""
        self._leave()
        self._take(_Ticket(hurried=False), None, lambda: False)

    @property
    def waited_for(self) -> bool:
        return bool(self._queue)

    def _take(self, ticket: _Ticket, most_waiting: int | None, gone: Callable[[], bool]) -> None:
        with self._changed:
            waiting = sum(each.hurried for each in self._queue)
            spoken = self._holder is not None and self._holder.hurried
            if most_waiting is not None and waiting >= most_waiting and (spoken or waiting):
                again_s = max(0.1, (waiting + 1) * self._mean_s)
                raise BusyError(
                    f"busy: one question is being answered and {waiting} wait, as many as may (max_waiting); "
                    f"try again in {again_s:.1f} s",
                    again_s,
                )
            self._queue.append(ticket)
            try:
                while True:
                    if gone():
                        raise QueryError("stopped while it waited for its turn; nothing was asked")
                    if self._holder is None and self._queue[0] is ticket:
                        break
                    self._changed.wait(LOOK_S)
                self._holder = ticket
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()

    @contextmanager
    def if_free(self) -> Iterator[bool]:
        """Has the floor if nobody has it or waits for it; whether that is so."""
        with self._changed:
            free = self._holder is None and not self._queue
            if free:
                self._holder = _Ticket(hurried=False)
        try:
            yield free
        finally:
            if free:
                self._leave()

    def _leave(self) -> None:
        with self._changed:
            self._holder = None
            self._changed.notify_all()
