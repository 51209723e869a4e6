"""Cars, vans and trucks of faces, and what people ride: bicycles, scooters, skateboards and wheelchairs.

Own coordinates: forward, left, up, in metres. Knows nothing about where they go.
"""

from __future__ import annotations

import itertools

import numpy as np

from ..palette import named, shade
from .people import Outfit, paint_person
from .poses import blend, gait, hold, still
from .puppet import Color, Puppet

__all__ = ["SIZES", "paint_ride", "paint_vehicle"]

SIZES = {"car": (4.2, 1.75, 1.45), "van": (5.0, 1.95, 2.1), "truck": (7.0, 2.3, 2.9), "forklift": (2.4, 1.2, 2.1)}
"""length, width, height in m."""

_GLASS: Color = (52.0, 62.0, 72.0)
_TYRE: Color = (26.0, 26.0, 28.0)
_STEEL: Color = (120.0, 122.0, 126.0)

# (forward / length, up / height) from rear bottom over the roof to front bottom, and the glass between points
_PROFILES: dict[str, tuple[tuple[tuple[float, float], ...], tuple[int, ...]]] = {
    "car": (
        ((-0.5, 0.2), (-0.5, 0.5), (-0.47, 0.62), (-0.33, 0.97), (-0.2, 1.0), (0.06, 0.99), (0.25, 0.66), (0.46, 0.56),
         (0.5, 0.45), (0.5, 0.2)),
        (2, 5),
    ),
    "van": (((-0.5, 0.16), (-0.5, 0.95), (-0.47, 1.0), (0.2, 1.0), (0.27, 0.97), (0.39, 0.6), (0.48, 0.5), (0.5, 0.4),
         (0.5, 0.16)), (4,)),
}  # fmt: skip


def paint_vehicle(puppet: Puppet, kind: str, color: str, rng: np.random.Generator, braking: bool = False) -> None:
    """Adds a car, van, truck or forklift."""
    paint = named(rng, color)
    length, width, height = (
        v * s for v, s in zip(SIZES[kind], (rng.uniform(0.95, 1.06), 1.0, rng.uniform(0.97, 1.05)))
    )
    if kind == "truck":
        _truck(puppet, paint, length, width, height, rng)
        return
    if kind == "forklift":
        _forklift(puppet, paint, length, width, height)
        return
    points, glass = _PROFILES[kind]
    half = width / 2
    outline = np.array(points) * (length, height)
    belt = 0.58 * height
    inset = np.where(outline[:, 1] > belt, half * 0.86, half)
    for i in range(len(outline) - 1):
        (ax, az), (bx, bz) = outline[i], outline[i + 1]
        quad = [(ax, inset[i], az), (bx, inset[i + 1], bz), (bx, -inset[i + 1], bz), (ax, -inset[i], az)]
        puppet.face(np.array([quad])[:, ::-1], paint)
        if i in glass:
            middle = np.mean(quad, axis=0)
            pane = middle + (np.array(quad) - middle) * 0.86
            puppet.face(pane[None, ::-1], _GLASS, over=0.4)
    body = np.minimum(outline, (length, belt))
    high = outline[outline[:, 1] > belt - 0.02 * height]
    for sign in (1, -1):
        side = np.array([(x, sign * half, z) for x, z in body])
        puppet.face(side[None, ::sign], paint, over=0.05)
        cabin = [(high[0, 0] - 0.03 * length, sign * half, belt)]
        cabin += [(x, sign * half * 0.86, z) for x, z in high]
        cabin += [(high[-1, 0] + 0.04 * length, sign * half, belt)]
        puppet.face(np.array(cabin)[None, ::sign][:, :10], shade(paint, 0.95), over=0.06)
        _windows(puppet, kind, sign, half, length, height)
        for x in (-0.31, 0.31):
            _wheel(puppet, x * length, sign * half * 0.97, 0.31, 0.45)
    for sign in (1, -1):
        y0, y1 = sorted((sign * half * 0.55, sign * half * 0.93))
        rear = [
            (-0.503 * length, y1, 0.4 * height),
            (-0.503 * length, y0, 0.4 * height),
            (-0.503 * length, y0, 0.5 * height),
            (-0.503 * length, y1, 0.5 * height),
        ]
        puppet.face(
            np.array([rear]), (220, 24, 22) if braking else (150, 22, 20), over=0.5, glow=0.7 if braking else 0.0
        )
        front = [
            (0.503 * length, y0, 0.34 * height),
            (0.503 * length, y1, 0.34 * height),
            (0.503 * length, y1, 0.42 * height),
            (0.503 * length, y0, 0.42 * height),
        ]
        puppet.face(np.array([front]), (238, 236, 222), over=0.5, glow=0.35)
    plate = [
        (0.505 * length, -0.25, 0.26 * height),
        (0.505 * length, 0.25, 0.26 * height),
        (0.505 * length, 0.25, 0.33 * height),
        (0.505 * length, -0.25, 0.33 * height),
    ]
    puppet.face(np.array([plate]), (228, 228, 220), over=0.5)


