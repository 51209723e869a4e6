"""Poses and gaits: joint angles of a body over time, and where its joints then are.

A pose is an array [T, len(JOINTS)]; poses blend by weighted means. Body coordinates are forward, left, up in units of the
person's height. Knows nothing about clothes and places.
"""

from __future__ import annotations

import numpy as np

__all__ = ["CYCLE", "JOINTS", "Pose", "blend", "gait", "hold", "joints_of", "still"]

Pose = np.ndarray

JOINTS = (
    "pitch", "roll", "lean", "nod",
    "hip_l", "hip_r", "spread_l", "spread_r", "knee_l", "knee_r",
    "arm_l", "arm_r", "side_l", "side_r", "elbow_l", "elbow_r",
    "lift",
)  # fmt: skip
"""Angles in rad: of the whole body about its left and forward axes, of the spine, the head, and the limbs (forward, outward,
bent). lift: of the lowest point above the ground, in heights."""
_AT = {name: i for i, name in enumerate(JOINTS)}
_HIP, _SHOULDER, _THIGH, _SHANK, _ARM, _FOREARM, _TRUNK = (0.052, 0.105, 0.245, 0.245, 0.17, 0.15, 0.29)

CYCLE = {"walk": 0.8, "run": 1.45, "crawl": 0.5}
"""Ground covered by two steps, in heights."""

_STILL: dict[str, dict[str, float]] = {
    "stand": {"knee_l": 0.04, "knee_r": 0.04, "elbow_l": 0.18, "elbow_r": 0.18, "side_l": 0.1, "side_r": 0.1},
    "phone": {"knee_l": 0.05, "arm_r": 0.5, "elbow_r": 2.1, "elbow_l": 0.2, "side_l": 0.1, "nod": 0.4},
    "folded": {"arm_l": 0.45, "arm_r": 0.45, "elbow_l": 1.7, "elbow_r": 1.7, "side_l": -0.1, "side_r": -0.1},
    "talk": {"arm_r": 0.55, "elbow_r": 1.2, "side_r": 0.25, "elbow_l": 0.3, "side_l": 0.12, "nod": -0.05},
    "sit": {
        "hip_l": 1.45, "hip_r": 1.45, "knee_l": 1.45, "knee_r": 1.45, "arm_l": 0.5, "arm_r": 0.5, "elbow_l": 0.8,
        "elbow_r": 0.8, "lean": -0.1, "spread_l": 0.08, "spread_r": 0.08,
    },
    "bend": {
        "lean": 1.0, "hip_l": 0.15, "hip_r": 0.05, "knee_l": 0.5,
        "knee_r": 0.45, "arm_l": 0.9, "arm_r": 1.2, "nod": 0.2,
    },
    "crouch": {
        "lean": 0.5, "hip_l": 1.5, "hip_r": 1.1, "knee_l": 2.1, "knee_r": 2.0, "arm_l": 0.8, "arm_r": 0.9, "elbow_l": 0.6,
    },
    "face_down": {
        "pitch": 1.57, "arm_l": 2.2, "arm_r": 0.2, "side_l": 0.6, "side_r": 0.5, "knee_l": 0.15, "spread_l": 0.2,
        "spread_r": 0.1, "elbow_l": 0.9, "knee_r": 0.05,
    },
    "on_back": {
        "pitch": -1.57, "side_l": 0.8, "side_r": 0.4, "arm_l": 0.1, "knee_r": 0.7, "hip_r": 0.35, "spread_l": 0.2,
        "elbow_l": 0.4, "elbow_r": 0.3, "arm_r": 0.5,
    },
    "on_side": {
        "roll": 1.5, "hip_l": 0.6, "hip_r": 0.4, "knee_l": 0.9, "knee_r": 0.6, "arm_l": 0.7, "arm_r": 1.3, "elbow_l": 0.9,
    },
    "reach": {"arm_r": 1.35, "elbow_r": 0.15, "lean": 0.3, "elbow_l": 0.2, "hip_l": -0.15, "hip_r": 0.2, "knee_r": 0.2},
    "wind_up": {"arm_r": -1.2, "elbow_r": 1.2, "side_r": 0.5, "lean": -0.25, "hip_l": 0.4, "arm_l": 0.9, "hip_r": -0.2},
    "thrown": {"arm_r": 1.9, "elbow_r": 0.2, "lean": 0.5, "hip_l": 0.5, "hip_r": -0.4, "knee_l": 0.4, "arm_l": -0.4},
    "guard": {
        "arm_l": 0.9, "arm_r": 0.7, "elbow_l": 1.7, "elbow_r": 1.9,
        "lean": 0.18, "hip_l": 0.35, "hip_r": -0.25, "knee_l": 0.4,
    },
    "punch": {
        "arm_l": 0.7, "arm_r": 1.5, "elbow_l": 1.8, "elbow_r": 0.1,
        "lean": 0.34, "hip_l": 0.5, "hip_r": -0.35, "knee_l": 0.5,
    },
    "kick": {
        "hip_r": 1.3, "knee_r": 0.25, "lean": -0.3, "arm_l": 0.7,
        "arm_r": -0.5, "elbow_l": 1.5, "elbow_r": 1.2, "knee_l": 0.15,
    },
    "hit": {
        "lean": -0.45, "arm_l": 0.8, "arm_r": 0.9, "elbow_l": 1.3,
        "elbow_r": 1.4, "hip_l": 0.3, "hip_r": -0.3, "nod": -0.4,
    },
    "push": {"arm_l": 1.1, "arm_r": 1.1, "elbow_l": 0.5, "elbow_r": 0.5, "lean": 0.18},
    "ride": {
        "lean": 0.55, "hip_l": 1.0, "hip_r": 0.6, "knee_l": 1.2, "knee_r": 0.7, "arm_l": 1.15, "arm_r": 1.15, "elbow_l": 0.35,
        "elbow_r": 0.35, "nod": -0.3,
    },
    "scoot": {
        "lean": 0.12, "hip_l": 0.12, "knee_l": 0.15, "hip_r": -0.08,
        "arm_l": 0.85, "arm_r": 0.85, "elbow_l": 0.55, "elbow_r": 0.55,
    },
    "skate": {
        "lean": 0.2, "spread_l": 0.28, "spread_r": 0.28, "knee_l": 0.35,
        "knee_r": 0.35, "hip_l": 0.2, "hip_r": 0.2, "side_l": 0.6,
        "side_r": 0.5, "elbow_l": 0.5, "elbow_r": 0.4,
    },
    "carry": {"arm_l": 0.75, "arm_r": 0.75, "elbow_l": 1.05, "elbow_r": 1.05, "side_l": 0.05, "side_r": 0.05},
    "crawl": {
        "pitch": 1.35, "hip_l": 1.45, "hip_r": 1.45, "knee_l": 1.5,
        "knee_r": 1.5, "arm_l": 1.45, "arm_r": 1.45, "nod": -0.6,
    },
}  # fmt: skip


