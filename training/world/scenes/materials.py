"""Procedural materials: the reflectance of a surface at points (u, v) on it, in metres. Knows no geometry and no light.

Every material takes its colour and a random seed, so that two walls of one brick differ. What is finer than a pixel fades out
instead of flickering.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

__all__ = ["MATERIALS", "Material", "noise_tile", "reflectance"]

_SIDE = 512
_HASH = np.random.default_rng(2024).random((4096, 3), dtype=np.float32)


@dataclass(frozen=True)
class Material:
    """name: one of `MATERIALS`. color: sRGB, 0..255. pitch: size of bricks, slabs, shelves ... in m, 0 for the usual."""

    name: str
    color: tuple[float, float, float]
    pitch: float = 0.0
    seed: int = 0


@functools.lru_cache(maxsize=8)
def noise_tile(finest: int) -> np.ndarray:
    """float32 [512, 512], tileable, mean 0, standard deviation 1: octaves of noise from `finest` cells a side down to 4."""
    rng = np.random.default_rng(finest)
    total, cells, weight = np.zeros((_SIDE, _SIDE), np.float32), finest, 1.0
    while cells >= 4:
        small = np.pad(rng.standard_normal((cells, cells)).astype(np.float32), 4, mode="wrap")
        step = _SIDE // cells
        large = cv2.resize(small, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
        total += weight * large[4 * step : 4 * step + _SIDE, 4 * step : 4 * step + _SIDE]
        cells, weight = cells // 2, weight * 1.3
    return total / total.std()


def _noise(u: np.ndarray, v: np.ndarray, per_metre: float, finest: int = 256) -> np.ndarray:
    x, y = (u * per_metre).astype(np.int32), (v * per_metre).astype(np.int32)
    return noise_tile(finest)[y & (_SIDE - 1), x & (_SIDE - 1)]


def _cells(
    u: np.ndarray, v: np.ndarray, width: float, height: float, shift: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Brickwork: three random numbers [m, 3] of the cell a point lies in, and its distance (m) to the cell's edges."""
    row = np.floor(v / height)
    column = u / width + shift * row
    inside = np.floor(column)
    index = (inside.astype(np.int64) * 7919 + row.astype(np.int64) * 104729 + seed * 31) & 4095
    across, along = (column - inside) * width, v - row * height
    return _HASH[index], np.minimum(across, width - across), np.minimum(along, height - along)


def _joint(distance: np.ndarray, width: float, footprint: np.ndarray) -> np.ndarray:
    """How much of a pixel a joint of this width covers, 0..1."""
    blur = np.maximum(footprint, width * 0.5)
    return np.clip((width / 2 + blur / 2 - distance) / blur, 0, 1) * np.minimum(1, width / blur)


def _plain(u, v, fp, m):
    return 1 + 0.02 * _noise(u, v, 20)


def _plaster(u, v, fp, m):
    streaks = _noise(u, v * 0.08, 40)
    return 1 + 0.035 * _noise(u, v, 18) + 0.03 * streaks + 0.03 * _noise(u, v, 150)


def _asphalt(u, v, fp, m):
    cracks = np.clip(1 - np.abs(_noise(u, v, 34, 64)) * 14, 0, 1)
    return 1 + 0.045 * _noise(u, v, 9, 64) + 0.1 * _noise(u, v, 210) - 0.12 * cracks


def _concrete(u, v, fp, m):
    _, x, y = _cells(u, v, m.pitch or 3.0, m.pitch or 3.0, 0.0, m.seed)
    joint = _joint(np.minimum(x, y), 0.025, fp)
    return (1 + 0.045 * _noise(u, v, 17, 128) + 0.045 * _noise(u, v, 180)) * (1 - 0.4 * joint)


def _slabs(u, v, fp, m):
    pitch = m.pitch or 0.5
    value, x, y = _cells(u, v, pitch * 1.5, pitch, 0.5, m.seed)
    joint = _joint(np.minimum(x, y), 0.018, fp)
    tone = 1 + 0.14 * (value[:, 0] - 0.5) + 0.05 * _noise(u, v, 26, 128) + 0.05 * _noise(u, v, 200)
    return tone * (1 - 0.42 * joint)


