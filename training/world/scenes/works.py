"""Families of places where goods and vehicles are under a roof. Each function builds one at random, from its dice alone."""

from __future__ import annotations

import math

import numpy as np

from .build import YELLOW, camera_for, mat, rack, room
from .materials import Material
from .place import Belt, Marking, Path, Place

__all__ = ["bottling_line", "checkout", "packing_line", "parking_deck", "shop", "sorting_line", "warehouse"]

Rng = np.random.Generator
Size = tuple[int, int]


def _line(
    rng: Rng,
    words: str,
    size: Size,
    aspect: float | None,
    item: str,
    gap: float,
    rows: tuple[float, ...],
    floor: Material,
) -> Place:
    """A hall with conveyor belts along x between machines, and a way for people beside them."""
    camera = camera_for(rng, size, aspect, pitch=(17, 30), distance=(11, 15), person=(0.2, 0.29), yaw=16)
    place = room(rng, words, "walkway", camera, floor, (16, 10), 5.0, mat(rng, "metal", (186, 190, 192), pitch=0.6))
    steel = mat(rng, "plain", (132, 138, 142))
    for y in rows:
        height = float(rng.uniform(0.8, 0.95))
        reach = float(rng.uniform(8.5, 10.0))
        place.solids.box((0, y), (2 * reach + 3, 0.7, height), steel, top=Material("plain", (52, 56, 58)))
        for edge in (-0.36, 0.36):
            place.solids.box(
                (0, y + edge), (2 * reach + 3, 0.04, 0.06), mat(rng, "plain", (170, 174, 176)), base=height, solid=False
            )
        for end in (-reach - 1.0, reach + 1.0):
            machine = mat(rng, "metal", ((70, 110, 150), (196, 196, 190), (190, 150, 60))[rng.integers(3)], pitch=0.5)
            place.solids.box((end, y), (3.4, 1.8, 2.1), machine, top=mat(rng, "plain", (120, 124, 128)))
        place.belts.append(Belt(Path(((-reach - 0.5, y), (reach + 0.5, y)), 0.05, "line"), height + 0.01, item, gap))
    low = min(rows) - 1.2
    place.zone(-60, low - 2.4, 60, low, mat(rng, "concrete", (118, 140, 122)), 2)
    place.markings += [Marking((-60, y), (60, y), 0.12, YELLOW) for y in (low, low - 2.4)]
    place.walks += [Path(((-20, low - 1.2), (20, low - 1.2)), 0.8)]
    place.stands += [(-7, low - 2.2, 7, low - 0.2), (-6, max(rows) + 0.9, 6, max(rows) + 2.2)]
    hazard = (-6.5, max(rows) + 2.6, 6.5, max(rows) + 5.0)
    place.closed.append((hazard, "machine area"))
    place.markings += [Marking((x, hazard[1]), (x + 1.2, hazard[3]), 0.14, YELLOW) for x in np.arange(-6.5, 5.5, 0.9)]
    for x in (-11.0, -4.0, 3.5, 10.5):
        place.solids.box((x, 9.0), (2.6, 1.4, float(rng.uniform(1.4, 2.6))), mat(rng, "plain", (150, 158, 164)))
    place.spots += [(-3.0, max(rows) + 0.7, 0.0), (4.0, max(rows) + 0.7, 0.0)]
    return place


