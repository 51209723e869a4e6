"""What families of places are built from: cameras, lights, and the usual furniture of streets and rooms."""

from __future__ import annotations

import math

import numpy as np

from ..camera import PERSON_HEIGHT, Camera
from .materials import Material
from .place import Light, Marking, Path, Place, Seat, Zone

__all__ = [
    "FAR", "WHITE", "YELLOW", "bench", "camera_for", "daylight", "door", "facade", "fence", "ground_place", "hedge",
    "indoor_light", "lamp_post", "mat", "planter", "rack", "road", "room", "tree",
]  # fmt: skip

Rng = np.random.Generator
FAR = 60.0
"""Roads and walkways go on this far, out of sight."""
WHITE = (226.0, 226.0, 220.0)
YELLOW = (224.0, 188.0, 56.0)
"""Road paint."""
_ZOOM = (1.2, 2.0)
"""Cameras look so much closer than one that shows all of a place."""


def mat(rng: Rng, name: str, color: tuple[float, float, float], vary: float = 0.12, pitch: float = 0.0) -> Material:
    """A material of about this colour, with a seed of its own."""
    tint = np.array(color) * rng.uniform(1 - vary, 1 + vary) * rng.uniform(1 - vary / 4, 1 + vary / 4, 3)
    r, g, b = (float(v) for v in np.clip(tint, 4, 250))
    return Material(name, (r, g, b), pitch, int(rng.integers(1, 10_000)))


def camera_for(
    rng: Rng,
    size: tuple[int, int],
    aspect: float | None,
    *,
    pitch: tuple[float, float] = (14, 30),
    distance: tuple[float, float] = (14, 20),
    person: tuple[float, float] = (0.17, 0.27),
    yaw: float = 24,
) -> Camera:
    """A camera for images of (height, width) that looks at the origin from -y, turned by up to `yaw` degrees. person: the height
    of one who stands there where all of the place is to be seen, as a share of the image's."""
    height, width = size
    aspect = width / height if aspect is None else aspect
    down, away = math.radians(rng.uniform(*pitch)), float(rng.uniform(*distance))
    tall = rng.uniform(*_ZOOM) * rng.uniform(*person) * min(1.0, aspect) * height
    focal = tall * away / (PERSON_HEIGHT * math.cos(down))
    turn = math.radians(rng.uniform(-yaw, yaw))
    return Camera(width, height, down, turn, away, focal * width / height / aspect, focal)


def daylight(rng: Rng, posts: tuple[tuple[float, float], ...] = ()) -> Light:
    """Of a bright or cloudy day, an evening, or the night with lamps on `posts`; now and then with fog."""
    level, angle = rng.uniform(0.9, 1.1), rng.uniform(0, 2 * math.pi)
    which = rng.choice(4, p=(0.42, 0.28, 0.17, 0.13))
    fog = float(rng.uniform(0.02, 0.05)) if rng.random() < 0.12 else float(rng.uniform(0.0, 0.004))
    if which == 0:
        length = rng.uniform(0.45, 1.5)
        shadow = (float(length * math.cos(angle)), float(length * math.sin(angle)))
        ambient, sun = (0.34, 0.39, 0.47), (1.12, 1.05, 0.92)
        light = Light("bright day", ambient, sun, shadow, (), fog, (190, 204, 222))
    elif which == 1:
        light = Light("cloudy day", (0.7, 0.73, 0.77), fog=fog, haze=(196, 200, 204))
    elif which == 2:
        length = rng.uniform(1.7, 2.8)
        shadow = (float(length * math.cos(angle)), float(length * math.sin(angle)))
        light = Light("evening", (0.24, 0.24, 0.31), (1.05, 0.66, 0.36), shadow, (), fog, (206, 176, 160))
    else:
        spots = posts or tuple((float(a), float(b)) for a, b in rng.uniform(-9, 9, (4, 2)))
        lamps = tuple((x, y, 5.0, float(rng.uniform(14, 22))) for x, y in spots)
        light = Light("night", (0.035, 0.04, 0.055), lamps=lamps, fog=fog * 0.3, haze=(22, 25, 34))
    r, g, b = (float(c * level) for c in light.ambient)
    sr, sg, sb = (float(c * level) for c in light.sun)
    return Light(light.name, (r, g, b), (sr, sg, sb), light.shadow, light.lamps, light.fog, light.haze)


