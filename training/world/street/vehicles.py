"""Cars, vans and boxes: side profiles drawn out to a body, with windows, wheels and lights.

Knows nothing about where vehicles drive.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..palette import Color, named, shade
from .figures import Figure, Pen, facing

__all__ = ["SIZES", "Body", "draw_box", "draw_vehicle", "random_body"]

SIZES = {"car": (2.55, 1.2, 1.05), "van": (2.9, 1.3, 1.55), "box": (0.6, 0.5, 0.5)}
"""length, width, height in units."""

# Side profiles from rear bottom over the roof to front bottom: (forward / length, up / height, surface of the strip that
# leads here from the point before).
_PROFILES = {
    "car": (
        (-0.5, 0.18, ""),
        (-0.5, 0.58, "back"),
        (-0.42, 0.64, "body"),
        (-0.3, 1.0, "glass"),
        (0.1, 1.0, "roof"),
        (0.27, 0.64, "glass"),
        (0.48, 0.54, "body"),
        (0.5, 0.18, "front"),
    ),
    "van": (
        (-0.5, 0.14, ""),
        (-0.5, 0.98, "back"),
        (0.2, 1.0, "roof"),
        (0.36, 0.56, "glass"),
        (0.48, 0.46, "body"),
        (0.5, 0.14, "front"),
    ),
}
_WINDOWS = {
    "car": (
        ((-0.36, 0.64), (-0.28, 0.93), (-0.11, 0.93), (-0.11, 0.64)),
        ((-0.08, 0.64), (-0.08, 0.93), (0.08, 0.93), (0.21, 0.64)),
    ),
    "van": (((0.02, 0.58), (0.02, 0.9), (0.18, 0.9), (0.3, 0.58)),),
}
_GLASS: Color = (64.0, 78.0, 92.0)
_TYRE: Color = (26.0, 26.0, 28.0)
_HUB: Color = (150.0, 150.0, 154.0)
_WHEEL = np.stack([np.cos(np.arange(10) * (np.pi / 5)), np.sin(np.arange(10) * (np.pi / 5))], axis=-1)


@dataclass(frozen=True)
class Body:
    """What a vehicle or box looks like. size: times the usual."""

    kind: str
    paint: Color
    size: float


def random_body(rng: np.random.Generator, kind: str, color: str) -> Body:
    """A vehicle or box of this colour."""
    return Body(kind, named(rng, color), rng.uniform(0.92, 1.08))


def _strips(pen: Pen, profile: np.ndarray, half: float) -> list[np.ndarray]:
    """The quads [T, 4, 2] between neighbouring profile points [n, 2], drawn out from -half to half."""
    left = np.insert(profile, 1, half, axis=1)
    right = np.insert(profile, 1, -half, axis=1)
    pixels = pen.pixels(np.concatenate([left, right])[None])
    n = len(profile)
    return [
        np.stack([pixels[:, i], pixels[:, i + 1], pixels[:, n + i + 1], pixels[:, n + i]], axis=1) for i in range(n - 1)
    ]


def _side(pen: Pen, outlines: list[np.ndarray], half: float) -> list[np.ndarray]:
    """The pixels [T, n, 2] of outlines [n, 2] on the side that is turned to the camera."""
    quad = pen.pixels(np.array([[[-1.0, half, 0.2], [-1.0, half, 0.8], [1.0, half, 0.8]]]))
    hand = np.where(facing(quad), -half, half)  # of the near side, in each frame
    flat = np.concatenate(outlines)
    points = np.empty((len(hand), len(flat), 3))
    points[..., 0], points[..., 1], points[..., 2] = (flat[:, 0], hand[:, None], flat[:, 1])
    return np.split(pen.pixels(points), np.cumsum([len(outline) for outline in outlines])[:-1], axis=1)


def draw_vehicle(pen: Pen, body: Body, sun: tuple[float, float]) -> Figure:
    """A car or van."""
    length, width, height = (v * body.size for v in SIZES[body.kind])
    half = width / 2
    unit = np.array([length, height])
    points = _PROFILES[body.kind]
    profile = np.array([p[:2] for p in points]) * unit
    colors = {
        "body": shade(body.paint, 1.0),
        "roof": shade(body.paint, 1.08),
        "back": shade(body.paint, 0.8),
        "front": shade(body.paint, 0.9),
        "glass": _GLASS,
    }
    strips = _strips(pen, profile, half)
    for (_, _, surface), quad in zip(points[1:], strips):
        pen.polygon(quad, colors[surface], facing(quad))
    _lights(pen, unit, half, strips, points)
    radius = 0.21 * body.size
    rims = [_WHEEL * radius + (x * length, radius) for x in (-0.3, 0.31)]
    hubs = [_WHEEL[::2] * radius * 0.5 + (x * length, radius) for x in (-0.3, 0.31)]
    windows = [np.array(window) * unit for window in _WINDOWS[body.kind]]
    paints = [shade(body.paint, 0.88), *[_GLASS] * len(windows), _TYRE, _TYRE, _HUB, _HUB]
    for outline, paint in zip(_side(pen, [profile, *windows, *rims, *hubs], half), paints):
        pen.polygon(outline, paint)
    outline = np.array([[-length, -width], [length, -width], [length, width], [-length, width]]) * 0.52
    return pen.finish(outline, sun, height * 0.8)


def _lights(pen: Pen, unit: np.ndarray, half: float, strips: list[np.ndarray], points: tuple) -> None:
    for surface, x, color in (("back", -0.5, (196.0, 30.0, 26.0)), ("front", 0.495, (250.0, 244.0, 206.0))):
        shown = facing(strips[[p[2] for p in points].index(surface) - 1])
        for sign in (-1, 1):
            corners = [
                (x, sign * inner * half, z) for inner, z in ((0.55, 0.36), (0.95, 0.36), (0.95, 0.48), (0.55, 0.48))
            ]
            quad = np.array(corners) * (unit[0], 1.0, unit[1])
            pen.polygon(pen.pixels(quad[None]), color, shown)


def draw_box(pen: Pen, body: Body, sun: tuple[float, float]) -> Figure:
    """A box with a strip of tape."""
    length, width, height = (v * body.size for v in SIZES["box"])
    profile = np.array([[-0.5, 0.0], [-0.5, 1.0], [0.5, 1.0], [0.5, 0.0]]) * (length, height)
    for quad, factor in zip(_strips(pen, profile, width / 2), (0.75, 1.08, 0.75)):
        pen.polygon(quad, shade(body.paint, factor), facing(quad))
    pen.polygon(_side(pen, [profile], width / 2)[0], shade(body.paint, 0.9))
    tape = np.array([[[-0.5, -0.1, 1.0], [0.5, -0.1, 1.0], [0.5, 0.1, 1.0], [-0.5, 0.1, 1.0]]]) * (
        length,
        width,
        height,
    )
    pen.polygon(pen.pixels(tape), shade(body.paint, 0.7))
    outline = np.array([[-length, -width], [length, -width], [length, width], [-length, width]]) * 0.55
    return pen.finish(outline, sun, height)