def still(name: str, count: int) -> Pose:
    """A pose held for `count` frames."""
    pose = np.zeros((count, len(JOINTS)))
    for joint, value in _STILL[name].items():
        pose[:, _AT[joint]] = value
    return pose


def hold(pose: Pose, joints: str, other: str) -> Pose:
    """The pose with all joints whose names begin with one of `joints` (words) as in a still pose."""
    replaced, source = pose.copy(), still(other, len(pose))
    for name, i in _AT.items():
        if name.startswith(tuple(joints.split())):
            replaced[:, i] = source[:, i]
    return replaced


def blend(first: Pose, second: Pose, weight: np.ndarray) -> Pose:
    """From the first pose (weight 0) to the second (weight 1), eased; weight: [T]."""
    eased = (weight * weight * (3 - 2 * weight))[:, None]
    return first * (1 - eased) + second * eased


def gait(name: str, phase: np.ndarray, swing: float = 1.0) -> Pose:
    """Movement at phases [T] (rad, two steps a turn). name: walk, run, crawl, drunk, jump, dance, fidget or talk. swing: of the
    arms, times the usual."""
    count = len(phase)
    pose = still("crawl" if name == "crawl" else "stand", count)

    def put(joint: str, value: np.ndarray | float) -> None:
        pose[:, _AT[joint]] = value

    left, right = phase, phase + np.pi
    if name in ("walk", "run", "drunk"):
        amplitude, offset, bend, least, arm, elbow, lean = {
            "walk": (0.42, 0.02, 0.85, 0.07, 0.4, 0.25, 0.04),
            "drunk": (0.3, 0.05, 0.6, 0.12, 0.2, 0.4, 0.12),
            "run": (0.82, 0.3, 1.7, 0.3, 0.95, 1.55, 0.26),
        }[name]
        for side, at in (("l", left), ("r", right)):
            put(f"hip_{side}", offset + amplitude * np.sin(at))
            # The knee bends while the leg swings forward, and a little as it takes the weight.
            put(f"knee_{side}", least + bend * np.clip(np.cos(at + 0.35), 0, None) ** 1.5)
            put(f"arm_{side}", -arm * swing * np.sin(at))
            put(f"elbow_{side}", elbow + 0.25 * np.clip(-np.sin(at), 0, None))
        put("lean", lean)
        if name == "run":
            put("lift", 0.035 * np.abs(np.cos(phase)))
        if name == "drunk":
            put("roll", 0.2 * np.sin(phase * 0.31))
            put("lean", 0.18 + 0.15 * np.sin(phase * 0.23 + 1))
            put("side_l", 0.35 + 0.2 * np.sin(phase * 0.4))
    elif name == "crawl":
        for side, at in (("l", left), ("r", right)):
            put(f"hip_{side}", 1.45 + 0.35 * np.sin(at))
            put(f"arm_{side}", 1.45 - 0.3 * np.sin(at))
            put(f"elbow_{side}", 0.1 + 0.3 * np.clip(np.cos(at), 0, None))
    elif name == "jump":
        up = np.clip(np.sin(phase), 0, None)
        crouch = np.clip(-np.sin(phase), 0, None)
        put("lift", 0.24 * up)
        for side in "lr":
            put(f"hip_{side}", 0.9 * crouch + 0.25 * up)
            put(f"knee_{side}", 1.5 * crouch + 0.3 * up)
            put(f"arm_{side}", 2.3 * up - 0.7 * crouch)
            put(f"side_{side}", 0.15 + 0.3 * up)
        put("lean", 0.45 * crouch)
    elif name == "dance":
        put("roll", 0.12 * np.sin(phase))
        put("lean", 0.1 * np.sin(2 * phase))
        for side, at in (("l", left), ("r", right)):
            put(f"hip_{side}", 0.35 + 0.45 * np.sin(at))
            put(f"knee_{side}", 0.5 + 0.55 * np.sin(at))
            put(f"spread_{side}", 0.18 + 0.12 * np.sin(2 * at))
            put(f"arm_{side}", 1.5 + 1.1 * np.sin(at * 0.5 + 1))
            put(f"side_{side}", 0.8 + 0.5 * np.sin(at))
            put(f"elbow_{side}", 0.7 + 0.6 * np.cos(at))
        put("lift", 0.03 * np.abs(np.sin(phase)))
    elif name == "fidget":
        put("lean", 0.03 * np.sin(phase))
        put("nod", 0.12 * np.sin(phase * 0.7))
        put("arm_r", 0.06 * np.sin(phase * 0.9))
        put("hip_l", 0.05 * np.sin(phase * 0.3))
    elif name == "talk":
        pose = still("talk", count)
        put("arm_r", 0.5 + 0.3 * np.sin(phase * 1.7))
        put("elbow_r", 1.2 + 0.4 * np.sin(phase * 2.3 + 1))
        put("nod", 0.1 * np.sin(phase * 1.3))
    return pose


