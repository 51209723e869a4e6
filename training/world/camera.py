"""A fixed pinhole camera that looks down on the ground at an angle.

Ground coordinates are (along, across, up): along and across the road, in units of about a metre (vehicles are drawn a little
short, so that a person and a car both fill some patches). Knows nothing about what it sees.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

import numpy as np

__all__ = ["NEAREST", "PERSON_HEIGHT", "Camera", "random_camera"]

PERSON_HEIGHT = 1.8
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


def random_camera(rng: np.random.Generator, size: tuple[int, int], aspect: float | None) -> Camera:
    """A camera for images of (height, width) in which a person in the middle is a fifth to a third of the image high.

    aspect: width / height of what the camera sees, when the image is squeezed to `size`; None for square pixels.
    """
    height, width = size
    aspect = width / height if aspect is None else aspect
    pitch, distance = math.radians(rng.uniform(28, 42)), rng.uniform(15, 24)
    person = rng.uniform(0.2, 0.36) * min(1.0, aspect)
    focal_y = person * height * distance / (PERSON_HEIGHT * math.cos(pitch))
    return Camera(
        width=width,
        height=height,
        pitch=pitch,
        yaw=rng.uniform(-math.pi, math.pi),
        distance=distance,
        focal_x=focal_y * width / height / aspect,
        focal_y=focal_y,
    )