def warehouse(rng: Rng, size: Size, aspect: float | None) -> Place:
    """Racks of pallets, a lane for forklifts, and a marked way for people."""
    camera = camera_for(rng, size, aspect, pitch=(15, 27), distance=(15, 20), person=(0.16, 0.23))
    place = room(
        rng,
        "a warehouse",
        "walkway",
        camera,
        mat(rng, "concrete", (142, 142, 140), pitch=5.0),
        (24, 16),
        8.0,
        mat(rng, "metal", (140, 146, 152), pitch=0.5),
        0,
    )
    for y in (6.5, 12.5):
        for x in (-12.5, -4.2, 4.2, 12.5):
            rack(place, rng, (x, y), (6.6, 1.2, float(rng.uniform(3.4, 5.2))))
    place.zone(-60, -0.4, 60, 4.6, mat(rng, "concrete", (128, 130, 130)), 1)
    place.zone(-60, -3.6, 60, -1.2, mat(rng, "concrete", (110, 136, 118)), 2)
    place.markings += [Marking((-60, y), (60, y), 0.14, YELLOW) for y in (-3.6, -1.2, -0.4, 4.6)]
    place.lanes += [Path(((-40, 0.8), (40, 0.8)), 0.2, "lane"), Path(((40, 3.3), (-40, 3.3)), 0.2, "lane")]
    place.walks += [Path(((-22, -2.4), (22, -2.4)), 0.8)]
    place.stands += [(-9, -3.4, 9, -1.5)]
    for x in (-8.5, 7.0):
        for k in range(int(rng.integers(1, 4))):
            place.solids.box((x, -6.0), (1.2, 1.0, 0.7), mat(rng, "planks", (170, 134, 90)), base=0.72 * k)
    place.closed.append(((-7.6, 7.6, 7.6, 11.4), "closed aisle"))
    place.spots += [(-3.0, 5.6, 0.0), (2.0, 5.6, 0.0)]
    return place


def bottling_line(rng: Rng, size: Size, aspect: float | None) -> Place:
    """Bottles on two belts."""
    return _line(
        rng, "a bottling line", size, aspect, "bottle", 0.75, (0.4, 2.6), mat(rng, "tiles", (150, 140, 126), pitch=0.3)
    )


def packing_line(rng: Rng, size: Size, aspect: float | None) -> Place:
    """Boxes on one belt."""
    return _line(rng, "a packing line", size, aspect, "box", 1.7, (1.2,), mat(rng, "concrete", (146, 146, 142)))


def sorting_line(rng: Rng, size: Size, aspect: float | None) -> Place:
    """Parcels, bags and suitcases on two belts."""
    item = str(rng.choice(["suitcase", "box"]))
    return _line(rng, "a sorting line", size, aspect, item, 1.5, (0.2, 2.9), mat(rng, "concrete", (128, 132, 136)))


def shop(rng: Rng, size: Size, aspect: float | None) -> Place:
    """Aisles between shelves, and a counter."""
    camera = camera_for(rng, size, aspect, pitch=(18, 30), distance=(12, 16), person=(0.19, 0.28), yaw=18)
    floor = mat(rng, "tiles", (196, 192, 184), pitch=0.5)
    place = room(rng, "a shop", "floor", camera, floor, (11, 9), 3.4, mat(rng, "goods", (190, 180, 164), pitch=0.5))
    for x in (-6.2, -1.4, 3.4):
        rack(place, rng, (x, 3.6), (0.9, 5.0, 1.5))
    place.solids.box(
        (5.6, -1.6), (3.0, 0.9, 1.0), mat(rng, "planks", (140, 110, 82)), top=mat(rng, "plain", (200, 198, 194))
    )
    place.solids.box((5.2, -1.6), (0.4, 0.4, 0.35), mat(rng, "plain", (50, 52, 56)), base=1.0, solid=False)
    place.closed.append(((4.4, -0.8, 8.5, 1.0), "counter"))
    place.walks += [
        Path(((-14, -1.4), (3.2, -1.8), (3.0, -14)), 0.6, "floor"),
        Path(((-3.8, -12), (-3.8, 7.6), (1.0, 7.6), (1.0, -12)), 0.5, "floor"),
        Path(((-9.5, -12), (-8.6, 7.6), (-3.8, 7.6), (-3.8, -12)), 0.4, "floor"),
    ]
    place.stands += [(-9, -3.6, 2.6, 0.4), (-4.6, 1.5, -2.8, 6.0), (0.2, 1.5, 1.9, 6.0)]
    place.spots += [(-0.75, 1.6, 0.9), (-5.55, 1.6, 0.9), (4.6, -1.9, 1.0)]
    return place


