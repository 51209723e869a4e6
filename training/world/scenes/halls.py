"""Families of halls and rooms. Each function builds one at random, from its dice alone."""

from __future__ import annotations

import math

import numpy as np

from .build import YELLOW, bench, camera_for, door, fence, indoor_light, mat, planter, room
from .materials import Material
from .place import Marking, Path, Place, Seat

__all__ = ["canteen", "corridor", "lobby", "museum", "platform", "station_hall"]

Rng = np.random.Generator
Size = tuple[int, int]


def corridor(rng: Rng, size: Size, aspect: float | None) -> Place:
    """A long corridor with doors on both sides."""
    camera = camera_for(rng, size, aspect, pitch=(11, 18), distance=(11, 15), person=(0.22, 0.32), yaw=7)
    half = float(rng.uniform(2.2, 2.9))
    floor = mat(rng, "tiles", ((176, 172, 164), (120, 132, 128), (150, 124, 96))[rng.integers(3)])
    place = room(rng, "a corridor", "corridor", camera, floor, (half, 24), 5.2, mat(rng, "plaster", (206, 204, 196)))
    for side in (-1, 1):
        for y in np.arange(-4, 23, 4.6) + rng.uniform(-0.6, 0.6, 6):
            door(place, rng, side * (half - 0.02), float(y), side=True)
        rail = mat(rng, "plain", (110, 122, 130), 0.4)
        place.solids.wall((side * (half - 0.04), -16), (side * (half - 0.04), 24), 0.14, rail, base=0.85)
    place.walks += [Path(((-0.8, -14), (-0.8, 22)), 0.7, "corridor"), Path(((0.9, -14), (0.9, 22)), 0.6, "corridor")]
    place.walks += [Path(((half + 0.4, 5.0), (0.4, 5.4), (0.2, -14)), 0.3, "corridor")]
    place.stands += [(-half + 0.7, -3, half - 0.7, 9)]
    place.spots += [(half - 0.45, 2.0, 0.0)]
    place.light = indoor_light(rng, (half, 15), 3.0)
    return place


def station_hall(rng: Rng, size: Size, aspect: float | None) -> Place:
    """A hall with pillars, ticket machines and rows of seats."""
    floor = mat(rng, "tiles", (186, 180, 170), pitch=1.0)
    place = room(
        rng,
        "a station hall",
        "hall",
        camera_for(rng, size, aspect),
        floor,
        (20, 15),
        6.0,
        mat(rng, "slabs", (190, 184, 172), pitch=1.4),
    )
    for x in (-8.0, 0.0, 8.0):
        place.solids.pillar((x, 6.0), 0.45, 6.0, mat(rng, "concrete", (186, 182, 174)))
    for k in range(int(rng.integers(3, 6))):
        place.solids.box(
            (-6.0 + 1.6 * k, 14.4),
            (1.0, 0.8, 1.9),
            mat(rng, "plain", (60, 96, 140)),
            top=mat(rng, "plain", (200, 200, 200)),
        )
        place.solids.box(
            (-6.0 + 1.6 * k, 13.97),
            (0.6, 0.03, 0.5),
            Material("plain", (150, 210, 230)),
            base=1.1,
            solid=False,
            glow=0.6,
        )
    for x in (-5.5, 3.8):
        bench(place, rng, x, 2.6, -math.pi / 2)
        bench(place, rng, x + 1.9, 2.6, -math.pi / 2)
    place.solids.box(
        (0.0, 14.9), (9, 0.1, 1.6), Material("goods", (60, 66, 90), 0.5, 3), base=3.2, solid=False, glow=0.25
    )
    place.walks += [
        Path(((-22, -1.4), (22, -0.6)), 1.3, "hall"),
        Path(((-12, -16), (-1.6, 4.0), (10, 13)), 0.9, "hall"),
        Path(((-20, 9.5), (20, 9.0)), 1.0, "hall"),
    ]
    place.stands += [(-8, -3.5, 8, 1.4), (-6, 11.0, 5, 12.6)]
    closed = (9.2, 1.0, 13.0, 5.0)
    place.closed.append((closed, "closed part"))
    place.zone(*closed, mat(rng, "concrete", (150, 140, 120)), 0)
    stripe = Material("stripes", (214, 60, 44), 0.5)
    for a, b in (((9.2, 1.0), (13.0, 1.0)), ((9.2, 1.0), (9.2, 5.0))):
        place.solids.wall(a, b, 0.1, stripe, base=0.85)
    place.spots += [(-2.0, 3.2, 0.0), (6.4, 5.0, 0.0)]
    return place


