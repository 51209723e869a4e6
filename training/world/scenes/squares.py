"""Families of places out of doors that belong to people. Each function builds one at random, from its dice alone."""

from __future__ import annotations

import math

import numpy as np

from .build import FAR, WHITE, bench, camera_for, facade, fence, ground_place, hedge, lamp_post, mat, planter, tree
from .place import Marking, Path, Place

__all__ = ["campus", "market", "park", "plaza", "promenade", "school_yard"]

Rng = np.random.Generator
Size = tuple[int, int]


def plaza(rng: Rng, size: Size, aspect: float | None) -> Place:
    """A paved square with a fountain, benches and trees."""
    posts = ((-7.0, 6.0), (7.0, 6.0), (0.0, -5.0))
    place = ground_place(
        rng,
        "a plaza",
        "pavement",
        camera_for(rng, size, aspect),
        (mat(rng, "slabs", (170, 160, 146), pitch=0.8), 2),
        posts,
    )
    place.disc(3.0, 4.5, 3.2, mat(rng, "cobbles", (130, 118, 108)), 2)
    place.solids.pillar((3.0, 4.5), 1.7, 0.5, mat(rng, "concrete", (150, 146, 140)))
    place.solids.pillar((3.0, 4.5), 0.25, 1.6, mat(rng, "concrete", (140, 138, 134)))
    for x, y in ((-5.5, 2.5), (-2.0, 7.5), (7.0, 1.0)):
        bench(place, rng, x, y, float(rng.uniform(-math.pi, 0)))
    for x, y in ((-8.5, 5.0), (8.8, 7.0), (-9.0, 12.0), (0.0, 13.0)):
        tree(place, rng, x + rng.uniform(-0.5, 0.5), y)
    for x, y in posts:
        lamp_post(place, rng, x, y)
    facade(place, rng, 19, 9)
    place.walks += [
        Path(((-22, -1.5), (22, 0.0)), 1.3, "pavement"),
        Path(((-20, 9.8), (0, 9.8), (20, 10)), 0.6, "pavement"),
        Path(((-12, -16), (-3.5, 1.0), (-4.5, 18)), 0.9, "pavement"),
    ]
    place.tracks += [Path(((-26, -4.2), (26, -4.2)), 0.4, "cycle path")]
    place.zone(-FAR, -5.0, FAR, -3.4, mat(rng, "asphalt", (128, 74, 66)), 1)
    place.stands += [(-6, -1, 0.5, 7), (5.5, -2, 9, 3)]
    place.spots += [(-4.0, 4.0, 0.0), (6.0, -1.0, 0.0)]
    place.closed.append(((-9.5, 7.0, -5.0, 9.0), "flower bed"))
    place.zone(-9.5, 7.0, -5.0, 9.0, mat(rng, "leaves", (96, 100, 60)), 0)
    for a, b in (((-9.5, 7.0), (-5.0, 7.0)), ((-5.0, 7.0), (-5.0, 9.0)), ((-9.5, 7.0), (-9.5, 9.0))):
        fence(place, rng, a, b, 0.5)
    return place


def park(rng: Rng, size: Size, aspect: float | None) -> Place:
    """Paths through grass, with trees, hedges and benches."""
    place = ground_place(rng, "a park", "path", camera_for(rng, size, aspect), (mat(rng, "grass", (96, 118, 62)), 0))
    path = mat(rng, "gravel", (178, 162, 136))
    place.zone(-FAR, -1.6, FAR, 1.4, path, 2)
    place.zone(-14.3, 5.0, 25.7, 7.2, path, 2, 0.28)
    place.disc(-5.0, 0.5, 3.4, path, 2)
    place.walks += [Path(((-24, -0.6), (24, -0.6)), 0.8, "path"), Path(((-24, 0.6), (24, 0.6)), 0.6, "path")]
    place.tracks += [Path(((-30, -4.4), (30, -4.4)), 0.3, "cycle path")]
    place.zone(-FAR, -5.2, FAR, -3.6, mat(rng, "asphalt", (112, 106, 102)), 1)
    place.lanes += [Path(((-40, -8.2), (40, -8.2)), 0.2, "road")]
    place.zone(-FAR, -10.0, FAR, -6.6, mat(rng, "asphalt", (90, 90, 92)), 1)
    place.stands += [(-7.3, -1.2, -2.7, 2.6), (0.0, -1.2, 6.0, 1.0)]
    for x, y in ((-6.5, 3.1), (2.5, 2.0), (7.5, 2.1)):
        bench(place, rng, x, y, -math.pi / 2 + float(rng.uniform(-0.3, 0.3)))
    for x, y in ((-10, 5), (-3, 8.5), (4, 4.5), (9.5, 6.0), (12, -3.0), (-12, 11), (0, 15), (9, 14)):
        tree(place, rng, x + rng.uniform(-0.8, 0.8), y + rng.uniform(-0.6, 0.6))
    hedge(place, rng, (-30, 19), (30, 19), 1.8)
    beds = (1.0, 3.2, 5.6, 5.0)
    place.closed.append((beds, "flower bed"))
    place.zone(*beds, mat(rng, "leaves", (150, 84, 84)), 0)
    place.spots += [(-4.2, 3.2, 0.0)]
    return place


