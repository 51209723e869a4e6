"""Kinds of anomaly of vehicles, riders and things. Each adds itself to a cast, or finds no room."""

from __future__ import annotations

import math

import numpy as np

from ..actors.poses import blend, gait, hold, still
from .cast import BeltRow, Cast, Course, Track, ramp
from .deeds import during, frames, span
from .normal import on, vehicle_kind

__all__ = [
    "burn", "crash", "drive_on_walk", "fall_off_line", "leave_bag", "loose_dog", "ride_bicycle", "ride_scooter",
    "ride_skateboard", "roll_away", "smoke", "stop_short", "take_item", "topple", "wrong_way",
]  # fmt: skip


def _ride(cast: Cast, name: str, when: float, kind: str) -> None:
    if (found := cast.walk()) and (at := cast.spot(found[0], 0.15)) is not None:
        track, path = found
        middle = when if cast.long else cast.end / 2
        course = track.course(cast.steady(middle, at, cast.rng.uniform(1.2, 3.2)), 0.6)
        cast.ride(kind, course, on(path.ground, "riding"), anomaly=name)


def ride_bicycle(cast: Cast, name: str, when: float) -> None:
    """A bicycle among people on foot."""
    _ride(cast, name, when, "bicycle")


def ride_scooter(cast: Cast, name: str, when: float) -> None:
    """A scooter among people on foot."""
    _ride(cast, name, when, "scooter")


def ride_skateboard(cast: Cast, name: str, when: float) -> None:
    """A skateboard among people on foot."""
    _ride(cast, name, when, "skateboard")


def drive_on_walk(cast: Cast, name: str, when: float) -> None:
    """A car where people walk."""
    if (found := cast.walk()) and (at := cast.spot(found[0], 0.15)) is not None:
        track, path = found
        middle = when if cast.long else cast.end / 2
        course = track.course(cast.steady(middle, at, cast.rng.uniform(0.8, 3.5)), 1.5)
        cast.vehicle(vehicle_kind(cast), course, on(path.ground, "driving"), anomaly=name)


def _on_lane(cast: Cast, margin: float = 0.15) -> tuple[Track, str, float] | None:
    if (found := cast.lane()) is None or (at := cast.spot(found[0], margin)) is None:
        return None
    return found[0], found[1].ground, at


def wrong_way(cast: Cast, name: str, when: float) -> None:
    """Drives against the traffic of its lane."""
    if found := _on_lane(cast):
        track, ground, at = found
        lengths = cast.steady(when if cast.long else cast.end / 2, at, -cast.rng.uniform(1.5, 5.0))
        forward = track.course(lengths, 1.5)
        course = Course(forward.position, forward.heading + math.pi, -forward.travelled)
        cast.vehicle(vehicle_kind(cast), course, f"driving the wrong way on the {ground}", anomaly=name)


def stop_short(cast: Cast, name: str, when: float) -> None:
    """Brakes hard in the lane and stays there, where others only pass or park beside it."""
    if found := _on_lane(cast, 0.2):
        track, ground, at = found
        start = when - 2 if cast.long else float(cast.rng.uniform(0.0, 0.25)) * cast.end
        speed = cast.rng.uniform(3.0, 7.0)
        left = np.clip(cast.times - start, 0, 0.7)
        lengths = at + speed * (np.minimum(cast.times, start) - start + left - left**2 / 1.4)
        stay = start + (5 if cast.long else 99)
        lengths = lengths + np.maximum(0, cast.times - stay) * speed * 0.6
        first, last = frames(cast, start, stay)
        driving = on(ground, "driving")
        spells = [(driving, 0), (f"stopping suddenly on the {ground}", first), (driving, last)]
        cast.vehicle(
            vehicle_kind(cast), track.course(lengths, 1.5), f"stopping suddenly on the {ground}", anomaly=name,
            abnormal=during(cast, start, stay + 0.2), braking=True, spells=spells,
        )  # fmt: skip


def crash(cast: Cast, name: str, when: float) -> None:
    """One vehicle runs into another; both come to rest askew."""
    if (found := _on_lane(cast, 0.22)) is None:
        return
    track, ground, at = found
    hit = when if cast.long else float(cast.rng.uniform(0.1, 0.4)) * cast.end
    speed, push = cast.rng.uniform(3.5, 7.0), cast.rng.uniform(0.4, 1.2)
    after = np.clip((cast.times - hit) / 0.5, 0, 1)
    slide = push * after * (2 - after)
    turn = (1 if cast.rng.random() < 0.5 else -1) * cast.rng.uniform(0.15, 0.4)
    odd = cast.times >= hit
    for own, lengths, angle in (
        ("standing", at + slide, turn),
        (on(ground, "driving"), at - 4.35 + speed * np.minimum(cast.times - hit, 0) + slide * 0.85, -0.6 * turn),
    ):
        steady = track.course(lengths, 1.5)
        course = Course(steady.position, steady.heading + angle * after * (2 - after), steady.travelled)
        spells = [(own, 0), ("crashing into a car", frames(cast, hit)[0])]
        cast.vehicle("car", course, "crashing into a car", anomaly=name, abnormal=odd, crowd=True, spells=spells)