def lobby(rng: Rng, size: Size, aspect: float | None) -> Place:
    """A reception with sofas, plants and lifts."""
    floor = (
        mat(rng, "checker", (190, 180, 164), pitch=1.0)
        if rng.random() < 0.4
        else mat(rng, "tiles", (180, 172, 160), pitch=0.9)
    )
    place = room(
        rng,
        "a lobby",
        "floor",
        camera_for(rng, size, aspect, distance=(12, 16), person=(0.2, 0.28)),
        floor,
        (13, 9),
        3.6,
        mat(rng, "plaster", (196, 184, 164)),
    )
    place.solids.box(
        (-4.0, 7.0), (5.0, 0.9, 1.1), mat(rng, "planks", (120, 84, 56)), top=mat(rng, "plain", (60, 58, 56))
    )
    place.closed.append(((-6.4, 7.5, -1.6, 8.8), "reception"))
    for x in (3.0, 5.2, 7.4):
        door(place, rng, x, 8.97)
        place.solids.box((x, 8.9), (1.5, 0.06, 2.3), mat(rng, "metal", (170, 172, 176), pitch=0.9), solid=False)
    cloth = mat(rng, "plain", ((70, 82, 104), (120, 52, 48), (96, 100, 84))[rng.integers(3)])
    for x, turn in ((-8.6, 0.0), (8.8, math.pi)):
        c = math.cos(turn)
        place.solids.box((x, 1.6), (0.9, 2.4, 0.42), cloth)
        place.solids.box((x - 0.4 * c, 1.6), (0.2, 2.4, 0.5), cloth, base=0.4, solid=False)
        place.seats += [Seat((x, 1.0), turn, 0.44), Seat((x, 2.2), turn, 0.44)]
    for x, y in ((-11, 7.5), (1.0, 8.2), (10.5, 7.8)):
        planter(place, rng, x, y)
    place.walks += [
        Path(((-16, -1.6), (16, -1.0)), 1.0, "floor"),
        Path(((0.5, -14), (1.6, 1.5), (4.0, 8.4)), 0.6, "floor"),
        Path(((-9, -12), (-4.6, 4.6), (-14, 5.4)), 0.5, "floor"),
    ]
    place.stands += [(-6.4, 0.2, 0.0, 5.6), (2.6, -3.4, 7.2, 4.0)]
    place.spots += [(-3.0, 6.9, 1.1), (-1.0, 8.4, 0.0)]
    return place


def museum(rng: Rng, size: Size, aspect: float | None) -> Place:
    """A gallery with pictures on the walls and exhibits on plinths."""
    floor = mat(rng, "planks", (166, 122, 80), pitch=0.16)
    place = room(
        rng,
        "a museum",
        "floor",
        camera_for(rng, size, aspect, distance=(12, 16), person=(0.19, 0.27)),
        floor,
        (12, 8),
        4.2,
        mat(rng, "plaster", ((200, 196, 188), (150, 60, 56), (84, 104, 112))[rng.integers(3)]),
    )
    for x in np.arange(-9, 10, 3.6):
        w, h = rng.uniform(0.8, 1.5), rng.uniform(0.9, 1.4)
        low = float(rng.uniform(1.1, 1.4))
        frame = [(x - w, 7.95, low), (x + w, 7.95, low), (x + w, 7.95, low + h), (x - w, 7.95, low + h)]
        place.solids.face(frame, mat(rng, "plain", (120, 94, 50)), casts=False)
        inner = [
            (x - w + 0.1, 7.93, low + 0.1),
            (x + w - 0.1, 7.93, low + 0.1),
            (x + w - 0.1, 7.93, low + h - 0.1),
            (x - w + 0.1, 7.93, low + h - 0.1),
        ]
        place.solids.face(inner, mat(rng, "leaves", tuple(rng.uniform(50, 190, 3))), casts=False)
    for x, y in ((-4.5, 3.0), (0.4, 4.6), (5.2, 2.6)):
        place.solids.box((x, y), (0.6, 0.6, 1.05), mat(rng, "plaster", (214, 212, 206)))
        place.spots.append((x, y, 1.06))
        if rng.random() < 0.7:
            place.solids.pillar((x, y), 0.14, 0.45, mat(rng, "metal", (150, 120, 70)), base=1.05)
    bench(place, rng, 0.0, 0.6, math.pi / 2)
    place.walks += [
        Path(((-15, -1.6), (15, -1.2)), 1.0, "floor"),
        Path(((-8.4, -12), (-8.0, 6.2), (8.4, 6.4), (8.4, -12)), 0.3, "floor"),
    ]
    place.stands += [(-8, 5.9, 8, 6.8), (-6.5, -3.5, 6.5, -0.5)]
    closed = (-2.6, 3.6, 3.2, 5.8)
    place.closed.append((closed, "roped area"))
    for a, b in (((-2.6, 3.6), (3.2, 3.6)), ((-2.6, 3.6), (-2.6, 5.8)), ((3.2, 3.6), (3.2, 5.8))):
        fence(place, rng, a, b, 0.8)
    return place