def _cobbles(u, v, fp, m):
    value, x, y = _cells(u, v, 0.19, 0.13, 0.5, m.seed)
    gap = _joint(np.minimum(x, y), 0.03, fp)
    tone = 1 + 0.4 * (value[:, 0] - 0.5) * np.minimum(1, 0.13 / np.maximum(fp, 1e-4)) + 0.1 * _noise(u, v, 20, 128)
    return tone * (1 - 0.5 * gap)


def _brick(u, v, fp, m):
    value, x, y = _cells(u, v, 0.23, 0.078, 0.5, m.seed)
    joint = _joint(np.minimum(x, y), 0.012, fp)[:, None]
    fade = np.minimum(1, 0.1 / np.maximum(fp, 1e-4))
    tone = (1 + 0.45 * (value[:, :1] - 0.5) * fade[:, None]) * (1 + 0.08 * _noise(u, v, 16, 128))[:, None]
    return tone * (1 - joint) + joint * np.array([1.5, 1.7, 1.8], np.float32)


def _tiles(u, v, fp, m):
    pitch = m.pitch or 0.6
    value, x, y = _cells(u, v, pitch, pitch, 0.0, m.seed)
    joint = _joint(np.minimum(x, y), 0.012, fp)
    return (1 + 0.06 * (value[:, 0] - 0.5) + 0.03 * _noise(u, v, 30)) * (1 - 0.35 * joint)


def _checker(u, v, fp, m):
    pitch = m.pitch or 0.6
    odd = (np.floor(u / pitch) + np.floor(v / pitch)) % 2
    return (0.72 + 0.4 * odd) * (1 + 0.03 * _noise(u, v, 30))


def _planks(u, v, fp, m):
    value, _, y = _cells(u, v, 2.4, m.pitch or 0.12, 0.37, m.seed)
    grain = 0.1 * _noise(u * 0.15, v, 160)
    tint = 1 + (value[:, :1] - 0.5) * 0.36 + (value - 0.5) * 0.06
    return tint * (1 + grain - 0.5 * _joint(y, 0.008, fp))[:, None]


def _grass(u, v, fp, m):
    patch, blade = _noise(u, v, 12, 64), _noise(u * 2.0, v, 190)
    tone = 1 + 0.09 * patch + 0.24 * blade * np.minimum(1, 0.05 / np.maximum(fp, 1e-4))
    return tone[:, None] * (1 + np.clip(patch, -1, 1)[:, None] * np.array([0.1, 0.0, -0.05], np.float32))


def _gravel(u, v, fp, m):
    return 1 + 0.08 * _noise(u, v, 12, 64) + 0.26 * _noise(u, v, 140) * np.minimum(1, 0.06 / np.maximum(fp, 1e-4))


def _leaves(u, v, fp, m):
    deep = _noise(u, v, 90, 128)
    return np.clip(0.9 + 0.42 * deep, 0.25, 2)[:, None] * (
        1 + 0.12 * _noise(u, v, 30, 64)[:, None] * np.array([1.0, 0.6, 0.2], np.float32)
    )


def _metal(u, v, fp, m):
    pitch = m.pitch or 0.22
    wave = np.sin(u * (2 * np.pi / pitch)) * np.minimum(1, pitch / 3 / np.maximum(fp, 1e-4))
    return 1 + 0.16 * wave + 0.04 * _noise(u, v * 0.2, 60)


def _goods(u, v, fp, m):
    """Shelves: boards, and wares of many colours on them."""
    pitch = m.pitch or 0.4
    value, x, _ = _cells(u, v, pitch * 0.5, pitch, 0.31, m.seed)
    ware = 0.3 + 0.5 * value[:, :1] + 0.7 * value * value * value[:, 1:2]
    height = (v / pitch) % 1.0
    free = height > 0.55 + 0.4 * value[:, 2]
    board = height < 0.1
    shade = np.where(free, 0.16, np.where(x < 0.02, 0.5, 1.0))[:, None] * np.where(free[:, None], 1.0, ware)
    return np.where(board[:, None], 1.3, shade)


