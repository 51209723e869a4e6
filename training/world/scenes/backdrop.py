"""The picture of an empty place: a z-buffer of its faces, procedural materials, sun, lamps, shadows, fog and sky.

What stands in front of an actor is told by how far away each pixel's surface stands on the ground. Knows nothing about actors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from ..camera import Camera
from .materials import Material, noise_tile, reflectance
from .place import Light, Place
from .solids import Face

__all__ = ["Picture", "paint_place", "tone"]

_SKY = 65535
_FAR = 1e6
_REACH, _CELLS = 24.0, 512
"""Sun and footprints are mapped this far around the middle, in so many cells."""


@dataclass(frozen=True, eq=False)
class Picture:
    """lit: uint8 [H, W, 3] RGB. dark: the same where an actor's shadow falls. near: float32 [H, W], how far from the camera
    along the ground what a pixel shows stands, as `Camera.depth` has it; infinite for the ground itself and the sky. ground:
    uint8 [H, W], the label of the ground that a pixel shows, 0 where it shows something else. sun: float32 [cells, cells],
    the height up to which a place lies in the shade."""

    lit: np.ndarray
    dark: np.ndarray
    near: np.ndarray
    ground: np.ndarray
    sun: np.ndarray

    def shade_height(self, position: np.ndarray) -> np.ndarray:
        """[T, 2] ground positions to [T] the height (m) up to which they lie in the shade of what is built."""
        cell = np.clip((position + _REACH) * (_CELLS / (2 * _REACH)), 0, _CELLS - 1).astype(int)
        return self.sun[cell[:, 1], cell[:, 0]]


def tone(light: np.ndarray) -> np.ndarray:
    """Linear light to sRGB 0..1, with highlights that roll off."""
    return cv2.pow(1 - cv2.exp(np.maximum(light, 0) * np.float32(-1.7)), 1 / 2.2)


def paint_place(place: Place, camera: Camera) -> Picture:
    """The place as this camera sees it."""
    height, width = camera.height, camera.width
    inverse = np.linalg.inv(camera.matrix[:, :3])
    eye = (-inverse @ camera.matrix[:, 3]).astype(np.float32)
    across = np.arange(width)[None, :, None] + 0.5
    down = np.arange(height)[:, None, None] + 0.5
    rays = (inverse[:, 0] * across + inverse[:, 2]).astype(np.float32) + (inverse[:, 1] * down).astype(np.float32)
    with np.errstate(divide="ignore"):
        ground_depth = np.where(rays[..., 2] < -1e-4, -eye[2] / rays[..., 2], _FAR).astype(np.float32)
    ids = np.where(ground_depth < 400, 0, _SKY).astype(np.uint16)
    depth = np.where(ids == 0, ground_depth, _FAR).astype(np.float32)
    for k, face in enumerate(place.solids.faces):
        _stamp(face, k + 1, camera, eye, rays, ids, depth)
    sun, cover = _sun_map(place), _cover_map(place)

    # Pixels by face, and of all that has three components each in a row of its own: numpy is slow on short inner axes.
    lit = np.empty((3, height * width), np.float32)
    dark = np.empty_like(lit)
    order = np.argsort(ids.ravel(), kind="stable")
    ordered = ids.ravel()[order]
    sorted_rays, sorted_depth = np.ascontiguousarray(rays.reshape(-1, 3)[order].T), depth.ravel()[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    pixel = 1 / np.sqrt(camera.focal_x * camera.focal_y)
    for start, stop in zip(starts, np.r_[starts[1:], len(ordered)]):
        ident, where = int(ordered[start]), slice(start, stop)
        if ident == _SKY:
            lit[:, where] = dark[:, where] = _sky(place, sorted_rays[:, where].T).T
            continue
        points = (eye[:, None] + sorted_rays[:, where] * sorted_depth[where]).T
        footprint = sorted_depth[where] * pixel
        if ident == 0:
            albedo = _ground_albedo(place, points, footprint)
            normal, glow = np.array([0.0, 0.0, 1.0]), 0.0
        else:
            face = place.solids.faces[ident - 1]
            normal, glow = face.normal, face.glow
            if face.two_sided and normal @ (eye - face.points[0]) < 0:
                normal = -normal
            nx, ny, nz = normal.tolist()
            flat = math.hypot(nx, ny)
            ux, uy = (-ny / flat, nx / flat) if flat > 0.2 else (1.0, 0.0)
            u_axis, v_axis = (ux, uy, 0.0), (-nz * uy, nz * ux, nx * uy - ny * ux)
            uv = points @ np.stack([u_axis, v_axis], axis=1).astype(np.float32)
            albedo = reflectance(face.material, uv[:, 0], uv[:, 1], footprint)
        direct, ambient = _light(place.light, points, normal.astype(np.float32), sun, cover)
        if glow:
            ambient = ambient + glow * 2.0
        albedo = albedo.T
        lit[:, where] = albedo * (ambient + direct).T
        dark[:, where] = albedo * (ambient * 0.92 if any(place.light.sun) else (ambient + direct) * 0.55).T
    fog = 1 - cv2.exp(np.float32(-place.light.fog) * sorted_depth[None])
    fog[:, ordered == _SKY] = 0.0
    pictures = [_whole(linear, place.light, fog, order).reshape(height, width, 3) for linear in (lit, dark)]
    row = camera.matrix[2].astype(np.float32)
    reach = (eye[0] * row[0] + eye[1] * row[1] + row[3]) + (rays[..., 0] * row[0] + rays[..., 1] * row[1]) * depth
    near = np.where((ids > 0) & (ids < _SKY), reach, np.inf).astype(np.float32)
    far = np.minimum(ground_depth, 400)
    labels = _ground_labels(place, (eye[0] + rays[..., 0] * far).ravel(), (eye[1] + rays[..., 1] * far).ravel())
    labels = labels.reshape(height, width)
    labels[(ground_depth > 399) | ((ids > 0) & (ids < _SKY))] = 0
    return Picture(pictures[0], pictures[1], near, labels, sun)


def _whole(linear: np.ndarray, light: Light, fog: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Light [3, n] of pixels that are sorted in this order, seen through fog [1, n], to uint8 [n, 3] in raster order."""
    toned = tone(linear)
    toned += (np.array(light.haze, np.float32)[:, None] / 255 - toned) * fog
    pixels = np.empty((len(order), 3), np.uint8)
    pixels[order] = cv2.convertScaleAbs(toned, alpha=255.0).T
    return pixels