def _windows(puppet: Puppet, kind: str, sign: int, half: float, length: float, height: float) -> None:
    panes = {
        "car": (
            ((-0.4, 0.63), (-0.02, 0.63), (-0.02, 0.93), (-0.29, 0.93)),
            ((0.0, 0.63), (0.21, 0.63), (0.06, 0.93), (0.0, 0.93)),
        ),
        "van": (((0.12, 0.62), (0.34, 0.62), (0.26, 0.92), (0.12, 0.92)),),
    }[kind]
    for pane in panes:
        corners = [(x * length, sign * (half - 0.14 * half * (z - 0.58) / 0.4 + 0.01), z * height) for x, z in pane]
        puppet.face(np.array(corners)[None, ::-sign], _GLASS, over=0.5)


def _wheel(puppet: Puppet, x: float, y: float, radius: float, over: float) -> None:
    """A disc that is seen from its outer side."""
    angle = np.arange(10) * (2 * np.pi / 10) * (1 if y < 0 else -1)
    ring = np.stack([x + radius * np.cos(angle), np.full(10, y * 1.01), radius + radius * np.sin(angle)], -1)
    puppet.face(ring[None], _TYRE, over=over)
    hub = ring.copy()
    hub[:, 0], hub[:, 2] = x + (ring[:, 0] - x) * 0.5, radius + (ring[:, 2] - radius) * 0.5
    puppet.face(hub[None], (140, 142, 146), over=over + 0.02)


def _truck(puppet: Puppet, paint: Color, length: float, width: float, height: float, rng: np.random.Generator) -> None:
    half, cab = width / 2, length * 0.26
    cargo = shade(paint, rng.uniform(0.85, 1.05))
    puppet.box((-length / 2, -half, 0.75), (length / 2 - cab - 0.15, half, height), cargo)
    puppet.box((length / 2 - cab, -half * 0.95, 0.45), (length / 2, half * 0.95, height * 0.8), paint)
    x, low, high = length / 2 + 0.01, height * 0.46, height * 0.74
    pane = [(x, -half * 0.85, low), (x, half * 0.85, low), (x, half * 0.85, high), (x, -half * 0.85, high)]
    puppet.face(np.array([pane]), _GLASS, over=0.4)
    for sign in (1, -1):
        y = sign * half * 0.96
        side = [
            (length / 2 - 0.75 * cab, y, low),
            (length / 2 - 0.15 * cab, y, low),
            (length / 2 - 0.15 * cab, y, high),
            (length / 2 - 0.75 * cab, y, high),
        ]
        puppet.face(np.array(side)[None, ::-sign], _GLASS, over=0.4)
        for at in (-0.36, -0.22, 0.38):
            _wheel(puppet, at * length, sign * half * 0.97, 0.42, 0.5)


def _forklift(puppet: Puppet, paint: Color, length: float, width: float, height: float) -> None:
    half = width / 2
    puppet.box((-length * 0.4, -half, 0.25), (length * 0.12, half, 0.95), paint)
    for x, y in ((-0.3, 0.9), (-0.3, -0.9), (0.1, 0.9), (0.1, -0.9)):
        puppet.capsule(
            np.array([[x * length, y * half, 0.9]]), np.array([[x * length, y * half, height]]), (0.04, 0.04), _STEEL
        )
    puppet.box((-length * 0.32, -half, height - 0.06), (length * 0.12, half, height), shade(paint, 0.7))
    for y in (-0.25, 0.25):
        puppet.capsule(
            np.array([[length * 0.18, y, 0.1]]), np.array([[length * 0.18, y, height]]), (0.05, 0.05), (60, 60, 64)
        )
        puppet.capsule(
            np.array([[length * 0.18, y, 0.1]]), np.array([[length * 0.5, y, 0.1]]), (0.04, 0.03), (60, 60, 64)
        )
    for sign in (1, -1):
        for x in (-0.28, 0.06):
            _wheel(puppet, x * length, sign * half, 0.26, 0.3)


