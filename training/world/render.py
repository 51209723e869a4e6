"""From a seed to a clip: opens a place, has it staged, draws it, and reads the labels off the drawing.

Pictures and masks come from the same strokes on a canvas of twice the size with the actor's id as fourth channel.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tvau_runtime.errors import ConfigError

from .actors.puppet import Drawn
from .camera import NEAREST, SCALE
from .dialogue import anomaly_dialogue
from .kinds import KINDS
from .kinds import anomalies as kinds_of
from .life.cast import Part
from .places import Scene, open_place
from .types import COLORED, SPLITS, Actor, Clip

__all__ = ["FRAME_SIZE", "make_clip", "make_some_clip"]

FRAME_SIZE = (252, 448)
"""(height, width) in pixels of what is drawn for evaluation and for files, where nothing else is asked for."""

_MOST_ACTORS = 255
_SPARES, _SPARE = 5, 150_000
"""So many other seeds are tried where a clip cannot be arranged, each so far behind the last one."""
_TURN_RAD = math.radians(50)
"""A change of way by more than this within a second is a turning point."""
_LEAST_AREA = 0.0008
"""An anomaly must show at least this part of the image at its best."""


def make_clip(
    seed: int,
    *,
    size: tuple[int, int] = (112, 112),
    length: int = 8,
    rate_hz: float = 4.0,
    anomaly: bool | None = None,
    anomalies: Sequence[tuple[str, float]] | None = None,
    kinds: Sequence[str] | None = None,
    split: str = "train",
    aspect: float | None = None,
    place: int | None = None,
) -> Clip:
    """Renders a clip that is fully determined by the arguments.

    seed: 0 and up; the same seed in another split gives another clip. size: (height, width) in pixels. length: frames.
    anomaly: whether something abnormal happens; None tosses a coin. anomalies: instead, what happens when, as (one of
    `every_kind`, time of its middle in s). kinds: those of which one may happen; None for the split's. aspect: width / height of
    what the camera sees, for clips that are squeezed to `size`; None for square pixels. place: the seed of the clip in whose
    place this one happens, in the same light and, if anything abnormal does, with the same kind of it: so the place has to be
    painted once for several clips in a row. None for a place of its own.
    Raises `ConfigError` for arguments out of range.
    """
    _check(seed, size, length, rate_hz, split, aspect)
    times = np.arange(length) / rate_hz
    wanted: list[tuple[str, float | None]] = [] if anomalies is None else list(anomalies)
    known = kinds_of(split) if kinds is None else tuple(kinds)
    for name in (*known, *(name for name, _ in wanted)):
        if name not in KINDS:
            raise ConfigError(f"there is no anomaly {name!r}; known: {', '.join(sorted(KINDS))}")
    home = seed if place is None else place
    coin, theme = (np.random.default_rng([SPLITS.index(split), drawn_by]) for drawn_by in (seed, home))
    toss, _ = bool(coin.random() < 0.5), theme.random()
    kind = known[theme.integers(len(known))]
    if anomalies is None and (toss if anomaly is None else anomaly):
        wanted = [(kind, None)]
    # A normal clip shows a place where its seed's kind of anomaly could happen, so that places do not tell.
    themes = [kind] if anomalies is None else [name for name, _ in wanted]
    fill = open_place(home, seed, split, size, aspect, themes)
    rehearsed: list[tuple[str, float | None]] = [(kind, None)] if anomalies is None and not wanted else []
    for attempt in range(100):  # until everything that is wanted finds room and is well in view
        if rehearsed and fill(attempt, times, rehearsed) is None:
            continue  # nor would it have found room in view, and clips with it do not show such views
        scene = fill(attempt, times, wanted)
        if scene is None:
            continue
        if len(scene.players) > _MOST_ACTORS:
            raise ConfigError(
                f"{len(scene.players)} actors appear in {times[-1]:.0f} s, at most {_MOST_ACTORS} can; make a shorter clip"
            )
        frames, objects, shapes = _render(scene, length)
        actors = _label(scene, shapes, objects, rate_hz)
        if _shown_well(actors, len(wanted), objects, long=times[-1] > 6):
            clip = Clip(
                frames,
                objects,
                actors,
                float(rate_hz),
                int(seed),
                split,
                scene.environment,
                scene.ground(),
                family=scene.family,
                grounds=scene.grounds,
            )
            return replace(clip, dialogue=tuple(anomaly_dialogue(clip)))
    raise ConfigError(
        f"no clip of {length} frames at {rate_hz:g} Hz with the anomalies {anomalies or anomaly} could be arranged; "
        "give the anomalies more time or another seed"
    )


def make_some_clip(seed: int, **asked: Any) -> Clip:
    """`make_clip`, but where now and then there is no room for what is asked for, that of another seed, in a place of its own: no
    reason to end a long run. Raises `ConfigError` where there is never room."""
    for spare in range(_SPARES):
        with contextlib.suppress(ConfigError):
            return make_clip(seed + spare * _SPARE, **({**asked, "place": None} if spare else asked))
    return make_clip(seed, **asked)  # which says what is wrong


def _check(seed: int, size: tuple[int, int], length: int, rate_hz: float, split: str, aspect: object) -> None:
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


def _render(scene: Scene, count: int) -> tuple[np.ndarray, np.ndarray, Sequence[Drawn]]:
    """frames uint8 [T, H, W, 3] and objects uint8 [T, H, W]; the n-th player's id is n + 1. And what was drawn of each."""
    height, width = scene.place.camera.height, scene.place.camera.width
    backdrop, film, shapes = scene.draw()
    frames = np.empty((count, height, width, 3), np.uint8)
    objects = np.empty((count, height, width), np.uint8)
    for t in range(count):
        seen = [s for s in shapes if s.depth[t] > NEAREST and _in_view(s.bounds[t], height * SCALE, width * SCALE)]
        canvas = backdrop.canvas(seen, t)
        for shape in sorted(seen, key=lambda s: -s.depth[t]):
            backdrop.draw(canvas, shape, t)
        objects[t] = film.labels(canvas, t)
        frames[t] = film.expose(canvas, t)
    return frames, objects, shapes