def indoor_light(rng: Rng, half: tuple[float, float], height: float) -> Light:
    """Rows of ceiling lamps over a room of this half length and width."""
    warm = rng.uniform(0.86, 1.04)
    base = rng.uniform(0.26, 0.4)
    xs, ys = np.linspace(-half[0], half[0], 4)[1:-1] * 1.4, np.linspace(-half[1], half[1], 4)[1:-1]
    power = rng.uniform(4.0, 6.0) * height / 3
    lamps = tuple((float(x), float(y), height - 0.1, float(power)) for x in xs for y in ys)
    return Light("lamp light", (base, base * 0.99, base * warm), lamps=lamps, haze=(40, 40, 44), outdoors=False)


def tree(place: Place, rng: Rng, x: float, y: float, tall: float = 0.0) -> None:
    """A trunk with a crown."""
    tall = tall or rng.uniform(3.6, 5.5)
    bark = mat(rng, "planks", (92, 76, 60))
    place.solids.pillar((x, y), rng.uniform(0.12, 0.2), tall * 0.62, bark)
    green = np.array((72, 98, 48)) * rng.uniform(0.8, 1.15, 3)
    place.solids.leaves(rng, (x, y, tall * 0.8), (tall * 0.3, tall * 0.27), tuple(green), 34)


def hedge(place: Place, rng: Rng, start: tuple[float, float], stop: tuple[float, float], height: float = 1.1) -> None:
    """A trimmed hedge along a line."""
    (ax, ay), (bx, by) = start, stop
    length, turn = math.hypot(bx - ax, by - ay), math.atan2(by - ay, bx - ax)
    leaf = mat(rng, "leaves", (66, 92, 48))
    place.solids.box(((ax + bx) / 2, (ay + by) / 2), (length, 0.7, height), leaf, turn=turn)


def planter(place: Place, rng: Rng, x: float, y: float) -> None:
    """A tub with a bush."""
    tub = mat(rng, "concrete", (128, 112, 98), 0.3)
    place.solids.box((x, y), (0.7, 0.7, 0.5), tub, top=Material("gravel", (70, 56, 44)))
    green = np.array((70, 100, 52)) * rng.uniform(0.75, 1.2, 3)
    place.solids.leaves(rng, (x, y, 0.85), (0.42, 0.4), tuple(green), 12)


def bench(place: Place, rng: Rng, x: float, y: float, turn: float) -> None:
    """A bench for two, looking where `turn` says, with its seats."""
    wood, leg = mat(rng, "planks", (140, 104, 70), 0.25), Material("plain", (52, 54, 56))
    c, s = math.cos(turn), math.sin(turn)
    place.solids.box((x, y), (0.45, 1.7, 0.06), wood, base=0.4, turn=turn)
    place.solids.box((x - 0.24 * c, y - 0.24 * s), (0.05, 1.7, 0.4), wood, base=0.5, turn=turn, solid=False)
    for side in (-0.7, 0.7):
        place.solids.box((x - side * s, y + side * c), (0.4, 0.07, 0.4), leg, turn=turn, solid=False)
    for side in (-0.4, 0.4):
        place.seats.append(Seat((x - side * s + 0.02 * c, y + side * c + 0.02 * s), turn, 0.46))


def lamp_post(place: Place, rng: Rng, x: float, y: float) -> None:
    """A street lamp."""
    steel = mat(rng, "plain", (84, 86, 88))
    place.solids.pillar((x, y), 0.06, 4.8, steel)
    place.solids.box((x, y), (0.5, 0.3, 0.18), Material("plain", (236, 230, 210)), base=4.8, solid=False, glow=0.5)


def fence(place: Place, rng: Rng, start: tuple[float, float], stop: tuple[float, float], height: float = 1.1) -> None:
    """Posts and two rails; one can see through it."""
    steel = mat(rng, "plain", (116, 118, 120), 0.35)
    length = math.hypot(stop[0] - start[0], stop[1] - start[1])
    for k in np.linspace(0, 1, max(2, round(length / 1.6))):
        x, y = (start[0] + (stop[0] - start[0]) * k, start[1] + (stop[1] - start[1]) * k)
        place.solids.box((float(x), float(y)), (0.06, 0.06, height), steel, solid=False)
    for level in (0.45, 1.0):
        place.solids.wall(start, stop, 0.07, steel, base=height * level - 0.07)


