"""Families of places where vehicles go. Each function builds one at random; all are functions of their dice alone."""

from __future__ import annotations

import math

import numpy as np

from .build import (
    FAR,
    WHITE,
    YELLOW,
    bench,
    camera_for,
    facade,
    fence,
    ground_place,
    hedge,
    lamp_post,
    mat,
    planter,
    road,
    tree,
)
from .materials import Material
from .place import Marking, Path, Place

__all__ = ["bus_stop", "car_lot", "junction", "loading_yard", "mews", "petrol_station", "street", "suburb"]

Rng = np.random.Generator
Size = tuple[int, int]


def street(rng: Rng, size: Size, aspect: float | None) -> Place:
    """A road of two lanes with kerbs, a walkway on either side, parked cars and houses."""
    posts = ((-8.0, 3.2), (0.5, 3.2), (9.0, 3.2))
    place = ground_place(
        rng, "a street", "walkway", camera_for(rng, size, aspect), (mat(rng, "slabs", (158, 152, 144)), 2), posts
    )
    lower, upper = -4.6, 2.4
    place.zone(-FAR, lower, FAR, upper, mat(rng, "asphalt", (84, 84, 86)), 1)
    for y in (lower, upper):
        place.markings.append(Marking((-FAR, y), (FAR, y), 0.22, (176, 174, 168)))
    place.markings.append(Marking((-FAR, -2.1), (FAR, -2.1), 0.12, WHITE, 1.5))
    place.lanes += [Path(((-40, -3.3), (40, -3.3)), 0.2, "road"), Path(((40, -0.9), (-40, -0.9)), 0.2, "road")]
    place.tracks += [Path(((-30, 0.0), (30, 0.0)), 0.1, "road")]
    place.walks += [Path(((-26, 3.9), (26, 3.9)), 0.9), Path(((-26, -6.0), (26, -6.0)), 0.7)]
    place.stands += [(-9, 3.0, 9, 5.0)]
    place.bays += [(x, 1.5, 0.0) for x in (-14.5, -9.0, -3.5, 5.5, 11.5, 17.0)]
    for x, y in posts:
        lamp_post(place, rng, x + 0.4, y - 0.5)
    facade(place, rng, 5.8, 7.5)
    for x in (-6.0, 6.5):
        if rng.random() < 0.5:
            planter(place, rng, x, 5.2)
    place.spots += [(-4.0, 5.3, 0.0), (3.0, 5.3, 0.0)]
    return place


def mews(rng: Rng, size: Size, aspect: float | None) -> Place:
    """A narrow cobbled lane between brick houses, seen along it."""
    camera = camera_for(rng, size, aspect, pitch=(11, 20), distance=(13, 18), person=(0.2, 0.3), yaw=10)
    place = ground_place(rng, "a mews", "cobbles", camera, (mat(rng, "cobbles", (120, 116, 110)), 2))
    half = rng.uniform(3.0, 3.8)
    for side in (-1, 1):
        y = -14.0
        while y < 34:
            depth = float(rng.uniform(5, 8))
            color = ((136, 88, 66), (216, 210, 198), (166, 134, 98), (120, 104, 92))[rng.integers(4)]
            wall = mat(rng, "facade", color, pitch=rng.uniform(1.9, 2.6))
            x = side * (half + 3 + rng.uniform(0, 0.15))
            place.solids.box((x, y + depth / 2), (6, depth, rng.uniform(5, 7)), wall)
            if rng.random() < 0.7:
                planter(place, rng, side * (half - 0.45), y + rng.uniform(0.6, depth))
            y += depth
    place.solids.box((0, 38), (16, 6, 8), mat(rng, "facade", (150, 110, 90)))
    tree(place, rng, half - 0.6, 26.0, 6.0)
    place.walks += [Path(((-0.9, -16), (-0.9, 34)), 0.9, "cobbles"), Path(((1.0, 34), (1.0, -16)), 0.8, "cobbles")]
    place.stands += [(-half + 1.2, -5, half - 1.2, 9)]
    place.markings += [Marking((s * (half - 0.9), -20), (s * (half - 0.9), 35), 0.07, YELLOW) for s in (-1, 1)]
    place.spots += [(-half + 0.7, 1.0, 0.0), (half - 0.7, 4.0, 0.0)]
    return place


