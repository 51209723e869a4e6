"""What a figure is made of: flat parts with pixel coordinates for every frame, in drawing order, and how they are drawn.

Colours are RGB plus the actor's id as the fourth channel, so that picture and mask come from the same strokes. Knows nothing
about people, vehicles or scenes.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..camera import Camera
from ..palette import Color

__all__ = ["Figure", "Part", "Pen", "facing"]


@dataclass(frozen=True, eq=False)
class Part:
    """points: int32 [T, n, 2] pixels. thickness: per frame, of a line or a dot (its diameter); None for a filled polygon.
    shown: per frame; None for always."""

    points: np.ndarray
    color: tuple[float, float, float, float]
    thickness: list[int] | None = None
    shown: list[bool] | None = None


@dataclass(frozen=True, eq=False)
class Figure:
    """An actor ready to be drawn. depth: float [T], larger is farther away. bounds: int32 [T, 4], pixels its parts stay
    inside. shadow: int32 [T, n, 2]."""

    parts: list[Part]
    depth: np.ndarray
    bounds: np.ndarray
    shadow: np.ndarray

    @property
    def joints(self) -> np.ndarray:
        """[T, 0, 2]: they are not told."""
        return np.zeros((len(self.depth), 0, 2))

    @property
    def stature(self) -> np.ndarray:
        """[T], as little."""
        return np.zeros(len(self.depth))

    def draw(self, canvas: np.ndarray, t: int) -> None:
        """Draws it as it is in frame `t` into uint8 [H, W, 4]."""
        for part in self.parts:
            if part.shown is not None and not part.shown[t]:
                continue
            points = part.points[t]
            if part.thickness is None:
                cv2.fillPoly(canvas, [points], part.color)
            elif len(points) == 1:
                center = (int(points[0, 0]), int(points[0, 1]))
                cv2.circle(canvas, center, max(1, part.thickness[t] // 2), part.color, -1)
            else:
                cv2.polylines(canvas, [points], False, part.color, part.thickness[t])


class Pen:
    """Collects an actor's parts, given in its own coordinates: forward, left, up from the ground point under it."""

    def __init__(
        self, camera: Camera, position: np.ndarray, heading: np.ndarray, ident: int, gain: tuple[float, float, float]
    ):
        """position: [T, 2] on the ground; heading: [T] rad."""
        self.camera = camera
        self.position = position
        cos, sin = np.cos(heading), np.sin(heading)
        self._forward = np.stack([cos, sin], axis=-1)[:, None]
        self._left = np.stack([-sin, cos], axis=-1)[:, None]
        self.scale = camera.pixels_per_unit(position)
        self.parts: list[Part] = []
        self._ident = float(ident)
        self._gain = gain

    def ground(self, points: np.ndarray) -> np.ndarray:
        """[T or 1, n, 3] own coordinates to [T, n, 3] ground coordinates."""
        placed = np.empty((len(self.position), points.shape[1], 3))
        placed[..., :2] = self.position[:, None] + points[..., :1] * self._forward + points[..., 1:2] * self._left
        placed[..., 2] = points[..., 2]
        return placed

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """[T or 1, n, 3] own coordinates to float [T, n, 2] pixels."""
        return self.camera.project(self.ground(points))

    def color(self, color: Color) -> tuple[float, float, float, float]:
        """The colour in the scene's light, with the actor's id."""
        g = self._gain
        return (min(color[0] * g[0], 255.0), min(color[1] * g[1], 255.0), min(color[2] * g[2], 255.0), self._ident)

    def polygon(self, pixels: np.ndarray, color: Color, shown: np.ndarray | None = None) -> None:
        """A filled polygon [T, n, 2]."""
        self.parts.append(Part(_whole(pixels), self.color(color), None, None if shown is None else shown.tolist()))

    def line(self, pixels: np.ndarray, color: Color, width: float) -> None:
        """A line through [T, n, 2], `width` units thick."""
        self.parts.append(Part(_whole(pixels), self.color(color), self._thickness(width)))

    def dot(self, pixels: np.ndarray, color: Color, width: float) -> None:
        """A disk around [T, 2], `width` units across."""
        self.parts.append(Part(_whole(pixels[:, None]), self.color(color), self._thickness(width)))

    def _thickness(self, width: float) -> list[int]:
        return np.maximum(1, np.rint(width * self.scale)).astype(int).tolist()

    def finish(self, footprint: np.ndarray, sun: tuple[float, float], height: float) -> Figure:
        """The figure. footprint: [n, 2] own (forward, left) outline on the ground, convex."""
        base = np.concatenate([footprint, np.zeros((len(footprint), 1))], axis=-1)[None]
        outline = self.ground(base)
        if sun != (0.0, 0.0):
            far = outline.copy()
            far[..., 0] += sun[0] * height
            far[..., 1] += sun[1] * height
            outline = np.concatenate([outline, far], axis=1)
        shadow = _whole(self.camera.project(outline))
        if sun != (0.0, 0.0):
            shadow = np.stack([_hull(points) for points in shadow])
        every = np.concatenate([part.points for part in self.parts], axis=1)
        widest = max([max(p.thickness) for p in self.parts if p.thickness] or [0]) // 2 + 2
        bounds = np.concatenate([every.min(axis=1) - widest, every.max(axis=1) + widest], axis=-1)
        return Figure(self.parts, self.camera.depth(self.position), bounds, shadow)


def _hull(points: np.ndarray) -> np.ndarray:
    """The convex hull of int32 [n, 2], padded to n points by repeating its last."""
    hull = cv2.convexHull(points)[:, 0]
    return np.concatenate([hull, np.repeat(hull[-1:], len(points) - len(hull), axis=0)])


def _whole(pixels: np.ndarray) -> np.ndarray:
    return np.rint(pixels).astype(np.int32)


def facing(pixels: np.ndarray) -> np.ndarray:
    """bool [T]: whether polygons [T, n, 2] (n >= 3) run clockwise on the screen."""
    a, b, c = pixels[:, 0], pixels[:, 1], pixels[:, 2]
    return (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0]) > 0