def checkout(rng: Rng, size: Size, aspect: float | None) -> Place:
    """Checkouts of a supermarket, where goods move on belts, before shelves."""
    camera = camera_for(rng, size, aspect, pitch=(18, 30), distance=(12, 16), person=(0.18, 0.26), yaw=20)
    place = room(
        rng,
        "a supermarket",
        "floor",
        camera,
        mat(rng, "checker", (198, 194, 186), pitch=0.7),
        (14, 10),
        3.8,
        mat(rng, "goods", (170, 168, 160), pitch=0.6),
    )
    for x in (-5.6, -1.0, 3.6):
        place.solids.box(
            (x, 0.6), (0.9, 3.8, 0.8), mat(rng, "plain", (180, 182, 184)), top=Material("plain", (44, 46, 50))
        )
        place.solids.box((x + 0.1, -1.7), (0.9, 0.9, 1.05), mat(rng, "plain", (90, 96, 104)))
        place.belts.append(
            Belt(Path(((x, 2.4), (x, -1.2)), 0.1, "belt"), 0.8, str(rng.choice(["bottle", "box"])), 0.85)
        )
    for x in (-8, -2.5, 3, 8.5):
        rack(place, rng, (x, 6.8), (4.0, 0.9, 1.8))
    place.walks += [
        Path(((-14, -3.6), (14, -3.6)), 0.9, "floor"),
        Path(((1.3, 4.4), (1.3, -14)), 0.4, "floor"),
        Path(((-3.3, 4.4), (-3.3, -14)), 0.4, "floor"),
        Path(((-14, 4.2), (14, 4.2)), 0.5, "floor"),
    ]
    place.stands += [(-8, -4.6, 8, -2.8), (5.2, -1.5, 8.5, 3.0)]
    place.spots += [(-8, 6.2, 0.9), (3.0, 6.2, 0.9)]
    place.closed.append(((-5.0, -2.0, -4.2, 2.4), "till"))
    return place


def parking_deck(rng: Rng, size: Size, aspect: float | None) -> Place:
    """A deck of a car park under a roof, with pillars, bays and a lane."""
    camera = camera_for(rng, size, aspect, pitch=(14, 24), distance=(15, 20), person=(0.16, 0.23))
    place = room(
        rng,
        "a car park",
        "walkway",
        camera,
        mat(rng, "concrete", (120, 122, 124), pitch=6.0),
        (26, 12),
        3.2,
        mat(rng, "concrete", (150, 150, 146), pitch=2.0),
        1,
    )
    for k in range(-7, 8):
        x = k * 2.6
        place.markings.append(Marking((x, 6.4), (x, 11.4), 0.11, (220, 220, 212)))
        place.bays.append((x + 1.3, 9.0, math.pi / 2))
    for x in (-7.8, 0.0, 7.8):
        place.solids.box((x, 6.0), (0.5, 0.5, 3.2), mat(rng, "plaster", (206, 204, 198)))
        place.solids.box((x, 6.0), (0.52, 0.52, 0.5), Material("stripes", YELLOW, 0.3), base=0.3, solid=False)
    place.zone(-60, -1.9, 60, 0.3, mat(rng, "concrete", (96, 132, 108)), 2)
    place.walks += [Path(((-22, -0.8), (22, -0.8)), 0.7)]
    place.lanes += [Path(((-40, 2.0), (40, 2.0)), 0.2, "road"), Path(((40, 4.4), (-40, 4.4)), 0.2, "road")]
    place.markings += [Marking((-60, 3.2), (60, 3.2), 0.12, (220, 220, 212), 1.5)]
    place.stands += [(-8, -1.6, 8, 0.0)]
    place.spots += [(3.0, 5.6, 0.0)]
    return place
