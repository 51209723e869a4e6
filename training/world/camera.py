"""A fixed pinhole camera that looks down on the ground at an angle.

Ground coordinates are (along, across, up), in metres. Knows nothing about what it sees.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

import numpy as np

__all__ = ["NEAREST", "PERSON_HEIGHT", "SCALE", "Camera"]

PERSON_HEIGHT = 1.8
SCALE = 2
"""The canvas that is drawn on has so many pixels to one of the frame's, in both directions."""
NEAREST = 4.0
"""Nothing nearer to the camera than this is in its view; it may be behind it."""


@dataclass(frozen=True)
class Camera:
    """width, height: of the image in pixels. pitch: how far it looks down (rad). yaw: of the road in the image (rad).
    distance: to the ground point in the middle of the image. focal_x, focal_y: in pixels."""

    width: int
    height: int
    pitch: float
    yaw: float
    distance: float
    focal_x: float
    focal_y: float

    def scaled(self, factor: int) -> Camera:
        """The same view with `factor` times as many pixels."""
        return replace(
            self,
            width=self.width * factor,
            height=self.height * factor,
            focal_x=self.focal_x * factor,
            focal_y=self.focal_y * factor,
        )

    @functools.cached_property
    def matrix(self) -> np.ndarray:
        """float64 [3, 4]: homogeneous ground coordinates to homogeneous pixels."""
        cy, sy, cp, sp = (math.cos(self.yaw), math.sin(self.yaw), math.cos(self.pitch), math.sin(self.pitch))
        right = np.array([cy, -sy, 0.0, 0.0])
        up = np.array([sy * sp, cy * sp, cp, 0.0])
        depth = np.array([sy * cp, cy * cp, -sp, self.distance])
        return np.stack(
            [self.focal_x * right + self.width / 2 * depth, -self.focal_y * up + self.height / 2 * depth, depth]
        )

    def project(self, points: np.ndarray) -> np.ndarray:
        """[..., 3] ground coordinates to [..., 2] pixels (x, y). What is nearer than `NEAREST` gets meaningless ones."""
        matrix = self.matrix
        image = points @ matrix[:, :3].T + matrix[:, 3]
        return image[..., :2] / np.maximum(image[..., 2:], NEAREST / 2)

    def depth(self, position: np.ndarray) -> np.ndarray:
        """[..., 2] ground positions (along, across) to [...] depths: larger is farther away."""
        row = self.matrix[2]
        return position @ row[:2] + row[3]

    def pixels_per_unit(self, position: np.ndarray) -> np.ndarray:
        """[..., 2] ground positions to [...] the scale of things that stand there."""
        return math.sqrt(self.focal_x * self.focal_y) / np.maximum(self.depth(position), NEAREST / 2)
