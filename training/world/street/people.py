"""People: a skeleton that walks, runs, stands, lies or rides, and how it looks from the camera.

Body coordinates are forward, left, up in units of the person's height. Knows nothing about where people go.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..camera import PERSON_HEIGHT
from ..palette import HAIR, SKIN, TROUSERS, Color, named, shade
from .figures import Figure, Pen

__all__ = ["CYCLE_LENGTH", "Look", "draw_cyclist", "draw_person", "random_look"]

CYCLE_LENGTH = {"walking": 1.35, "running": 2.5, "standing": 1.35}
"""Ground covered by two steps, in units."""

# gait: thigh swing, thigh offset, least and swing knee flexion, arm swing, elbow flexion, lean (rad)
_GAITS = {
    "walking": (0.42, 0.03, 0.06, 0.6, 0.38, 0.2, 0.03),
    "standing": (0.03, 0.0, 0.03, 0.0, 0.03, 0.12, 0.0),
    "running": (0.78, 0.26, 0.3, 1.5, 0.85, 1.6, 0.34),
}
_HIP, _SHOULDER, _THIGH, _SHANK, _ARM, _FOREARM, _TRUNK = (0.06, 0.115, 0.255, 0.245, 0.165, 0.15, 0.3)


@dataclass(frozen=True)
class Look:
    """What a person looks like. size: times the usual height; phase: of the gait, in turns."""

    top: Color
    trousers: Color
    skin: Color
    hair: Color
    size: float
    phase: float
    bag: bool
    """Carries a bag on the back; for a rider, nothing."""
    frame: Color
    """Of the bicycle, for a rider."""


def random_look(rng: np.random.Generator, color: str) -> Look:
    """A person whose top has this colour."""
    return Look(
        top=named(rng, color),
        trousers=TROUSERS[rng.integers(len(TROUSERS))],
        skin=SKIN[rng.integers(len(SKIN))],
        hair=HAIR[rng.integers(len(HAIR))],
        size=rng.uniform(0.9, 1.08),
        phase=rng.random(),
        bag=rng.random() < 0.2,
        frame=shade((200.0, 200.0, 205.0), rng.uniform(0.2, 1.0)),
    )


def _limb(start: np.ndarray, first: np.ndarray, second: np.ndarray, lengths: tuple[float, float]) -> np.ndarray:
    """[T, 3, 3]: a limb from [T, 3] with two segments at angles [T] from straight down, forward positive."""
    zero = np.zeros_like(first)
    middle = start + lengths[0] * np.stack([np.sin(first), zero, -np.cos(first)], axis=-1)
    end = middle + lengths[1] * np.stack([np.sin(second), zero, -np.cos(second)], axis=-1)
    return np.stack([start, middle, end], axis=1)


def _body(gait: str, phase: np.ndarray) -> dict[str, np.ndarray]:
    """The upright skeleton [T, n, 3] at gait phases [T] (rad)."""
    swing, offset, least, bend, arm_swing, elbow, lean = _GAITS[gait]
    count = len(phase)
    origin = np.zeros((count, 3))
    parts: dict[str, np.ndarray] = {}
    for side, sign, turn in (("left", 1, 0.0), ("right", -1, np.pi)):
        angle = offset + swing * np.sin(phase + turn)
        knee = least + bend * np.clip(np.cos(phase + turn), 0, None)
        leg = _limb(origin, angle, angle - knee, (_THIGH, _SHANK))
        leg[..., 1] = sign * _HIP
        toe = leg[:, -1:] + np.stack([0.07 * np.cos(angle - knee), 0 * angle, 0.07 * np.sin(angle - knee)], -1)[:, None]
        parts[f"{side}_leg"], parts[f"{side}_foot"] = (leg, np.concatenate([leg[:, -1:], toe], axis=1))
        shoulder = origin + (_TRUNK * np.sin(lean), sign * _SHOULDER, _TRUNK * np.cos(lean))
        swung = -arm_swing * np.sin(phase + turn) + 0.3 * lean
        parts[f"{side}_arm"] = _limb(shoulder, swung, swung + elbow, (_ARM, _FOREARM))
        parts[f"{side}_arm"][:, 1:, 1] += sign * 0.03
    up = np.array([np.sin(lean), 0.0, np.cos(lean)])
    parts["trunk"] = np.stack([origin + 0.02 * up, origin + (_TRUNK - 0.02) * up], axis=1)
    parts["head"] = (origin + (_TRUNK + 0.125) * up)[:, None]
    lowest = np.minimum(parts["left_leg"][:, -1, 2], parts["right_leg"][:, -1, 2])
    lift = 0.02 - lowest + (0.04 * np.abs(np.cos(phase)) if gait == "running" else 0.0)
    for points in parts.values():
        points[..., 2] += lift[:, None]
    return parts


def _lay_down(parts: dict[str, np.ndarray], lie: np.ndarray) -> None:
    """Tips a body over forward by lie [T] (0 upright, 1 flat), limbs a little spread."""
    cos, sin = np.cos(lie * np.pi / 2)[:, None], np.sin(lie * np.pi / 2)[:, None]
    for name, points in parts.items():
        if "arm" in name or "leg" in name or "foot" in name:
            reach = np.linspace(0.0, 1.0, points.shape[1]) if "foot" not in name else np.ones(2)
            points[..., 1] += np.sign(points[..., 1]) * reach * lie[:, None] * (0.14 if "arm" in name else 0.05)
        forward, up = points[..., 0].copy(), points[..., 2].copy()
        points[..., 0] = forward * cos + up * sin
        points[..., 2] = np.maximum(up * cos - forward * sin, 0) + 0.06 * sin


def _paint_body(pen: Pen, look: Look, parts: dict[str, np.ndarray]) -> None:
    """Strokes from far to near. The four limbs' order follows from which side of the body is nearer to the camera."""
    height = PERSON_HEIGHT * look.size
    flat = pen.pixels(np.concatenate([points * height for points in parts.values()], axis=1))
    places, start = {}, 0
    for name, points in parts.items():
        places[name] = flat[:, start : start + points.shape[1]]
        start += points.shape[1]
    ground = pen.ground(np.array([[[0.0, 0.1, 0.0], [0.0, -0.1, 0.0]]]))
    depth = pen.camera.depth(ground[..., :2])
    left_near = (depth[:, 0] < depth[:, 1])[:, None, None]
    dark = shade(look.trousers, 0.82)
    shoe = (40.0, 36.0, 34.0)

    def limb(kind: str, near: bool) -> np.ndarray:
        return np.where(left_near == near, places[f"left_{kind}"], places[f"right_{kind}"])

    pen.line(limb("arm", False), shade(look.top, 0.78), 0.058 * height)
    for near, color in ((False, dark), (True, look.trousers)):
        pen.line(limb("foot", near), shoe, 0.05 * height)
        pen.line(limb("leg", near), color, 0.082 * height)
    shoulders = np.stack([places["left_arm"][:, 0], places["right_arm"][:, 0]], axis=1)
    hips = np.stack([places["right_leg"][:, 0], places["left_leg"][:, 0]], axis=1)
    if look.bag:
        behind = pen.pixels((parts["trunk"] + (-0.1, 0.0, 0.0)) * height)
        pen.line(behind, (74.0, 62.0, 52.0), 0.15 * height)
    pen.polygon(np.concatenate([shoulders, hips], axis=1), look.top)
    pen.line(places["trunk"], look.top, 0.15 * height)
    head = places["head"][:, 0]
    neck = places["trunk"][:, -1]
    pen.dot(head + 0.18 * (head - neck), look.hair, 0.135 * height)
    face = pen.pixels((parts["head"] + (0.03, 0.0, -0.03)) * height)[:, 0]
    pen.dot(face, look.skin, 0.115 * height)
    pen.line(limb("arm", True), shade(look.top, 0.9), 0.058 * height)
    pen.dot(limb("arm", True)[:, -1], look.skin, 0.055 * height)


