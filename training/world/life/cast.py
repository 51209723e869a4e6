"""The cast of a clip: who takes part, on which course over the ground, in which pose, and whether there is room for them.

Knows nothing about what is normal, and draws nothing before it is asked to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..actors.people import Outfit, dress, paint_person
from ..actors.poses import CYCLE, Pose, gait
from ..actors.puppet import Puppet
from ..actors.things import THING_SIZES, paint_thing
from ..actors.vehicles import SIZES, paint_ride, paint_vehicle
from ..camera import NEAREST, Camera
from ..palette import COLORS
from ..scenes.backdrop import Picture
from ..scenes.place import Path, Place
from ..types import Spell

__all__ = ["LONG_S", "BeltRow", "Cast", "Course", "Part", "Track", "ramp"]

LONG_S = 6.0
"""In longer clips than this, actors come and go, and an anomaly has a beginning and an end."""
_RADIUS = {"person": 0.28, "bicycle": 0.4, "scooter": 0.35, "skateboard": 0.35, "wheelchair": 0.45}

_PAINTS = tuple({"white": 0.27, "black": 0.23, "red": 0.13, "blue": 0.15}.get(color, 0.055) for color in COLORS)
"""How often vehicles have each colour."""


@dataclass(frozen=True, eq=False)
class Course:
    """position: [T, 2] on the ground; heading: [T] rad; travelled: [T] m of ground covered so far."""

    position: np.ndarray
    heading: np.ndarray
    travelled: np.ndarray


@dataclass(frozen=True, eq=False)
class Part:
    """An actor's part; see `Actor` for the words. abnormal: bool [T]. height: [T] m above the ground. paint: adds it to a
    puppet."""

    kind: str
    color: str
    action: str
    anomaly: str
    abnormal: np.ndarray
    course: Course
    height: np.ndarray
    paint: Callable[[Puppet], object]
    attributes: Mapping[str, str] = field(default_factory=dict)
    spells: tuple[Spell, ...] = ()

    @property
    def position(self) -> np.ndarray:
        """[T, 2] on the ground."""
        return self.course.position


def ramp(times: np.ndarray, start: float, duration: float) -> np.ndarray:
    """[T]: 0 until `start`, 1 from `start` + `duration` on."""
    return np.clip((times - start) / duration, 0, 1)


class Track:
    """A line over the ground by its length. offset: to the left of it, in m."""

    def __init__(self, points: Sequence[tuple[float, float]], offset: float = 0.0, *, back: bool = False) -> None:
        line = np.array(points[::-1] if back else points, float)
        steps = np.diff(line, axis=0)
        way = steps / np.maximum(np.hypot(steps[:, 0], steps[:, 1])[:, None], 1e-9)
        left = np.stack([-way[:, 1], way[:, 0]], -1)
        shift = np.concatenate([left[:1], left[:-1] + left[1:], left[-1:]])
        shift /= np.maximum(np.hypot(shift[:, 0], shift[:, 1])[:, None], 0.5)
        self._line = line + shift * offset
        steps = np.diff(self._line, axis=0)
        self._arc = np.concatenate([[0.0], np.cumsum(np.hypot(steps[:, 0], steps[:, 1]))])
        self.length = float(self._arc[-1])

    def at(self, distance: np.ndarray) -> np.ndarray:
        """[n] lengths along the line to [n, 2] points; it goes on straight at both ends."""
        inside = np.clip(distance, 0, self.length)
        points = np.stack([np.interp(inside, self._arc, self._line[:, i]) for i in (0, 1)], axis=-1)
        first, last = self._line[1] - self._line[0], self._line[-1] - self._line[-2]
        points += np.minimum(distance, 0)[:, None] * (first / np.linalg.norm(first))
        return points + np.maximum(distance - self.length, 0)[:, None] * (last / np.linalg.norm(last))

    def course(self, distance: np.ndarray, reach: float = 0.35) -> Course:
        """Along the line at lengths [T]; corners are rounded over `reach` m."""
        ahead, behind = self.at(distance + reach), self.at(distance - reach)
        heading = np.arctan2(*(ahead - behind).T[::-1])
        position = (self.at(distance) + ahead + behind) / 3
        return Course(position, heading, distance - distance[0])


@dataclass(frozen=True)
class BeltRow:
    """What moves along a belt in a clip, upright or not. start: where item 0 is at time 0; speed: m/s; gap: m; paint: of most."""

    track: Track
    height: float
    start: float
    speed: float
    gap: float
    paint: str

    def lengths(self, k: int, times: np.ndarray) -> np.ndarray:
        """Of item `k` along the track, [T]."""
        return self.start + k * self.gap + times * self.speed

    def nearest(self, at: float, when: float) -> int:
        """Which item comes by length `at` at about this time."""
        return round((at - self.start - when * self.speed) / self.gap)

    def level(self, lengths: np.ndarray) -> np.ndarray:
        """[T]: below the floor, so out of sight, before and after the belt."""
        return np.where((lengths > 0) & (lengths < self.track.length), self.height, -3.0)

    def color(self, rng: np.random.Generator) -> str:
        """Of one item."""
        return str(rng.choice(["red", "purple", "black"])) if rng.random() < 0.08 else self.paint


class Cast:
    """The actors so far, and what is needed to place another: the place and its picture, the frames' times [T] in s, the dice."""

    def __init__(
        self, place: Place, canvas: Camera, picture: Picture, times: np.ndarray, rng: np.random.Generator, *, rain: bool
    ) -> None:
        self.place, self.times, self.rng, self.rain = place, times, rng, rain
        self.end = float(times[-1])
        self.long = self.end > LONG_S
        self.parts: list[Part] = []
        self._rows: dict[int, BeltRow] = {}
        self.camera, self._picture = canvas, picture
        self._taken: list[tuple[np.ndarray, float]] = []

    # -- where and when ------------------------------------------------------------------------------------------------

    def seen(self, points: np.ndarray, margin: float = 0.08, up: float = 0.9) -> np.ndarray:
        """bool [n]: whether somebody who stands at [n, 2] would be well in view and not hidden by what is built."""
        image = np.concatenate([points, np.full((len(points), 1), up)], -1) @ self.camera.matrix[:, :3].T
        image = image + self.camera.matrix[:, 3]
        depth = np.maximum(image[:, 2], 0.1)
        height, width = self._picture.near.shape
        x, y = image[:, 0] / depth, image[:, 1] / depth
        inside = (np.abs(x / width - 0.5) < 0.5 - margin) & (np.abs(y / height - 0.5) < 0.5 - margin * 1.2)
        inside &= self.camera.depth(points) > NEAREST * 1.5
        column, row = np.clip(x, 0, width - 1).astype(int), np.clip(y, 0, height - 1).astype(int)
        return inside & (self._picture.near[row, column] > self.camera.depth(points) - 0.4)

    def spot(self, track: Track, margin: float = 0.1) -> float | None:
        """A random length along a track at which it is in view, or None."""
        lengths = np.linspace(0, track.length, max(8, int(track.length * 3)))
        lengths = lengths[self.seen(track.at(lengths), margin)]
        return float(self.rng.choice(lengths)) if len(lengths) else None

    def walk(self) -> tuple[Track, Path] | None:
        """A way for people, either way, somewhere within its width."""
        return self._way(self.place.walks, both=True)

    def lane(self) -> tuple[Track, Path] | None:
        """A way for vehicles."""
        return self._way(self.place.lanes, both=False)

    def bike_way(self) -> tuple[Track, Path] | None:
        """A way for bicycles and the like."""
        return self._way(self.place.tracks, both=True)

    def _way(self, paths: list[Path], *, both: bool) -> tuple[Track, Path] | None:
        if not paths:
            return None
        path = paths[self.rng.integers(len(paths))]
        offset = float(self.rng.uniform(-path.half, path.half))
        return Track(path.points, offset, back=both and self.rng.random() < 0.5), path

    def stand(self) -> tuple[float, float] | None:
        """A place to stand about that is free and in view, or None."""
        for _ in range(12):
            if not self.place.stands:
                return None
            x0, y0, x1, y1 = self.place.stands[self.rng.integers(len(self.place.stands))]
            x, y = float(self.rng.uniform(x0, x1)), float(self.rng.uniform(y0, y1))
            if self.place.free(x, y, 0.4) and self.seen(np.array([[x, y]]))[0]:
                return x, y
        return None

    def belt_row(self, number: int) -> BeltRow:
        """What moves along a belt of the place: the same whenever it is asked for."""
        if number not in self._rows:
            belt = self.place.belts[number]
            speed, gap = float(self.rng.uniform(0.25, 0.7)), belt.gap * float(self.rng.uniform(0.9, 1.3))
            start = -float(self.rng.uniform(0, gap)) - speed * self.end
            paint = str(self.rng.choice(["yellow", "orange", "white", "blue", "green"]))
            self._rows[number] = BeltRow(Track(belt.path.points), belt.height, start, speed, gap, paint)
        return self._rows[number]

    def stay(self, x: float, y: float, heading: float) -> Course:
        """Stays where it is."""
        count = len(self.times)
        return Course(np.tile([x, y], (count, 1)), np.full(count, heading), np.zeros(count))

    def steady(self, when: float, at: float, speed: float) -> np.ndarray:
        """[T] lengths along a track at one speed, passing `at` at time `when`."""
        return at + (self.times - when) * speed

    # -- who -----------------------------------------------------------------------------------------------------------

    def person(
        self,
        course: Course,
        pose: Pose | Callable[[Outfit], Pose],
        action: str,
        *,
        anomaly: str = "",
        abnormal: np.ndarray | None = None,
        spells: Sequence[tuple[str, int]] = (),
        bag: str | None = None,
        height: np.ndarray | float = 0.0,
        crowd: bool = False,
        radius: float = 0.0,
        base: float = 0.0,
    ) -> Part | None:
        """Takes in a person; None where there is no room. pose: may depend on the person. spells: (action, first frame) one after
        the other, if they are several. crowd: may come near to others, as who fights or talks. base: of a seat, in m."""
        if not self._room(course, "person", radius or _RADIUS["person"], crowd=crowd):
            return None
        color = str(self.rng.choice(COLORS))
        outfit = dress(self.rng, color, rain=self.rain, bag=bag)
        made = pose(outfit) if callable(pose) else pose
        lowered = (0.0, 0.0, base)
        return self._add(
            "person", color, action, anomaly, abnormal, course, height,
            lambda puppet: paint_person(puppet, outfit, made, lowered), outfit.attributes, spells,
        )  # fmt: skip

    def walker(self, course: Course, action: str, *, style: str = "walk", **more: object) -> Part | None:
        """Takes in a person who goes along a course in this gait."""

        def pose(outfit: Outfit) -> Pose:
            phase = 2 * np.pi * course.travelled / (CYCLE.get(style, CYCLE["walk"]) * outfit.height) + outfit.phase
            return gait(style, phase, 0.5 if outfit.bag else 1.0)

        return self.person(course, pose, action, **more)  # type: ignore[arg-type]

    def ride(
        self, kind: str, course: Course, action: str, *, anomaly: str = "", abnormal: np.ndarray | None = None
    ) -> Part | None:
        """Takes in a bicycle, scooter, skateboard or wheelchair with its rider."""
        if not self._room(course, kind, _RADIUS[kind]):
            return None
        color = str(self.rng.choice(COLORS))
        bag = "a backpack" if self.rng.random() < 0.3 and kind != "wheelchair" else ""
        outfit = dress(self.rng, color, rain=self.rain, bag=bag)
        frame = tuple(float(v) for v in self.rng.uniform(20, 210, 3))
        r, g, b = frame
        return self._add(
            kind, color, action, anomaly, abnormal, course, 0.0,
            lambda puppet: paint_ride(puppet, kind, outfit, course.travelled, (r, g, b)), outfit.attributes,
        )  # fmt: skip

    def vehicle(
        self, kind: str, course: Course, action: str, *, anomaly: str = "", abnormal: np.ndarray | None = None,
        braking: bool = False, crowd: bool = False, spells: Sequence[tuple[str, int]] = (),
    ) -> Part | None:  # fmt: skip
        """Takes in a car, van, truck or forklift."""
        if not self._room(course, kind, SIZES[kind][1] / 2 + 0.1, crowd=crowd):
            return None
        color = str(
            self.rng.choice(("yellow", "orange", "red")) if kind == "forklift" else self.rng.choice(COLORS, p=_PAINTS)
        )
        dice = int(self.rng.integers(1 << 30))
        return self._add(
            kind, color, action, anomaly, abnormal, course, 0.0,
            lambda puppet: paint_vehicle(puppet, kind, color, np.random.default_rng(dice), braking), {}, spells,
        )  # fmt: skip

    def thing(
        self, kind: str, course: Course, action: str, *, anomaly: str = "", abnormal: np.ndarray | None = None,
        height: np.ndarray | float = 0.0, tip: np.ndarray | float = 0.0, size: float = 0.0, crowd: bool = False,
        color: str | None = None, spells: Sequence[tuple[str, int]] = (),
    ) -> Part | None:  # fmt: skip
        """Takes in a thing or an animal. tip: [T] rad, how far it has toppled over. color: None for any, "" for none."""
        size = size or float(self.rng.uniform(0.85, 1.25))
        if not self._room(course, kind, THING_SIZES[kind] * size / 2, crowd=crowd):
            return None
        if color is None:
            color = str(self.rng.choice(("orange", "black", "white") if kind == "dog" else COLORS))
        dice, lean = int(self.rng.integers(1 << 30)), np.broadcast_to(np.asarray(tip, float), (len(self.times),))
        return self._add(
            kind, color, action, anomaly, abnormal, course, height,
            lambda puppet: paint_thing(
                puppet, kind, color, np.random.default_rng(dice), size, self.times, course.travelled, lean
            ),
            {}, spells,
        )  # fmt: skip

    def _add(
        self, kind: str, color: str, action: str, anomaly: str, abnormal: np.ndarray | None, course: Course,
        height: np.ndarray | float, paint: Callable[[Puppet], object], attributes: Mapping[str, str] | None = None,
        spells: Sequence[tuple[str, int]] = (),
    ) -> Part:  # fmt: skip
        count = len(self.times)
        when = np.full(count, bool(anomaly)) if abnormal is None else abnormal
        starts = [(deed, min(max(first, 0), count)) for deed, first in spells or [(action, 0)]]
        ends = [first for _, first in starts[1:]] + [count]
        told = tuple(Spell(deed, first, end - 1) for (deed, first), end in zip(starts, ends) if end > first)
        level = np.broadcast_to(np.asarray(height, float), (count,))
        part = Part(kind, color, action, anomaly, when, course, level, paint, attributes or {}, told)
        self.parts.append(part)
        return part

    def take_back(self) -> None:
        """Has the one leave again who was taken in last."""
        self.parts.pop()
        self._taken.pop()

    def _room(self, course: Course, kind: str, radius: float, *, crowd: bool = False) -> bool:
        """Whether nobody is run through; if so, the room is taken."""
        points = course.position[None]
        if kind in SIZES:
            way = np.stack([np.cos(course.heading), np.sin(course.heading)], -1)
            reach = SIZES[kind][0] / 2 - radius
            points = np.stack([course.position + way * d for d in (-reach, -reach / 2, 0.0, reach / 2, reach)])
        if not crowd:
            for others, room in self._taken:
                gap = points[:, None] - others[None]
                if (np.hypot(gap[..., 0], gap[..., 1]) < radius + room).any():
                    return False
        self._taken.append((points, radius))
        return True
