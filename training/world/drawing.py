"""Draws a place and its players: soft shadows on the ground, and what stands in front of whom.

Knows nothing about what anybody does.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from .actors.puppet import SHIFT, Drawn
from .camera import SCALE
from .scenes.backdrop import Picture

__all__ = ["CLEAR", "PlaceBackdrop"]

CLEAR = 0.3
"""What stands less than this nearer than an actor (m) does not hide it."""

_FAINT = 0.4
"""Where less than this share of what is thin can be seen, it is not labelled."""


class PlaceBackdrop:
    """The empty place, lit and in an actor's shadow."""

    def __init__(self, picture: Picture, *, soft: int) -> None:
        """soft: width of the shadows' edges in frame pixels, odd."""
        self._lit = cv2.cvtColor(picture.lit, cv2.COLOR_RGB2RGBA)
        self._lit[..., 3] = 0
        self._loss = cv2.cvtColor(cv2.subtract(picture.lit, picture.dark), cv2.COLOR_RGB2RGBA)
        self.near = picture.near
        self._soft = (soft, soft)
        height, width = picture.near.shape
        # Shadows are soft, so the frame's resolution is fine enough for them.
        self._mask = np.zeros((height // SCALE, width // SCALE), np.uint8)
        self._built = np.isfinite(picture.near[::SCALE, ::SCALE]).astype(np.uint8)

    def canvas(self, shapes: Sequence[Drawn], t: int) -> np.ndarray:
        """The place with the shadows of all figures in frame `t`, uint8 [H, W, 4]: RGB and id 0."""
        mask, fill = self._mask, cv2.fillConvexPoly
        mask[:] = 0
        for figure in shapes:
            for polygon in figure.shadow[t]:
                fill(mask, polygon, 255, cv2.LINE_8, SHIFT + 1)
        mask[self._built > 0] = 0
        soft = cv2.blur(cv2.blur(mask, self._soft), self._soft)
        large = cv2.resize(soft, self._lit.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        loss = cv2.multiply(self._loss, cv2.merge((large, large, large, large)), scale=1 / 255)
        return cv2.subtract(self._lit, loss)

    def draw(self, canvas: np.ndarray, shape: Drawn, t: int) -> None:
        """Draws a figure, behind what of the place stands nearer."""
        height, width = self.near.shape
        x0, y0, x1, y1 = (int(v) for v in shape.bounds[t])
        x0, y0, x1, y1 = max(0, x0), max(0, y0), min(width, x1), min(height, y1)
        if x0 >= x1 or y0 >= y1:
            return
        hides = cv2.inRange(self.near[y0:y1, x0:x1], -1e9, float(shape.depth[t]) - CLEAR)  # type: ignore[call-overload]
        solid = shape.opacity == 1.0
        if solid and not cv2.countNonZero(hides):
            shape.draw(canvas, t)
            return
        view = canvas[y0:y1, x0:x1]
        before = view.copy()
        shape.draw(canvas, t)
        if not solid:
            _see_through(view, before, shape.opacity, float(shape.soft[t]))
        cv2.copyTo(before, hides, view)


def _see_through(view: np.ndarray, before: np.ndarray, opacity: float, soft: float) -> None:
    """Mixes what was just drawn into a part of the canvas with what was there, less and less towards its edge."""
    drawn = (view != before).any(axis=-1).astype(np.float32)
    wide = 2 * max(1, round(soft / 2)) + 1
    share = opacity * cv2.blur(cv2.blur(drawn, (wide, wide)), (wide, wide)) * drawn
    thin = share < opacity * _FAINT
    mixed = before[..., :3] + (view[..., :3].astype(np.float32) - before[..., :3]) * share[..., None]
    view[..., :3] = cv2.convertScaleAbs(mixed)
    view[..., 3][thin] = before[..., 3][thin]
