"""Normal life: people who walk, stand, talk, sit, push carts and walk dogs; riders and vehicles on their ways; items on a line.

Holds fast and slow, large and small things, things of odd colours and things that newly appear, so that none of this alone
is abnormal.
"""

from __future__ import annotations

import math

import numpy as np

from ..actors.poses import blend, gait, hold, still
from .cast import Cast, Track, ramp

__all__ = ["NORMALITIES", "add_normal_life", "on", "vehicle_kind"]

NORMALITIES = (
    "person walking", "person standing", "people talking", "person sitting", "person pushing a cart",
    "person walking a dog", "person carrying a box", "person putting down a box", "person riding a bicycle on its way",
    "person in a wheelchair", "car driving on the road", "car parked", "truck driving on the road",
    "items moving on the line", "bag beside its owner", "empty place",
)  # fmt: skip


def add_normal_life(cast: Cast) -> None:
    """Adds some actors, as many as the place has room for; in a long clip, successions of passers-by."""
    deeds = [
        (0.30, _walk), (0.08, _together), (0.12, _talk), (0.08, _alone), (0.06, _sit), (0.05, _push), (0.05, _dog),
        (0.05, _carry), (0.04, _put_down), (0.05, _wheelchair), (0.04, _bag),
    ]  # fmt: skip
    place = cast.place
    if place.lanes:
        deeds += [(0.3, _drive)]
    if place.tracks:
        deeds += [(0.2, _cycle)]
    odd = min(len(cast.parts), 3)  # they are some of as many as are there in other clips
    _fill_bays(cast)
    for belt in range(len(place.belts)):
        _fill_belt(cast, belt)
    weights = np.array([weight for weight, _ in deeds])
    for _ in range(int(cast.rng.integers(5, 12)) - odd):
        deed = deeds[cast.rng.choice(len(deeds), p=weights / weights.sum())][1]
        if not cast.long or deed in (_talk, _alone, _sit, _bag, _put_down):
            deed(cast, float(cast.rng.uniform(0, cast.end)))
            continue
        for when in np.arange(cast.rng.uniform(-4, 4), cast.end + 4, cast.rng.uniform(7, 14)):
            deed(cast, float(when))


def vehicle_kind(cast: Cast, truck: float = 0.0) -> str:
    """What drives here. truck: how often one does."""
    if not cast.place.light.outdoors and cast.place.words != "a car park":
        return "forklift"
    return str(cast.rng.choice(["car", "van", "truck"], p=(0.75 * (1 - truck), 0.25 * (1 - truck), truck)))


def on(path_ground: str, deed: str) -> str:
    """The deed and where."""
    return f"{deed} on the {path_ground}"


def _walk(cast: Cast, when: float) -> None:
    if (found := cast.walk()) and (at := cast.spot(found[0])) is not None:
        course = found[0].course(cast.steady(when, at, cast.rng.uniform(0.8, 1.9)))
        cast.walker(course, on(found[1].ground, "walking"))


def _together(cast: Cast, when: float) -> None:
    """Two or three side by side."""
    if (found := cast.walk()) is None:
        return
    speed, path = cast.rng.uniform(0.8, 1.4), found[1]
    back = bool(cast.rng.random() < 0.5)
    if (at := cast.spot(Track(path.points, back=back))) is None:
        return
    for k in range(int(cast.rng.integers(2, 4))):
        aside = float(np.clip((k - 0.5) * 0.7, -path.half, path.half))  # where the way is narrow, there is room for two
        lengths = cast.steady(when, at, speed) + cast.rng.uniform(-0.2, 0.2)
        cast.walker(Track(path.points, aside, back=back).course(lengths), on(path.ground, "walking"))


