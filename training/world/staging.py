"""What a version of the world hands to the renderer: a place, and the parts of those who play in it.

A backdrop gives the empty place as a canvas, with the players' shadows; a film turns a finished canvas into a frame. Knows no
version of the world.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .camera import Camera
from .naming import Thing
from .types import Spell

__all__ = ["SCALE", "Backdrop", "Film", "Player", "Shape", "Staging", "Words", "WorldVersion"]

SCALE = 2
"""The canvas has so many pixels to one of the frame's, in both directions."""


class Shape(Protocol):
    """An actor ready to be drawn. depth: float [T], larger is farther away. bounds: int32 [T, 4], canvas pixels (x_min, y_min,
    x_max, y_max) that it stays inside. joints: [T, J, 2], those of `BODY` in canvas pixels, or none. stature: [T], how tall who
    has them would stand there."""

    @property
    def depth(self) -> np.ndarray: ...

    @property
    def bounds(self) -> np.ndarray: ...

    @property
    def joints(self) -> np.ndarray: ...

    @property
    def stature(self) -> np.ndarray: ...

    def draw(self, canvas: np.ndarray, t: int) -> None:
        """Draws it as it is in frame `t` into uint8 [H, W, 4]: RGB and the actor's id."""
        ...


class Player(Protocol):
    """An actor's part; see `Actor` for the words. abnormal: bool [T]. position: [T, 2] on the ground."""

    @property
    def kind(self) -> str: ...

    @property
    def color(self) -> str: ...

    @property
    def action(self) -> str: ...

    @property
    def anomaly(self) -> str: ...

    @property
    def abnormal(self) -> np.ndarray: ...

    @property
    def position(self) -> np.ndarray: ...

    @property
    def attributes(self) -> Mapping[str, str]: ...

    @property
    def spells(self) -> tuple[Spell, ...]: ...


class Backdrop(Protocol):
    """The empty place on a canvas of `SCALE` times the frame's size."""

    def canvas(self, shapes: Sequence[Shape], t: int) -> np.ndarray:
        """uint8 [H, W, 4], with the shadows of all that is in view in frame `t` and id 0."""
        ...

    def draw(self, canvas: np.ndarray, shape: Shape, t: int) -> None:
        """Draws a shape into the canvas, behind what of the place stands in front of it."""
        ...


class Film(Protocol):
    """What camera and recorder make of the canvas."""

    def labels(self, canvas: np.ndarray, t: int) -> np.ndarray:
        """uint8 [h, w]: the id that each pixel of frame `t` shows."""
        ...

    def expose(self, canvas: np.ndarray, t: int) -> np.ndarray:
        """uint8 [h, w, 3]: frame `t`."""
        ...


@dataclass(frozen=True, eq=False)
class Staging:
    """A place with players. draw: gives backdrop, film and the players' shapes, where ids are 1 and up in the players' order.
    least_area: the part of the image that an anomaly must show at its best. See `Clip` for the words."""

    camera: Camera
    family: str
    environment: str
    grounds: tuple[str, str, str]
    ground: Callable[[], np.ndarray]
    players: Sequence[Player]
    draw: Callable[[], tuple[Backdrop, Film, Sequence[Shape]]]
    least_area: float


@dataclass(frozen=True, eq=False)
class Words:
    """What is said in dialogues that belong to no clip. life: (kind, action) of all that is done. deed: one of them. nouns: what
    is asked about. environment: a place in words. attributes: of somebody. reasons: why each kind of anomaly is abnormal; where
    there are any, dialogues ask when and why."""

    life: tuple[tuple[str, str], ...]
    deed: Callable[[np.random.Generator], tuple[str, str]]
    nouns: tuple[str, ...]
    environment: Callable[[np.random.Generator], str]
    attributes: Callable[[np.random.Generator], Mapping[str, str]]
    reasons: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class WorldVersion:
    """A version of the world. anomalies: the kinds that a split holds, as word prompts. normalities: what normal life is made of.
    kinds: of things. things: what prompts can name. open_place: (seed of the place, seed of the clip, split, size, aspect, kinds
    of anomaly that there must be room for) to a place, which (attempt, times, wanted anomalies with the time of their middle or
    None) then fills with players, or finds no room."""

    name: str
    anomalies: Callable[[str], tuple[str, ...]]
    words: Words
    normalities: tuple[str, ...]
    kinds: tuple[str, ...]
    things: tuple[Thing, ...]
    open_place: Callable[
        [int, int, str, tuple[int, int], float | None, Sequence[str]],
        Callable[[int, np.ndarray, Sequence[tuple[str, float | None]]], Staging | None],
    ]
