"""Kinds of anomaly that one or two people do on foot. Each adds itself to a cast, or finds no room.

Before and after, whoever does it behaves as anybody; in a short clip the deed fills most of the time. Clothes, sizes and speeds
are those of normal life.
"""

from __future__ import annotations

import math

import numpy as np

from ..actors.people import Outfit
from ..actors.poses import CYCLE, Pose, blend, gait, hold, still
from .cast import Cast, Course, Track, ramp
from .normal import on

__all__ = [
    "climb_in",
    "crawl",
    "dance",
    "during",
    "fall",
    "fight",
    "frames",
    "jaywalk",
    "jump",
    "lie",
    "push_over",
    "run",
    "span",
    "stagger",
    "steal",
    "throw",
]  # fmt: skip


def span(cast: Cast, when: float, shortest: float = 3.0, longest: float = 6.0) -> tuple[float, float]:
    """From when to when (s) the deed is done."""
    if cast.long:
        half = cast.rng.uniform(shortest, longest) / 2
        return when - half, when + half
    start = -1.0 if cast.rng.random() < 0.6 else float(cast.rng.uniform(0.0, 0.3)) * cast.end
    return start, cast.end + 1.0


def during(cast: Cast, start: float, stop: float) -> np.ndarray:
    """bool [T]."""
    return (cast.times >= start) & (cast.times < stop)


def frames(cast: Cast, *starts: float) -> list[int]:
    """The frames at which times (s) have come."""
    return [int(np.searchsorted(cast.times, start)) for start in starts]


def _told(cast: Cast, before: str, deed: str, start: float, stop: float, after: str = "") -> list[tuple[str, int]]:
    first, last = frames(cast, start, stop)
    return [(before, 0), (deed, first), (after or before, last)]


def _lengths(cast: Cast, when: float, at: float, slow: float, fast: float, start: float, stop: float) -> np.ndarray:
    """[T] lengths along a track at speed `fast` from `start` to `stop` and else `slow`, passing `at` at time `when`."""
    knots = np.array([start - 100, start, stop, stop + 100])
    covered = np.cumsum([0.0, 100 * slow, (stop - start) * fast, 100 * slow])
    lengths = np.interp(cast.times, knots, covered)
    return lengths - np.interp(when, knots, covered) + at


def _moving(cast: Cast, when: float, name: str, deed: str, style: str, slow: float, fast: float) -> None:
    """Goes in an odd way for a while, and else walks."""
    if (found := cast.walk()) is None or (at := cast.spot(found[0], 0.16)) is None:
        return
    track, path = found
    start, stop = span(cast, when)
    lengths = _lengths(cast, when, at, slow, fast, start, stop)
    course = track.course(lengths)
    odd = ramp(cast.times, start - 0.2, 0.5) * (1 - ramp(cast.times, stop - 0.2, 0.5))

    def pose(outfit: Outfit) -> Pose:
        phase = 2 * np.pi * course.travelled / (CYCLE["walk"] * outfit.height) + outfit.phase
        beat = cast.times * 2 * np.pi * (1.0 if style == "dance" else 0.9) + outfit.phase
        other = (
            beat
            if style in ("dance", "jump")
            else 2 * np.pi * course.travelled / (CYCLE.get(style, 0.6) * outfit.height)
        )
        return blend(gait("walk", phase), gait(style, other), odd)

    walking = on(path.ground, "walking")
    cast.person(
        course, pose, deed, anomaly=name, abnormal=during(cast, start, stop), spells=_told(cast, walking, deed, start, stop),
        bag="" if style in ("crawl", "dance", "jump") else None,
    )  # fmt: skip


def run(cast: Cast, name: str, when: float) -> None:
    """Runs, no faster than bicycles and cars go."""
    _moving(cast, when, name, "running", "run", 1.3, float(cast.rng.uniform(2.2, 3.8)))


def crawl(cast: Cast, name: str, when: float) -> None:
    """Goes on hands and knees."""
    _moving(cast, when, name, "crawling", "crawl", 1.0, float(cast.rng.uniform(0.35, 0.7)))


def jump(cast: Cast, name: str, when: float) -> None:
    """Jumps up and down, hardly moving on."""
    _moving(cast, when, name, "jumping", "jump", 1.1, float(cast.rng.uniform(0.0, 0.7)))


def dance(cast: Cast, name: str, when: float) -> None:
    """Dances, hardly moving on."""
    _moving(cast, when, name, "dancing", "dance", 1.1, float(cast.rng.uniform(0.0, 0.3)))


