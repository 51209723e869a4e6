"""A place: what it is built of, how it is lit and seen, and where in it people and vehicles may go. Draws nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..camera import Camera
from .materials import Material
from .solids import Solids

__all__ = ["Belt", "Light", "Marking", "Path", "Place", "Seat", "Zone"]

Point = tuple[float, float]


@dataclass(frozen=True)
class Light:
    """name: in words. ambient, sun: linear RGB. shadow: where shadows fall on the ground per unit of height. lamps: (x, y, z,
    power). fog: per metre. haze: sRGB of fog and sky, 0..255."""

    name: str
    ambient: tuple[float, float, float]
    sun: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shadow: tuple[float, float] = (0.0, 0.0)
    lamps: tuple[tuple[float, float, float, float], ...] = ()
    fog: float = 0.0
    haze: tuple[float, float, float] = (190.0, 200.0, 210.0)
    outdoors: bool = True


@dataclass(frozen=True, eq=False)
class Zone:
    """A part of the ground: a convex polygon [n, 2], its material, and what may be there: 0 nobody, 1 vehicles, 2 people."""

    outline: np.ndarray
    material: Material
    label: int


@dataclass(frozen=True)
class Marking:
    """A painted stripe on the ground."""

    start: Point
    stop: Point
    width: float
    color: tuple[float, float, float]
    dash: float = 0.0


@dataclass(frozen=True)
class Path:
    """A way over the ground through `points`, and how far to either side of it one may go. ground: its name in words."""

    points: tuple[Point, ...]
    half: float
    ground: str = "walkway"


@dataclass(frozen=True)
class Seat:
    """Where somebody may sit, which way (rad), and how high."""

    where: Point
    heading: float
    height: float = 0.45


@dataclass(frozen=True)
class Belt:
    """A conveyor: items travel along `path` at `height`, each of this kind."""

    path: Path
    height: float
    item: str
    gap: float


@dataclass
class Place:
    """words: the place, as in "a plaza". floor: what people walk on, in words. zones: painted one over the other; the first is
    everywhere. walks: people go along them, either way. lanes: vehicles drive along them, from the first point to the last.
    tracks: for bicycles and the like, along them. bays: where vehicles park (x, y, heading). stands: rectangles (x0, y0, x1,
    y1) in which people stand about. closed: rectangles that nobody may enter, and what to call them. spots: (x, y, z) where
    things stand that belong there. horizon: what stands far away, outdoors."""

    words: str
    floor: str
    camera: Camera
    light: Light
    zones: list[Zone]
    solids: Solids = field(default_factory=Solids)
    markings: list[Marking] = field(default_factory=list)
    walks: list[Path] = field(default_factory=list)
    lanes: list[Path] = field(default_factory=list)
    tracks: list[Path] = field(default_factory=list)
    bays: list[tuple[float, float, float]] = field(default_factory=list)
    stands: list[tuple[float, float, float, float]] = field(default_factory=list)
    seats: list[Seat] = field(default_factory=list)
    belts: list[Belt] = field(default_factory=list)
    closed: list[tuple[tuple[float, float, float, float], str]] = field(default_factory=list)
    spots: list[tuple[float, float, float]] = field(default_factory=list)
    horizon: str = "trees"

    def zone(
        self, x0: float, y0: float, x1: float, y1: float, material: Material, label: int, turn: float = 0.0
    ) -> None:
        """Adds a rectangle of ground, turned about its middle."""
        half = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * ((x1 - x0) / 2, (y1 - y0) / 2)
        c, s = np.cos(turn), np.sin(turn)
        outline = half @ np.array([[c, s], [-s, c]]) + ((x0 + x1) / 2, (y0 + y1) / 2)
        self.zones.append(Zone(outline, material, label))

    def disc(self, x: float, y: float, radius: float, material: Material, label: int) -> None:
        """Adds a round piece of ground."""
        angle = np.arange(16) * (np.pi / 8)
        self.zones.append(Zone(np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], -1), material, label))

    def is_closed(self, x: float, y: float) -> bool:
        """Whether a point lies where nobody may be."""
        return any(x0 < x < x1 and y0 < y < y1 for (x0, y0, x1, y1), _ in self.closed)

    def free(self, x: float, y: float, room: float) -> bool:
        """Whether nothing that is built stands within `room` of a point."""
        for fx, fy, length, width, turn in self.solids.footprints:
            c, s = np.cos(turn), np.sin(turn)
            a, b = (x - fx) * c + (y - fy) * s, -(x - fx) * s + (y - fy) * c
            if abs(a) < length + room and abs(b) < width + room:
                return False
        return True