def bus_stop(rng: Rng, size: Size, aspect: float | None) -> Place:
    """A road with a shelter and a bench on a broad walkway."""
    posts = ((-9.0, 4.6), (8.0, 4.6))
    place = ground_place(
        rng,
        "a bus stop",
        "walkway",
        camera_for(rng, size, aspect),
        (mat(rng, "concrete", (150, 148, 144), pitch=1.2), 2),
        posts,
    )
    road(place, rng, -5.6, 1.2, cycle=-0.2)
    steel, pane = mat(rng, "plain", (78, 84, 88)), mat(rng, "glass", (150, 170, 176))
    x = float(rng.uniform(-2, 2))
    place.solids.wall((x - 2.4, 4.9), (x + 2.4, 4.9), 2.2, pane, base=0.15)
    place.solids.box((x, 4.2), (5.2, 1.8, 0.12), steel, base=2.4, solid=False)
    for end in (-2.4, 2.4):
        place.solids.pillar((x + end, 4.9), 0.06, 2.4, steel)
        place.solids.pillar((x + end, 3.4), 0.05, 2.4, steel)
    bench(place, rng, x, 4.4, -math.pi / 2)
    place.solids.box((x + 3.1, 3.2), (0.1, 1.1, 1.9), mat(rng, "goods", (150, 150, 160), pitch=2.0))
    place.walks += [Path(((-25, 2.3), (25, 2.3)), 0.6), Path(((-25, 6.4), (25, 6.4)), 0.6)]
    place.stands += [(x - 5.5, 2.9, x + 5.5, 4.0)]
    place.spots += [(x - 3.4, 4.3, 0.0)]
    for px, py in posts:
        lamp_post(place, rng, px, py)
    if rng.random() < 0.5:
        facade(place, rng, 8.5, 8)
    else:
        hedge(place, rng, (-30, 8.4), (30, 8.4), 1.6)
        for tx in (-12, -4, 5, 13):
            tree(place, rng, tx + rng.uniform(-1, 1), 11)
        place.zone(-FAR, 8.0, FAR, FAR, mat(rng, "grass", (94, 116, 64)), 0)
    return place


def junction(rng: Rng, size: Size, aspect: float | None) -> Place:
    """Two roads that meet, with crossings for people."""
    camera = camera_for(rng, size, aspect, pitch=(24, 38), distance=(17, 22), person=(0.13, 0.2))
    place = ground_place(rng, "a junction", "walkway", camera, (mat(rng, "slabs", (156, 150, 142)), 2))
    tar = mat(rng, "asphalt", (82, 82, 84))
    place.zone(-FAR, -4.0, FAR, 3.0, tar, 1)
    place.zone(1.0, -FAR, 7.4, FAR, tar, 1)
    for y in (-4.0, 3.0):
        place.markings += [
            Marking((-FAR, y), (1.0, y), 0.2, (176, 174, 168)),
            Marking((7.4, y), (FAR, y), 0.2, (176, 174, 168)),
        ]
    place.markings += [
        Marking((-FAR, -0.5), (0.2, -0.5), 0.12, WHITE, 1.5),
        Marking((8.2, -0.5), (FAR, -0.5), 0.12, WHITE, 1.5),
    ]
    place.zone(-2.9, -4.0, -0.2, 3.0, tar, 2)
    place.markings += [Marking((-2.8, y), (-0.4, y), 0.42, WHITE) for y in np.arange(-3.6, 3.0, 0.85)]
    place.lanes += [Path(((-40, -2.2), (40, -2.2)), 0.2, "road"), Path(((40, 1.3), (-40, 1.3)), 0.2, "road")]
    place.tracks += [Path(((-30, 2.6), (30, 2.6)), 0.1, "road")]
    place.walks += [
        Path(((-24, 4.3), (-1.6, 4.3), (-1.6, -5.3), (-24, -5.3)), 0.5),
        Path(((-22, 5.2), (0.0, 5.4)), 0.5),
        Path(((8.8, 18), (8.8, 4.2), (24, 4.4)), 0.4),
    ]
    place.stands += [(-9, 3.6, -0.4, 5.8), (-8, -6.4, -1, -4.8)]
    for x, y in ((-3.4, 3.5), (0.6, 3.6), (7.9, 3.6), (-3.4, -4.5)):
        place.solids.pillar((x, y), 0.07, 3.2, mat(rng, "plain", (60, 64, 66)))
        place.solids.box((x, y), (0.3, 0.3, 0.85), Material("plain", (30, 32, 34)), base=2.6, solid=False)
        place.solids.box(
            (x, y - 0.16),
            (0.18, 0.02, 0.2),
            Material("plain", (60, 190, 90) if rng.random() < 0.5 else (210, 50, 40)),
            base=2.75,
            solid=False,
            glow=0.8,
        )
    for x0, x1 in ((-24.0, -0.5), (9.8, 24.0)):
        place.solids.box(((x0 + x1) / 2, 11.5), (x1 - x0, 8, 9), mat(rng, "facade", (160, 138, 116), pitch=2.6))
    place.spots += [(-6.0, 6.2, 0.0)]
    return place