def stagger(cast: Cast, name: str, when: float) -> None:
    """Reels from side to side."""
    if (found := cast.walk()) is None or (at := cast.spot(found[0], 0.16)) is None:
        return
    track, path = found
    start, stop = span(cast, when, 4, 8)
    lengths = cast.steady(when, at, cast.rng.uniform(0.5, 0.9))
    straight = track.course(lengths)
    odd = ramp(cast.times, start, 1.0) * (1 - ramp(cast.times, stop, 1.0))
    side = 0.42 * np.sin(cast.times * 1.5 + cast.rng.uniform(0, 6)) * odd
    left = np.stack([-np.sin(straight.heading), np.cos(straight.heading)], -1)
    turn = np.cos(cast.times * 1.5) * 0.5 * odd
    course = Course(straight.position + left * side[:, None], straight.heading + turn, straight.travelled)

    def pose(outfit: Outfit) -> Pose:
        phase = 2 * np.pi * course.travelled / (0.75 * outfit.height) + outfit.phase
        return blend(gait("walk", phase), gait("drunk", phase), odd)

    spells = _told(cast, on(path.ground, "walking"), "staggering", start, stop)
    cast.person(course, pose, "staggering", anomaly=name, abnormal=during(cast, start, stop), spells=spells)


def _down(cast: Cast, name: str, when: float, deed: str, quick: float, start: float, stop: float) -> None:
    """Walks, gets down, lies, gets up and walks on."""
    if (found := cast.walk()) is None or (at := cast.spot(found[0], 0.2)) is None:
        return
    track, path = found
    lengths = _lengths(cast, (start + stop) / 2, at, float(cast.rng.uniform(0.8, 1.4)), 0.0, start, stop)
    course = track.course(lengths)
    lying = str(cast.rng.choice(["face_down", "on_side", "on_back"], p=(0.5, 0.3, 0.2)))
    down = ramp(cast.times, start, quick) * (1 - ramp(cast.times, stop - 1.4, 1.4))
    knees = ramp(cast.times, start, quick * 0.5) * (1 - ramp(cast.times, stop - 0.7, 0.9))
    count = len(cast.times)

    def pose(outfit: Outfit) -> Pose:
        phase = 2 * np.pi * course.travelled / (CYCLE["walk"] * outfit.height) + outfit.phase
        return blend(blend(gait("walk", phase), still("crouch", count), knees), still(lying, count), down)

    spells = _told(cast, on(path.ground, "walking"), deed, start, stop)
    cast.person(
        course,
        pose,
        deed,
        anomaly=name,
        abnormal=during(cast, start + 0.1, stop - 0.3),
        spells=spells,
        bag="",
        radius=0.5,
    )


def lie(cast: Cast, name: str, when: float) -> None:
    """Lies there; in a long clip comes walking and lies down without haste."""
    start, stop = span(cast, when, 4, 8)
    if not cast.long:
        start, stop = -5.0, cast.end + 5
    _down(cast, name, when, "lying on the ground", 1.8, start, stop)


def fall(cast: Cast, name: str, when: float) -> None:
    """Falls all of a sudden and stays down for a while."""
    start, stop = span(cast, when, 3, 6)
    if not cast.long:
        start, stop = float(cast.rng.uniform(0.05, 0.4)) * cast.end, cast.end + 5
    _down(cast, name, when, "falling down", 0.55, start, stop)


def fight(cast: Cast, name: str, when: float) -> None:
    """Two who strike and kick at each other; in a long clip they walk up to each other and part."""
    if (spot := cast.stand()) is None:
        return
    start, stop = span(cast, when, 4, 8)
    angle, count = float(cast.rng.uniform(0, 2 * math.pi)), len(cast.times)
    for k in (0, 1):
        way = angle + math.pi * k
        beat = cast.times * cast.rng.uniform(1.5, 2.1) + k * 0.5
        swing = np.clip(np.sin(2 * np.pi * beat) * 1.6, 0, 1)
        blow = blend(still("guard", count), still("kick" if cast.rng.random() < 0.4 else "punch", count), swing)
        suffers = blend(blow, still("hit", count), np.clip(np.sin(2 * np.pi * (beat - 0.5)) * 1.5 - 0.5, 0, 1))
        fighting = ramp(cast.times, start - 0.3, 0.5) * (1 - ramp(cast.times, stop, 0.5))
        away = np.maximum(0, start - cast.times) + np.maximum(0, cast.times - stop)
        reach = 0.42 + 1.1 * away + 0.06 * np.sin(2 * np.pi * beat * 0.5)
        position = np.stack([spot[0] + reach * math.cos(way), spot[1] + reach * math.sin(way)], -1)
        leaving = (cast.times > stop)[:, None]
        heading = np.where(leaving[:, 0], way, way + math.pi)
        course = Course(position, heading, reach)
        pose = blend(gait("walk", 2 * np.pi * reach / 1.4), suffers, fighting)
        walking = on(cast.place.floor, "walking")
        spells = _told(cast, walking, "fighting", start, stop)
        cast.person(
            course,
            pose,
            "fighting",
            anomaly=name,
            abnormal=during(cast, start, stop),
            spells=spells,
            bag="",
            crowd=True,
        )