def roll_away(cast: Cast, name: str, when: float) -> None:
    """A cart rolls along with nobody near."""
    if (found := cast.walk()) and (at := cast.spot(found[0], 0.15)) is not None:
        track, path = found
        middle = when if cast.long else cast.end / 2
        course = track.course(cast.steady(middle, at, cast.rng.uniform(0.6, 1.6)))
        cast.thing("cart", course, on(path.ground, "rolling away"), anomaly=name)


def loose_dog(cast: Cast, name: str, when: float) -> None:
    """A dog without anybody on a road."""
    if found := _on_lane(cast):
        track, ground, at = found
        middle = when if cast.long else cast.end / 2
        straight = track.course(cast.steady(middle, at, cast.rng.uniform(0.8, 2.6)))
        left = np.stack([-np.sin(straight.heading), np.cos(straight.heading)], -1)
        weave = 0.5 * np.sin(cast.times * 0.9 + cast.rng.uniform(0, 6))
        course = Course(straight.position + left * weave[:, None], straight.heading, straight.travelled)
        cast.thing("dog", course, on(ground, "walking"), anomaly=name, size=1.25)


def leave_bag(cast: Cast, name: str, when: float) -> None:
    """Somebody puts down a bag and walks off without it."""
    if (found := cast.walk()) is None or (at := cast.spot(found[0], 0.2)) is None:
        return
    track, path = found
    gone = 1.6  # s later it counts as left behind: for half of a short clip at least
    latest = cast.end / 2 - gone
    put = when - 2 if cast.long else float(cast.rng.uniform(min(-1.5 * cast.end, latest - 1), latest))
    speed, count = cast.rng.uniform(0.9, 1.5), len(cast.times)
    lengths = at + speed * (np.minimum(cast.times - put, 0) + np.maximum(cast.times - put - 1.0, 0))
    course = track.course(lengths)
    down = ramp(cast.times, put, 0.4) * (1 - ramp(cast.times, put + 0.6, 0.4))
    free = ramp(cast.times, put, 0.4)
    walking = gait("walk", 2 * np.pi * course.travelled / 1.4)
    pose = blend(walking, still("bend", count), down)
    spells = [
        (on(path.ground, "walking"), 0),
        ("putting down a bag", frames(cast, put)[0]),
        (on(path.ground, "walking"), frames(cast, put + 1)[0]),
    ]
    odd = cast.times > put + gone
    kind = str(cast.rng.choice(["bag", "suitcase", "box"]))
    if cast.person(course, pose, on(path.ground, "walking"), bag="", spells=spells):
        side = float(course.heading[0]) + 1.3
        shift = 0.45 * np.array([math.cos(side), math.sin(side)])
        carried = course.position + shift * 0.6
        spot = track.at(np.array([at]))[0] + shift
        where = np.where((free < 1)[:, None], carried * (1 - free[:, None]) + spot * free[:, None], spot)
        thing = Course(where, course.heading * 0 + course.heading[0], course.travelled * 0)
        put_down, alone = frames(cast, put + 0.4, put + gone)
        spells = [("being carried", 0), (on(path.ground, "standing"), put_down), ("left behind", alone)]
        cast.thing(
            kind, thing, "left behind", anomaly=name, abnormal=odd, height=0.4 * (1 - free), size=0.95, crowd=True,
            spells=spells,
        )  # fmt: skip


def _on_ground(cast: Cast, kind: str, color: str, name: str, when: float, deed: str, size: float) -> None:
    for _ in range(4):
        spot = cast.stand()
        if spot is None:
            return
        start, stop = span(cast, when, 5, 10)
        shown = during(cast, start, stop)
        course = cast.stay(*spot, 0.0)
        if cast.thing(
            kind,
            course,
            deed,
            anomaly=name,
            abnormal=shown,
            height=np.where(shown, 0.0, -3.0),
            size=size,
            color=color,
        ):
            return


def burn(cast: Cast, name: str, when: float) -> None:
    """Something burns on the ground."""
    _on_ground(cast, "fire", "orange", name, when, "burning", float(cast.rng.uniform(1.0, 1.9)))


def smoke(cast: Cast, name: str, when: float) -> None:
    """Smoke rises from the ground."""
    _on_ground(cast, "smoke", "", name, when, "rising", float(cast.rng.uniform(0.8, 1.4)))


def _belt_item(cast: Cast, when: float) -> tuple[BeltRow, str, int] | None:
    """A row of items on a belt, what they are, and which of them is in view at time `when`."""
    number = int(cast.rng.integers(len(cast.place.belts)))
    row = cast.belt_row(number)
    if (at := cast.spot(row.track, 0.12)) is None:
        return None
    return row, cast.place.belts[number].item, row.nearest(at, when)