def _clip_near(points: np.ndarray, camera: Camera) -> np.ndarray:
    """The part of a polygon [n, 3] that lies at least half a metre before the camera."""
    depth = points @ camera.matrix[2, :3] + camera.matrix[2, 3] - 0.5
    if (depth > 0).all():
        return points
    kept = []
    for i in range(len(points)):
        j = (i + 1) % len(points)
        if depth[i] > 0:
            kept.append(points[i])
        if (depth[i] > 0) != (depth[j] > 0):
            kept.append(points[i] + (points[j] - points[i]) * (depth[i] / (depth[i] - depth[j])))
    return np.array(kept).reshape(-1, 3)


def _stamp(
    face: Face, ident: int, camera: Camera, eye: np.ndarray, rays: np.ndarray, ids: np.ndarray, depth: np.ndarray
) -> None:
    """Draws a face's number where it is the nearest."""
    normal = face.normal
    ahead = float(normal @ (face.points[0] - eye))
    if ahead > -1e-6 and not face.two_sided:
        return
    points = _clip_near(face.points, camera)
    if len(points) < 3:
        return
    image = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ camera.matrix.T
    pixels = np.clip(image[:, :2] / image[:, 2:], -30000, 30000)
    x0, y0 = np.maximum(np.floor(pixels.min(0)).astype(int), 0)
    x1, y1 = np.minimum(np.ceil(pixels.max(0)).astype(int) + 1, (camera.width, camera.height))
    if x0 >= x1 or y0 >= y1:
        return
    mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
    cv2.fillConvexPoly(mask, np.rint((pixels - (x0, y0) - 0.5) * 16).astype(np.int32), 1, cv2.LINE_8, 4)
    window = rays[y0:y1, x0:x1]
    slope = window @ normal.astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = np.float32(ahead) / slope
    old = depth[y0:y1, x0:x1]
    nearer = (mask > 0) & (reach < old) & (reach > 0.3)
    old[nearer] = reach[nearer]
    ids[y0:y1, x0:x1][nearer] = ident


