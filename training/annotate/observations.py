"""What was said of targets, frame by frame and over time: claims, observations and timelines, and how alike descriptions are.

Boxes are in pixels of the clip's own frames, times in seconds from its first frame. Plain frozen records. Knows no model.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from tvau_runtime.types import Box

__all__ = ["ALIKE", "Claim", "Observation", "State", "Timeline", "center", "consensus", "iou", "likeness"]

ALIKE = 0.5
"""Descriptions that share this part of their words are of one and the same."""

_FILLING = frozenset(
    [
        "a",
        "an",
        "and",
        "at",
        "by",
        "her",
        "his",
        "in",
        "is",
        "it",
        "its",
        "of",
        "on",
        "or",
        "the",
        "their",
        "to",
        "with",
    ]
)


@dataclass(frozen=True)
class Claim:
    """What one answer says of one target. refined: whether it was asked with the background blurred."""

    category: str
    appearance: str
    action: str
    confidence: float
    refined: bool = False


@dataclass(frozen=True)
class Observation:
    """A target in one frame. frame: its number in the clip. claims: at least one; two where both passes saw it."""

    frame: int
    time_s: float
    box: Box
    claims: tuple[Claim, ...]


@dataclass(frozen=True)
class State:
    """What a target does from one time to another."""

    start_s: float
    end_s: float
    action: str


@dataclass(frozen=True)
class Timeline:
    """One target over time: who, where from, where to, how it moves, what it does.

    agreement: share of the claims, by confidence, that are alike the consensus in category and appearance. path: float [n, 2],
    smoothed middles of the n observations. turns: which of the observations are at turning points. speeds: float [n], in sizes
    of the target (diagonals of its box) per second. size: that diagonal, in pixels.
    """

    id: int
    observations: tuple[Observation, ...]
    category: str
    appearance: str
    agreement: float
    states: tuple[State, ...]
    size: float
    path: np.ndarray = field(repr=False, compare=False)
    speeds: np.ndarray = field(repr=False, compare=False)
    turns: tuple[int, ...] = ()

    @property
    def start_s(self) -> float:
        return self.observations[0].time_s

    @property
    def end_s(self) -> float:
        return self.observations[-1].time_s

    @property
    def frames(self) -> list[int]:
        return [each.frame for each in self.observations]

    def action_at(self, time_s: float) -> str:
        """What it does at a time, of the state that is nearest."""
        return min(self.states, key=lambda s: max(s.start_s - time_s, time_s - s.end_s, 0.0)).action

    def box_at(self, time_s: float) -> Box | None:
        """Where it is at a time, in between its observations by interpolation; None before the first and after the last."""
        if not self.start_s <= time_s <= self.end_s:
            return None
        times = [each.time_s for each in self.observations]
        boxes = np.array([each.box for each in self.observations])
        x0, y0, x1, y1 = (float(np.interp(time_s, times, boxes[:, side])) for side in range(4))
        return x0, y0, x1, y1


@functools.lru_cache(maxsize=65536)
def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z0-9]+", text.lower())) - _FILLING


def likeness(a: str, b: str) -> float:
    """How alike two descriptions are, 0..1: the share of their words that both have (Jaccard), filling words left out."""
    if a == b:
        return 1.0
    first, second = _words(a), _words(b)
    return len(first & second) / len(first | second) if first and second else 0.0


def consensus(claims: Sequence[Claim], part: Callable[[Claim], str]) -> tuple[str, float]:
    """The one description among the claims that is most alike all of them, each counted by its confidence; and the share of them,
    0..1, that is alike it.

    Where all say the same in the same words that is the vote of the majority; of free text it is the medoid.
    """
    weights: dict[str, float] = {}
    for claim in claims:
        weights[part(claim)] = weights.get(part(claim), 0.0) + max(claim.confidence, 1e-3)
    total = sum(weights.values())
    near = {text: sum(w * likeness(text, other) for other, w in weights.items()) for text in weights}
    best = max(near, key=lambda text: (near[text], text))
    return best, sum(w for text, w in weights.items() if likeness(text, best) >= ALIKE) / total


def center(box: Box) -> tuple[float, float]:
    """(x, y) of its middle."""
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def iou(a: Box, b: Box) -> float:
    """Shared area of two boxes over the area of both together, 0..1."""
    across, down = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if across <= 0 or down <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return across * down / (sum(areas) - across * down)
