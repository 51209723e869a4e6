"""The pictures of a report, gathered while a stream runs: each event's peak, way and heat, and those of the whole run.

An event is told of only once it has lasted for a while, so the last moments are remembered in small, and an event's own
pictures begin with those. Bounded in memory however long the stream. Knows no model and no files.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from ..overlay import TrajectoryImage, shrink, thumbnail
from ..report import EventCard, jpeg
from ..types import AnomalyEvent, Box, Heatmap, Phase, TrackPoint

__all__ = ["PictureBook"]

WIDTH = 480
"""Of an event's pictures (pixels)."""
RUN_WIDTH = 720
"""Of the pictures of the whole run (pixels)."""
MAX_MOMENTS = 48
"""Moments remembered for events that are yet to be told."""
MAX_CARDS = 60
"""Events that keep their pictures; of more, those with the highest peaks."""


@dataclass(frozen=True, eq=False)
class _Moment:
    """One step: a small picture, its heat map, and the size of the frame it was made from."""

    stamp_ns: int
    image: np.ndarray
    heatmap: Heatmap
    frame_size: tuple[int, int]

    def scaled(self, box: Box) -> Box:
        """A box of the frame in pixels of the small picture."""
        sx, sy = self.image.shape[1] / self.frame_size[1], self.image.shape[0] / self.frame_size[0]
        return (box[0] * sx, box[1] * sy, box[2] * sx, box[3] * sy)


@dataclass
class _Open:
    """An event that goes on, and what has been drawn of it."""

    event: AnomalyEvent
    trajectory: TrajectoryImage = field(default_factory=lambda: TrajectoryImage(WIDTH))
    drawn_ns: int = -1
    peak: bytes = b""
    peak_ns: int = -1
    peak_score: float = -1.0


class PictureBook:
    """Gathers cards (`report.EventCard`) and the pictures of the whole run."""

    def __init__(self) -> None:
        self._moments: deque[_Moment] = deque(maxlen=MAX_MOMENTS)
        self._run = TrajectoryImage(RUN_WIDTH)
        self._open: dict[str, _Open] = {}
        self._cards: dict[str, EventCard] = {}
        self.omitted = 0
        """Events that have ended and have no card."""

    def add_step(self, rgb: np.ndarray, heatmap: Heatmap, stamp_ns: int, boxes: dict[str, Box]) -> None:
        """A step's frame and heat map, with the boxes of the events that are warm in it."""
        self._moments.append(_Moment(stamp_ns, shrink(rgb, WIDTH), heatmap, (rgb.shape[0], rgb.shape[1])))
        self._run.add(rgb, heatmap, boxes)

    def add_event(self, event: AnomalyEvent) -> None:
        """What is told of an event; its step, if it has one, must have been added before."""
        ended = self._cards.get(event.id)
        if ended is not None:  # words that came after its end
            self._cards[event.id] = dataclasses.replace(ended, event=event)
            return
        if event.phase is Phase.END and event.id not in self._open:
            return
        state = self._open.setdefault(event.id, _Open(event))
        state.event = event
        self._draw(state)
        if event.phase is Phase.END:
            del self._open[event.id]
            self._cards[event.id] = self._card(state)
            if len(self._cards) > MAX_CARDS:
                del self._cards[min(self._cards, key=lambda name: self._cards[name].event.peak_score)]
                self.omitted += 1

    def cards(self) -> list[EventCard]:
        """All cards in order of the events' start, with those of events that go on."""
        cards = [*self._cards.values(), *(self._card(state) for state in self._open.values())]
        return sorted(cards, key=lambda card: card.event.start_ns)

    def run_pictures(self) -> tuple[bytes, bytes]:
        """The whole run's boxes and accumulated heat; empty before the first step."""
        if self._run.empty:
            return b"", b""
        return jpeg(self._run.boxes_row()), jpeg(self._run.heat_row())

    def _draw(self, state: _Open) -> None:
        """Draws what has come since the last time: the moments at which the event's track has a point."""
        points: dict[int, TrackPoint] = {point.stamp_ns: point for point in state.event.track}
        for moment in self._moments:
            point = points.get(moment.stamp_ns)
            if point is None or moment.stamp_ns <= state.drawn_ns:
                continue
            state.drawn_ns = moment.stamp_ns
            box = moment.scaled(point.box)
            state.trajectory.add(moment.image, moment.heatmap, {state.event.id: box}, within_boxes=True)
            if point.score > state.peak_score:
                state.peak_score, state.peak_ns = point.score, moment.stamp_ns
                state.peak = jpeg(thumbnail(moment.image, moment.heatmap, box, WIDTH))

    def _card(self, state: _Open) -> EventCard:
        if state.trajectory.empty:
            return EventCard(state.event)
        way, heat = jpeg(state.trajectory.boxes_row()), jpeg(state.trajectory.heat_row())
        return EventCard(state.event, picture_ns=state.peak_ns, picture=state.peak, way=way, heat=heat)
