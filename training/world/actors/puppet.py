"""Solid figures made of capsules and flat faces that move over the ground: projected, shaded, sorted and drawn.

Every part becomes a convex polygon per frame; its colour carries the actor's id, so that picture and mask are the same strokes.
Knows nothing about people and vehicles.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..camera import Camera
from ..scenes.backdrop import Picture, tone
from ..scenes.place import Light

__all__ = ["SHIFT", "Color", "Drawn", "Puppet", "Stage", "linear"]

Color = tuple[float, float, float]
_CORNERS = 10
_CAP = np.linspace(np.pi / 2, 3 * np.pi / 2, _CORNERS // 2)
SHIFT = 4
_NEAREST = 1.0


def linear(color: Color) -> np.ndarray:
    """sRGB 0..255 to linear reflectance [3]."""
    return (np.clip(np.array(color, np.float32), 3, 250) / 255) ** 2.2


@dataclass(frozen=True, eq=False)
class Stage:
    """What a figure needs to be seen: the camera of the canvas, the light, and the picture of the empty place."""

    camera: Camera
    light: Light
    picture: Picture


@dataclass(frozen=True, eq=False)
class Drawn:
    """A figure ready to be drawn. depth: [T], larger is farther away. bounds: int32 [T, 4], canvas pixels (x_min, y_min, x_max,
    y_max) that it stays inside. joints: [T, J, 2], those of `BODY` in canvas pixels, or none. stature: [T], how tall who has
    them would stand there. shadow: per frame, polygons int32 [n, k, 2] with `SHIFT` bits of fraction. opacity: 0..1, what
    of the place is hidden behind it. soft: [T], over how many pixels of the canvas its edge fades; 0 for solid things."""

    depth: np.ndarray
    bounds: np.ndarray
    shadow: np.ndarray
    joints: np.ndarray
    stature: np.ndarray
    opacity: float
    soft: np.ndarray
    _points: np.ndarray
    _colors: list[list[list[float]]]
    _order: list[list[int]]

    def draw(self, canvas: np.ndarray, t: int) -> None:
        """Draws it as it is in frame `t` into uint8 [H, W, 4]: RGB and its id."""
        points, colors, fill = self._points[t], self._colors[t], cv2.fillConvexPoly
        for i in self._order[t]:
            fill(canvas, points[i], colors[i], cv2.LINE_8, SHIFT)


class Puppet:
    """Collects a figure's parts, given in own coordinates: forward, left, up from the ground point under it, in metres."""

    def __init__(
        self, stage: Stage, position: np.ndarray, heading: np.ndarray, ident: int, height: np.ndarray | float = 0.0
    ):
        """position: [T, 2] on the ground; heading: [T] rad; height: of the ground point, as on a belt or in the air."""
        self.stage = stage
        self.position = position
        self.count = len(position)
        self._height = np.broadcast_to(np.asarray(height, float), (self.count,))
        self._cos, self._sin = np.cos(heading), np.sin(heading)
        self._ident = float(ident)
        self._capsules: list[tuple[np.ndarray, np.ndarray, float, float, np.ndarray, float, bool, float]] = []
        self._faces: list[tuple[np.ndarray, np.ndarray, bool, float, float]] = []
        self._joints = np.zeros((self.count, 0, 3))
        self._tall = 0.0
        self._opacity, self._soft = 1.0, 0.0

    def thin(self, opacity: float, soft: float) -> None:
        """Makes it something that one sees through, 0..1, with an edge that fades over so many metres."""
        self._opacity, self._soft = opacity, soft

    def capsule(
        self, start: np.ndarray, stop: np.ndarray, radii: tuple[float, float], color: Color, *, over: float = 0.0,
        flat: bool = False, glow: float = 0.0,
    ) -> None:  # fmt: skip
        """A rounded limb from `start` to `stop`, each [T or 1, 3]. over: drawn as if so much nearer (m). flat: unshaded. glow:
        light of its own."""
        self._capsules.append((start, stop, *radii, linear(color), over, flat, glow))

    def face(
        self, points: np.ndarray, color: Color, *, two_sided: bool = False, over: float = 0.0, glow: float = 0.0
    ) -> None:
        """A convex face [T or 1, n <= 10, 3], counter-clockwise as seen from outside. glow: light of its own."""
        self._faces.append((points, linear(color), two_sided, over, glow))

    def box(
        self, low: tuple[float, float, float], high: tuple[float, float, float], color: Color, *, over: float = 0.0
    ) -> None:
        """A box between two corners, without its bottom."""
        (x0, y0, z0), (x1, y1, z1) = low, high
        ring = [(x1, y1), (x0, y1), (x0, y0), (x1, y0)]
        for (ax, ay), (bx, by) in zip(ring, ring[1:] + ring[:1]):
            self.face(np.array([[(ax, ay, z0), (bx, by, z0), (bx, by, z1), (ax, ay, z1)]]), color, over=over)
        self.face(np.array([[(x, y, z1) for x, y in ring]]), color, over=over)

    def body(self, joints: np.ndarray, tall: float) -> None:
        """Tells where the joints of who is drawn are, [T, J, 3], and how tall they stand (m)."""
        self._joints, self._tall = joints, tall

    def _place(self, points: np.ndarray) -> np.ndarray:
        """[T or 1, n, 3] own coordinates to [T, n, 3] ground coordinates."""
        placed = np.empty((self.count, points.shape[1], 3))
        x, y = points[..., 0], points[..., 1]
        placed[..., 0] = self.position[:, :1] + x * self._cos[:, None] - y * self._sin[:, None]
        placed[..., 1] = self.position[:, 1:] + x * self._sin[:, None] + y * self._cos[:, None]
        placed[..., 2] = points[..., 2] + self._height[:, None]
        return placed

    def _project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        matrix = self.stage.camera.matrix
        image = points @ matrix[:, :3].T + matrix[:, 3]
        depth = np.maximum(image[..., 2], _NEAREST)
        return image[..., :2] / depth[..., None], depth

    def _light(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Ambient and direct light [T, 3] where the figure stands, the way to the light [T, 3], and its shadow [T, 2]."""
        light, position = self.stage.light, self.position
        ambient = np.tile(np.array(light.ambient), (self.count, 1))
        if any(light.sun):
            shadow = np.tile(np.array(light.shadow), (self.count, 1))
            seen = (self.stage.picture.shade_height(position) < 1.1).astype(float)
            if self.count > 4:
                seen = np.convolve(np.pad(seen, 2, mode="edge"), np.ones(5) / 5, mode="valid")
            direct = seen[:, None] * np.array(light.sun)
        elif light.lamps:
            lamps = np.array(light.lamps)
            way = np.concatenate([position, np.full((self.count, 1), 1.0)], -1)[:, None] - lamps[:, :3]
            falls = lamps[:, 3] / ((way**2).sum(-1) + 3.0)
            direct = falls.sum(1)[:, None] * np.array((1.0, 0.9, 0.74))
            nearest = falls.argmax(1)
            offset = way[np.arange(self.count), nearest]
            shadow = np.clip(-offset[:, :2] / np.minimum(offset[:, 2:], -0.5), -1.2, 1.2)
            shadow *= 0.6
        else:
            shadow, direct = np.zeros((self.count, 2)), np.zeros((self.count, 3))
            ambient *= 0.98
        to_light = np.concatenate([-shadow, np.ones((self.count, 1))], -1)
        return ambient, direct, to_light / np.linalg.norm(to_light, axis=-1, keepdims=True), shadow

    def finish(self) -> Drawn:
        """The figure with all its polygons."""
        ambient, direct, to_light, shadow_way = self._light()
        points: list[np.ndarray] = []
        colors: list[np.ndarray] = []
        keys: list[np.ndarray] = []
        shown: list[np.ndarray] = []
        shadows: list[np.ndarray] = []
        if self._capsules:
            self._add_capsules(ambient, direct, to_light, shadow_way, points, colors, keys, shown, shadows)
        if self._faces:
            self._add_faces(ambient, direct, to_light, shadow_way, points, colors, keys, shown, shadows)
        polygons = np.concatenate(points, axis=1)
        light = tone(np.concatenate(colors, axis=1)).astype(np.float32)
        depth = np.where(
            self._height < -1, 0.0, self.stage.camera.depth(self.position)
        )  # below the floor is out of sight
        fog = (1 - np.exp(-self.stage.light.fog * np.maximum(depth, 0)))[:, None, None]
        light = light + (np.array(self.stage.light.haze) / 255 - light) * fog
        paint = np.empty((*light.shape[:2], 4))
        paint[..., :3] = np.clip(light * 255, 0, 255)
        paint[..., 3] = self._ident
        key = np.concatenate(keys, axis=1)
        visible = np.concatenate(shown, axis=1)
        order = np.argsort(-key, axis=1, kind="stable")
        listed = [[i for i in row if seen[i]] for row, seen in zip(order.tolist(), visible.tolist())]
        shade = np.concatenate(shadows, axis=1)
        bounds = np.concatenate([np.floor(polygons.min((1, 2))) - 1, np.ceil(polygons.max((1, 2))) + 2], -1)
        joints, away = self._project(self._place(self._joints))
        size = np.sqrt(self.stage.camera.focal_x * self.stage.camera.focal_y)
        stature = self._tall * size / away.mean(axis=1) if joints.size else np.zeros(self.count)
        soft = self._soft * size / np.maximum(depth, _NEAREST)
        margin = np.ceil(soft)[:, None] * (-1, -1, 1, 1)
        return Drawn(
            depth, _whole(bounds + margin), _fixed(shade), joints, stature, self._opacity, soft,
            _fixed(polygons), paint.tolist(), listed,
        )  # fmt: skip

    def _add_capsules(self, ambient, direct, to_light, shadow_way, points, colors, keys, shown, shadows) -> None:
        ends = np.stack([np.broadcast_to(p, (self.count, 3)) for part in self._capsules for p in part[:2]], axis=1)
        placed = self._place(ends)
        pixels, depth = self._project(placed)
        size = np.sqrt(self.stage.camera.focal_x * self.stage.camera.focal_y)
        radii = np.array([r for part in self._capsules for r in part[2:4]])
        wide = radii * size / depth
        n = len(self._capsules)
        shape = (self.count, n, 2)
        base = _outline(pixels.reshape(*shape, 2), wide.reshape(shape))
        # The side that is turned to the light is a second, thinner limb on the first.
        matrix = self.stage.camera.matrix
        toward = np.stack([to_light @ matrix[0, :3] / matrix[0, :3].dot(matrix[0, :3]) ** 0.5, -(to_light[:, 2])], -1)
        toward /= np.maximum(np.linalg.norm(toward, axis=-1, keepdims=True), 1e-6)
        moved = pixels + toward[:, None] * (wide * 0.28)[..., None]
        bright = _outline(moved.reshape(*shape, 2), wide.reshape(shape) * 0.68)
        points += [base, bright]
        middle = depth.reshape(shape).mean(-1) - np.array([part[5] for part in self._capsules])
        keys += [middle, middle - 1e-4]
        flat = np.array([part[6] for part in self._capsules])
        shown += [np.ones((self.count, n), bool), np.broadcast_to(~flat, (self.count, n))]
        albedo = np.stack([part[4] for part in self._capsules])[None]
        low, high = ambient * 0.7 + direct * 0.28, ambient * 0.92 + direct * 0.78
        middle_light = (low + high) / 2
        glow = np.array([part[7] for part in self._capsules])[None, :, None]
        soft = np.where(flat[None, :, None], middle_light[:, None], low[:, None]) + glow * 1.6
        colors += [albedo * soft, albedo * high[:, None]]
        fallen = placed.copy()
        fallen[..., :2] += fallen[..., 2:] * shadow_way[:, None]
        fallen[..., 2] = 0
        flat_pixels, flat_depth = self._project(fallen)
        shadows.append(_outline(flat_pixels.reshape(*shape, 2), (radii * size / flat_depth).reshape(shape) * 0.85))

    def _add_faces(self, ambient, direct, to_light, shadow_way, points, colors, keys, shown, shadows) -> None:
        corners = np.zeros((self.count, len(self._faces), _CORNERS, 3))
        for i, (face, *_) in enumerate(self._faces):
            placed = self._place(face)
            corners[:, i, : placed.shape[1]] = placed
            corners[:, i, placed.shape[1] :] = placed[:, -1:]
        pixels, depth = self._project(corners)
        points.append(pixels)
        rim = corners - corners[:, :, :1]
        normal = np.cross(rim[:, :, 1:-1], rim[:, :, 2:]).sum(
            2
        )  # of the whole outline: two edges may be nearly in line
        normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)
        inverse = np.linalg.inv(self.stage.camera.matrix[:, :3])
        eye = -inverse @ self.stage.camera.matrix[:, 3]
        front = ((eye - corners[:, :, 0]) * normal).sum(-1) > 0
        two_sided = np.array([face[2] for face in self._faces])
        shown.append(front | two_sided)
        normal = np.where(front[..., None], normal, -normal)
        over = np.array([face[3] for face in self._faces])
        glow = np.array([face[4] for face in self._faces])[None, :, None]
        keys.append(depth.mean(-1) - over)
        albedo = np.stack([face[1] for face in self._faces])[None]
        strength = np.clip((normal * to_light[:, None]).sum(-1), 0, 1)[..., None]
        soft = (0.74 + 0.24 * normal[..., 2:]) * ambient[:, None]
        colors.append(albedo * (soft + strength * direct[:, None] * 0.95 + glow * 1.6))
        fallen = corners.copy()
        fallen[..., :2] += fallen[..., 2:] * shadow_way[:, None, None]
        fallen[..., 2] = 0
        shadows.append(self._project(fallen)[0])


def _outline(ends: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """[T, n, 10, 2]: polygons around two disks each, from their middles [T, n, 2, 2] and radii [T, n, 2] in pixels."""
    way = ends[:, :, 1] - ends[:, :, 0]
    angle = np.arctan2(way[..., 1], way[..., 0])[..., None]
    first, second = angle + _CAP, angle + _CAP + np.pi
    caps = []
    for k, turn in enumerate((first, second)):
        ring = np.stack([np.cos(turn), np.sin(turn)], axis=-1) * radii[:, :, k, None, None]
        caps.append(ends[:, :, k, None] + ring)
    return np.concatenate(caps, axis=2)


def _fixed(points: np.ndarray) -> np.ndarray:
    """Pixels with `SHIFT` bits of fraction; pixel centres lie at halves."""
    return np.rint((np.clip(points, -8000, 8000) - 0.5) * (1 << SHIFT)).astype(np.int32)


def _whole(bounds: np.ndarray) -> np.ndarray:
    return np.clip(bounds, -30000, 30000).astype(np.int32)
