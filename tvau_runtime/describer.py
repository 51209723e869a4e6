"""Has events put into words as they start and end, on a thread of its own, which may do other work while there are none.

Knows no frames; the model is behind a callback.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable
from functools import partial

from .errors import QueryError
from .types import AnomalyEvent, Phase

__all__ = ["EventDescriber"]

log = logging.getLogger(__name__)

MAX_WAITING = 16
"""Events that may wait for words; beyond, the one that waits longest stays without, and is counted."""


class EventDescriber:
    """Asks for a label and a description of every event it is shown, at its START and again, over all its track, at its END.

    describe: event -> the same with label and description; it may take its time. `QueryError` means that this cannot be
    yet: the event is asked about again when it is told about next. `TimeoutError` means that there was no time for it.
    tell: called with the event as it is by then, an UPDATE, or if it is over a repeated END; not at all when the words
    have already gone out with another message, or there are none.
    order: a lock that is held while an event is told, and that must be held when `watch` is called.
    """

    def __init__(
        self,
        describe: Callable[[AnomalyEvent], AnomalyEvent],
        tell: Callable[[AnomalyEvent], None],
        order: threading.RLock,
    ) -> None:
        self._describe, self._tell, self._order = describe, tell, order
        self._newest: dict[str, AnomalyEvent] = {}
        """What was last told of the events that are to be described, the earliest first."""
        self._ready: dict[str, None] = {}
        """Ids among them that can be asked about, in order."""
        self._asking = ""
        """Id of the event that is being asked about now."""
        self._spare: dict[str, Callable[[str], None]] = {}
        """What else is to be done, by what it is about."""
        self._busy = self._closing = False
        self._changed = threading.Condition()
        self.described = 0
        """Descriptions told."""
        self.dropped = 0
        """Descriptions given up because too many events waited, or the stream left no time for them."""
        self.failed = 0
        """Events left without words because asking failed."""
        self._thread = threading.Thread(target=self._run, name="tvau-describe", daemon=True)
        self._thread.start()

    def watch(self, event: AnomalyEvent, wanted: bool) -> None:
        """Takes note of what is told about an event. wanted: whether one that starts or ends is to be described."""
        with self._changed:
            if event.phase is not Phase.UPDATE and wanted:
                self._newest[event.id] = event
                self._ready[event.id] = None
                if len(self._newest) > MAX_WAITING:
                    self._forget(next(i for i in self._newest if i != self._asking))
                    self.dropped += 1
            elif event.id in self._newest:
                self._newest[event.id] = event
                self._ready[event.id] = None
            self._changed.notify_all()

    def when_idle(self, about: str, work: Callable[[str], None]) -> None:
        """Has `work(about)` done once no event waits for words; what waits about the same is replaced. It must not raise."""
        with self._changed:
            self._spare[about] = work
            self._changed.notify_all()

    def wait_idle(self, timeout_s: float) -> bool:
        """Waits until all is described that can be so far, and nothing else is to be done. False if that took longer."""
        with self._changed:
            return self._changed.wait_for(lambda: not (self._ready or self._spare or self._busy), timeout_s)

    def close(self, timeout_s: float) -> bool:
        """Leaves all that waits without words, and undone. False if the question in progress took longer than the time-out."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._asking, self._busy = "", False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._closing or self._ready or self._spare)
                if self._closing:
                    return
                self._busy = True
                if self._ready:
                    self._asking = next(iter(self._ready))
                    del self._ready[self._asking]
                    work = partial(self._ask, self._newest[self._asking])
                else:
                    about = next(iter(self._spare))
                    work = partial(self._spare.pop(about), about)
            work()

    def _ask(self, event: AnomalyEvent) -> None:
        try:
            described = self._describe(event)
        except QueryError as error:
            self._try_later(event.id, error)
        except TimeoutError as error:
            log.info("event %s is not described: %s", event.id, error)
            with self._changed:
                self.dropped += 1
                self._forget(event.id)
        except Exception as error:  # whatever it is, the next event may go well
            log.warning("event %s stays without description: %s", event.id, error, exc_info=True)
            self._give_up(event.id)
        else:
            self._tell_described(described)

    def _tell_described(self, described: AnomalyEvent) -> None:
        with self._order:
            with self._changed:
                newest, words = self._newest.get(described.id), (described.label, described.description)
                if newest is None or self._closing:
                    return
                known = (newest.label, newest.description)
                phase = Phase.END if newest.phase is Phase.END else Phase.UPDATE
                newest = dataclasses.replace(newest, phase=phase, label=words[0], description=words[1])
                if phase is Phase.END and described.phase is not Phase.END:
                    self._newest[described.id] = newest  # it ended meanwhile: its END is still to be asked about
                else:
                    self._forget(described.id)
                if not any(words) or words == known:
                    return
                self.described += 1
            self._tell(newest)

    def _try_later(self, event_id: str, error: QueryError) -> None:
        with self._changed:
            newest = self._newest.get(event_id)
            over = newest is None or (newest.phase is Phase.END and event_id not in self._ready)
        if over:
            log.info("event %s stays without description: %s", event_id, error)
            self._give_up(event_id)

    def _give_up(self, event_id: str) -> None:
        with self._changed:
            self.failed += 1
            self._forget(event_id)

    def _forget(self, event_id: str) -> None:
        self._newest.pop(event_id, None)
        self._ready.pop(event_id, None)