def _talk(cast: Cast, when: float) -> None:
    """Two to four who face each other."""
    if (spot := cast.stand()) is None:
        return
    count, before = int(cast.rng.integers(2, 5)), len(cast.parts)
    for k in range(count):
        angle = 2 * math.pi * k / count + cast.rng.uniform(-0.3, 0.3)
        reach = 0.45 + 0.08 * count
        course = cast.stay(spot[0] + reach * math.cos(angle), spot[1] + reach * math.sin(angle), angle + math.pi)
        if cast.place.is_closed(*course.position[0]):
            continue
        style = str(cast.rng.choice(["talk", "fidget"]))
        phase = cast.times * cast.rng.uniform(2.0, 3.5) + cast.rng.uniform(0, 6)
        cast.person(course, gait(style, phase), on(cast.place.floor, "talking"))
    if len(cast.parts) == before + 1:
        cast.take_back()  # nobody talks alone


def _alone(cast: Cast, when: float) -> None:
    if spot := cast.stand():
        course = cast.stay(*spot, float(cast.rng.uniform(0, 2 * math.pi)))
        pose = gait("fidget", cast.times * 1.5 + cast.rng.uniform(0, 6))
        if cast.rng.random() < 0.5:
            pose = hold(pose, "arm elbow side", str(cast.rng.choice(["phone", "folded"])))
        cast.person(course, pose, on(cast.place.floor, "standing"))


def _sit(cast: Cast, when: float) -> None:
    if not cast.place.seats:
        return
    seat = cast.place.seats[cast.rng.integers(len(cast.place.seats))]
    if cast.seen(np.array([seat.where]))[0]:
        pose = still("sit", len(cast.times))
        pose[:, 3] = 0.15 * np.sin(cast.times * 0.8 + cast.rng.uniform(0, 6))
        course = cast.stay(*seat.where, seat.heading)
        cast.person(course, pose, "sitting", bag="", radius=0.2, base=seat.height - 0.42)


def _push(cast: Cast, when: float) -> None:
    """A cart and who pushes it."""
    if (found := cast.walk()) is None or (at := cast.spot(found[0])) is None:
        return
    track, path = found
    lengths = cast.steady(when, at, cast.rng.uniform(0.6, 1.2))
    if cast.thing("cart", track.course(lengths + 0.95), on(path.ground, "being pushed")):
        course = track.course(lengths)
        phase = 2 * np.pi * course.travelled / 1.3
        cast.person(course, hold(gait("walk", phase), "arm elbow side", "push"), "pushing a cart", bag="", crowd=True)


def _dog(cast: Cast, when: float) -> None:
    if (found := cast.walk()) is None or (at := cast.spot(found[0])) is None or not cast.place.light.outdoors:
        return
    track, path = found
    lengths = cast.steady(when, at, cast.rng.uniform(0.8, 1.6))
    if cast.walker(track.course(lengths), "walking a dog", bag=""):
        ahead = lengths + 1.1 + 0.3 * np.sin(cast.times * 0.9)
        cast.thing("dog", track.course(ahead), on(path.ground, "walking"), crowd=True)


def _carry(cast: Cast, when: float) -> None:
    """Somebody with a box before the chest."""
    if (found := cast.walk()) is None or (at := cast.spot(found[0])) is None:
        return
    track = found[0]
    lengths = cast.steady(when, at, cast.rng.uniform(0.7, 1.3))
    course = track.course(lengths)
    pose = hold(gait("walk", 2 * np.pi * course.travelled / 1.35), "arm elbow side", "carry")
    if cast.person(course, pose, "carrying a box", bag=""):
        cast.thing("box", track.course(lengths + 0.42), "being carried", height=0.98, size=0.75, crowd=True)