def _round(length: float, width: float) -> np.ndarray:
    angle = np.arange(8) * (np.pi / 4)
    return np.stack([length / 2 * np.cos(angle), width / 2 * np.sin(angle)], axis=-1)


def draw_person(
    pen: Pen, look: Look, gait: str, travelled: np.ndarray, lie: np.ndarray, sun: tuple[float, float]
) -> Figure:
    """A person on foot. travelled: [T] ground covered so far; lie: [T] 0 upright .. 1 flat on the ground."""
    phase = 2 * np.pi * (travelled / (CYCLE_LENGTH[gait] * look.size) + look.phase)
    parts = _body(gait, phase)
    flat = bool(lie.max() > 0)
    if flat:
        _lay_down(parts, lie)
    _paint_body(pen, look, parts)
    footprint = _round(0.5, 0.4)
    return pen.finish(footprint, (0.0, 0.0) if flat else sun, PERSON_HEIGHT * look.size)


def draw_cyclist(pen: Pen, look: Look, travelled: np.ndarray, sun: tuple[float, float]) -> Figure:
    """A bicycle and its rider."""
    height = PERSON_HEIGHT * look.size
    turn = travelled / 0.9 + 2 * np.pi * look.phase
    count = len(turn)
    angle = np.linspace(0, 2 * np.pi, 13)
    radius, base = 0.34, 0.56
    for x in (-base, base):
        wheel = np.stack([x + radius * np.cos(angle), 0 * angle, radius + radius * np.sin(angle)], axis=-1)[None]
        pen.line(pen.pixels(wheel), (28.0, 28.0, 30.0), 0.055)
    crank, seat, bar = (-0.05, 0.0, 0.3), (-0.22, 0.0, 0.86), (0.4, 0.0, 0.95)
    frame = np.array([[(-base, 0, radius), crank, (0.36, 0, 0.8), seat, crank, (0.36, 0, 0.8), bar, (base, 0, radius)]])
    pen.line(pen.pixels(frame), look.frame, 0.06)

    # The rider, in units of the person's height: seat and pedals fix the legs, the handlebar the hands.
    parts: dict[str, np.ndarray] = {}
    hip = np.array([seat[0], 0.0, seat[2] + 0.06]) / height
    shoulder = hip + np.array([_TRUNK * np.sin(0.6), 0.0, _TRUNK * np.cos(0.6)])
    for side, sign, offset in (("left", 1, 0.0), ("right", -1, np.pi)):
        foot = np.stack(
            [
                (crank[0] + 0.16 * np.cos(turn + offset)) / height,
                np.full(count, sign * 0.05),
                (crank[2] - 0.16 * np.sin(turn + offset)) / height,
            ],
            axis=-1,
        )
        start = np.broadcast_to(hip + (0, sign * _HIP, 0), (count, 3))
        span = foot - start
        length = np.linalg.norm(span[:, [0, 2]], axis=-1)
        out = np.sqrt(np.clip(_THIGH**2 - (length / 2) ** 2, 0, None))[:, None]
        normal = np.stack([-span[:, 2], 0 * length, span[:, 0]], axis=-1) / length[:, None]
        knee = start + span / 2 + out * normal
        parts[f"{side}_leg"] = np.stack([start, knee, foot], axis=1)
        parts[f"{side}_foot"] = np.stack([foot, foot + (0.07, 0.0, 0.0)], axis=1)
        hand = np.array([bar[0] / height, sign * 0.1, bar[2] / height + 0.01])
        joint = shoulder + (0, sign * _SHOULDER, 0)
        elbow = (joint + hand) / 2 + (-0.02, sign * 0.03, -0.05)
        parts[f"{side}_arm"] = np.broadcast_to(np.stack([joint, elbow, hand]), (count, 3, 3))
    trunk = np.stack([hip, shoulder])
    parts["trunk"] = np.broadcast_to(trunk, (count, 2, 3))
    parts["head"] = np.broadcast_to(shoulder + (0.07, 0.0, 0.11), (count, 1, 3))
    _paint_body(pen, look, parts)
    return pen.finish(_round(1.7, 0.3), sun, 1.5)
