"""What departs from normal life. Colour, size and speed overlap with normal life's: what is done, or where, is abnormal."""

from __future__ import annotations

import math

import numpy as np

from .cast import Cast, Course, along_way, straight
from .kinds import ANOMALIES

__all__ = ["add_anomaly"]


def add_anomaly(cast: Cast, anomaly: str, when: float | None) -> None:
    """Tries to add one of `ANOMALIES` whose middle is at time `when` (s), or at a random one; it may find no room."""
    if when is None:
        when = float(cast.rng.uniform(0.3, 0.7)) * cast.end
    adders = (_run, _lie, _stray_vehicle, _stray_bicycle, _jaywalk)
    adders[ANOMALIES.index(anomaly)](cast, anomaly, when)


def _on_walkway(cast: Cast, when: float, inset: float, slowest: float, fastest: float) -> Course | None:
    """A straight course along a walkway that is well in view at time `when`."""
    across = cast.walkway(inset)
    along = cast.spot(across, 0.2)
    if along is None:
        return None
    return straight(cast.times, when, (along, across), cast.either_way(), cast.rng.uniform(slowest, fastest))


def _run(cast: Cast, anomaly: str, when: float) -> None:
    if course := _on_walkway(cast, when, 0.4, 2.0, 3.2):
        cast.add("person", "running", course, anomaly=anomaly, gait="running")


def _stray_vehicle(cast: Cast, anomaly: str, when: float) -> None:
    if course := _on_walkway(cast, when, 0.7, 1.2, 3.6):
        cast.add(cast.vehicle(), "driving on the walkway", course, anomaly=anomaly)


def _stray_bicycle(cast: Cast, anomaly: str, when: float) -> None:
    if course := _on_walkway(cast, when, 0.5, 1.4, 2.8):
        cast.add("bicycle", "riding on the walkway", course, anomaly=anomaly)


def _lie(cast: Cast, anomaly: str, when: float) -> None:
    """Lies there for the whole of a short clip; in a long one comes walking, lies down, gets up and walks on."""
    on_road = cast.rng.random() < 0.25 and not cast.long
    across = float(cast.rng.uniform(*cast.scene.road)) if on_road else cast.walkway(0.6)
    along = cast.spot(across, 0.18)
    if along is None:
        return
    if cast.long:
        half, heading = cast.rng.uniform(2.5, 4.0), cast.either_way()
        down, up = when - half, when + half
        walked = np.interp(cast.times, [down - 60, down, up, up + 60], [-60.0, 0.0, 0.0, 60.0])
        position = np.stack([along + math.cos(heading) * walked, np.full(len(walked), across)], axis=-1)
        course = Course(position, np.full(len(walked), heading), walked)
        lie = np.interp(cast.times, [down, down + 0.7, up - 1.2, up], [0.0, 1.0, 1.0, 0.0])
    else:
        course = straight(cast.times, when, (along, across), float(cast.rng.uniform(0, 2 * math.pi)), 0.0)
        lie = np.ones(len(cast.times))
    cast.add("person", "lying on the ground", course, anomaly=anomaly, lie=lie, abnormal=lie > 0.3)


def _jaywalk(cast: Cast, anomaly: str, when: float) -> None:
    """Walks across or along the road; in a long clip comes from the walkway and leaves on the other side."""
    lo, hi = cast.scene.road
    across = (lo + hi) / 2 + cast.rng.uniform(-0.25, 0.25) * (hi - lo)
    along, speed = cast.spot(across, 0.2), cast.rng.uniform(0.7, 1.4)
    if along is None:
        return
    if cast.long:
        course = _over_the_road(cast, along, when, speed)
    elif cast.rng.random() < 0.4:
        course = straight(cast.times, when, (along, across), cast.either_way(), speed)
    else:
        heading = float(cast.rng.choice((0.5, -0.5))) * math.pi + cast.rng.uniform(-0.7, 0.7)
        course = straight(cast.times, when, (along, across), heading, speed)
    on_road = (course.position[:, 1] > lo + 0.1) & (course.position[:, 1] < hi - 0.1)
    cast.add("person", "walking on the road", course, anomaly=anomaly, abnormal=on_road)


def _over_the_road(cast: Cast, along: float, when: float, speed: float) -> Course:
    """Along the walkway, slantwise over the road, and on along its other side."""
    lo, hi = cast.scene.road
    first, *others = cast.scene.walkways
    start = sum(first) / 2
    stop = sum(others[0]) / 2 if others else (hi + 0.6 if start < lo else lo - 0.6)
    slant = cast.rng.uniform(0.5, 2.5) * (1 if cast.rng.random() < 0.5 else -1)
    far = math.copysign(40.0, slant) + slant
    way = [
        (along - far, start),
        (along - slant, start),
        (along, (lo + hi) / 2),
        (along + slant, stop),
        (along + far, stop),
    ]
    return along_way(cast.times, when, way, 2, speed)
