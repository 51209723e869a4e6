"""Draws a street and its actors: hard shadows, and sensor noise as all that the camera does."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ..camera import Camera
from ..staging import SCALE, Shape
from .background import dimmed, noise_bank, render_background
from .cast import Plan
from .figures import Figure, Pen
from .people import Look, draw_cyclist, draw_person
from .scene import Scene
from .vehicles import draw_box, draw_vehicle

__all__ = ["NoiseFilm", "StreetBackdrop", "draw_street"]


def draw_street(
    scene: Scene, plans: Sequence[Plan], rng: np.random.Generator
) -> tuple[StreetBackdrop, NoiseFilm, list[Figure]]:
    """The place, the film, and the plans' figures; the n-th plan's id is n + 1."""
    backdrop = StreetBackdrop(scene, rng)
    camera = scene.camera.scaled(SCALE)
    figures = [_figure(scene, camera, plan, i + 1) for i, plan in enumerate(plans)]
    return backdrop, NoiseFilm(scene, len(plans[0].abnormal), rng), figures


def _figure(scene: Scene, camera: Camera, plan: Plan, ident: int) -> Figure:
    pen = Pen(camera, plan.course.position, plan.course.heading, ident, scene.light.gain)
    sun = scene.light.sun
    if isinstance(plan.look, Look):
        if plan.kind == "bicycle":
            return draw_cyclist(pen, plan.look, plan.course.travelled, sun)
        return draw_person(pen, plan.look, plan.gait, plan.course.travelled, plan.lie, sun)
    return draw_box(pen, plan.look, sun) if plan.kind == "box" else draw_vehicle(pen, plan.look, sun)


class StreetBackdrop:
    """The empty place, lit and in shadow; nothing of it stands in front of actors."""

    def __init__(self, scene: Scene, rng: np.random.Generator) -> None:
        place = cv2.cvtColor(render_background(scene, rng), cv2.COLOR_RGB2RGBA)
        place[..., 3] = 0
        self._lit = cv2.resize(place, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_NEAREST)
        dark = 0.58 if scene.light.sun != (0.0, 0.0) else 0.75
        self._dark = dimmed(self._lit, (dark, dark, dark, 0.0))
        self._shadow = np.zeros(self._lit.shape[:2], np.uint8)

    def canvas(self, shapes: Sequence[Shape], t: int) -> np.ndarray:
        """The place with the figures' shadows."""
        canvas = self._lit.copy()
        if shapes:
            self._shadow[:] = 0
            for figure in shapes:
                assert isinstance(figure, Figure)
                cv2.fillConvexPoly(self._shadow, figure.shadow[t], 255)
            cv2.copyTo(self._dark, self._shadow, canvas)
        return canvas

    def draw(self, canvas: np.ndarray, shape: Shape, t: int) -> None:
        """Draws a figure; nothing hides it."""
        shape.draw(canvas, t)


class NoiseFilm:
    """Sensor noise."""

    def __init__(self, scene: Scene, count: int, rng: np.random.Generator) -> None:
        self._size = (scene.camera.height, scene.camera.width)
        self._cuts = rng.integers(0, 65, (count, 4))
        self._noise = noise_bank(*self._size, scene.light.noise)

    def labels(self, canvas: np.ndarray, t: int) -> np.ndarray:
        """The id of each pixel."""
        return canvas[::SCALE, ::SCALE, 3]

    def expose(self, canvas: np.ndarray, t: int) -> np.ndarray:
        """The canvas at the frame's size, with noise."""
        height, width = self._size
        small = cv2.cvtColor(cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA), cv2.COLOR_RGBA2RGB)
        y0, x0, y1, x1 = self._cuts[t]
        cv2.add(small, self._noise[y0 : y0 + height, x0 : x0 + width], dst=small)
        return cv2.subtract(small, self._noise[y1 : y1 + height, x1 : x1 + width])
