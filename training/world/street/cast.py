"""The cast of a clip: who takes part and which course each takes over the ground, as a function of time.

A new actor whose course would run through another one's is left out. Knows nothing about what is normal, and draws nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..palette import COLORS
from ..types import Spell
from .people import Look, random_look
from .scene import MAP_REACH, Scene
from .vehicles import SIZES, Body, random_body

__all__ = ["Cast", "Course", "Plan", "along_way", "straight"]

LONG_S = 6.0
"""In longer clips than this, actors come and go, and an anomaly has a beginning and an end."""


@dataclass(frozen=True, eq=False)
class Course:
    """position: [T, 2] on the ground; heading: [T] rad; travelled: [T] ground covered so far."""

    position: np.ndarray
    heading: np.ndarray
    travelled: np.ndarray


@dataclass(frozen=True, eq=False)
class Plan:
    """An actor's part. lie: [T], 0 upright .. 1 flat on the ground. abnormal: bool [T]."""

    kind: str
    color: str
    action: str
    anomaly: str
    gait: str
    look: Look | Body
    course: Course
    lie: np.ndarray
    abnormal: np.ndarray
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def position(self) -> np.ndarray:
        """[T, 2] on the ground."""
        return self.course.position

    @property
    def spells(self) -> tuple[Spell, ...]:
        """What it does, or the times at which it does what is abnormal."""
        when = np.flatnonzero(np.diff(np.concatenate([[0], self.abnormal | (not self.anomaly), [0]])))
        return tuple(Spell(self.action, int(first), int(end) - 1) for first, end in zip(when[::2], when[1::2]))


def straight(times: np.ndarray, when: float, where: tuple[float, float], heading: float, speed: float) -> Course:
    """Passes `where` at time `when`."""
    travelled = (times - when) * speed
    direction = np.array([math.cos(heading), math.sin(heading)])
    return Course(where + travelled[:, None] * direction, np.full(len(times), heading), travelled)


def along_way(times: np.ndarray, when: float, way: Sequence[tuple[float, float]], corner: int, speed: float) -> Course:
    """Follows way points at one speed and passes number `corner` at time `when`."""
    points = np.array(way)
    steps = np.diff(points, axis=0)
    arc = np.concatenate([[0.0], np.cumsum(np.hypot(steps[:, 0], steps[:, 1]))])
    travelled = np.clip((times - when) * speed + arc[corner], 0.0, arc[-1])

    def at(distance: np.ndarray) -> np.ndarray:
        return np.stack([np.interp(distance, arc, points[:, i]) for i in (0, 1)], axis=-1)

    ahead = at(travelled + 0.2) - at(travelled - 0.2)  # turns over a short way around each corner
    return Course(at(travelled), np.arctan2(ahead[:, 1], ahead[:, 0]), travelled)


class Cast:
    """The actors so far, and what is needed to place another: the scene, the frames' times [T] in s, and the dice."""

    def __init__(self, scene: Scene, times: np.ndarray, rng: np.random.Generator) -> None:
        self.scene = scene
        self.times = times
        self.rng = rng
        self.end = float(times[-1])
        self.long = self.end > LONG_S
        self.plans: list[Plan] = []
        self._taken: list[tuple[np.ndarray, np.ndarray]] = []

    def add(
        self,
        kind: str,
        action: str,
        course: Course,
        *,
        anomaly: str = "",
        gait: str = "walking",
        lie: np.ndarray | None = None,
        abnormal: np.ndarray | None = None,
    ) -> None:
        """Takes an actor of a random colour in, unless it would run through another one in view.

        abnormal: bool [T], when it is; always, if it is not given and `anomaly` is.
        """
        lie = np.zeros(len(self.times)) if lie is None else lie
        half = _half_extent(kind, course.heading, lie)
        near = np.abs(course.position[:, 0]) < MAP_REACH
        for position, other in self._taken:
            touching = (np.abs(course.position - position) < (half + other) * 1.05).all(axis=-1)
            if (touching & near).any():
                return
        self._taken.append((course.position, half))
        color = str(self.rng.choice(COLORS))
        look = random_body(self.rng, kind, color) if kind in SIZES else random_look(self.rng, color)
        abnormal = np.full(len(self.times), bool(anomaly)) if abnormal is None else abnormal
        self.plans.append(Plan(kind, color, action, anomaly, gait, look, course, lie, abnormal))

    def spot(self, across: float, margin: float = 0.1) -> float | None:
        """A random place along the road that is in view at this place across it, or None."""
        seen = self.scene.view_range(across, margin)
        return None if seen is None else float(self.rng.uniform(*seen))

    def walkway(self, inset: float) -> float:
        """A place across a walkway, `inset` away from its edges if it is wide enough."""
        lo, hi = self.scene.walkways[self.rng.integers(len(self.scene.walkways))]
        inset = min(inset, (hi - lo) / 2)
        return float(self.rng.uniform(lo + inset, hi - inset))

    def either_way(self) -> float:
        """A heading along the road, one way or the other."""
        return 0.0 if self.rng.random() < 0.5 else math.pi

    def vehicle(self) -> str:
        """Car or van."""
        return "car" if self.rng.random() < 0.7 else "van"


def _half_extent(kind: str, heading: np.ndarray, lie: np.ndarray) -> np.ndarray:
    """[T, 2]: half of the room an actor takes up along and across the road."""
    if kind in SIZES:
        length, width, _ = SIZES[kind]
    else:
        length, width = (1.7, 0.6) if kind == "bicycle" else (0.5, 0.5)
    reach, cos, sin = length + 1.6 * lie, np.abs(np.cos(heading)), np.abs(np.sin(heading))
    return np.stack([reach * cos + width * sin, reach * sin + width * cos], axis=-1) / 2