def push_over(cast: Cast, name: str, when: float) -> None:
    """One shoves another, who falls."""
    if (spot := cast.stand()) is None:
        return
    start = when if cast.long else float(cast.rng.uniform(0.1, 0.35)) * cast.end
    stop, count = (start + 4 if cast.long else cast.end + 5), len(cast.times)
    angle = float(cast.rng.uniform(0, 2 * math.pi))
    shove = ramp(cast.times, start - 0.3, 0.3) * (1 - ramp(cast.times, start + 0.4, 0.6))
    pose = blend(still("stand", count), still("push", count), shove)
    here = cast.stay(*spot, angle)
    odd = during(cast, start - 0.2, stop)
    standing = on(cast.place.floor, "standing")
    spells = _told(cast, standing, "pushing somebody over", start - 0.3, stop)
    if cast.person(here, pose, "pushing somebody over", anomaly=name, abnormal=odd, spells=spells, crowd=True):
        slide = 0.65 + 0.35 * ramp(cast.times, start, 0.5)
        position = np.array(spot) + slide[:, None] * (math.cos(angle), math.sin(angle))
        course = Course(position, np.full(count, angle + math.pi), slide * 0)
        down = ramp(cast.times, start, 0.6) * (1 - ramp(cast.times, stop - 1.2, 1.2))
        falling = blend(still("talk", count), still("on_back", count), down)
        spells = _told(cast, standing, "being pushed over", start, stop)
        cast.person(course, falling, "being pushed over", anomaly=name, abnormal=odd, spells=spells, bag="", crowd=True)


def throw(cast: Cast, name: str, when: float) -> None:
    """Winds up and throws something, again and again."""
    if (spot := cast.stand()) is None:
        return
    start, stop = span(cast, when, 4, 7)
    count, heading = len(cast.times), float(cast.rng.uniform(0, 2 * math.pi))
    period = 1.9
    beat = (cast.times - start + cast.rng.uniform(0, 0.6)) % period
    active = during(cast, start, stop)
    back = np.clip(beat / 0.5, 0, 1) * (beat < 0.8)
    forth = np.clip((beat - 0.55) / 0.2, 0, 1) * np.clip((1.6 - beat) / 0.5, 0, 1)
    pose = blend(still("stand", count), still("wind_up", count), back * active)
    pose = blend(pose, still("thrown", count), forth * active)
    spells = _told(cast, on(cast.place.floor, "standing"), "throwing something", start, stop)
    if cast.person(
        cast.stay(*spot, heading),
        pose,
        "throwing something",
        anomaly=name,
        abnormal=active,
        spells=spells,
        bag="",
        crowd=True,
    ):
        fly = np.clip(beat - 0.7, 0, None)
        far = 0.3 + 4.0 * fly
        level = 1.7 + 2.2 * fly - 4.9 * fly * fly
        flying = active & (beat > 0.7) & (level > 0.05)
        position = np.array(spot) + far[:, None] * (math.cos(heading), math.sin(heading))
        kind = str(cast.rng.choice(["bottle", "ball", "bag"]))
        course = Course(position, np.full(count, heading), far)
        cast.thing(
            kind, course, "flying through the air", anomaly=name, abnormal=flying, height=np.where(flying, level, -3.0),
            tip=fly * 9, size=0.9, crowd=True,
        )  # fmt: skip


def jaywalk(cast: Cast, name: str, when: float) -> None:
    """Walks across or along a road, coming from beside it."""
    if (found := cast.lane()) is None or (at := cast.spot(found[0], 0.18)) is None:
        return
    track, path = found
    here, ahead = track.at(np.array([at, at + 0.5]))
    along = math.atan2(*(ahead - here)[::-1])
    slant = cast.rng.uniform(0.5, 1.2) if cast.rng.random() < 0.65 else cast.rng.uniform(0.0, 0.12)
    way = (
        along
        + slant * (1 if cast.rng.random() < 0.5 else -1) * math.pi / 2
        + (math.pi if cast.rng.random() < 0.5 else 0)
    )
    middle = when if cast.long else cast.end / 2
    speed = cast.rng.uniform(0.7, 1.5)
    line = Track(
        [
            tuple(here - 30 * np.array([math.cos(way), math.sin(way)])),
            tuple(here + 30 * np.array([math.cos(way), math.sin(way)])),
        ]
    )
    course = line.course(cast.steady(middle, 30.0, speed))
    on_road = _labels(cast, course.position) == 1
    changes = [0, *(np.flatnonzero(np.diff(on_road)) + 1).tolist()]
    spells = [(on(path.ground if on_road[first] else cast.place.floor, "walking"), first) for first in changes]
    cast.walker(course, on(path.ground, "walking"), anomaly=name, abnormal=on_road, spells=spells)


