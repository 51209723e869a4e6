"""The shapes that places are built of: flat convex faces in space, each of one material.

Coordinates are metres: x and y on the ground, z up. Knows nothing about drawing.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .materials import Material

__all__ = ["Face", "Solids"]


@dataclass(frozen=True, eq=False)
class Face:
    """points: [n, 3], convex, counter-clockwise as seen from outside. two_sided: also seen from behind. casts: throws a
    shadow. glow: light of its own, 0..1."""

    points: np.ndarray
    material: Material
    two_sided: bool = False
    casts: bool = True
    glow: float = 0.0

    @functools.cached_property
    def normal(self) -> np.ndarray:
        """Unit [3], outwards."""
        a, b, c = self.points[:3].tolist()
        return _unit(_cross([q - p for p, q in zip(a, b)], [q - p for p, q in zip(a, c)]))


# Places have hundreds of faces: plain floats take a tenth of the time of NumPy's `cross` on three numbers.
def _cross(a: Sequence[float], b: Sequence[float]) -> tuple[float, float, float]:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def _unit(a: Sequence[float]) -> np.ndarray:
    return np.array(a) / max(math.hypot(*a), 1e-9)


_NINE = np.arange(9) * (2 * math.pi / 9)
_COSINES, _SINES = np.cos(_NINE)[:, None], np.sin(_NINE)[:, None]


@dataclass
class Solids:
    """Collects faces, and the ground that they stand on as boxes (x, y, half length, half width, turn in rad)."""

    faces: list[Face] = field(default_factory=list)
    footprints: list[tuple[float, float, float, float, float]] = field(default_factory=list)

    def face(self, points: Sequence[tuple[float, float, float]], material: Material, **how: bool | float) -> None:
        """One face."""
        self.faces.append(Face(np.array(points, float), material, **how))  # type: ignore[arg-type]

    def box(
        self,
        middle: tuple[float, float],
        size: tuple[float, float, float],
        side: Material,
        *,
        top: Material | None = None,
        base: float = 0.0,
        turn: float = 0.0,
        solid: bool = True,
        glow: float = 0.0,
    ) -> None:
        """A box of (length, width, height) that stands at height `base`. solid: nobody walks through it."""
        (x, y), (length, width, height) = middle, size
        c, s = math.cos(turn), math.sin(turn)
        corners = [
            (length / 2, width / 2),
            (-length / 2, width / 2),
            (-length / 2, -width / 2),
            (length / 2, -width / 2),
        ]
        ring = [(x + a * c - b * s, y + a * s + b * c) for a, b in corners]
        for i in range(4):
            (ax, ay), (bx, by) = ring[i], ring[(i + 1) % 4]
            self.face(
                [(ax, ay, base), (bx, by, base), (bx, by, base + height), (ax, ay, base + height)], side, glow=glow
            )
        self.face([(px, py, base + height) for px, py in ring], top or side, glow=glow)
        if solid and base < 1.5:
            self.footprints.append((x, y, length / 2, width / 2, turn))

    def wall(
        self,
        start: tuple[float, float],
        stop: tuple[float, float],
        height: float,
        material: Material,
        *,
        base: float = 0.0,
        glow: float = 0.0,
    ) -> None:
        """A thin wall that is seen from both sides."""
        (ax, ay), (bx, by) = start, stop
        points = [(ax, ay, base), (bx, by, base), (bx, by, base + height), (ax, ay, base + height)]
        self.face(points, material, two_sided=True, glow=glow)
        if base < 1.5:
            turn, length = math.atan2(by - ay, bx - ax), math.hypot(bx - ax, by - ay)
            self.footprints.append(((ax + bx) / 2, (ay + by) / 2, length / 2, 0.1, turn))

    def pillar(
        self, middle: tuple[float, float], radius: float, height: float, material: Material, base: float = 0.0
    ) -> None:
        """A round pillar, of eight sides."""
        angle = np.arange(8) * (math.pi / 4)
        ring = [(middle[0] + radius * math.cos(a), middle[1] + radius * math.sin(a)) for a in angle]
        for (ax, ay), (bx, by) in zip(ring, ring[1:] + ring[:1]):
            self.face([(ax, ay, base), (bx, by, base), (bx, by, base + height), (ax, ay, base + height)], material)
        self.face([(px, py, base + height) for px, py in ring], material)
        if base < 1.0:
            self.footprints.append((*middle, radius, radius, 0.0))

    def disc(self, middle: tuple[float, float, float], radius: float, tilt: np.ndarray, material: Material) -> None:
        """A flat round face with this normal [3], seen from both sides."""
        normal = _unit(tilt.tolist()).tolist()
        a = _unit(_cross(normal, (0.3, 0.5, 0.8)))
        b = np.array(_cross(normal, a.tolist()))
        points = np.array(middle) + radius * (_COSINES * a + _SINES * b)
        self.faces.append(Face(points, material, two_sided=True))

    def leaves(
        self,
        rng: np.random.Generator,
        middle: tuple[float, float, float],
        size: tuple[float, float],
        color: tuple,
        count: int,
    ) -> None:
        """Foliage: discs in an ellipsoid of (radius, half height)."""
        for k in range(count):
            way = rng.normal(size=3)
            way *= rng.uniform(0.55, 1.0) / np.linalg.norm(way)
            spot = (middle[0] + way[0] * size[0], middle[1] + way[1] * size[0], middle[2] + way[2] * size[1])
            bright = 0.7 + 0.35 * (way[2] + 0.6) + rng.uniform(-0.12, 0.12)
            tone = (color[0] * bright, color[1] * bright, color[2] * bright)
            tilt = way + rng.normal(size=3) * 0.5 + (0, -0.5, 0.6)
            self.disc(spot, rng.uniform(0.34, 0.55) * size[0], tilt, Material("leaves", tone, seed=k))
