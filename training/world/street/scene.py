"""The place: how road, walkways and their surroundings lie before the camera, and the light.

Knows nothing about drawing and actors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..camera import NEAREST, Camera, random_camera

__all__ = ["LIGHTS", "MAP_REACH", "SIDES", "Lane", "Light", "Scene", "random_scene"]

MAP_REACH = 15.0
"""The ground is mapped this far along and across from the middle of the view."""
_ALONG = np.linspace(-MAP_REACH, MAP_REACH, 61)

SIDES = ("grass", "sand", "gravel", "a building")
LIGHTS = {"bright day": (1.02, 1.0, 0.97), "cloudy day": (0.86, 0.88, 0.9), "evening": (0.64, 0.63, 0.72)}


@dataclass(frozen=True)
class Lane:
    """A strip of the road: its middle (across), the sense of traffic along (+1, -1), whether vehicles park or drive in it."""

    across: float
    sense: int
    parking: bool

    @property
    def heading(self) -> float:
        """Of the traffic, in rad."""
        return 0.0 if self.sense > 0 else math.pi


@dataclass(frozen=True)
class Light:
    """gain: per RGB channel. sun: where shadows fall on the ground (along, across, per unit of height), (0, 0) for none."""

    name: str
    gain: tuple[float, float, float]
    sun: tuple[float, float]
    noise: int


@dataclass(frozen=True)
class Scene:
    """Where things are: all numbers are ground coordinates, `across` the road."""

    camera: Camera
    light: Light
    road: tuple[float, float]
    lanes: tuple[Lane, ...]
    walkways: tuple[tuple[float, float], ...]
    sides: tuple[tuple[float, float, str], ...]
    """(from, to, surface) left and right of road and walkways."""

    @property
    def environment(self) -> str:
        """The scene in words."""
        walkways = "a walkway" if len(self.walkways) == 1 else "two walkways"
        return f"a road with {walkways} beside {self.sides[0][2]}, {self.light.name}"

    def view_range(self, across: float, margin: float = 0.1) -> tuple[float, float] | None:
        """Between which positions along the road something of a person's size is inside the image, or None."""
        matrix = self.camera.matrix
        x, y, depth = matrix[:, :1] * _ALONG + (matrix @ (0.0, across, 0.8, 1.0))[:, None]
        x, y = x / (depth * self.camera.width), y / (depth * self.camera.height)
        inside = _ALONG[(np.abs(x - 0.5) < 0.5 - margin) & (np.abs(y - 0.5) < 0.5 - margin) & (depth > NEAREST)]
        return (float(inside[0]), float(inside[-1])) if len(inside) > 1 else None


def random_scene(rng: np.random.Generator, size: tuple[int, int], aspect: float | None) -> Scene:
    """A road, one or two walkways, what lies beside them, and the light."""
    camera = random_camera(rng, size, aspect)
    hand = 1 if rng.random() < 0.5 else -1  # on which side of the kerb the road is
    parking = rng.random() < 0.5
    lane_width = rng.uniform(1.45, 1.75)
    kerb = rng.uniform(-0.7, 0.7)
    first = rng.uniform(1.9, 3.0)
    second = rng.uniform(1.6, 2.4) if rng.random() < 0.6 else 0.0

    road_end = kerb + hand * lane_width * (3 if parking else 2)
    centers = [kerb + hand * lane_width * (i + 0.5) for i in range(3 if parking else 2)]
    sense = 1 if rng.random() < 0.5 else -1
    lanes = [Lane(c, -1, True) for c in centers[:1] if parking]
    lanes += [Lane(c, sense * s, False) for c, s in zip(centers[parking:], (1, -1))]
    walkways = [_ordered(kerb, kerb - hand * first)]
    if second:
        walkways.append(_ordered(road_end, road_end + hand * second))

    # A building hides what is behind it, so it stands only on the far side of everything.
    surfaces = [str(s) for s in rng.choice(SIDES[:3], 2)]
    outward = -hand * math.cos(camera.yaw)  # how far away from the camera the first walkway's outer side faces
    edges = [kerb - hand * first, road_end + hand * second]
    if outward > 0.45 and rng.random() < 0.5:
        surfaces[0] = "a building"
    elif outward < -0.45 and second and rng.random() < 0.5:
        surfaces[1] = "a building"
    far = 3 * MAP_REACH
    sides = [
        (*_ordered(edges[0], edges[0] - hand * far), surfaces[0]),
        (*_ordered(edges[1], edges[1] + hand * far), surfaces[1]),
    ]
    return Scene(camera, _random_light(rng), _ordered(kerb, road_end), tuple(lanes), tuple(walkways), tuple(sides))


def _ordered(a: float, b: float) -> tuple[float, float]:
    return (a, b) if a < b else (b, a)


def _random_light(rng: np.random.Generator) -> Light:
    name = str(rng.choice(list(LIGHTS)))
    level, tint = rng.uniform(0.9, 1.08), rng.uniform(0.97, 1.03, 3)
    gain = np.array(LIGHTS[name]) * level * tint
    angle, length = rng.uniform(0, 2 * math.pi), rng.uniform(0.4, 0.9)
    sun = (length * math.cos(angle), length * math.sin(angle)) if name == "bright day" else (0.0, 0.0)
    return Light(
        name, (float(gain[0]), float(gain[1]), float(gain[2])), sun, int(rng.integers(2, 5)) + (name == "evening")
    )
