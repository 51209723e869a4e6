"""From a seed to a clip: makes a scene and a plan, draws them, and reads the labels off the drawing.

Pictures and masks come from the same strokes on a canvas of twice the size with the actor's id as fourth channel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from tvau_runtime.errors import ConfigError

from .anomalies import add_anomaly
from .background import dimmed, ground_labels, noise_bank, render_background
from .camera import NEAREST, Camera
from .cast import Cast, Plan
from .dialogue import anomaly_dialogue
from .figures import Figure, Pen, draw_figure
from .normal_life import add_normal_life
from .people import Look, draw_cyclist, draw_person
from .scene import Scene, random_scene
from .types import ANOMALIES, Actor, Clip
from .vehicles import draw_box, draw_vehicle

__all__ = ["SPLITS", "make_clip"]

SPLITS = ("train", "validation", "test", "demo")
_SCALE = 2
_MOST_ACTORS = 255
_LEAST_AREA = 0.004
"""An anomaly must show at least this part of the image at its best, and at least half of the frames of a short clip."""


def make_clip(
    seed: int,
    *,
    size: tuple[int, int] = (112, 112),
    length: int = 8,
    rate_hz: float = 4.0,
    anomaly: bool | None = None,
    anomalies: Sequence[tuple[str, float]] | None = None,
    split: str = "train",
    aspect: float | None = None,
) -> Clip:
    """Renders a clip that is fully determined by the arguments.

    seed: 0 and up; the same seed in another split gives another clip. size: (height, width) in pixels. length: frames.
    anomaly: whether something abnormal happens; None tosses a coin. anomalies: instead, what happens when, as (one of
    `ANOMALIES`, time of its middle in s). aspect: width / height of what the camera sees, for clips that are squeezed to
    `size`; None for square pixels.
    Raises `ConfigError` for arguments out of range.
    """
    _check(seed, size, length, rate_hz, anomalies, split, aspect)
    times = np.arange(length) / rate_hz
    wanted: list[tuple[str, float | None]] = [] if anomalies is None else list(anomalies)
    coin = np.random.default_rng([SPLITS.index(split), seed])
    toss, kind = bool(coin.random() < 0.5), ANOMALIES[coin.integers(len(ANOMALIES))]
    if anomalies is None and (toss if anomaly is None else anomaly):
        wanted = [(kind, None)]
    for attempt in range(100):  # until everything that is wanted finds room and is well in view
        rng = np.random.default_rng([SPLITS.index(split), seed, attempt])
        scene = random_scene(rng, size, aspect)
        plans = _plan(scene, times, rng, wanted)
        found = [plan.anomaly for plan in plans if plan.anomaly]
        if len(found) < len(wanted) or not plans:
            continue
        if len(plans) > _MOST_ACTORS:
            raise ConfigError(
                f"{len(plans)} actors appear in {times[-1]:.0f} s, at most {_MOST_ACTORS} can; make a shorter clip"
            )
        frames, objects = _render(scene, plans, rng)
        actors = _label(plans, objects)
        if _shown_well(actors, len(wanted), objects, long=times[-1] > 6):
            clip = Clip(
                frames, objects, actors, float(rate_hz), int(seed), split, scene.environment, ground_labels(scene)
            )
            return replace(clip, dialogue=tuple(anomaly_dialogue(clip)))
    raise ConfigError(
        f"no clip of {length} frames at {rate_hz:g} Hz with the anomalies {anomalies or anomaly} could be arranged; "
        "give the anomalies more time or another seed"
    )


def _check(
    seed: int, size: tuple[int, int], length: int, rate_hz: float, anomalies: object, split: str, aspect: object
) -> None:
    if split not in SPLITS:
        raise ConfigError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ConfigError(f"seed must be a whole number of at least 0, got {seed!r}")
    if len(size) != 2 or min(size) < 32:
        raise ConfigError(f"size must be (height, width) of at least 32 pixels, got {size}")
    if length < 1 or not (math.isfinite(rate_hz) and rate_hz > 0):
        raise ConfigError(f"a clip needs at least one frame and a rate above 0 Hz, got {length} frames at {rate_hz} Hz")
    if aspect is not None and not 0.25 <= float(aspect) <= 4:  # type: ignore[arg-type]
        raise ConfigError(f"aspect must be between 0.25 and 4, got {aspect}")
    for kind, _ in anomalies or ():  # type: ignore[attr-defined]
        if kind not in ANOMALIES:
            raise ConfigError(f"there is no anomaly {kind!r}; known: {', '.join(ANOMALIES)}")


def _plan(
    scene: Scene, times: np.ndarray, rng: np.random.Generator, anomalies: Sequence[tuple[str, float | None]]
) -> list[Plan]:
    cast = Cast(scene, times, rng)
    for anomaly, when in anomalies:
        add_anomaly(cast, anomaly, when)
    add_normal_life(cast)
    return cast.plans


def _figure(scene: Scene, camera: Camera, plan: Plan, ident: int) -> Figure:
    pen = Pen(camera, plan.course.position, plan.course.heading, ident, scene.light.gain)
    sun = scene.light.sun
    if isinstance(plan.look, Look):
        if plan.kind == "bicycle":
            return draw_cyclist(pen, plan.look, plan.course.travelled, sun)
        return draw_person(pen, plan.look, plan.gait, plan.course.travelled, plan.lie, sun)
    return draw_box(pen, plan.look, sun) if plan.kind == "box" else draw_vehicle(pen, plan.look, sun)


def _render(scene: Scene, plans: list[Plan], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """frames uint8 [T, H, W, 3] and objects uint8 [T, H, W]; the n-th plan's id is n + 1."""
    height, width = scene.camera.height, scene.camera.width
    place = cv2.cvtColor(render_background(scene, rng), cv2.COLOR_RGB2RGBA)
    place[..., 3] = 0
    large = cv2.resize(place, None, fx=_SCALE, fy=_SCALE, interpolation=cv2.INTER_NEAREST)
    dark = 0.58 if scene.light.sun != (0.0, 0.0) else 0.75
    shaded = dimmed(large, (dark, dark, dark, 0.0))
    camera = scene.camera.scaled(_SCALE)
    figures = [_figure(scene, camera, plan, i + 1) for i, plan in enumerate(plans)]
    count = len(plans[0].abnormal)
    frames = np.empty((count, height, width, 3), np.uint8)
    objects = np.empty((count, height, width), np.uint8)
    cuts = rng.integers(0, 65, (count, 4))
    noise = noise_bank(height, width, scene.light.noise)
    shadow = np.zeros((height * _SCALE, width * _SCALE), np.uint8)
    for t in range(count):
        seen = [f for f in figures if f.depth[t] > NEAREST and _in_view(f.bounds[t], large.shape)]
        canvas = large.copy()
        if seen:
            shadow[:] = 0
            for figure in seen:
                cv2.fillConvexPoly(shadow, figure.shadow[t], 255)
            cv2.copyTo(shaded, shadow, canvas)
        for figure in sorted(seen, key=lambda f: -f.depth[t]):
            draw_figure(canvas, figure, t)
        objects[t] = canvas[::_SCALE, ::_SCALE, 3]
        small = cv2.cvtColor(cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA), cv2.COLOR_RGBA2RGB)
        y0, x0, y1, x1 = cuts[t]
        cv2.add(small, noise[y0 : y0 + height, x0 : x0 + width], dst=small)
        cv2.subtract(small, noise[y1 : y1 + height, x1 : x1 + width], dst=frames[t])
    return frames, objects