def suburb(rng: Rng, size: Size, aspect: float | None) -> Place:
    """A quiet road between gardens with hedges and drives."""
    place = ground_place(
        rng, "a quiet road", "walkway", camera_for(rng, size, aspect), (mat(rng, "grass", (100, 124, 66)), 0)
    )
    road(place, rng, -4.8, 0.6)
    paving = mat(rng, "concrete", (168, 162, 152), pitch=1.4)
    place.zone(-FAR, 0.7, FAR, 2.9, paving, 2)
    place.zone(-FAR, -7.0, FAR, -4.9, paving, 2)
    place.walks += [Path(((-24, 1.8), (24, 1.8)), 0.7), Path(((-24, -5.9), (24, -5.9)), 0.7)]
    place.stands += [(-9, 1.0, 9, 2.6), (-8, -6.6, 8, -5.2)]
    place.tracks += [Path(((28, 0.1), (-28, 0.1)), 0.1, "road")]
    for x in (-12.5, -2.0, 9.5):
        place.zone(x - 1.6, 2.9, x + 1.6, 9.0, mat(rng, "slabs", (150, 132, 120)), 0)
        place.bays.append((x, 6.6, math.pi / 2))
        hedge(place, rng, (x + 2.0, 3.6), (x + 8.0, 3.6), float(rng.uniform(0.7, 1.2)))
        house = mat(rng, "facade", ((178, 118, 92), (206, 196, 178), (150, 138, 126))[rng.integers(3)], pitch=2.6)
        place.solids.box((x + 5.0, 14.0), (7.5, 7, 5.5), house, top=mat(rng, "brick", (120, 62, 50)))
        tree(place, rng, x + 7.4, 6.2)
    garden = (0.0, 4.2, 7.0, 6.0)
    place.closed.append((garden, "garden"))
    place.spots += [(0.6, 3.3, 0.0), (-4.4, 3.3, 0.0)]
    return place


def car_lot(rng: Rng, size: Size, aspect: float | None) -> Place:
    """Rows of marked bays with parked cars, and a lane between them."""
    camera = camera_for(rng, size, aspect, pitch=(22, 38), distance=(16, 22), person=(0.14, 0.21))
    place = ground_place(rng, "a parking lot", "walkway", camera, (mat(rng, "asphalt", (92, 92, 94)), 1))
    for y in (4.6, -7.6):
        for k in range(-7, 8):
            x = k * 2.6
            place.markings.append(Marking((x, y), (x, y + 4.8), 0.11, WHITE))
            place.bays.append((x + 1.3, y + 2.4, math.pi / 2))
    place.zone(-FAR, -1.9, FAR, 0.3, mat(rng, "concrete", (148, 146, 140), pitch=1.5), 2)
    place.walks += [Path(((-24, -0.8), (24, -0.8)), 0.7)]
    place.lanes += [Path(((-40, 2.4), (40, 2.4)), 0.5, "road")]
    place.markings += [Marking((x, 2.4), (x + 1.4, 2.4), 0.3, WHITE) for x in (-8, 0.5, 9)]
    place.stands += [(-7, -1.6, 7, 0.0)]
    fence(place, rng, (-30, 11.5), (30, 11.5), 1.3)
    for x in (-9, -1, 8):
        tree(place, rng, x, 13.5)
    place.zone(-FAR, 11.0, FAR, FAR, mat(rng, "grass", (98, 116, 66)), 0)
    place.spots += [(-5.0, 0.0, 0.0), (4.0, 0.0, 0.0)]
    return place


