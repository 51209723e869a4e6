"""A picture of the empty place: a map of the ground is drawn, warped into the camera's view, and a building put up behind it.

Knows nothing about actors.
"""

from __future__ import annotations

import functools
import math

import cv2
import numpy as np

from ..camera import Camera
from .scene import MAP_REACH, Scene

__all__ = ["dimmed", "ground_labels", "noise_bank", "render_background"]

_SIDES = {"grass": (88, 124, 66), "sand": (190, 170, 128), "gravel": (148, 142, 132), "a building": (150, 142, 134)}


def noise_bank(height: int, width: int, level: int) -> np.ndarray:
    """uint8, at least [height + 64, width + 64, 3]: fixed noise of standard deviation `level` / sqrt 2 around 24, to be cut
    out anywhere."""
    return _noise(-(-(height + 64) // 128) * 128, -(-(width + 64) // 128) * 128, level)


@functools.lru_cache(maxsize=64)
def _noise(height: int, width: int, level: int) -> np.ndarray:
    noise = np.random.default_rng([height, width, level]).standard_normal((height, width, 3), dtype=np.float32)
    return np.clip(noise * (level / math.sqrt(2)) + 24, 0, 255).astype(np.uint8)


def render_background(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """uint8 [H, W, 3]: the empty place in its light, without sensor noise."""
    camera = scene.camera
    texels = max(6.0, min(64.0, camera.focal_y / camera.distance))
    ground = _ground_map(scene, rng, texels)
    # map pixel -> ground -> image pixel
    to_ground = np.array([[1 / texels, 0, -MAP_REACH], [0, 1 / texels, -MAP_REACH], [0, 0, 0], [0, 0, 1]])
    picture = cv2.warpPerspective(
        ground, camera.matrix @ to_ground, (camera.width, camera.height), borderMode=cv2.BORDER_REFLECT
    )
    for lo, hi, surface in scene.sides:
        if surface == "a building":
            _draw_building(picture, camera, rng, lo if abs(lo) < abs(hi) else hi)
        elif surface == "grass":
            _draw_bushes(picture, camera, rng, (lo, hi))
    return dimmed(picture, scene.light.gain)


def ground_labels(scene: Scene) -> np.ndarray:
    """uint8 [H, W]: what the ground is at each pixel, actors and buildings left out: 0 neither, 1 road, 2 walkway."""
    texels = 8.0
    side = int(2 * MAP_REACH * texels)
    ground = np.zeros((side, side), np.uint8)
    for label, (lo, hi) in [(1, scene.road), *((2, walkway) for walkway in scene.walkways)]:
        ground[max(0, round((lo + MAP_REACH) * texels)) : max(0, round((hi + MAP_REACH) * texels))] = label
    to_ground = np.array([[1 / texels, 0, -MAP_REACH], [0, 1 / texels, -MAP_REACH], [0, 0, 0], [0, 0, 1]])
    camera = scene.camera
    return cv2.warpPerspective(
        ground, camera.matrix @ to_ground, (camera.width, camera.height), flags=cv2.INTER_NEAREST
    )


def dimmed(picture: np.ndarray, gain: tuple[float, ...]) -> np.ndarray:
    """The picture uint8 [H, W, C] with each channel times its gain."""
    table = np.clip(np.rint(np.arange(256)[:, None] * gain), 0, 255).astype(np.uint8)
    return cv2.LUT(picture, table[None])


def _ground_map(scene: Scene, rng: np.random.Generator, texels: float) -> np.ndarray:
    side = int(2 * MAP_REACH * texels)
    ground = np.empty((side, side, 3), np.uint8)

    def row(across: float) -> int:
        return round((across + MAP_REACH) * texels)

    def band(lo: float, hi: float, color: tuple[float, ...]) -> None:
        top, bottom = max(0, row(lo)), min(side, row(hi))
        if top < bottom:
            cv2.rectangle(ground, (0, top), (side, bottom - 1), color, -1)

    for lo, hi, surface in scene.sides:
        band(lo, hi, tuple(np.array(_SIDES[surface]) * rng.uniform(0.85, 1.12) + rng.uniform(-8, 8, 3)))
    asphalt = rng.uniform(66, 112)
    band(*scene.road, tuple(asphalt + rng.uniform(-5, 5, 3)))
    paving = (
        np.array((1.0, 0.97, 0.92)) * rng.uniform(142, 196)
        if rng.random() < 0.65
        else np.array((168, 122, 104)) * rng.uniform(0.85, 1.1)
    )
    for lo, hi in scene.walkways:
        band(lo, hi, tuple(paving))
    if rng.random() < 0.7:
        _draw_joints(ground, scene, texels, paving, rng.uniform(0.5, 0.95))
    grain, (y, x) = (noise_bank(side, side, int(rng.integers(4, 10))), rng.integers(0, 65, 2))
    cv2.add(ground, grain[y : y + side, x : x + side], dst=ground)
    patches = rng.integers(0, 36, (6, 6, 1), np.uint8).repeat(3, axis=2)
    cv2.subtract(ground, cv2.resize(patches, (side, side), interpolation=cv2.INTER_LINEAR), dst=ground)

    # Markings and kerbs.
    thick = max(1, round(0.09 * texels))
    paint = (228, 226, 214) if rng.random() < 0.75 else (226, 196, 84)
    driving = [lane.across for lane in scene.lanes if not lane.parking]
    middle, dash = (row(sum(driving) / len(driving)), max(2, int(rng.uniform(0.7, 1.4) * texels)))
    if rng.random() < 0.85:
        for x in range(int(rng.integers(0, dash)), side, 2 * dash):
            cv2.line(ground, (x, middle), (x + dash, middle), paint, thick)
    parking = [lane.across for lane in scene.lanes if lane.parking]
    if parking:
        edge = row((parking[0] + min(driving, key=lambda c: abs(c - parking[0]))) / 2)
        cv2.line(ground, (0, edge), (side, edge), (214, 214, 208), thick)
    for across in scene.road:
        cv2.line(ground, (0, row(across)), (side, row(across)), (196, 194, 188), max(1, round(0.16 * texels)))
    return ground


def _draw_joints(ground: np.ndarray, scene: Scene, texels: float, paving: np.ndarray, pitch: float) -> None:
    """Joints between the walkways' slabs."""
    color = tuple(float(v) for v in paving * 0.84)
    side, step = len(ground), pitch * texels
    for lo, hi in scene.walkways:
        top, bottom = int((lo + MAP_REACH) * texels), int((hi + MAP_REACH) * texels)
        for k in range(int(side / step) + 1):
            cv2.line(ground, (int(k * step), top), (int(k * step), bottom), color, 1)
        for k in range(1, int((bottom - top) / step) + 1):
            cv2.line(ground, (0, top + int(k * step)), (side, top + int(k * step)), color, 1)


def _fill(picture: np.ndarray, points: np.ndarray, color: tuple[float, ...]) -> None:
    cv2.fillConvexPoly(picture, np.rint(points * 16).astype(np.int32), color, cv2.LINE_AA, 4)


def _draw_building(picture: np.ndarray, camera: Camera, rng: np.random.Generator, edge: float) -> None:
    """A facade along the edge of the ground, with rows of windows."""
    reach, height, wall = (
        MAP_REACH - 1,
        9.0,
        np.array((172, 152, 132)) * rng.uniform(0.7, 1.2) + rng.uniform(-14, 14, 3),
    )
    outline = np.array([[-reach, edge, 0], [reach, edge, 0], [reach, edge, height], [-reach, edge, height]])
    _fill(picture, camera.project(outline), tuple(wall))
    outline[2:, 2] = 0.25
    _fill(picture, camera.project(outline), tuple(wall * 0.7))
    width, gap, sill, tall = (
        rng.uniform(0.7, 1.3),
        rng.uniform(0.5, 1.1),
        rng.uniform(0.7, 1.1),
        rng.uniform(0.9, 1.4),
    )
    start = np.arange(-reach, reach, width + gap)
    corners = np.array([[0, 0], [width, 0], [width, tall], [0, tall]])
    color = tuple(np.array((70, 84, 100)) * rng.uniform(0.6, 1.3))
    for floor in (sill, sill + 2.5):
        quads = np.empty((len(start), 4, 3))
        quads[..., 0], quads[..., 1], quads[..., 2] = (start[:, None] + corners[:, 0], edge, floor + corners[:, 1])
        pixels = camera.project(quads)
        seen = (pixels[..., 0].max(1) > 0) & (pixels[..., 0].min(1) < camera.width) & (pixels[..., 1].max(1) > 0)
        for quad in pixels[seen]:
            _fill(picture, quad, color)


def _draw_bushes(picture: np.ndarray, camera: Camera, rng: np.random.Generator, band: tuple[float, float]) -> None:
    """A few low bushes on the grass; nobody walks there, so they may be part of the background."""
    near, sense = (band[0], 1) if abs(band[0]) < abs(band[1]) else (band[1], -1)
    count = int(rng.integers(0, 5))
    spots = np.stack([rng.uniform(-8, 8, count), near + sense * rng.uniform(0.9, 5, count)], axis=-1)
    for spot in spots[np.argsort(-camera.depth(spots))]:
        scale = float(camera.pixels_per_unit(spot))
        x, y = camera.project(np.array([*spot, 0.25]))
        green = np.array((52, 92, 44)) * rng.uniform(0.7, 1.2)
        for k, radius in enumerate(rng.uniform(0.25, 0.42, 3)):
            center = (int(x + (k - 1) * 0.3 * scale), int(y - (k % 2) * 0.2 * scale))
            cv2.circle(picture, center, max(1, int(radius * scale)), tuple(green * (0.85 + 0.12 * k)), -1, cv2.LINE_AA)