def _in_view(bounds: np.ndarray, shape: tuple[int, ...]) -> bool:
    return bool(bounds[2] > 0 and bounds[3] > 0 and bounds[0] < shape[1] and bounds[1] < shape[0])


def _label(plans: list[Plan], objects: np.ndarray) -> tuple[Actor, ...]:
    """The visible actors, with boxes and areas measured on the masks."""
    count = len(objects)
    boxes = np.full((len(plans), count, 4), np.nan, np.float32)
    areas = np.zeros((len(plans), count), np.int64)
    for t in range(count):
        for ident, area in enumerate(np.bincount(objects[t].ravel(), minlength=len(plans) + 1)):
            if ident and area:
                x, y, w, h = cv2.boundingRect(cv2.inRange(objects[t], ident, ident))  # type: ignore[call-overload]
                boxes[ident - 1, t] = x, y, x + w, y + h
                areas[ident - 1, t] = area
    return tuple(
        Actor(
            i + 1, plan.kind, plan.color, plan.action, plan.anomaly, boxes[i], areas[i], plan.abnormal & (areas[i] > 0)
        )
        for i, plan in enumerate(plans)
        if areas[i].any()
    )


def _shown_well(actors: tuple[Actor, ...], wanted: int, objects: np.ndarray, *, long: bool) -> bool:
    """Whether all anomalies asked for can really be seen."""
    odd = [actor for actor in actors if actor.anomalous]
    if len(odd) < wanted or not actors:
        return False
    least = _LEAST_AREA * objects[0].size
    for actor in odd:
        clear = actor.abnormal_frames & (actor.areas >= least)
        if not clear.any() or (not long and 2 * clear.sum() < len(objects)):
            return False
    return True