def loading_yard(rng: Rng, size: Size, aspect: float | None) -> Place:
    """A yard with gates of a warehouse, where trucks drive, and a marked way for people."""
    camera = camera_for(rng, size, aspect, pitch=(20, 34), distance=(17, 22), person=(0.14, 0.2))
    place = ground_place(
        rng, "a loading yard", "walkway", camera, (mat(rng, "concrete", (132, 130, 126), pitch=4.0), 1)
    )
    place.solids.box((0, 16), (60, 8, 6.5), mat(rng, "metal", (150, 158, 166), pitch=0.4))
    for k, x in enumerate((-13.5, -7.0, -0.5, 6.0, 12.5)):
        gate = mat(
            rng, "metal", ((196, 196, 190), (70, 84, 104), (150, 60, 50))[(k + int(rng.integers(3))) % 3], pitch=0.3
        )
        place.solids.face(
            [(x - 1.7, 11.97, 0.0), (x + 1.7, 11.97, 0.0), (x + 1.7, 11.97, 3.6), (x - 1.7, 11.97, 3.6)], gate
        )
        place.markings += [Marking((x + s * 2.0, 6.0), (x + s * 2.0, 11.9), 0.14, YELLOW) for s in (-1, 1)]
    place.zone(-FAR, -3.9, FAR, -1.5, mat(rng, "asphalt", (104, 116, 104)), 2)
    place.markings += [Marking((-FAR, y), (FAR, y), 0.14, YELLOW) for y in (-3.9, -1.5)]
    place.walks += [Path(((-25, -2.7), (25, -2.7)), 0.8)]
    place.lanes += [Path(((-40, 1.4), (40, 1.4)), 0.3, "road"), Path(((40, 4.6), (-40, 4.6)), 0.3, "road")]
    place.bays += [(-7.0, 8.7, math.pi / 2), (6.0, 8.7, math.pi / 2)]
    place.stands += [(-8, -3.6, 8, -1.8)]
    for x in (-11.5, 9.5):
        for k in range(int(rng.integers(1, 4))):
            place.solids.box((x, 10.6), (1.2, 1.0, 0.15), mat(rng, "planks", (170, 134, 92)), base=0.16 * k)
    place.closed.append(((-4.0, 6.4, 3.0, 11.2), "loading bay"))
    place.markings += [Marking((-4.0 + 0.9 * k, 6.4), (-2.6 + 0.9 * k, 11.2), 0.14, YELLOW) for k in range(7)]
    return place


def petrol_station(rng: Rng, size: Size, aspect: float | None) -> Place:
    """Pumps under a roof on pillars, with a shop behind."""
    camera = camera_for(rng, size, aspect, pitch=(18, 30), distance=(16, 21), person=(0.15, 0.22))
    posts = ((-4.0, 2.0), (4.0, 2.0))
    place = ground_place(
        rng, "a petrol station", "walkway", camera, (mat(rng, "concrete", (140, 138, 134), pitch=3.5), 1), posts
    )
    accent = ((196, 44, 38), (38, 92, 160), (46, 130, 76), (230, 170, 40))[rng.integers(4)]
    for x in (-4.0, 4.0):
        place.zone(x - 3.0, 1.2, x + 3.0, 2.8, mat(rng, "concrete", (168, 166, 160)), 2)
        for d in (-1.2, 1.2):
            place.solids.box(
                (x + d, 2.0), (0.8, 0.5, 1.5), mat(rng, "plain", (220, 218, 212)), top=mat(rng, "plain", accent)
            )
            place.solids.box((x + d, 1.74), (0.5, 0.02, 0.4), Material("plain", (40, 48, 52)), base=0.9, solid=False)
        place.solids.pillar((x, 2.0), 0.16, 4.2, mat(rng, "plain", (200, 200, 198)))
    place.solids.box(
        (0, 11.5), (22, 6, 3.4), mat(rng, "glass", (150, 168, 176), pitch=1.8), top=mat(rng, "plain", (150, 150, 148))
    )
    place.solids.box((0, 8.42), (22, 0.1, 0.7), mat(rng, "plain", accent), base=2.7, solid=False)
    place.zone(-FAR, 5.8, FAR, 8.5, mat(rng, "slabs", (164, 160, 152)), 2)
    place.walks += [Path(((-22, 7.2), (22, 7.2)), 0.8, "walkway"), Path(((-22, -4.8), (22, -4.8)), 0.6, "walkway")]
    place.zone(-FAR, -5.8, FAR, -3.8, mat(rng, "slabs", (160, 156, 150)), 2)
    place.lanes += [Path(((40, 4.3), (-40, 4.3)), 0.3, "road"), Path(((-40, -0.6), (40, -0.6)), 0.4, "road")]
    place.tracks += [Path(((-28, -7.2), (28, -7.2)), 0.3, "road")]
    place.stands += [(-9, 6.2, 9, 8.0), (-8, -5.5, 8, -4.1)]
    place.spots += [(-6.5, 8.0, 0.0), (5.5, 8.0, 0.0)]
    place.closed.append(((-2.0, 1.0, 2.0, 3.0), "pump area"))
    place.markings += [Marking((-2.0 + 0.8 * k, 1.0), (-1.2 + 0.8 * k, 3.0), 0.12, YELLOW) for k in range(5)]
    return place