def campus(rng: Rng, size: Size, aspect: float | None) -> Place:
    """Broad steps of concrete before a glass house, with a cycle path."""
    place = ground_place(
        rng, "a campus", "walkway", camera_for(rng, size, aspect), (mat(rng, "concrete", (164, 160, 152), pitch=2.0), 2)
    )
    place.zone(-FAR, -6.5, FAR, -4.5, mat(rng, "asphalt", (120, 92, 84)), 1)
    place.tracks += [Path(((-28, -5.5), (28, -5.5)), 0.5, "cycle path")]
    place.walks += [
        Path(((-24, -2.6), (24, -2.6)), 1.0),
        Path(((-24, 2.0), (0, 2.4), (24, 2.0)), 0.9),
        Path(((4.0, 12.0), (3.4, 2.0), (7, -14)), 0.5),
    ]
    wall = mat(rng, "glass", (120, 146, 160), pitch=1.6)
    place.solids.box((-4, 15), (26, 8, 8), wall, top=mat(rng, "concrete", (120, 120, 118)))
    place.solids.box((-4, 10.6), (9, 1.2, 0.3), mat(rng, "concrete", (150, 148, 144)), base=3.0, solid=False)
    for x, y in ((-7.0, 5.2), (-2.0, 5.2), (9.0, 4.6)):
        bench(place, rng, x, y, -math.pi / 2)
    lawn = (-10.0, 6.4, -1.0, 9.6)
    place.zone(*lawn, mat(rng, "grass", (96, 122, 62)), 0)
    place.closed.append((lawn, "lawn"))
    fence(place, rng, (-10.0, 6.4), (-1.0, 6.4), 0.55)
    tree(place, rng, -8.5, 8.2)
    tree(place, rng, 10.5, 7.5)
    for k in range(int(rng.integers(3, 6))):  # a bicycle stand
        place.solids.box((6.0 + 0.7 * k, 6.2), (0.06, 0.9, 0.8), mat(rng, "plain", (120, 124, 128)))
    place.stands += [(-8, -1, 2, 1.0), (5, -1.2, 9, 3.2)]
    place.spots += [(-4.5, 5.6, 0.0)]
    return place


def market(rng: Rng, size: Size, aspect: float | None) -> Place:
    """Stalls with striped roofs on either side of a way."""
    place = ground_place(
        rng, "a market", "pavement", camera_for(rng, size, aspect), (mat(rng, "cobbles", (142, 134, 124)), 2)
    )
    for side, y in ((1, 4.2), (-1, -5.6)):
        for k in range(-3, 4):
            x = k * 4.2 + float(rng.uniform(-0.3, 0.3))
            place.solids.box(
                (x, y),
                (2.8, 1.2, 0.85),
                mat(rng, "planks", (150, 112, 74)),
                top=mat(rng, "goods", (190, 140, 90), pitch=0.3),
            )
            if side > 0:
                cloth = mat(
                    rng,
                    "stripes",
                    ((196, 60, 50), (60, 110, 76), (66, 92, 150), (206, 180, 90))[rng.integers(4)],
                    pitch=0.6,
                )
                place.solids.face(
                    [
                        (x - 1.7, y - 1.1, 2.1),
                        (x + 1.7, y - 1.1, 2.1),
                        (x + 1.7, y + 0.9, 2.7),
                        (x - 1.7, y + 0.9, 2.7),
                    ],
                    cloth,
                    two_sided=True,
                )
                for px in (-1.6, 1.6):
                    place.solids.pillar((x + px, y + 0.8), 0.04, 2.6, mat(rng, "plain", (120, 118, 114)))
                    place.solids.pillar((x + px, y - 1.0), 0.04, 2.1, mat(rng, "plain", (120, 118, 114)))
            place.spots.append((x + 1.0, y - side * 0.3, 0.87))
    place.walks += [Path(((-22, -0.9), (22, -0.9)), 1.2, "pavement"), Path(((-22, 1.2), (22, 1.2)), 0.8, "pavement")]
    place.stands += [(-9, 1.6, 9, 2.7), (-9, -4.0, 9, -3.0)]
    facade(place, rng, 8.2, 9)
    place.tracks += [Path(((-26, -8.4), (26, -8.4)), 0.3, "road")]
    place.lanes += [Path(((40, -9.6), (-40, -9.6)), 0.2, "road")]
    place.zone(-FAR, -11.5, FAR, -7.6, mat(rng, "asphalt", (88, 88, 90)), 1)
    return place