def _hoop(
    puppet: Puppet, middle: tuple[float, float, float], radius: float, thick: float, color: Color, sides: int = 10
) -> None:
    angle = np.arange(sides + 1) * (2 * np.pi / sides)
    ring = np.stack(
        [middle[0] + radius * np.cos(angle), np.full(sides + 1, middle[1]), middle[2] + radius * np.sin(angle)], -1
    )
    for a, b in itertools.pairwise(ring):
        puppet.capsule(a[None], b[None], (thick, thick), color, flat=True)


def _bar(
    puppet: Puppet, a: tuple[float, float, float], b: tuple[float, float, float], thick: float, color: Color
) -> None:
    puppet.capsule(np.array([a]), np.array([b]), (thick, thick), color)


def paint_ride(puppet: Puppet, kind: str, outfit: Outfit, travelled: np.ndarray, frame: Color) -> None:
    """Adds a bicycle, scooter, skateboard or wheelchair with its rider. travelled: [T] m."""
    count, tall = len(travelled), outfit.height
    if kind == "bicycle":
        for x in (-0.52, 0.52):
            _hoop(puppet, (x, 0.0, 0.34), 0.32, 0.022, _TYRE)
        for a, b in (
            ((-0.52, 0, 0.34), (-0.05, 0, 0.3)), ((-0.52, 0, 0.34), (-0.18, 0, 0.75)), ((-0.05, 0, 0.3), (-0.2, 0, 0.85)),
            ((-0.05, 0, 0.3), (0.36, 0, 0.72)), ((-0.18, 0, 0.75), (0.36, 0, 0.78)), ((0.34, 0, 0.95), (0.52, 0, 0.34)),
            ((0.34, 0.25, 0.98), (0.34, -0.25, 0.98)),
        ):  # fmt: skip
            _bar(puppet, a, b, 0.02, frame)
        turn = travelled / 0.8 + outfit.phase
        pose = still("ride", count)
        pose[:, 4], pose[:, 5] = 0.95 + 0.32 * np.sin(turn), 0.95 - 0.32 * np.sin(turn)
        pose[:, 8], pose[:, 9] = 1.15 + 0.42 * np.sin(turn + 0.5), 1.15 - 0.42 * np.sin(turn + 0.5)
        pose[:, 16] = 0.09
        paint_person(puppet, outfit, pose, (-0.16, 0.0, 0.02))
    elif kind == "scooter":
        for x in (-0.42, 0.46):
            _hoop(puppet, (x, 0.0, 0.1), 0.09, 0.03, _TYRE, 6)
        puppet.box((-0.42, -0.08, 0.1), (0.36, 0.08, 0.15), (52, 54, 58))
        _bar(puppet, (0.44, 0, 0.12), (0.36, 0, 1.02), 0.022, frame)
        _bar(puppet, (0.36, 0.22, 1.02), (0.36, -0.22, 1.02), 0.02, frame)
        paint_person(puppet, outfit, still("scoot", count), (-0.08, 0.0, 0.15))
    elif kind == "skateboard":
        puppet.box((-0.4, -0.11, 0.08), (0.4, 0.11, 0.11), frame)
        for x in (-0.26, 0.26):
            _bar(puppet, (x, 0.1, 0.05), (x, -0.1, 0.05), 0.045, (225, 215, 190))
        push = np.clip(np.sin(travelled * 0.9 + outfit.phase) * 2 - 0.8, 0, 1)
        pose = blend(still("skate", count), hold(gait("walk", travelled * 2.2), "arm", "skate"), push * 0.5)
        paint_person(puppet, outfit, pose, (0.0, 0.0, 0.1))
    else:
        for y in (-0.3, 0.3):
            _hoop(puppet, (-0.1, y, 0.3), 0.29, 0.022, _TYRE)
            _hoop(puppet, (0.42, y * 0.8, 0.09), 0.08, 0.025, _TYRE, 6)
            _bar(puppet, (-0.22, y, 0.5), (-0.32, y, 0.95), 0.018, _STEEL)
        puppet.box((-0.24, -0.26, 0.44), (0.24, 0.26, 0.5), (44, 46, 52))
        puppet.face(
            np.array([[(-0.25, -0.26, 0.5), (-0.25, 0.26, 0.5), (-0.3, 0.26, 0.92), (-0.3, -0.26, 0.92)]]),
            (44, 46, 52),
            two_sided=True,
        )
        pose = still("sit", count)
        pose[:, 10] = pose[:, 11] = 0.1 + 0.5 * np.sin(travelled * 2.4)
        pose[:, 8:10] = 1.25
        paint_person(puppet, outfit, pose, (-0.08, 0.0, 0.52 - 0.27 * tall + 0.05))
