"""Families of places, and which split shows which: no family of train, validation or test is in another of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import halls, squares, streets, works
from .place import Place

__all__ = ["FAMILIES", "families_of"]

_TRAIN = (
    streets.street, streets.mews, squares.plaza, streets.bus_stop, squares.park, streets.car_lot, squares.campus,
    streets.loading_yard, halls.corridor, halls.station_hall, works.shop, works.warehouse, works.bottling_line,
    halls.lobby,
)  # fmt: skip
_VALIDATION = (squares.market, squares.school_yard, streets.junction, works.checkout, works.packing_line)
_TEST = (
    squares.promenade, streets.petrol_station, streets.suburb, halls.museum, halls.canteen, halls.platform,
    works.parking_deck, works.sorting_line,
)  # fmt: skip
_HOME = (streets.street, streets.bus_stop, squares.plaza, halls.corridor, halls.station_hall)
_SPLITS = {
    "train": _TRAIN, "validation": _VALIDATION, "test": _TEST, "seen": _TEST, "home": _HOME, "familiar": _HOME,
}  # fmt: skip

Builder = Callable[[np.random.Generator, tuple[int, int], float | None], Place]
FAMILIES: dict[str, Builder] = {family.__name__: family for family in (*_TRAIN, *_VALIDATION, *_TEST)}


def families_of(split: str) -> tuple[str, ...]:
    """The families that a split shows."""
    return tuple(family.__name__ for family in _SPLITS[split])