def school_yard(rng: Rng, size: Size, aspect: float | None) -> Place:
    """A tarred yard with the lines of a ball field, a fence, and a school."""
    place = ground_place(
        rng,
        "a school yard",
        "yard",
        camera_for(rng, size, aspect, distance=(16, 21), person=(0.15, 0.22)),
        (mat(rng, "asphalt", (110, 112, 116)), 2),
    )
    place.zone(-9, -3, 9, 8, mat(rng, "asphalt", (84, 122, 100)), 2)
    paint = (220, 220, 200)
    for a, b in (((-9, -3), (9, -3)), ((9, -3), (9, 8)), ((9, 8), (-9, 8)), ((-9, 8), (-9, -3)), ((0, -3), (0, 8))):
        place.markings.append(Marking(a, b, 0.12, paint))
    for k in range(16):
        a, b = (2 * math.pi * k / 16, 2 * math.pi * (k + 1) / 16)
        place.markings.append(
            Marking((2 * math.cos(a), 2.5 + 2 * math.sin(a)), (2 * math.cos(b), 2.5 + 2 * math.sin(b)), 0.1, paint)
        )
    place.solids.pillar((9.6, 2.5), 0.09, 3.0, mat(rng, "plain", (90, 92, 96)))
    place.solids.box((9.2, 2.5), (0.06, 1.6, 1.0), mat(rng, "plain", (220, 218, 214)), base=2.6, solid=False)
    fence(place, rng, (-26, 9.6), (26, 9.6), 1.8)
    place.solids.box((0, 19), (60, 8, 8), mat(rng, "facade", (178, 120, 90), pitch=2.4))
    for x in (-12, -4.5, 4, 12):
        tree(place, rng, x, 12.2)
    place.zone(-FAR, 9.6, FAR, 14.5, mat(rng, "grass", (98, 120, 66)), 0)
    place.closed.append(((-10, 10.2, 10, 11.4), "fenced garden"))
    bench(place, rng, -11, 1.0, 0.0)
    place.walks += [
        Path(((-22, -4.6), (22, -4.6)), 0.9, "yard"),
        Path(((-20, 1.0), (20, 5.5)), 0.9, "yard"),
        Path(((-3, -14), (-5, 7.4), (-16, 8.0)), 0.7, "yard"),
    ]
    place.stands += [(-8, -2, -2, 7), (2.5, -2, 8, 6)]
    place.lanes += [Path(((-40, -8.2), (40, -8.2)), 0.2, "road")]
    place.zone(-FAR, -10.0, FAR, -6.4, mat(rng, "asphalt", (80, 80, 82)), 1)
    place.tracks += [Path(((-28, -6.9), (28, -6.9)), 0.1, "road")]
    return place


def promenade(rng: Rng, size: Size, aspect: float | None) -> Place:
    """A walkway of planks along water, with a railing."""
    place = ground_place(
        rng,
        "a promenade",
        "promenade",
        camera_for(rng, size, aspect),
        (mat(rng, "planks", (150, 126, 98), pitch=0.2), 2),
    )
    place.zone(-FAR, 4.2, FAR, 300, mat(rng, "water", (62, 88, 98)), 0)
    place.markings.append(Marking((-FAR, 4.1), (FAR, 4.1), 0.3, (150, 146, 138)))
    fence(place, rng, (-28, 3.9), (28, 3.9), 1.05)
    place.closed.append(((-9, 4.4, 9, 5.6), "water side"))
    place.zone(-FAR, 4.2, FAR, 5.8, mat(rng, "concrete", (138, 136, 130)), 0)
    place.zone(-FAR, -7.4, FAR, -4.4, mat(rng, "asphalt", (100, 98, 98)), 1)
    place.markings.append(Marking((-FAR, -5.6), (FAR, -5.6), 0.1, WHITE, 0.8))
    place.tracks += [Path(((-28, -5.0), (28, -5.0)), 0.15, "cycle path")]
    place.lanes += [Path(((-40, -6.5), (40, -6.5)), 0.1, "road")]
    for x in (-7.5, 0.0, 7.5):
        bench(place, rng, x + float(rng.uniform(-1, 1)), 2.6, math.pi / 2 if rng.random() < 0.5 else -math.pi / 2)
        lamp_post(place, rng, x + 3.4, 3.4)
    place.walks += [Path(((-24, 0.9), (24, 0.9)), 0.7, "promenade"), Path(((-24, -1.7), (24, -1.7)), 1.2, "promenade")]
    place.stands += [(-9, -3.4, 9, 2.0)]
    place.spots += [(-4.0, 3.2, 0.0), (5.0, 3.2, 0.0)]
    for x in (-8, 6):
        planter(place, rng, x, -3.9)
    place.horizon = "houses"
    return place