def _facade(u, v, fp, m):
    """Rows of windows in a wall; the ground floor has doors among them."""
    pitch = m.pitch or 2.6
    wall = _brick(u, v, fp, m) if m.seed % 3 == 0 else np.repeat(_plaster(u, v, fp, m)[:, None], 3, axis=1)
    value, x, _ = _cells(u, np.maximum(v - 0.35, 0.01), pitch, 3.1, 0.0, m.seed)
    ground = v < 3.3
    door = ground & (value[:, 2] < 0.3)
    half = np.where(door, 0.55, pitch * (0.19 + 0.04 * (m.seed % 4)))
    middle = np.abs(x - pitch / 2)
    low, high = np.where(door, -0.35, 0.75), np.where(door, 1.95, 2.45)
    level = (v - 0.35) - 3.1 * np.floor((v - 0.35) / 3.1)
    level = np.where(v < 0.35, v - 0.35, level)
    inside = (middle < half) & (level > low) & (level < high)
    edge = np.minimum(half - middle, np.minimum(level - low, high - level))
    frame = inside & ((edge < 0.07) | (np.abs(middle) < 0.03))
    glass = 0.1 + 0.25 * value[:, :1] + 0.1 * np.clip(_noise(u, v, 12, 64), -1, 1)[:, None]
    glass = glass * np.array([0.8, 0.95, 1.15], np.float32)
    base = np.array(m.color, np.float32) / 255
    leaf = (0.2 + 0.5 * value) / np.maximum(base**2.2, 0.02)
    glass = glass / np.maximum(base**2.2, 0.02) * 0.35
    sill = (middle < half + 0.1) & (level < low) & (level > low - 0.12) & ~door
    plinth = v < 0.3
    result = np.where(plinth[:, None], wall * 0.7, wall)
    result = np.where(sill[:, None], 1.25, result)
    result = np.where(inside[:, None], np.where(door[:, None], leaf * 0.5, glass), result)
    return np.where(frame[:, None] & ~door[:, None], 0.7 / np.maximum(base**2.2, 0.05) * 0.6, result)


def _glass(u, v, fp, m):
    pitch = m.pitch or 1.4
    value, x, y = _cells(u, v, pitch, 2.6, 0.0, m.seed)
    frame = np.minimum(x, y) < 0.05
    return np.where(frame, 0.35, 0.8 + 0.3 * value[:, 0] + 0.25 * _noise(u + v, v, 14, 64))


def _water(u, v, fp, m):
    return 1 + 0.2 * _noise(u * 0.6, v * 2.2, 30, 128) + 0.1 * _noise(u, v * 3, 90)


def _stripes(u, v, fp, m):
    pitch = m.pitch or 0.5
    return np.where(((u + v) / pitch) % 1.0 < 0.5, 1.0, 0.12)


MATERIALS: dict[str, Callable[..., np.ndarray]] = {
    "asphalt": _asphalt,
    "brick": _brick,
    "checker": _checker,
    "cobbles": _cobbles,
    "concrete": _concrete,
    "facade": _facade,
    "glass": _glass,
    "goods": _goods,
    "grass": _grass,
    "gravel": _gravel,
    "leaves": _leaves,
    "metal": _metal,
    "plain": _plain,
    "planks": _planks,
    "plaster": _plaster,
    "slabs": _slabs,
    "stripes": _stripes,
    "tiles": _tiles,
    "water": _water,
}


def reflectance(material: Material, u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> np.ndarray:
    """float32 [m, 3], linear, at points u, v [m] (m); footprint: [m], how much of the surface a pixel covers (m)."""
    offset = 7.3 * (material.seed % 97)
    if material.name in ("facade", "goods", "stripes", "glass"):
        offset = 0.0
    tone = MATERIALS[material.name](u + offset, v + (0.0 if offset == 0.0 else offset), footprint, material)
    base = (np.array(material.color, np.float32) / 255) ** 2.2
    colored = tone * base if tone.ndim == 2 else np.outer(base, tone).T
    return np.clip(colored, 0.002, 0.95).astype(np.float32)
