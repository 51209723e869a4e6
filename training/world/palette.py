"""Colours by name, with what varies inside a name. Knows nothing about what is coloured."""

from __future__ import annotations

import colorsys

import numpy as np

__all__ = ["COLORS", "HAIR", "SKIN", "named", "shade"]

# name -> ranges of (hue in turns, saturation, value)
_RANGES = {
    "red": ((-0.02, 0.015), (0.75, 0.95), (0.65, 0.9)),
    "orange": ((0.06, 0.085), (0.8, 0.95), (0.85, 1.0)),
    "yellow": ((0.135, 0.165), (0.75, 0.95), (0.85, 1.0)),
    "green": ((0.31, 0.4), (0.65, 0.95), (0.4, 0.7)),
    "blue": ((0.57, 0.65), (0.7, 0.95), (0.6, 0.95)),
    "purple": ((0.77, 0.83), (0.55, 0.85), (0.5, 0.75)),
    "white": ((0.0, 1.0), (0.0, 0.04), (0.92, 1.0)),
    "black": ((0.0, 1.0), (0.0, 0.25), (0.04, 0.13)),
}
COLORS = tuple(_RANGES)
SKIN = ((238, 200, 172), (222, 178, 144), (190, 138, 104), (142, 96, 66), (100, 66, 46))
HAIR = ((34, 26, 22), (70, 48, 30), (120, 84, 48), (176, 142, 88), (120, 118, 116), (20, 20, 22))

Color = tuple[float, float, float]


def named(rng: np.random.Generator, name: str) -> Color:
    """An RGB colour (0..255) that goes by this name."""
    (h0, h1), (s0, s1), (v0, v1) = _RANGES[name]
    u = rng.random(3)
    r, g, b = colorsys.hsv_to_rgb((h0 + u[0] * (h1 - h0)) % 1.0, s0 + u[1] * (s1 - s0), v0 + u[2] * (v1 - v0))
    return r * 255, g * 255, b * 255


def shade(color: Color, factor: float) -> Color:
    """The colour, lighter (factor > 1) or darker."""
    return color[0] * factor, color[1] * factor, color[2] * factor