def _sun_map(place: Place) -> np.ndarray:
    """float32 [cells, cells]: for every place on the ground where a ray of sun ends, the greatest height at which it meets
    something that is built."""
    heights = np.full((_CELLS, _CELLS), -1.0, np.float32)
    sx, sy = place.light.shadow
    if not (sx or sy):
        return heights
    scale = _CELLS / (2 * _REACH)
    for face in place.solids.faces:
        if not face.casts:
            continue
        normal, points = face.normal, face.points
        tilt = normal[2] - normal[0] * sx - normal[1] * sy
        if abs(tilt) < 1e-3:
            continue
        cells = (points[:, :2] + points[:, 2:] * (sx, sy) + _REACH) * scale
        if (cells.max(0) < 0).any() or (cells.min(0) > _CELLS).any():
            continue
        x0, y0 = np.maximum(np.floor(cells.min(0)).astype(int), 0)
        x1, y1 = np.minimum(np.ceil(cells.max(0)).astype(int) + 1, _CELLS)
        if x0 >= x1 or y0 >= y1:
            continue
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        cv2.fillConvexPoly(mask, np.rint((cells - (x0, y0)) * 16).astype(np.int32), 1, cv2.LINE_8, 4)
        qx = np.arange(x0, x1) / scale - _REACH
        qy = np.arange(y0, y1)[:, None] / scale - _REACH
        level = (normal @ points[0] - normal[0] * qx - normal[1] * qy) / tilt
        level = np.clip(level, points[:, 2].min(), points[:, 2].max())
        window = heights[y0:y1, x0:x1]
        np.copyto(window, np.maximum(window, level), where=mask > 0, casting="same_kind")
    return heights


def _cover_map(place: Place) -> np.ndarray:
    """float32 [cells, cells], 0..1: how much what stands near takes of the sky's light on the ground."""
    scale = _CELLS / (2 * _REACH)
    cover = np.zeros((_CELLS, _CELLS), np.float32)
    for x, y, length, width, turn in place.solids.footprints:
        c, s = np.cos(turn), np.sin(turn)
        half = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (length, max(width, 0.12))
        outline = half @ np.array([[c, s], [-s, c]]) + (x, y)
        cv2.fillConvexPoly(cover, np.rint((outline + _REACH) * scale * 16).astype(np.int32), 1.0, cv2.LINE_8, 4)
    return cv2.GaussianBlur(cover, (0, 0), 0.5 * scale)


