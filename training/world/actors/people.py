"""What people look like: body, clothes, hair and what they carry, drawn over a pose. Knows nothing about what they do."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..palette import COLORS, HAIR, SKIN, named, shade
from ..types import BODY
from .poses import Pose, joints_of
from .puppet import Color, Puppet

__all__ = ["BAGS", "TROUSER_COLORS", "Outfit", "dress", "paint_person"]

_TROUSERS: dict[str, Color] = {
    "blue": (48, 62, 104), "black": (30, 30, 34), "grey": (98, 100, 106), "brown": (96, 72, 52), "beige": (176, 156, 122),
    "white": (216, 214, 208), "green": (72, 82, 56), "red": (128, 36, 40),
}  # fmt: skip
TROUSER_COLORS = tuple(_TROUSERS)
_HAIR_NAMES = ("black", "brown", "brown", "blond", "grey", "black")
_BAG_PAINTS: dict[str, Color] = {"a backpack": (46, 50, 58), "a handbag": (110, 66, 44), "a suitcase": (54, 60, 84)}

BAGS = tuple(bag.split()[-1] for bag in _BAG_PAINTS)


@dataclass(frozen=True)
class Outfit:
    """height: m. girth, shoulders: times the usual. bag, umbrella: "" for none, else in words. attributes: all of it in words."""

    height: float
    girth: float
    shoulders: float
    top: Color
    trousers: Color
    skin: Color
    hair: Color
    long_hair: bool
    coat: bool
    skirt: bool
    short_sleeves: bool
    hat: bool
    bag: str
    umbrella: Color | None
    phase: float
    attributes: Mapping[str, str]


def dress(rng: np.random.Generator, color: str, *, rain: bool = False, bag: str | None = None) -> Outfit:
    """A person whose top has this colour. rain: whether it rains. bag: what is carried, "" for nothing; None leaves it open, and
    a hand free for an umbrella."""
    trousers = TROUSER_COLORS[rng.choice(len(TROUSER_COLORS), p=(0.27, 0.25, 0.16, 0.08, 0.08, 0.05, 0.06, 0.05))]
    hair = int(rng.integers(len(HAIR)))
    child, long_hair = rng.random() < 0.08, rng.random() < 0.4
    height = rng.uniform(1.15, 1.45) if child else rng.normal(1.72, 0.08)
    umbrella = ""
    if bag is None:
        bag = str(rng.choice(["", "a backpack", "a handbag", "a suitcase"], p=(0.62, 0.18, 0.13, 0.07)))
        umbrella = str(rng.choice(COLORS)) if rng.random() < (0.6 if rain else 0.03) else ""
    skirt, coat = long_hair and rng.random() < 0.3, rng.random() < 0.2
    words = {"top": color, "hair": _HAIR_NAMES[hair]}
    if not skirt:
        words["trousers"] = trousers
    if bag:
        words["bag"] = bag.split()[-1]
    if umbrella:
        words["umbrella"] = umbrella
    if child:
        words["age"] = "child"
    fade = rng.uniform(0.78, 1.0)
    top = np.array(named(rng, color)) * fade
    grey = top.mean()
    top = top + (grey - top) * rng.uniform(0.0, 0.3)  # cloth is less pure than paint
    return Outfit(
        float(np.clip(height, 1.1, 1.96)),
        float(np.clip(rng.normal(1.0, 0.13), 0.8, 1.4)),
        float(rng.uniform(0.9, 1.08)),
        (float(top[0]), float(top[1]), float(top[2])),
        shade(_TROUSERS[trousers], rng.uniform(0.8, 1.2)),
        SKIN[rng.integers(len(SKIN))],
        HAIR[hair],
        bool(long_hair),
        bool(coat),
        bool(skirt),
        bool(rng.random() < 0.3 and not rain),
        bool(rng.random() < 0.15),
        bag,
        named(rng, umbrella) if umbrella else None,
        float(rng.uniform(0, 2 * np.pi)),
        words,
    )


def paint_person(
    puppet: Puppet, outfit: Outfit, pose: Pose, at: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> dict[str, np.ndarray]:
    """Adds a person in this pose, `at` an offset in own coordinates (m); returns its joints, each [T, 3] in m."""
    tall, girth = outfit.height, outfit.girth
    joints = {name: points * tall + at for name, points in joints_of(pose).items()}
    for side, sign in (("l", 1), ("r", -1)):
        joints[f"shoulder_{side}"][:, 1] += sign * (outfit.shoulders - 1) * 0.1 * tall
    j = joints
    r = tall * girth
    shoe = (38.0, 34.0, 32.0)
    for side in "lr":
        puppet.capsule(j[f"ankle_{side}"], j[f"toe_{side}"], (0.024 * tall, 0.02 * tall), shoe)
        legs = outfit.skin if outfit.skirt else outfit.trousers
        puppet.capsule(j[f"knee_{side}"], j[f"ankle_{side}"], (0.034 * r, 0.024 * r), legs)
        puppet.capsule(j[f"hip_{side}"], j[f"knee_{side}"], (0.05 * r, 0.036 * r), legs)
        sleeve = outfit.skin if outfit.short_sleeves and not outfit.coat else outfit.top
        puppet.capsule(j[f"shoulder_{side}"], j[f"elbow_{side}"], (0.034 * r, 0.027 * r), outfit.top)
        puppet.capsule(j[f"elbow_{side}"], j[f"hand_{side}"], (0.025 * r, 0.018 * r), sleeve)
        puppet.capsule(j[f"hand_{side}"], j[f"hand_{side}"] + 0.012 * tall, (0.02 * tall, 0.017 * tall), outfit.skin)
    puppet.capsule(j["hip_l"], j["hip_r"], (0.052 * r, 0.052 * r), outfit.trousers if not outfit.coat else outfit.top)
    if outfit.skirt or outfit.coat:
        knees = (j["knee_l"] + j["knee_r"]) / 2
        low = j["pelvis"] + (knees - j["pelvis"]) * (0.95 if outfit.skirt else 0.6)
        puppet.capsule(
            j["pelvis"], low, (0.075 * r, 0.105 * r), outfit.trousers if outfit.skirt else outfit.top, over=0.02
        )
    puppet.capsule(j["pelvis"], j["chest"], (0.074 * r, 0.082 * r), outfit.top, over=0.02)
    puppet.capsule(
        (j["shoulder_l"] * 0.8 + j["shoulder_r"] * 0.2), (j["shoulder_r"] * 0.8 + j["shoulder_l"] * 0.2),
        (0.052 * r, 0.052 * r), outfit.top, over=0.03,
    )  # fmt: skip
    puppet.capsule(j["neck"], j["head"], (0.03 * tall, 0.03 * tall), outfit.skin)
    back = j["head"] * 2 - j["face"]
    up = j["head"] - j["neck"]
    puppet.capsule(
        back * 0.6 + j["head"] * 0.4 + 0.2 * up, j["head"] * 1.0 + 0.35 * up, (0.056 * tall, 0.05 * tall), outfit.hair
    )
    if outfit.long_hair:
        puppet.capsule(
            back, back * 0.6 + (j["neck"] * 1.6 - j["head"] * 0.6) * 0.4, (0.05 * tall, 0.045 * tall), outfit.hair
        )
    puppet.capsule(
        j["face"] - 0.35 * up * 0.5,
        j["face"] * 0.7 + j["head"] * 0.3 + 0.16 * up,
        (0.041 * tall, 0.045 * tall),
        outfit.skin,
    )
    if outfit.hat:
        puppet.capsule(
            j["head"] + 0.55 * up,
            j["head"] + 0.62 * up,
            (0.062 * tall, 0.058 * tall),
            shade(outfit.top, 0.6),
            over=0.03,
        )
    puppet.body(np.stack([j[name] for name in BODY], axis=1), tall)
    _paint_bag(puppet, outfit, j)
    if outfit.umbrella is not None:
        _paint_umbrella(puppet, outfit, j)
    return joints


def _paint_bag(puppet: Puppet, outfit: Outfit, j: dict[str, np.ndarray]) -> None:
    tall = outfit.height
    if outfit.bag == "a backpack":
        spine = j["chest"] - j["pelvis"]
        behind = np.stack([-spine[:, 2], spine[:, 1], spine[:, 0]], -1) * 0.42
        low, high = j["pelvis"] + 0.3 * spine + behind, j["chest"] + behind * 0.85
        puppet.capsule(low, high, (0.075 * tall, 0.06 * tall), _BAG_PAINTS["a backpack"])
    elif outfit.bag == "a handbag":
        hand = j["hand_l"]
        low = hand - (0, 0, 0.13 * tall)
        puppet.capsule(
            low - (0.06 * tall, 0, 0), low + (0.06 * tall, 0, 0), (0.055 * tall, 0.055 * tall), _BAG_PAINTS["a handbag"]
        )
        puppet.capsule(hand, low, (0.008 * tall, 0.008 * tall), _BAG_PAINTS["a handbag"])
    elif outfit.bag == "a suitcase":
        hand = j["hand_r"]
        foot = hand * (1, 1, 0) + (-0.3, -0.08, 0.3)
        puppet.capsule(foot - (0, 0, 0.16), foot + (0, 0, 0.16), (0.17, 0.17), _BAG_PAINTS["a suitcase"])
        puppet.capsule(foot + (0, 0, 0.2), hand, (0.012, 0.012), (60, 60, 64))


def _paint_umbrella(puppet: Puppet, outfit: Outfit, j: dict[str, np.ndarray]) -> None:
    top = j["head"] + (0.05, 0.0, 0.3)
    puppet.capsule(j["hand_l"], top, (0.012, 0.012), (50, 50, 52))
    assert outfit.umbrella is not None
    angle = np.arange(9) * (2 * np.pi / 8)
    rim = np.stack([0.5 * np.cos(angle), 0.5 * np.sin(angle), np.full(9, -0.17)], -1)
    for a, b in itertools.pairwise(rim):
        corners = np.stack([top, top + a, top + b], axis=1)
        puppet.face(corners, outfit.umbrella, two_sided=True, over=0.1)