def joints_of(pose: Pose) -> dict[str, np.ndarray]:
    """Where the joints are, each [T, 3]: hips, spine, shoulders, elbows, hands, knees, ankles, toes, neck, head. The lowest point
    is `lift` above the ground; hips are over the origin unless the body lies."""
    g = {name: pose[:, i] for name, i in _AT.items()}
    zero = np.zeros(len(pose))
    spine = np.stack([np.sin(g["lean"]), zero, np.cos(g["lean"])], -1)
    out: dict[str, np.ndarray] = {
        "pelvis": np.zeros((len(pose), 3)),
        "chest": _TRUNK * 0.8 * spine,
        "neck": _TRUNK * spine,
    }
    tilt = g["lean"] * 0.7 + g["nod"]
    out["head"] = out["neck"] + 0.095 * np.stack([np.sin(tilt), zero, np.cos(tilt)], -1)
    out["face"] = out["head"] + 0.03 * np.stack([np.cos(tilt), zero, -np.sin(tilt)], -1)
    for side, sign in (("l", 1.0), ("r", -1.0)):
        hip = np.stack([zero, zero + sign * _HIP, zero], -1)
        out[f"hip_{side}"] = hip
        bent = g[f"hip_{side}"] - g[f"knee_{side}"]
        out[f"knee_{side}"] = hip + _THIGH * _down(g[f"hip_{side}"], sign * g[f"spread_{side}"])
        out[f"ankle_{side}"] = out[f"knee_{side}"] + _SHANK * _down(bent, sign * g[f"spread_{side}"] * 0.6)
        foot = np.stack([np.cos(bent), zero + sign * 0.15, np.sin(bent)], -1)
        out[f"toe_{side}"] = (
            out[f"ankle_{side}"] + 0.085 * foot - 0.012 * np.stack([-np.sin(bent), zero, np.cos(bent)], -1)
        )
        shoulder = _TRUNK * 0.93 * spine + np.array([0.0, sign * _SHOULDER, 0.0])
        out[f"shoulder_{side}"] = shoulder
        reach = g[f"arm_{side}"] + g["lean"] * 0.25
        out[f"elbow_{side}"] = shoulder + _ARM * _down(reach, sign * g[f"side_{side}"])
        out[f"hand_{side}"] = out[f"elbow_{side}"] + _FOREARM * _down(
            reach + g[f"elbow_{side}"], sign * g[f"side_{side}"] * 0.5
        )
    cp, sp, cr, sr = np.cos(g["pitch"]), np.sin(g["pitch"]), np.cos(g["roll"]), np.sin(g["roll"])
    lowest = np.full(len(pose), np.inf)
    for name, points in out.items():
        x, y, z = points[:, 0], points[:, 1], points[:, 2]
        y, z = y * cr + z * sr, z * cr - y * sr
        out[name] = np.stack([x * cp + z * sp, y, z * cp - x * sp], -1)
        lowest = np.minimum(lowest, out[name][:, 2])
    for points in out.values():
        points[:, 2] += g["lift"] - lowest + 0.022
    return out


def _down(forward: np.ndarray, outward: np.ndarray) -> np.ndarray:
    """[T, 3]: unit vectors that hang down, swung forward and outward."""
    return np.stack([np.sin(forward) * np.cos(outward), np.sin(outward), -np.cos(forward) * np.cos(outward)], -1)
