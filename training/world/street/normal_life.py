"""Normal life: people on the walkways, vehicles and bicycles on the road, things that stand about."""

from __future__ import annotations

import math

import numpy as np

from .cast import Cast, straight
from .scene import Lane

__all__ = ["add_normal_life"]


def add_normal_life(cast: Cast) -> None:
    """Adds one to five or so actors; in a long clip, that many successions of passers-by."""
    special = len(cast.plans)
    wanted = int(cast.rng.integers(1, 6))
    for _ in range(wanted + 2 if cast.long else 3 * wanted):
        if cast.long or len(cast.plans) - special < wanted:
            _add_some(cast)


def _add_some(cast: Cast) -> None:
    """Tries to add one thing or group; for a long clip, a succession of passers-by."""
    kinds = (_walk, _group, _stand, _drive, _park, _ride, _box)
    what = kinds[cast.rng.choice(len(kinds), p=(0.36, 0.1, 0.14, 0.18, 0.1, 0.08, 0.04))]
    if not cast.long or what in (_stand, _park, _box):
        what(cast, float(cast.rng.uniform(0.0, cast.end)))
        return
    for when in np.cumsum(cast.rng.uniform(4.0, 9.0, int(cast.end / 4.0) + 2)) - 6.0:
        if when < cast.end + 4.0:
            what(cast, float(when))


def _walk(cast: Cast, when: float, count: int = 1) -> None:
    across, heading, speed = cast.walkway(0.4), cast.either_way(), cast.rng.uniform(0.7, 1.5)
    along = cast.spot(across)
    if along is None:
        return
    for k in range(count):
        where = (along + cast.rng.uniform(-0.2, 0.2), across + 0.62 * (k - (count - 1) / 2))
        cast.add("person", "walking on the walkway", straight(cast.times, when, where, heading, speed))


def _group(cast: Cast, when: float) -> None:
    _walk(cast, when, int(cast.rng.integers(2, 4)))


def _stand(cast: Cast, when: float) -> None:
    """One person, or two or three who face each other."""
    across, count = cast.walkway(0.35), int(cast.rng.integers(1, 4))
    along = cast.spot(across)
    if along is None:
        return
    for k in range(count):
        angle = 2 * math.pi * k / count + cast.rng.uniform(0, 1)
        distance = 0.0 if count == 1 else 0.5
        where = (along + distance * math.cos(angle), across + 0.7 * distance * math.sin(angle))
        heading = angle + math.pi if count > 1 else float(cast.rng.uniform(0, 2 * math.pi))
        cast.add("person", "standing on the walkway", straight(cast.times, when, where, heading, 0.0), gait="standing")


def _lane(cast: Cast, parking: bool) -> tuple[Lane, float] | None:
    """A lane of that use and a place along it that is in view."""
    lanes = [lane for lane in cast.scene.lanes if lane.parking == parking]
    if not lanes:
        return None
    lane = lanes[cast.rng.integers(len(lanes))]
    along = cast.spot(lane.across)
    return None if along is None else (lane, along)


def _drive(cast: Cast, when: float) -> None:
    if found := _lane(cast, parking=False):
        lane, along = found
        course = straight(cast.times, when, (along, lane.across), lane.heading, cast.rng.uniform(1.6, 4.2))
        cast.add(cast.vehicle(), "driving on the road", course)


def _park(cast: Cast, when: float) -> None:
    # For a short while a vehicle may also stop where others drive.
    found = _lane(cast, parking=True) or (None if cast.long else _lane(cast, parking=False))
    if found:
        lane, along = found
        course = straight(cast.times, when, (along, lane.across), lane.heading, 0.0)
        cast.add(cast.vehicle(), "parked on the road", course)


def _ride(cast: Cast, when: float) -> None:
    if found := _lane(cast, parking=False):
        lane, along = found
        where = (along, lane.across + cast.rng.uniform(-0.3, 0.3))
        course = straight(cast.times, when, where, lane.heading, cast.rng.uniform(1.4, 2.8))
        cast.add("bicycle", "riding on the road", course)


def _box(cast: Cast, when: float) -> None:
    across = cast.walkway(0.3)
    along = cast.spot(across)
    if along is not None:
        heading = float(cast.rng.uniform(0, math.pi))
        cast.add("box", "standing on the walkway", straight(cast.times, when, (along, across), heading, 0.0))