def _in_view(bounds: np.ndarray, height: int, width: int) -> bool:
    return bool(bounds[2] > 0 and bounds[3] > 0 and bounds[0] < width and bounds[1] < height)


def _label(scene: Scene, shapes: Sequence[Drawn], objects: np.ndarray, rate_hz: float) -> tuple[Actor, ...]:
    """The visible actors, with boxes and areas measured on the masks."""
    players, count = scene.players, len(objects)
    boxes = np.full((len(players), count, 4), np.nan, np.float32)
    areas = np.zeros((len(players), count), np.int64)
    for t, image in enumerate(objects):
        rows, columns = np.nonzero(image)
        ids = image[rows, columns]
        order = np.argsort(ids, kind="stable")
        ids, rows, columns = ids[order], rows[order], columns[order]
        starts = np.flatnonzero(np.diff(ids, prepend=0))
        if len(starts):
            who = ids[starts].astype(int) - 1
            low = [np.minimum.reduceat(axis, starts) for axis in (columns, rows)]
            high = [np.maximum.reduceat(axis, starts) + 1 for axis in (columns, rows)]
            boxes[who, t] = np.stack([*low, *high], axis=-1)
            areas[who, t] = np.diff(starts, append=len(ids))
    return tuple(
        Actor(
            i + 1,
            player.kind,
            "" if scene.grey else player.color,
            player.action,
            player.anomaly,
            boxes[i],
            areas[i],
            player.abnormal & (areas[i] > 0),
            {name: word for name, word in player.attributes.items() if not (scene.grey and name in COLORED)},
            player.spells,
            _track(scene, player),
            _turns(player.position, rate_hz),
            (shapes[i].joints / SCALE).astype(np.float32),
            (shapes[i].stature / SCALE).astype(np.float32),
        )
        for i, player in enumerate(players)
        if areas[i].any()
    )


def _track(scene: Scene, player: Part) -> np.ndarray:
    """[T, 2]: where it stands, in pixels."""
    ground = np.concatenate([player.position, np.zeros((len(player.position), 1))], axis=-1)
    return scene.place.camera.project(ground).astype(np.float32)


def _turns(position: np.ndarray, rate_hz: float) -> tuple[int, ...]:
    """Frames at which the way bends by more than `_TURN_RAD` from one second to the next: of each bend the sharpest."""
    step = max(1, round(rate_hz / 2))
    if len(position) < 2 * step + 1:
        return ()
    before, after = position[step:-step] - position[: -2 * step], position[2 * step :] - position[step:-step]
    cross = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    bend = np.abs(np.arctan2(cross, (before * after).sum(-1)))
    bend[np.minimum(np.hypot(*before.T), np.hypot(*after.T)) < 0.15] = 0.0
    found: list[int] = []
    while bend.max(initial=0.0) > _TURN_RAD:
        at = int(bend.argmax())
        found.append(at + step)
        bend[max(0, at - 2 * step) : at + 2 * step + 1] = 0.0
    return tuple(sorted(found))


def _shown_well(actors: tuple[Actor, ...], wanted: int, objects: np.ndarray, *, long: bool) -> bool:
    """Whether all anomalies asked for can really be seen: at least `_LEAST_AREA` of the image at their best, and at least half
    of the frames of a short clip. What takes part in one, as a thrown bottle does, need not be."""
    least = _LEAST_AREA * objects[0].size
    clear = [int((actor.abnormal_frames & (actor.areas >= least)).sum()) for actor in actors if actor.anomalous]
    return bool(actors) and sum(n > 0 and (long or 2 * n >= len(objects)) for n in clear) >= wanted
