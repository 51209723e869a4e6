"""The world in words, for dialogues that belong to no clip, and why what is abnormal is so."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np

from .actors.people import BAGS, TROUSER_COLORS
from .kinds import KINDS
from .scenes import FAMILIES

__all__ = ["LIFE", "NOUNS", "REASONS", "THE_GROUNDS", "imagined_attributes", "imagined_deed", "imagined_environment"]

THE_GROUNDS = (
    "walkway", "road", "cobbles", "pavement", "path", "yard", "promenade", "forecourt", "corridor", "hall", "floor", "platform",
    "lane", "cycle path",
)  # fmt: skip
_CLOSED = (
    "flower bed", "lawn", "loading bay", "fenced garden", "garden", "water side", "pump area", "closed part", "counter", "till",
    "closed aisle", "machine area", "reception", "roped area", "track",
)  # fmt: skip
_VEHICLES = ("car", "van", "truck", "forklift")
_ANYWHERE: dict[tuple[str, ...], tuple[str, ...]] = {
    ("person",): (
        "sitting", "pushing a cart", "walking a dog", "carrying a box", "putting down a box", "running", "crawling", "jumping",
        "dancing", "staggering", "lying on the ground", "falling down", "fighting", "pushing somebody over", "being pushed over",
        "throwing something", "stealing a bag", "taking away a thing",
    ),
    ("bag", "suitcase", "box"): ("standing beside its owner", "left behind"),
    ("bag",): ("being stolen",),
    ("box",): ("being carried",),
    ("bottle", "ball", "bag"): ("flying through the air",),
    ("bottle", "box", "suitcase"): ("moving on the line", "toppled over on the line", "fallen off the line"),
    ("painting", "bottle", "box"): ("being taken away",),
    ("car", "van"): ("parked", "crashing into a car"),
    ("fire",): ("burning",),
    ("smoke",): ("rising",),
}  # fmt: skip
_ON_GROUND: dict[tuple[str, ...], tuple[str, ...]] = {
    ("person",): ("walking on the {}", "standing on the {}", "talking on the {}"),
    ("bicycle", "scooter", "skateboard"): ("riding on the {}",),
    ("wheelchair",): ("moving on the {}",),
    ("cart",): ("being pushed on the {}", "rolling away on the {}"),
    ("dog",): ("walking on the {}",),
    ("box",): ("standing on the {}",),
    _VEHICLES: ("driving on the {}", "driving the wrong way on the {}", "stopping suddenly on the {}"),
}
_DEEDS = [
    *((kinds, deed, ("",)) for kinds, deeds in _ANYWHERE.items() for deed in deeds),
    *((kinds, deed, THE_GROUNDS) for kinds, deeds in _ON_GROUND.items() for deed in deeds),
    (("person",), "walking in the {}", _CLOSED),
]
LIFE = tuple((kind, deed.format(where)) for kinds, deed, places in _DEEDS for kind in kinds for where in places)
"""(kind, action) of all that is done."""
NOUNS = ("person", *_VEHICLES, "dog", "cart", "bag", "suitcase", "box", "bottle", "ball", "painting")
"""What is asked about."""
REASONS = {name: kind.why for name, kind in KINDS.items()}
"""Why each kind of anomaly is abnormal."""
_LIGHTS = ("bright day", "cloudy day", "evening", "night", "lamp light")


@functools.lru_cache(maxsize=1)
def _places() -> tuple[str, ...]:
    return tuple(build(np.random.default_rng(0), (32, 32), None).words for build in FAMILIES.values())


def imagined_deed(rng: np.random.Generator) -> tuple[str, str]:
    """Each deed is as likely as any other, whoever does it and on however many kinds of ground: all words come often enough."""
    kinds, deed, places = _DEEDS[rng.integers(len(_DEEDS))]
    return kinds[rng.integers(len(kinds))], deed.format(places[rng.integers(len(places))])


def imagined_environment(rng: np.random.Generator) -> str:
    """A place in words."""
    place, light = _places()[rng.integers(len(_places()))], _LIGHTS[rng.integers(len(_LIGHTS))]
    return f"{place}, {light}{('', '', ', fog', ', rain')[rng.integers(4)]}"


def imagined_attributes(rng: np.random.Generator) -> Mapping[str, str]:
    """Of somebody; see `Actor.attributes`."""
    words = {"trousers": TROUSER_COLORS[rng.integers(len(TROUSER_COLORS))]} if rng.random() < 0.88 else {}
    return words if rng.random() < 0.6 else {**words, "bag": BAGS[rng.integers(len(BAGS))]}
