"""Things and animals: dogs, carts, bags, boxes, bottles and the like, fire and smoke. Own coordinates in metres."""

from __future__ import annotations

import numpy as np

from ..palette import named, shade
from .puppet import Color, Puppet

__all__ = ["THING_SIZES", "paint_thing"]

THING_SIZES = {
    "bag": 0.35, "bottle": 0.15, "box": 0.45, "cart": 0.7, "dog": 0.6, "fire": 0.6, "smoke": 1.0, "suitcase": 0.4, "ball": 0.2,
    "painting": 0.5,
}  # fmt: skip
"""What room they take on the ground, in m."""


def paint_thing(
    puppet: Puppet, kind: str, color: str, rng: np.random.Generator, size: float, times: np.ndarray, travelled: np.ndarray,
    tip: np.ndarray,
) -> None:  # fmt: skip
    """Adds a thing. color: not asked for of fire and smoke. size: times the usual; times: [T] s; travelled: [T] m; tip: [T] rad,
    how far it has toppled over forward."""
    if kind == "fire":
        _fire(puppet, rng, size, times)
        return
    if kind == "smoke":
        _smoke(puppet, rng, size, times)
        return
    paint = named(rng, color)
    if kind == "dog":
        _dog(puppet, paint, size, travelled)
    elif kind == "bottle":
        up = np.stack([np.sin(tip), 0 * tip, np.cos(tip)], -1)
        base = np.stack([0 * tip, 0 * tip, 0.06 * size * np.ones(len(tip))], -1)
        puppet.capsule(base, base + up * 0.24 * size, (0.075 * size, 0.07 * size), paint)
        puppet.capsule(base + up * 0.3 * size, base + up * 0.44 * size, (0.035 * size, 0.025 * size), shade(paint, 0.8))
        puppet.capsule(base + up * 0.44 * size, base + up * 0.46 * size, (0.032 * size, 0.03 * size), (230, 230, 226))
    elif kind == "ball":
        r = 0.13 * size
        puppet.capsule(np.array([[0, 0, r]]), np.array([[0.001, 0, r]]), (r, r), paint)
    elif kind == "cart":
        _cart(puppet, paint, size)
    elif kind == "painting":
        w, h = 0.5 * size, 0.7 * size
        puppet.box((-0.03, -w, 0.0), (0.03, w, h), (120, 92, 54))
        for x, way in ((0.035, 1), (-0.035, -1)):
            canvas = np.array(
                [[(x, -w * 0.86, h * 0.09), (x, w * 0.86, h * 0.09), (x, w * 0.86, h * 0.91), (x, -w * 0.86, h * 0.91)]]
            )
            puppet.face(canvas[:, ::way], paint, over=0.1)
    else:
        _block(puppet, kind, paint, size, tip)


def _turned(points: np.ndarray, tip: np.ndarray, edge: float) -> np.ndarray:
    """[n, 3] points tipped forward over their front lower edge at x = `edge`, [T, n, 3]."""
    c, s = np.cos(tip)[:, None], np.sin(tip)[:, None]
    x, z = points[None, :, 0] - edge, points[None, :, 2]
    return np.stack(
        [x * c + z * s + edge, np.broadcast_to(points[None, :, 1], (len(tip), len(points))), z * c - x * s], -1
    )


def _block(puppet: Puppet, kind: str, paint: Color, size: float, tip: np.ndarray) -> None:
    length, width, height = {"bag": (0.5, 0.26, 0.32), "suitcase": (0.28, 0.44, 0.66)}.get(kind, (0.5, 0.42, 0.42))
    half, wide, tall = length * size / 2, width * size / 2, height * size
    ring = [(half, wide), (-half, wide), (-half, -wide), (half, -wide)]
    squeeze = 0.75 if kind == "bag" else 1.0

    def put(points: list[tuple[float, float, float]], color: Color, over: float = 0.0) -> None:
        puppet.face(_turned(np.array(points), tip, half), color, over=over)

    for (ax, ay), (bx, by) in zip(ring, ring[1:] + ring[:1]):
        put([(ax, ay, 0), (bx, by, 0), (bx * squeeze, by * squeeze, tall), (ax * squeeze, ay * squeeze, tall)], paint)
    put([(x * squeeze, y * squeeze, tall) for x, y in ring], shade(paint, 1.05))
    put([(x, y, 0.0) for x, y in ring][::-1], shade(paint, 0.6))
    if kind == "box":
        put(
            [
                (half, 0.06 * size, tall + 0.004),
                (-half, 0.06 * size, tall + 0.004),
                (-half, -0.06 * size, tall + 0.004),
                (half, -0.06 * size, tall + 0.004),
            ],
            shade(paint, 0.72),
            0.05,
        )
    elif kind in ("bag", "suitcase"):
        for y in (-0.4, 0.4):
            ends = _turned(
                np.array(
                    [(0.0, y * wide, tall), (0.0, y * wide * 0.7, tall * 1.3), (0.0, -y * wide * 0.7, tall * 1.3)]
                ),
                tip,
                half,
            )
            puppet.capsule(ends[:, 0], ends[:, 1], (0.014, 0.014), shade(paint, 0.5))
        puppet.capsule(ends[:, 1], ends[:, 2], (0.016, 0.016), shade(paint, 0.5))