def rack(
    place: Place, rng: Rng, middle: tuple[float, float], size: tuple[float, float, float], turn: float = 0.0
) -> None:
    """A shelf full of goods."""
    wares = mat(rng, "goods", (168, 150, 132), 0.1, pitch=rng.uniform(0.34, 0.5) * (1 if size[2] < 2.5 else 2.2))
    place.solids.box(middle, size, wares, top=mat(rng, "plain", (150, 148, 144)), turn=turn)


def ground_place(rng: Rng, words: str, floor: str, camera: Camera, base: tuple, posts: tuple = ()) -> Place:
    """A place whose ground is of this material and label everywhere."""
    everywhere = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * 500.0
    material, label = base
    return Place(words, floor, camera, daylight(rng, posts), [Zone(everywhere, material, label)])


def facade(place: Place, rng: Rng, y: float, height: float, reach: float = 30.0) -> None:
    """Houses in a row that face the camera at `y`."""
    x = -reach
    while x < reach:
        width = float(rng.uniform(6, 13))
        color = ((176, 158, 138), (150, 96, 76), (196, 188, 172), (122, 112, 104), (160, 132, 100))[rng.integers(5)]
        wall = mat(rng, "facade", color, pitch=rng.uniform(2.0, 3.2))
        tall = height * rng.uniform(0.8, 1.25)
        place.solids.box(
            (x + width / 2, y + 4 + rng.uniform(0, 0.4)), (width, 8, tall), wall, top=mat(rng, "plain", (96, 92, 92))
        )
        x += width


def road(place: Place, rng: Rng, lower: float, upper: float, *, cycle: float | None = None) -> None:
    """A road of two lanes along x between two heights of y, with kerbs; traffic keeps to the right."""
    place.zone(-FAR, lower, FAR, upper, mat(rng, "asphalt", (84, 84, 86)), 1)
    for y in (lower, upper):
        place.markings.append(Marking((-FAR, y), (FAR, y), 0.22, (176, 174, 168)))
    middle = (lower + upper) / 2 if cycle is None else (lower + cycle) / 2
    place.markings.append(Marking((-FAR, middle), (FAR, middle), 0.12, WHITE, float(rng.uniform(1.2, 2.5))))
    top = upper if cycle is None else cycle
    place.lanes += [
        Path(((-40, (lower + middle) / 2), (40, (lower + middle) / 2)), 0.15, "road"),
        Path(((40, (middle + top) / 2), (-40, (middle + top) / 2)), 0.15, "road"),
    ]
    if cycle is not None:
        place.markings.append(Marking((-FAR, cycle), (FAR, cycle), 0.1, WHITE, 0.6))
        place.tracks.append(Path(((30, (cycle + upper) / 2), (-30, (cycle + upper) / 2)), 0.15, "road"))


def room(
    rng: Rng, words: str, floor: str, camera: Camera, ground: Material, half: tuple[float, float], height: float, wall: Material,
    label: int = 2,
) -> Place:  # fmt: skip
    """A room of this half length and width around the origin, with a skirting; the wall behind the camera is left out."""
    everywhere = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * 200.0
    place = Place(words, floor, camera, indoor_light(rng, half, height), [Zone(everywhere, ground, label)])
    (a, b), skirting = half, mat(rng, "plain", (96, 92, 88), 0.3)
    for start, stop in (((-a, b), (a, b)), ((-a, -b - 12), (-a, b)), ((a, b), (a, -b - 12))):
        place.solids.wall(start, stop, height, wall)
        inset = [(x * 0.998, y * 0.998 if y > 0 else y) for x, y in (start, stop)]
        place.solids.wall(inset[0], inset[1], 0.12, skirting)
    return place


def door(place: Place, rng: Rng, x: float, y: float, *, side: bool = False) -> None:
    """A door in a wall that faces -y, or at the `side` in one along y."""
    leaf = mat(rng, "plain", ((120, 96, 72), (150, 152, 156), (70, 90, 110))[rng.integers(3)])
    if side:
        points = [(x, y - 0.5, 0.0), (x, y + 0.5, 0.0), (x, y + 0.5, 2.1), (x, y - 0.5, 2.1)]
    else:
        points = [(x - 0.5, y, 0.0), (x + 0.5, y, 0.0), (x + 0.5, y, 2.1), (x - 0.5, y, 2.1)]
    place.solids.face(points, leaf, two_sided=True, casts=False)