def _labels(cast: Cast, points: np.ndarray) -> np.ndarray:
    """[n]: the label of the ground at points [n, 2]."""
    labels = np.full(len(points), cast.place.zones[0].label)
    for zone in cast.place.zones[1:]:
        way = np.roll(zone.outline, -1, axis=0) - zone.outline
        off = points[:, None] - zone.outline
        labels[(way[:, 0] * off[..., 1] - way[:, 1] * off[..., 0] >= 0).all(1)] = zone.label
    return labels


def climb_in(cast: Cast, name: str, when: float) -> None:
    """Walks about where nobody may be."""
    (x0, y0, x1, y1), what = cast.place.closed[cast.rng.integers(len(cast.place.closed))]
    inner = np.stack(np.meshgrid(np.linspace(x0, x1, 9)[1:-1], np.linspace(y0, y1, 7)[1:-1]), -1).reshape(-1, 2)
    inner = inner[cast.seen(inner, 0.1)]
    if not len(inner):
        return
    x, y = inner[cast.rng.integers(len(inner))]
    start, stop = span(cast, when, 5, 9)
    wide = x1 - x0 > y1 - y0
    # To and fro along the longer side, turning on the spot.
    ends = ((x0 + 0.4, y), (x1 - 0.4, y)) if wide else ((x, y0 + 0.4), (x, y1 - 0.4))
    track = Track(ends)
    speed = cast.rng.uniform(0.5, 1.1)
    at = (x - ends[0][0]) if wide else (y - ends[0][1])
    swing = (at + speed * (cast.times - when if cast.long else cast.times - cast.end / 2)) % (2 * track.length)
    forward = swing < track.length
    lengths = np.where(forward, swing, 2 * track.length - swing)
    heading = track.course(lengths).heading + np.where(forward, 0.0, math.pi)
    shown = during(cast, start, stop) if cast.long else np.ones(len(cast.times), bool)
    course = Course(track.at(lengths), heading, speed * cast.times)
    deed = f"walking in the {what}"
    phase = 2 * np.pi * course.travelled / 1.35
    cast.person(course, gait("walk", phase), deed, anomaly=name, abnormal=shown, height=np.where(shown, 0.0, -3.0))


def steal(cast: Cast, name: str, when: float) -> None:
    """Takes a bag from beside its owner and makes off with it."""
    if (spot := cast.stand()) is None:
        return
    heading, count = float(cast.rng.uniform(0, 2 * math.pi)), len(cast.times)
    grab = when if cast.long else float(cast.rng.uniform(0.15, 0.4)) * cast.end
    bag = np.array(spot) + 0.65 * np.array([math.cos(heading + 2.2), math.sin(heading + 2.2)])
    pose = hold(gait("fidget", cast.times * 1.4), "arm elbow side", "phone")
    if not cast.person(cast.stay(*spot, heading), pose, on(cast.place.floor, "standing"), bag=""):
        return
    away = float(heading + 2.2 + cast.rng.uniform(-0.6, 0.6))
    come = np.array([math.cos(away), math.sin(away)])
    speed = cast.rng.uniform(1.4, 3.2)
    reach = 0.5 + 1.3 * np.maximum(0, grab - 0.3 - cast.times) + speed * np.maximum(0, cast.times - grab - 0.4)
    position = bag + reach[:, None] * come
    leaving = cast.times > grab + 0.1
    travelled = np.cumsum(np.abs(np.diff(reach, prepend=reach[0])))
    style, cycle = ("run", 2.5) if speed > 2.3 else ("walk", 1.5)
    bend = ramp(cast.times, grab - 0.4, 0.4) * (1 - ramp(cast.times, grab + 0.05, 0.4))
    going = blend(gait("walk", 2 * np.pi * travelled / 1.4), gait(style, 2 * np.pi * travelled / cycle), leaving * 1.0)
    pose = blend(going, still("bend", count), bend)
    course = Course(position, np.where(leaving, away, away + math.pi), travelled)
    odd = cast.times > grab - 0.5
    walking = on(cast.place.floor, "walking")
    spells = _told(cast, walking, "stealing a bag", grab - 0.5, cast.end + 9)
    if cast.person(course, pose, "stealing a bag", anomaly=name, abnormal=odd, spells=spells, bag="", crowd=True):
        carried = ramp(cast.times, grab, 0.3)
        where = bag + (carried * (reach - 0.1))[:, None] * come
        cast.thing(
            "bag", Course(where, course.heading, travelled), "being stolen", anomaly=name, abnormal=cast.times > grab,
            height=carried * 0.55, size=0.9, crowd=True,
            spells=[("standing beside its owner", 0), ("being stolen", frames(cast, grab)[0])],
        )  # fmt: skip