def _dog(puppet: Puppet, paint: Color, size: float, travelled: np.ndarray) -> None:
    coat = shade(paint, 0.9)
    tall = 0.48 * size
    phase = travelled / (0.28 * size)
    level = tall + 0.02 * np.sin(phase * 2)
    zero = np.zeros(len(travelled))

    def at(x: float, y: float, z: np.ndarray | float) -> np.ndarray:
        return np.stack([zero + x * size, zero + y * size, zero + z], -1)

    puppet.capsule(at(-0.28, 0, level), at(0.26, 0, level + 0.04), (0.1 * size, 0.12 * size), coat)
    for k, (x, y) in enumerate(((0.26, 0.07), (0.26, -0.07), (-0.28, 0.07), (-0.28, -0.07))):
        swing = 0.12 * np.sin(phase + np.pi * (k in (1, 2)))
        foot = np.stack([zero + x * size + swing * size, zero + y * size, zero + 0.03], -1)
        puppet.capsule(at(x, y, level - 0.03), foot, (0.045 * size, 0.03 * size), shade(coat, 0.9))
    puppet.capsule(at(0.28, 0, level + 0.06), at(0.4, 0, level + 0.2), (0.075 * size, 0.06 * size), coat)
    puppet.capsule(at(0.42, 0, level + 0.22), at(0.56, 0, level + 0.18), (0.075 * size, 0.04 * size), shade(coat, 1.1))
    wag = 0.08 * np.sin(phase * 1.3)
    tail = np.stack([zero - 0.48 * size, wag, level + 0.22 * size], -1)
    puppet.capsule(at(-0.32, 0, level + 0.04), tail, (0.035 * size, 0.02 * size), coat)


def _cart(puppet: Puppet, paint: Color, size: float) -> None:
    steel = (150.0, 152.0, 156.0)
    x0, x1, w = -0.45 * size, 0.45 * size, 0.28 * size
    puppet.box((x0, -w, 0.42), (x1, w, 0.46), steel)
    for z in (0.62, 0.82):
        for a, b in (((x0, -w), (x1, -w)), ((x1, -w), (x1, w)), ((x1, w), (x0, w)), ((x0, w), (x0, -w))):
            puppet.capsule(np.array([[*a, z]]), np.array([[*b, z]]), (0.015, 0.015), steel)
    for x, y in ((x0, -w), (x1, -w), (x1, w), (x0, w)):
        puppet.capsule(np.array([[x, y, 0.08]]), np.array([[x, y, 0.84]]), (0.018, 0.018), steel)
        puppet.capsule(np.array([[x - 0.03, y, 0.06]]), np.array([[x + 0.03, y, 0.06]]), (0.05, 0.05), (40, 40, 42))
    puppet.box((x0 * 0.8, -w * 0.8, 0.46), (x1 * 0.7, w * 0.8, 0.74), paint)
    puppet.capsule(np.array([[x0 - 0.12, -w, 0.98]]), np.array([[x0 - 0.12, w, 0.98]]), (0.018, 0.018), (60, 62, 66))


def _fire(puppet: Puppet, rng: np.random.Generator, size: float, times: np.ndarray) -> None:
    """Tongues of flame, darker outside than inside."""
    puppet.thin(0.95, 0.14 * size)
    t = times * 3.6
    for k in range(40):
        inner = k / 39
        phase, pace = rng.uniform(0, 6.28), rng.uniform(1.6, 3.2)
        x, y = rng.normal(0, 0.26 * (1 - 0.6 * inner), 2) * size
        tall = (0.5 + 0.35 * np.sin(t * pace + phase) - 0.18 * inner) * size * (1.15 - abs(x) / size)
        low = np.stack([x + 0 * t, y + 0 * t, 0.08 * size + 0 * t], -1)
        high = low + np.stack([0.09 * size * np.sin(t * 2.1 + phase), 0 * t, np.maximum(tall, 0.1)], -1)
        color = (255.0, 70.0 + 165.0 * inner, 8.0 + 120.0 * inner * inner)
        radius = (0.14 - 0.08 * inner) * size
        puppet.capsule(low, high, (radius, radius * 0.25), color, flat=True, glow=0.9, over=0.3 * inner)


def _smoke(puppet: Puppet, rng: np.random.Generator, size: float, times: np.ndarray) -> None:
    """Puffs that rise, spread and pale."""
    puppet.thin(float(rng.uniform(0.75, 0.95)), 0.35 * size)
    t = times * 0.24
    grey = rng.uniform(70, 150)
    for k in range(34):
        life = (t * rng.uniform(0.6, 0.8) + k / 34) % 1.0
        spread = (0.12 + 0.55 * life) * size
        x, y = spread * rng.normal(0, 0.45), spread * rng.normal(0, 0.45)
        middle = np.stack([x + 0.35 * life * size, y, 0.2 + 2.1 * life * size], -1)
        tone = grey * rng.uniform(0.95, 1.06)
        radius = float(rng.uniform(0.14, 0.34) * size)
        puppet.capsule(
            middle, middle + (0.06, 0.05, radius * 0.5), (radius, radius * 0.8), (tone, tone, tone * 1.02), flat=True
        )