def canteen(rng: Rng, size: Size, aspect: float | None) -> Place:
    """Tables with people at their meals, and a counter."""
    floor = (
        mat(rng, "checker", (188, 176, 158), pitch=0.5) if rng.random() < 0.5 else mat(rng, "planks", (150, 122, 92))
    )
    place = room(
        rng,
        "a canteen",
        "floor",
        camera_for(rng, size, aspect, pitch=(17, 30), distance=(12, 16), person=(0.18, 0.26)),
        floor,
        (13, 10),
        3.6,
        mat(rng, "plaster", (210, 200, 176)),
    )
    wood = mat(rng, "planks", (176, 140, 96))
    for x in (-6.8, -1.8, 3.4, 8.2):
        for y in (3.2, 6.6):
            place.solids.box((x, y), (1.6, 0.9, 0.06), wood, base=0.7)
            place.solids.box((x, y), (0.12, 0.12, 0.7), mat(rng, "plain", (70, 72, 76)), solid=False)
            for dx, dy, turn in ((-0.4, -0.85, math.pi / 2), (0.4, 0.85, -math.pi / 2)):
                place.solids.box((x + dx, y + dy), (0.42, 0.42, 0.45), mat(rng, "plain", (90, 70, 60)), solid=False)
                place.seats.append(Seat((x + dx, y + dy), turn, 0.47))
            place.spots.append((x + 0.3, y, 0.77))
    place.solids.box(
        (0, 9.4), (16, 0.9, 1.1), mat(rng, "tiles", (170, 176, 178), pitch=0.2), top=mat(rng, "plain", (190, 192, 194))
    )
    place.walks += [
        Path(((-16, -0.6), (16, -0.2)), 0.9, "floor"),
        Path(((-4.4, -12), (-4.3, 8.2)), 0.5, "floor"),
        Path(((0.8, -12), (0.8, 8.2), (14, 8.4)), 0.4, "floor"),
    ]
    place.stands += [(-8, -4.0, 6.4, -1.8), (-3, 8.0, 4, 8.6)]
    service = (6.5, -3.5, 11.0, -1.4)
    place.closed.append((service, "closed part"))
    stripe = Material("stripes", (214, 60, 44), 0.5)
    for a, b in (((6.5, -1.4), (11.0, -1.4)), ((6.5, -3.5), (6.5, -1.4)), ((6.5, -3.5), (11.0, -3.5))):
        place.solids.wall(a, b, 0.1, stripe, base=0.85)
    return place


def platform(rng: Rng, size: Size, aspect: float | None) -> Place:
    """An underground platform with its track."""
    camera = camera_for(rng, size, aspect, pitch=(16, 26), distance=(13, 18), person=(0.19, 0.27), yaw=16)
    place = room(
        rng,
        "an underground platform",
        "platform",
        camera,
        mat(rng, "slabs", (150, 148, 142), pitch=0.6),
        (30, 9),
        4.6,
        mat(rng, "tiles", (206, 206, 196), pitch=0.3),
    )
    track = (-60.0, 4.4, 60.0, 8.6)
    place.zone(*track, mat(rng, "gravel", (84, 78, 72)), 0)
    place.closed.append(((-9, 4.8, 9, 7.6), "track"))
    place.markings += [Marking((-60, y), (60, y), 0.12, (150, 150, 156)) for y in (5.4, 6.9)]
    place.markings += [Marking((x, 5.0), (x, 7.3), 0.22, (96, 84, 72)) for x in np.arange(-20, 20, 0.8)]
    place.markings += [
        Marking((-60, 4.3), (60, 4.3), 0.3, (200, 198, 190)),
        Marking((-60, 3.5), (60, 3.5), 0.28, YELLOW),
    ]
    for x in (-10.5, -3.5, 3.5, 10.5):
        place.solids.pillar((x, -1.0), 0.3, 4.6, mat(rng, "tiles", (180, 184, 178), pitch=0.3))
    for x in (-7.0, 0.0, 7.0):
        bench(place, rng, x, -0.6, math.pi / 2)
        place.solids.box(
            (x, 8.9), (3.2, 0.06, 1.6), mat(rng, "leaves", tuple(rng.uniform(70, 200, 3))), base=1.2, solid=False
        )
    place.walks += [Path(((-24, 1.0), (24, 1.0)), 0.7, "platform"), Path(((-24, -3.2), (24, -3.2)), 0.8, "platform")]
    place.stands += [(-8, 0.6, 8, 3.0), (-7, -4.6, 7, -2.2)]
    place.spots += [(-5.0, -0.7, 0.0), (2.0, -0.7, 0.0)]
    return place