def _put_down(cast: Cast, when: float) -> None:
    """Somebody puts a box down and stays with it: a thing appears, and nothing is wrong."""
    if (spot := cast.stand()) is None:
        return
    heading = float(cast.rng.uniform(0, 2 * math.pi))
    start = float(cast.rng.uniform(0.1, 0.7) * cast.end)
    down = ramp(cast.times, start, 0.7) * (1 - ramp(cast.times, start + 0.9, 0.7))
    free = ramp(cast.times, start, 0.7)
    count = len(cast.times)
    standing = blend(still("carry", count), still("stand", count), ramp(cast.times, start + 0.9, 0.5))
    course = cast.stay(*spot, heading)
    first, later = (int(np.searchsorted(cast.times, t)) for t in (start, start + 1.6))
    spells = [("carrying a box", 0), ("putting down a box", first), (on(cast.place.floor, "standing"), later)]
    if cast.person(course, blend(standing, still("bend", count), down), "putting down a box", bag="", spells=spells):
        x, y = spot[0] + 0.5 * math.cos(heading), spot[1] + 0.5 * math.sin(heading)
        level = 0.98 * (1 - free)
        down_at = int(np.searchsorted(cast.times, start + 0.7))
        stands = on(cast.place.floor, "standing")
        cast.thing(
            "box", cast.stay(x, y, heading), stands if down_at < len(cast.times) else "being carried", height=level, size=0.8,
            crowd=True, spells=[("being carried", 0), (stands, down_at)],
        )  # fmt: skip


def _wheelchair(cast: Cast, when: float) -> None:
    if (found := cast.walk()) and (at := cast.spot(found[0])) is not None:
        course = found[0].course(cast.steady(when, at, cast.rng.uniform(0.6, 1.8)))
        cast.ride("wheelchair", course, f"moving on the {found[1].ground}")


def _bag(cast: Cast, when: float) -> None:
    """A bag or suitcase on the ground, its owner beside it."""
    if (spot := cast.stand()) is None:
        return
    heading = float(cast.rng.uniform(0, 2 * math.pi))
    pose = gait("fidget", cast.times * 1.4 + cast.rng.uniform(0, 6))
    if cast.person(cast.stay(*spot, heading), pose, on(cast.place.floor, "standing"), bag=""):
        x, y = spot[0] + 0.5 * math.cos(heading + 1.2), spot[1] + 0.5 * math.sin(heading + 1.2)
        kind = str(cast.rng.choice(["bag", "suitcase"]))
        cast.thing(kind, cast.stay(x, y, heading), "standing beside its owner", crowd=True)


def _drive(cast: Cast, when: float) -> None:
    if (found := cast.lane()) and (at := cast.spot(found[0])) is not None:
        kind = vehicle_kind(cast, truck=0.14)
        speed = cast.rng.uniform(0.8, 2.5 if kind == "forklift" else 8.0)
        cast.vehicle(kind, found[0].course(cast.steady(when, at, speed), 1.5), on(found[1].ground, "driving"))


def _cycle(cast: Cast, when: float) -> None:
    if (found := cast.bike_way()) and (at := cast.spot(found[0])) is not None:
        kind = str(cast.rng.choice(["bicycle", "scooter", "skateboard"], p=(0.64, 0.24, 0.12)))
        course = found[0].course(cast.steady(when, at, cast.rng.uniform(1.2, 5.0)))
        cast.ride(kind, course, on(found[1].ground, "riding"))


def _fill_bays(cast: Cast) -> None:
    """Parked vehicles, on some days few and on others many."""
    share = cast.rng.uniform(0.1, 0.7)
    for x, y, heading in cast.place.bays:
        if cast.rng.random() < share and cast.seen(np.array([[x, y]]), -0.1)[0]:
            kind = "van" if cast.rng.random() < 0.25 else "car"
            cast.vehicle(kind, cast.stay(x, y, heading + math.pi * (cast.rng.random() < 0.5)), "parked")


def _fill_belt(cast: Cast, number: int) -> None:
    """Items in a row, all of one kind and speed; a few gaps."""
    belt, row = cast.place.belts[number], cast.belt_row(number)
    for k in range(min(28, int((row.track.length - row.start) / row.gap) + 1)):
        lengths = row.lengths(k, cast.times)
        if cast.rng.random() < 0.12 or not cast.seen(row.track.at(lengths), 0.0, belt.height + 0.1).any():
            continue
        cast.thing(
            belt.item, row.track.course(lengths), "moving on the line", height=row.level(lengths), size=1.0,
            color=row.color(cast.rng),
        )  # fmt: skip