def topple(cast: Cast, name: str, when: float) -> None:
    """An item lies or falls over on the line among others that stand."""
    if found := _belt_item(cast, when if cast.long else cast.end / 2):
        row, item, k = found
        lengths = row.lengths(k, cast.times)
        start = -9.0 if cast.rng.random() < 0.5 else float(cast.rng.uniform(0.0, 0.3)) * cast.end
        if cast.long:
            start = when - 3
        tip = 1.52 * ramp(cast.times, start, 0.4)
        inside = (lengths > 0) & (lengths < row.track.length)
        course = row.track.course(lengths)
        side = Course(course.position, course.heading + float(cast.rng.choice([0.0, 1.57, -1.57])), course.travelled)
        spells = [("moving on the line", 0), ("toppled over on the line", frames(cast, start)[0])]
        cast.thing(
            item, side, "toppled over on the line", anomaly=name, abnormal=(tip > 0.4) & inside, height=row.level(lengths),
            tip=tip, size=1.0, color=row.color(cast.rng), spells=spells,
        )  # fmt: skip


def fall_off_line(cast: Cast, name: str, when: float) -> None:
    """An item slips off the line and lies on the floor."""
    start = when if cast.long else float(cast.rng.uniform(0.0, 0.35)) * cast.end
    if found := _belt_item(cast, start):
        row, item, k = found
        lengths = row.lengths(k, np.minimum(cast.times, start))
        course = row.track.course(lengths)
        off = np.clip(cast.times - start, 0, None)
        view = cast.camera.matrix[2]
        toward = -np.array([view[0], view[1]]) / np.hypot(view[0], view[1])  # to the side where it is seen
        out = np.minimum(off * 1.6, 0.95)
        level = np.maximum(0.0, row.height - 4.9 * np.clip(off - 0.25, 0, None) ** 2)
        level = np.where(lengths > 0, level, -3.0)
        fallen = Course(course.position + out[:, None] * toward, course.heading, course.travelled)
        spells = [("moving on the line", 0), ("fallen off the line", frames(cast, start + 0.05)[0])]
        cast.thing(
            item, fallen, "fallen off the line", anomaly=name, abnormal=off > 0.05, height=level,
            tip=1.5 * ramp(cast.times, start + 0.1, 0.5), size=1.0, crowd=True, color=row.color(cast.rng), spells=spells,
        )  # fmt: skip


def take_item(cast: Cast, name: str, when: float) -> None:
    """Somebody takes away a thing that belongs to the place."""
    spots = [spot for spot in cast.place.spots if cast.seen(np.array([spot[:2]]), 0.14)[0]]
    if not spots:
        return
    x, y, z = spots[cast.rng.integers(len(spots))]
    grab, count = (when if cast.long else float(cast.rng.uniform(0.1, 0.4)) * cast.end), len(cast.times)
    row = cast.camera.matrix[2]
    to_camera = math.atan2(-row[1], -row[0])
    away = to_camera + float(cast.rng.uniform(-1.0, 1.0))
    come = np.array([math.cos(away), math.sin(away)])
    reach = 0.55 + 1.2 * np.maximum(0, grab - 0.4 - cast.times) + 1.3 * np.maximum(0, cast.times - grab - 0.6)
    travelled = np.cumsum(np.abs(np.diff(reach, prepend=reach[0])))
    leaving = cast.times > grab + 0.4
    taking = ramp(cast.times, grab - 0.4, 0.4) * (1 - ramp(cast.times, grab + 0.2, 0.4))
    walking = gait("walk", 2 * np.pi * travelled / 1.4)
    held = hold(walking, "arm elbow side", "carry")
    pose = blend(blend(walking, held, leaving * 1.0), still("reach" if z > 0.6 else "bend", count), taking)
    course = Course(np.array([x, y]) + reach[:, None] * come, np.where(leaving, away, away + math.pi), travelled)
    first = frames(cast, grab - 0.4)[0]
    spells = [(on(cast.place.floor, "walking"), 0), ("taking away a thing", first)]
    odd = cast.times > grab - 0.4
    if cast.person(course, pose, "taking away a thing", anomaly=name, abnormal=odd, spells=spells, bag="", crowd=True):
        carried = ramp(cast.times, grab, 0.5)
        where = np.array([x, y]) + (carried * (reach + 0.35))[:, None] * come
        kind = "box" if z < 0.6 else str(cast.rng.choice(["painting", "bottle", "box"]))
        level = z * (1 - carried) + 0.95 * carried
        cast.thing(
            kind, Course(where, np.full(count, away), travelled), "being taken away", anomaly=name, abnormal=cast.times > grab,
            height=level, size=0.75, crowd=True, spells=[("standing there", 0), ("being taken away", frames(cast, grab)[0])],
        )  # fmt: skip
