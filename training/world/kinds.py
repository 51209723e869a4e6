"""The kinds of anomaly: which split holds which, which places have room for it, and why it is abnormal.

Kinds are disjoint between train, validation and test; `seen` has those of train in the places of test, `home` and `familiar`
have some of train's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tvau_runtime.errors import ConfigError

from .life import deeds, mishaps
from .life.cast import Cast
from .scenes.place import Place
from .types import SPLITS

__all__ = ["KINDS", "Kind", "anomalies", "every_kind"]


@dataclass(frozen=True)
class Kind:
    """name: a word prompt. split: where it belongs. add: adds it to a cast around a time (s). fits: whether a place has room for
    it. why: what an operator would say."""

    name: str
    split: str
    add: Callable[[Cast, str, float], None]
    fits: Callable[[Place], bool]
    why: str


def _walks(place: Place) -> bool:
    return bool(place.walks)


def _stands(place: Place) -> bool:
    return bool(place.stands)


def _lanes(place: Place) -> bool:
    return bool(place.lanes)


def _outdoor_walks(place: Place) -> bool:
    return bool(place.walks) and place.light.outdoors


def _shows(place: Place, points: np.ndarray) -> bool:
    """Whether somebody who stands at one of these points, [n, 2], would be in the picture."""
    height, width = place.camera.height, place.camera.width
    at = place.camera.project(np.concatenate([points, np.full((len(points), 1), 0.9)], axis=-1)) / (width, height)
    return bool((np.abs(at - 0.5) < 0.36).all(axis=-1).any())


def _closed(place: Place) -> bool:
    return any(_shows(place, _within(*area)) for area, _ in place.closed)


def _within(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    """[9, 2]: points in the inner part of a rectangle."""
    part = np.array((0.25, 0.5, 0.75))
    return np.stack(np.meshgrid(x0 + (x1 - x0) * part, y0 + (y1 - y0) * part), axis=-1).reshape(-1, 2)


def _belts(place: Place) -> bool:
    return bool(place.belts)


def _spots(place: Place) -> bool:
    return bool(place.spots) and _shows(place, np.array(place.spots)[:, :2])


_ALL = (
    Kind("person running", "train", deeds.run, _walks, "people walk here"),
    Kind("person lying on the ground", "train", deeds.lie, _walks, "somebody may need help"),
    Kind("person jumping", "train", deeds.jump, _walks, "people walk here"),
    Kind("person staggering", "train", deeds.stagger, _walks, "somebody may need help"),
    Kind("people fighting", "train", deeds.fight, _stands, "somebody may be hurt"),
    Kind("person riding a bicycle on the walkway", "train", mishaps.ride_bicycle, _walks, "it is for people on foot"),
    Kind("car driving on the walkway", "train", mishaps.drive_on_walk, _outdoor_walks, "it is for people on foot"),
    Kind("person walking on the road", "train", deeds.jaywalk, _lanes, "it is for vehicles"),
    Kind("car driving the wrong way", "train", mishaps.wrong_way, _lanes, "the traffic goes the other way"),
    Kind("person in a closed area", "train", deeds.climb_in, _closed, "nobody may be there"),
    Kind("bag left behind", "train", mishaps.leave_bag, _walks, "its owner has gone"),
    Kind("smoke", "train", mishaps.smoke, _stands, "something may burn"),
    Kind("item toppled over on the line", "train", mishaps.topple, _belts, "the items stand upright"),
    Kind("person falling down", "validation", deeds.fall, _walks, "somebody may need help"),
    Kind("person dancing", "validation", deeds.dance, _walks, "people walk here"),
    Kind("person riding a scooter on the walkway", "validation", mishaps.ride_scooter, _walks, "it is for people on foot"),
    Kind("car stopping suddenly", "validation", mishaps.stop_short, _lanes, "the traffic goes on"),
    Kind("cart rolling away", "validation", mishaps.roll_away, _walks, "nobody holds it"),
    Kind("person crawling", "test", deeds.crawl, _walks, "people walk here"),
    Kind("person riding a skateboard on the walkway", "test", mishaps.ride_skateboard, _walks, "it is for people on foot"),
    Kind("person stealing a bag", "test", deeds.steal, _stands, "it belongs to somebody else"),
    Kind("person pushing somebody over", "test", deeds.push_over, _stands, "somebody may be hurt"),
    Kind("person throwing something", "test", deeds.throw, _stands, "somebody may be hurt"),
    Kind("fire", "test", mishaps.burn, _stands, "something burns"),
    Kind("car crash", "test", mishaps.crash, _lanes, "somebody may be hurt"),
    Kind("dog on the road", "test", mishaps.loose_dog, _lanes, "nobody leads it"),
    Kind("item fallen off the line", "test", mishaps.fall_off_line, _belts, "the items stay on the line"),
    Kind("person taking away a thing", "test", mishaps.take_item, _spots, "it belongs to the place"),
)  # fmt: skip
KINDS = {kind.name: kind for kind in _ALL}
HOME = (
    "person running", "person lying on the ground", "people fighting", "person riding a bicycle on the walkway",
    "car driving on the walkway", "person walking on the road", "smoke",
)  # fmt: skip
"""Those of `home`."""


def anomalies(split: str = "train") -> tuple[str, ...]:
    """The kinds of anomaly that a split holds, as word prompts. Raises `ConfigError`."""
    if split not in SPLITS:
        raise ConfigError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    if split in ("home", "familiar"):
        return HOME
    return tuple(kind.name for kind in _ALL if kind.split == ("train" if split == "seen" else split))


def every_kind() -> tuple[str, ...]:
    """The kinds of anomaly of all splits, as word prompts."""
    return tuple(KINDS)