def _look_up(table: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    scale = _CELLS / (2 * _REACH)
    column = np.clip((x + _REACH) * scale, 0, _CELLS - 1).astype(np.int32)
    row = np.clip((y + _REACH) * scale, 0, _CELLS - 1).astype(np.int32)
    return table[row, column]


def _light(
    light: Light, points: np.ndarray, normal: np.ndarray, sun: np.ndarray, cover: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Direct and ambient light, each [m, 3], at points [m, 3] of a face."""
    x, y, z = np.ascontiguousarray(points.T)
    if normal[2] > 0.9:
        shade = (1 - 0.65 * _look_up(cover, x, y) * (z < 0.3)).astype(np.float32)
    else:
        shade = np.float32(0.62) + np.float32(0.38) * np.clip(z / np.float32(0.7), 0, 1)
    facing = 0.78 + 0.22 * normal[2] + 0.06 * normal[0]
    ambient = np.outer(np.array(light.ambient, np.float32), shade * np.float32(facing)).T
    direct = np.zeros_like(ambient)
    if any(light.sun):
        to_sun = np.array([-light.shadow[0], -light.shadow[1], 1.0])
        strength = float(max(0.0, normal @ (to_sun / np.linalg.norm(to_sun))))
        if strength:
            qx, qy = x + light.shadow[0] * z, y + light.shadow[1] * z
            seen = np.zeros(len(points), np.float32)
            for dx, dy in ((0.0, 0.0), (0.07, 0.03), (-0.04, 0.06), (-0.05, -0.06), (0.05, -0.05)):
                seen += (_look_up(sun, qx + dx, qy + dy) < z + 0.12) * np.float32(0.2)
            direct = np.outer(np.array(light.sun, np.float32), seen * np.float32(strength)).T
    if light.lamps:
        total = np.zeros(len(points), np.float32)
        for lx, ly, lz, power in light.lamps:
            wx, wy, wz = np.float32(lx) - x, np.float32(ly) - y, np.float32(lz) - z
            square = wx * wx + wy * wy + wz * wz
            falls = np.clip(wx * normal[0] + wy * normal[1] + wz * normal[2], 0, None) / np.sqrt(square)
            total += np.float32(power) * (np.float32(0.15) + falls) / (square + np.float32(3.0))
        direct += np.outer(np.array((1.0, 0.9, 0.74), np.float32), total * shade).T
    return direct, ambient


def _inside(outline: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Whether points lie in a convex polygon [n, 2], counter-clockwise."""
    inside = np.ones(len(x), bool)
    for (ax, ay), (bx, by) in zip(outline, np.roll(outline, -1, axis=0)):
        dx, dy = np.float32(bx - ax), np.float32(by - ay)
        inside &= dx * y - dy * x >= np.float32((bx - ax) * ay - (by - ay) * ax)
    return inside


def _ground_albedo(place: Place, points: np.ndarray, footprint: np.ndarray) -> np.ndarray:
    x, y = np.ascontiguousarray(points[:, :2].T)
    zone_of = np.zeros(len(x), np.int8)
    for k, zone in enumerate(place.zones[1:], 1):
        zone_of[_inside(zone.outline, x, y)] = k
    albedo = np.empty((len(x), 3), np.float32)
    for k in np.unique(zone_of):
        mine = zone_of == k
        albedo[mine] = reflectance(place.zones[k].material, x[mine], y[mine], footprint[mine])
    stain = 1 - 0.03 * np.clip(noise_tile(64)[(y * 9).astype(int) & 511, (x * 9).astype(int) & 511], -1, 2)
    albedo *= stain[:, None]
    for line in place.markings:
        (ax, ay), (bx, by) = line.start, line.stop
        length = float(np.hypot(bx - ax, by - ay))
        dx, dy = (bx - ax) / length, (by - ay) / length
        dx, dy = np.float32(dx), np.float32(dy)
        across = np.abs(y * dx - x * dy - np.float32(ay * dx - ax * dy))
        near = np.flatnonzero(across < np.float32(line.width / 2) + footprint)
        along = x[near] * dx + y[near] * dy - np.float32(ax * dx + ay * dy)
        on = (along > 0) & (along < length)
        near, along = near[on], along[on]
        if line.dash:
            near = near[(along / line.dash) % 2.0 < 1.0]
        blur = np.maximum(footprint[near], line.width * 0.2)
        cover = np.clip((line.width / 2 + blur / 2 - across[near]) / blur, 0, 1) * np.minimum(1, line.width / blur)
        worn = noise_tile(256)[(y[near] * 60).astype(int) & 511, (x[near] * 60).astype(int) & 511]
        cover = (cover * np.clip(0.86 + 0.16 * worn, 0.3, 1))[:, None]
        albedo[near] += (((np.array(line.color, np.float32) / 255) ** 2.2 - albedo[near]) * cover).astype(np.float32)
    return albedo


def _ground_labels(place: Place, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    labels = np.full(len(x), place.zones[0].label, np.uint8)
    for zone in place.zones[1:]:
        labels[_inside(zone.outline, x, y)] = zone.label
    return labels


def _sky(place: Place, rays: np.ndarray) -> np.ndarray:
    """Linear light [m, 3] of the sky, with a row of trees or houses at the horizon."""
    level = rays[:, 2] / np.maximum(np.hypot(rays[:, 0], rays[:, 1]), 1e-6)
    azimuth = np.arctan2(rays[:, 1], rays[:, 0])
    haze = (np.array(place.light.haze, np.float32) / 255) ** 2.2
    bright = np.maximum(np.array(place.light.ambient, np.float32), 0.03)
    rise = np.clip(level * 2.2, 0, 1)[:, None]
    cloud = noise_tile(32)[(level * 900).astype(int) & 511, (azimuth * 160).astype(int) & 511][:, None]
    sky = haze * (1 - 0.35 * rise) + 0.05 * cloud * haze
    wave = noise_tile(128)[37, (azimuth * 170).astype(int) & 511]
    if place.horizon == "houses":
        step = noise_tile(64)[91, (np.floor(azimuth * 14) * 17).astype(int) & 511]
        top, color = 0.07 + 0.025 * step, Material("plain", (150, 142, 136))
    else:
        top, color = 0.05 + 0.014 * wave, Material("plain", (74, 92, 66))
    below = level < top
    speck = noise_tile(256)[(level * 2600).astype(int) & 511, (azimuth * 600).astype(int) & 511]
    far = (np.array(color.color, np.float32) / 255) ** 2.2 * bright * (1 + 0.25 * speck[:, None]) * 1.3
    far = far * 0.6 + haze * 0.25
    return np.where(below[:, None], far, sky).astype(np.float32)
