"""Opens a place as a surveillance camera sees it, and fills it with people, vehicles and things who play their parts.

A place is painted once and kept for further clips.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tvau_runtime.errors import ConfigError

from .actors.puppet import Drawn, Puppet, Stage
from .camera import SCALE
from .drawing import PlaceBackdrop
from .film import FilmSettings, SurveillanceFilm, random_film
from .kinds import KINDS
from .life.cast import Cast, Part
from .life.normal import add_normal_life
from .scenes import FAMILIES, families_of
from .scenes.backdrop import paint_place
from .scenes.place import Place
from .types import SPLITS

__all__ = ["Scene", "open_place"]

_STREAM = 20
"""Sets the dice of places and players apart from those of `make_clip`."""
_KEPT = 64
"""Painted places wait for further clips."""
_ROUNDS = 40
"""So often a place of every family is looked at for one that shows what is wanted."""
_FOGGY = 0.015
_TRIES = 8
"""So often players are tried out in a place before another one is opened."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A place with players. draw: gives the empty place, the camera and recorder, and the players' shapes, whose ids are 1 and
    up in the players' order. grey: shown without colours. See `Clip` for the words."""

    place: Place
    family: str
    environment: str
    grounds: tuple[str, str, str]
    ground: Callable[[], np.ndarray]
    players: Sequence[Part]
    draw: Callable[[], tuple[PlaceBackdrop, SurveillanceFilm, Sequence[Drawn]]]
    grey: bool


@dataclass(frozen=True, eq=False)
class _Opened:
    """A place that is painted and waits for players."""

    family: str
    place: Place
    stage: Stage
    rain: bool
    film: FilmSettings

    @property
    def words(self) -> str:
        """Of the light and the weather."""
        light = self.place.light
        return f"{light.name}{', fog' if light.fog > _FOGGY else ''}{', rain' if self.rain else ''}"


@functools.lru_cache(maxsize=_KEPT)
def _open(
    seed: int, number: int, split: str, size: tuple[int, int], aspect: float | None, themes: tuple[str, ...]
) -> _Opened:
    """A place of the split's that has room for all `themes` (kinds), painted. number: of the places that a seed gives."""
    rng = np.random.default_rng([_STREAM, SPLITS.index(split), seed, number])
    for name in itertools.chain(*(rng.permutation(families_of(split)) for _ in range(_ROUNDS))):
        place = FAMILIES[str(name)](rng, size, aspect)
        if all(KINDS[theme].fits(place) for theme in themes):
            rain = place.light.name in ("cloudy day", "night") and bool(rng.random() < 0.35)
            canvas = place.camera.scaled(SCALE)
            stage = Stage(canvas, place.light, paint_place(place, canvas))
            film = random_film(np.random.default_rng(int(rng.integers(1 << 30))), place.light.name, rain)
            return _Opened(str(name), place, stage, rain, film)
    raise ConfigError(f"no place of the {split} split has room for: {', '.join(themes)}")


def open_place(
    place: int, seed: int, split: str, size: tuple[int, int], aspect: float | None, themes: Sequence[str]
) -> Callable[[int, np.ndarray, Sequence[tuple[str, float | None]]], Scene | None]:
    """A place by its seed, for a clip by its seed, with room for the kinds `themes`; see `make_clip`.

    It is filled by (number of the attempt, times [T] in s, wanted anomalies with the time of their middle or None), or finds no
    room.
    """

    def fill(attempt: int, times: np.ndarray, wanted: Sequence[tuple[str, float | None]]) -> Scene | None:
        here = _open(place, attempt // _TRIES, split, (size[0], size[1]), aspect, tuple(themes))
        dice = [_STREAM, SPLITS.index(split), seed, attempt]
        rng = np.random.default_rng([*dice, 1])
        cast = Cast(here.place, here.stage.camera, here.stage.picture, times, rng, rain=here.rain)
        for kind, when in wanted:
            before = len(cast.parts)
            middle = float(rng.uniform(0.3, 0.7)) * cast.end if when is None else when
            KINDS[kind].add(cast, kind, middle)
            if not any(part.anomaly == kind for part in cast.parts[before:]):
                return None
        add_normal_life(cast)
        if not cast.parts:
            return None
        stands, light = here.place, here.words
        return Scene(
            stands,
            here.family,
            f"{stands.words}, {light}",
            (light, f"{_way(stands)} {light}", f"{stands.floor} {light}"),
            lambda: here.stage.picture.ground[::SCALE, ::SCALE].copy(),
            cast.parts,
            lambda: _draw(here, cast.parts, times, size, np.random.default_rng([*dice, 2])),
            here.film.grey,
        )

    return fill


def _way(place: Place) -> str:
    """What vehicles and riders go on."""
    return next((path.ground for path in (*place.lanes, *place.tracks)), "road")


def _draw(
    here: _Opened, parts: Sequence[Part], times: np.ndarray, size: tuple[int, int], rng: np.random.Generator
) -> tuple[PlaceBackdrop, SurveillanceFilm, Sequence[Drawn]]:
    shapes = []
    for ident, part in enumerate(parts, 1):
        puppet = Puppet(here.stage, part.course.position, part.course.heading, ident, part.height)
        part.paint(puppet)
        shapes.append(puppet.finish())
    rate_hz = 1 / float(times[1]) if len(times) > 1 else 1.0
    film = SurveillanceFilm(here.film, size, len(times), rate_hz, rng)
    soft = 3 if any(here.place.light.sun) else 7
    return PlaceBackdrop(here.stage.picture, soft=soft), film, shapes
